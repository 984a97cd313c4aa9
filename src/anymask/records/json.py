"""anymask's own result file: one image, its masks as run lengths and as outlines, and how they were made.

    {"format": "anymask-result-1",
     "image": {"path", "height", "width", "sha256"},
     "made_by": {"model", "weights", "prompts", "settings", "anymask", "time"},
     "masks": [{"id", "score", "label", "parent", "area", "box": [x0, y0, x1, y1], "rle": {"size", "counts"},
                "polygons": [{"exterior": [[x, y], ...], "holes": [[[x, y], ...], ...]}, ...]}, ...]}

Run lengths are what is read back; area, box and polygons are for readers without a decoder. Logits are not kept.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.records import atomic
from anymask.records.record import ImageRef, Provenance, Record

FORMAT = "anymask-result-1"


def as_dict(record: Record, *, polygons: bool = True) -> dict[str, Any]:
    """What the file holds. polygons: whether to add the outlines, the larger part of it."""
    masks = record.masks
    boxes, areas = masks.boxes().astype(int).tolist(), masks.areas().tolist()
    rows = []
    for row, rle in enumerate(masks.rle):
        entry: dict[str, Any] = {
            "id": int(masks.ids[row]),
            "score": round(float(masks.scores[row]), 6),
            "label": masks.labels[row],
            "parent": int(masks.parents[row]),
            "area": areas[row],
            "box": boxes[row],
            "rle": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
        }
        if polygons:
            entry["polygons"] = [
                {"exterior": part.exterior.tolist(), "holes": [hole.tolist() for hole in part.holes]}
                for part in masks[row].polygons()[0]
            ]
        rows.append(entry)
    height, width = record.image.size
    return {
        "format": FORMAT,
        "image": {"path": record.image.path, "height": height, "width": width, "sha256": record.image.sha256},
        "made_by": dataclasses.asdict(record.made_by),
        "masks": rows,
    }


def write(record: Record, path: str | os.PathLike[str], *, polygons: bool = True) -> Path:
    """Writes a record, whole or not at all. Raises OSError, or BadSetting for settings that JSON cannot hold."""
    try:
        # ASCII only: a file name may hold bytes that are no UTF-8
        text = json.dumps(as_dict(record, polygons=polygons), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadSetting(f"the record cannot be written as JSON: {error}") from None
    return atomic.write(path, text + "\n")


def read(path: str | os.PathLike[str]) -> Record:
    """The record in a file that `write` made. Raises BadSetting for anything else, OSError if it cannot be opened."""
    try:
        data = json.loads(Path(path).read_text("utf-8"))
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise BadSetting(f"{path} is not an anymask result of format {FORMAT}")
        image, made_by, rows = data["image"], data["made_by"], data["masks"]
        size = (int(image["height"]), int(image["width"]))
        masks = Masks(
            size,
            [row["rle"] for row in rows],
            scores=[row["score"] for row in rows],
            labels=[row["label"] for row in rows],
            parents=[row["parent"] for row in rows],
            ids=[row["id"] for row in rows],
        )
        reference = ImageRef(_text(image["path"], none=True), size, _text(image["sha256"]) or "")
        known = {one.name for one in dataclasses.fields(Provenance)}
        # a later version may note more; what is known here is kept
        how = Provenance(**{name: value for name, value in made_by.items() if name in known})
        if not all(isinstance(value, Mapping) for value in (how.prompts, how.settings)):
            raise TypeError("prompts and settings are objects")
    except BadSetting as error:
        raise BadSetting(f"{path} is damaged: {error}") if FORMAT not in str(error) else error from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BadSetting(f"{path} is not an anymask result: {type(error).__name__} {error}") from None
    return Record(reference, masks, how)


def _text(value: Any, *, none: bool = False) -> str | None:
    if isinstance(value, str) or (none and value is None):
        return value
    raise TypeError(f"expected a text, got {type(value).__name__}")
