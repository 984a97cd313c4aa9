"""SA-1B: one JSON an image, as the data set of Segment Anything is published.

    {"image": {"image_id", "width", "height", "file_name"},
     "annotations": [{"id", "segmentation": {"size", "counts"}, "bbox": [x, y, w, h], "area", "predicted_iou",
                      "stability_score", "point_coords": [[x, y]], "crop_box": [x, y, w, h]}, ...]}

Source: the data set section of segment-anything's README. The published readers look keys up by name, so a key more
does no harm: "parent" is the id of the enclosing mask, or null; "label" is written where a mask has one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.records import atomic
from anymask.records.record import ImageRef, Provenance, Record

_NUMBERED = re.compile(r"(?:.*/)?sa_(\d{1,15})$", re.ASCII)


def as_dict(record: Record, title: str = "") -> dict[str, Any]:
    """What the file holds. title: the image's name in the run, for its number; by default the file's name.

    What is not known of a mask is derived where that is honest: masks that no grid found have the whole image as
    crop_box. Without a stability score or a point, "stability_score" and "point_coords" are left out.
    """
    masks = record.masks
    height, width = record.image.size
    boxes, areas = masks.boxes().astype(np.int64).tolist(), masks.areas().tolist()
    stability, points, crops = (masks.details.get(name) for name in ("stability_score", "point_coords", "crop_box"))
    annotations = []
    for row, rle in enumerate(masks.rle):
        x0, y0, x1, y1 = boxes[row]
        parent = int(masks.parents[row])
        one: dict[str, Any] = {
            "id": row + 1,
            "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": areas[row],
            "predicted_iou": _short(masks.scores[row]),
        }
        if stability is not None:
            one["stability_score"] = _short(stability[row])
        if points is not None:
            one["point_coords"] = [[float(value) for value in points[row]]]
        one["crop_box"] = [0, 0, width, height] if crops is None else [int(value) for value in crops[row]]
        one["parent"] = parent + 1 if parent >= 0 else None
        if masks.labels[row] is not None:
            one["label"] = masks.labels[row]
        annotations.append(one)
    name = file_name(record, title)
    image = {"image_id": image_id(title or name), "width": width, "height": height, "file_name": name}
    return {"image": image, "annotations": annotations}


def as_text(record: Record, title: str = "") -> str:
    """The file; ASCII, since a file name may hold bytes that are no UTF-8."""
    return json.dumps(as_dict(record, title)) + "\n"


def file_name(record: Record, title: str) -> str:
    """The picture's name without its folder, as published; the title for pictures from memory."""
    return os.path.basename(record.image.path) if record.image.path else PurePosixPath(title or "image").name


def image_id(title: str) -> int:
    """A number for an image that needs no counting, so that many machines agree on it.

    The official number for SA-1B's own names, sa_223750; otherwise 53 bits of the title's SHA-256, which readers that
    know only floating point numbers keep exactly, and of which a million images share one with probability 1/18,000.
    """
    numbered = _NUMBERED.match(title)
    if numbered:
        return int(numbered[1])
    digest = hashlib.sha256(title.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 11


def write(record: Record, path: str | os.PathLike[str]) -> Path:
    """Writes the file, whole or not at all."""
    return atomic.write(path, as_text(record, Path(path).stem))


def read(path: str | os.PathLike[str]) -> Record:
    """The record of an SA-1B file, also of those published: parents, labels and details where the file has them.

    `image.path` is the file_name. Raises BadSetting for a damaged file or another format, OSError if it cannot be
    opened.
    """
    return parse(Path(path).read_bytes(), str(path))


def parse(text: bytes, name: str) -> Record:
    """The record that a file's bytes hold, as `read` gives it. name: how messages call the file. Raises BadSetting."""
    try:
        return _record(json.loads(text))
    except BadSetting as error:
        raise BadSetting(f"{name} is damaged: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BadSetting(f"{name} is not an SA-1B file: {type(error).__name__} {error}") from None


class Sa1b:
    """The format of folder runs: TITLE.json for each image."""

    name = "sa1b"

    def files(self, record: Record, title: str) -> dict[str, bytes]:
        """The files of one image, by relative path."""
        return {f"{title}.json": as_text(record, title).encode("ascii")}

    def finish(self, titles: Iterable[str], read: Callable[[str], bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Nothing: the data set has no files of its own."""
        return iter(())


def _record(data: Any) -> Record:
    image, rows = data["image"], data["annotations"]
    size = (int(image["height"]), int(image["width"]))
    row_of = {one["id"]: row for row, one in enumerate(rows)}
    if len(row_of) < len(rows):
        raise BadSetting("two of its annotations share an id")
    parents = [one.get("parent") for one in rows]
    details: dict[str, NDArray[Any]] = {}
    if rows and all("stability_score" in one for one in rows):
        details["stability_score"] = np.array([one["stability_score"] for one in rows], np.float32)
    if rows and all("point_coords" in one for one in rows):
        details["point_coords"] = np.array([one["point_coords"][0] for one in rows], np.float64).reshape(len(rows), 2)
    if rows and all("crop_box" in one for one in rows):
        details["crop_box"] = np.array([one["crop_box"] for one in rows]).astype(np.int64).reshape(len(rows), 4)
    masks = Masks(
        size,
        [one["segmentation"] for one in rows],
        scores=[one["predicted_iou"] for one in rows],
        labels=[one.get("label") for one in rows],
        parents=[-1 if parent is None else row_of[parent] for parent in parents],
        details=details,
    )
    name = image["file_name"]
    if not isinstance(name, str):
        raise TypeError("file_name is a text")
    return Record(ImageRef(name, size), masks, Provenance(anymask="", time=""))


def _short(value: Any) -> float:
    """A float32 in as few digits as give it back."""
    return float(str(np.float32(value)))
