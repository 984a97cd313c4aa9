"""COCO instance files: many images in one JSON, as pycocotools, labelling tools and trainers read it.

Beyond COCO's own keys an annotation has "score", and "parent", the id of the enclosing one, where there is one.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.masks.polygons import fill
from anymask.masks.rle import RLE, checked, encode_one, merge
from anymask.pixels.resize import HW
from anymask.records import atomic
from anymask.records.record import ImageRef, Provenance, Record, anymask_version

UNNAMED = "object"
"""The category of masks without a label: COCO knows no annotation without one."""


def as_dict(records: Iterable[Record], *, segmentation: Literal["rle", "polygon"] = "rle") -> dict[str, Any]:
    """A COCO dataset. Images and annotations are numbered from 1 in order, categories by name."""
    records = list(records)
    names = sorted({label if label is not None else UNNAMED for record in records for label in record.masks.labels})
    number = {name: place for place, name in enumerate(names, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(records, 1):
        height, width = record.image.size
        name = record.image.path if record.image.path is not None else f"{image_id:06d}"
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        first = len(annotations) + 1
        rows = record.masks.to_coco(image_id, first_id=first, segmentation=segmentation)
        for row, label, parent in zip(rows, record.masks.labels, record.masks.parents.tolist(), strict=True):
            row["category_id"] = number[label if label is not None else UNNAMED]
            if parent >= 0:
                row["parent"] = first + parent
        annotations.extend(rows)
    return {
        "info": {"description": f"made by anymask {anymask_version()}", "version": "1.0"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": place, "name": name, "supercategory": ""} for name, place in number.items()],
    }


def write(
    records: Iterable[Record], path: str | os.PathLike[str], *, segmentation: Literal["rle", "polygon"] = "rle"
) -> Path:
    """Writes one dataset file, whole or not at all. segmentation: see `Masks.to_coco`."""
    return atomic.write(path, json.dumps(as_dict(records, segmentation=segmentation)) + "\n")


def read(path: str | os.PathLike[str]) -> list[Record]:
    """One record an image of a COCO instance file, in file order; images without annotations included.

    Polygons are filled by the rule of `polygons.fill`, one exterior a polygon. The category "object" becomes no label.
    Raises BadSetting for a file that is damaged or no COCO dataset, OSError if it cannot be opened.
    """
    try:
        data = json.loads(Path(path).read_text("utf-8"))
        names = {one["id"]: str(one["name"]) for one in data.get("categories", [])}
        rows: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in data["annotations"]:
            rows[annotation["image_id"]].append(annotation)
        found = []
        for image in data["images"]:
            size = (int(image["height"]), int(image["width"]))
            mine = rows.pop(image["id"], [])
            labels = [names[one["category_id"]] for one in mine]
            place = {one["id"]: row for row, one in enumerate(mine) if "id" in one}
            masks = Masks(
                size,
                [_shape(one["segmentation"], size) for one in mine],
                scores=[one.get("score", 1.0) for one in mine],
                labels=[None if label == UNNAMED else label for label in labels],
                # other tools may mean something else by the key
                parents=[place.get(one["parent"], -1) if isinstance(one.get("parent"), int) else -1 for one in mine],
            )
            found.append(Record(ImageRef(str(image["file_name"]), size), masks, Provenance(anymask="", time="")))
    except BadSetting as error:
        raise BadSetting(f"{path} is damaged: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BadSetting(f"{path} is not a COCO instance file: {type(error).__name__} {error}") from None
    if rows:
        raise BadSetting(f"{path} has annotations of images it does not list: {sorted(map(str, rows))[:3]}")
    return found


class Coco:
    """The format of folder runs: annotations.json for all, put together from parts/TITLE.json of each image.

    Numbers are given at the end, dense and from 1; categories in order of appearance. licence: of the pictures, kept in
    the file's "info" where it is not empty.
    """

    name = "coco"

    def __init__(self, licence: str = "") -> None:
        self.licence = licence

    def files(self, record: Record, title: str) -> dict[str, bytes]:
        """The files of one image, by relative path: its rows of the data set, not yet numbered."""
        height, width = record.image.size
        name = record.image.path if record.image.path is not None else title
        rows = record.masks.to_coco()
        for row, label, parent in zip(rows, record.masks.labels, record.masks.parents.tolist(), strict=True):
            del row["id"], row["image_id"], row["category_id"]
            row["category"] = label if label is not None else UNNAMED
            if parent >= 0:
                row["parent"] = parent
        part = {"image": {"file_name": name, "height": height, "width": width}, "annotations": rows}
        return {_part(title): (json.dumps(part) + "\n").encode("ascii")}

    def finish(self, titles: Iterable[str], read: Callable[[str], bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The data set, streamed: each part is read once."""
        yield "annotations.json", _numbered(titles, read, self.licence)


def _part(title: str) -> str:
    return f"parts/{title}.json"


def _numbered(titles: Iterable[str], read: Callable[[str], bytes], licence: str) -> Iterator[bytes]:
    """The data set's text. Annotations come before images, so that one pass is enough."""
    info = {"description": f"made by anymask {anymask_version()}", "version": "1.0"}
    info |= {"licence": licence} if licence else {}
    yield (json.dumps({"info": info, "licenses": []})[:-1] + ', "annotations": [').encode("ascii")
    # the rows of images wait packed, about 20 bytes each, until the annotations are through
    packer, waiting = zlib.compressobj(), []
    number: dict[str, int] = {}
    count = 0
    for image_id, title in enumerate(titles, 1):
        part = _unnumbered(read(_part(title)), title)
        between = "\n" if image_id == 1 else ",\n"
        waiting.append(packer.compress((between + json.dumps({"id": image_id, **part["image"]})).encode("ascii")))
        lines = []
        first = count + 1
        for row in part["annotations"]:
            count += 1
            if "parent" in row:
                row["parent"] += first
            category = number.setdefault(row.pop("category"), len(number) + 1)
            one = {"id": count, "image_id": image_id, "category_id": category, **row}
            lines.append(("\n" if count == 1 else ",\n") + json.dumps(one))
        yield "".join(lines).encode("ascii")
    waiting.append(packer.flush())
    yield b'\n], "images": ['
    unpacker = zlib.decompressobj()
    for piece in waiting:
        yield unpacker.decompress(piece)
    yield unpacker.flush()
    categories = [{"id": place, "name": name, "supercategory": ""} for name, place in number.items()]
    yield ('\n], "categories": ' + json.dumps(categories) + "}\n").encode("ascii")


def _unnumbered(text: bytes, title: str) -> dict[str, Any]:
    """What `Coco.files` left of an image. Raises BadSetting for anything else."""
    try:
        part = json.loads(text)
        if isinstance(part["image"], dict) and all("category" in row for row in part["annotations"]):
            return dict(part)
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise BadSetting(f"{_part(title)} is damaged; delete it and run the image again")


def _shape(segmentation: Any, size: HW) -> RLE:
    if isinstance(segmentation, dict):
        return checked(segmentation, size)
    polygons = [np.asarray(flat, np.float64).reshape(-1, 2) for flat in segmentation]
    if not polygons:
        return encode_one(np.zeros(size, np.bool_))
    return merge([encode_one(fill([[polygon]], size)) for polygon in polygons])
