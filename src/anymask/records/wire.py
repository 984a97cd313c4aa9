"""Masks as a server sends them: JSON with COCO's run lengths, or a short header and plain run lengths for browsers.

The binary form is a uint32 (little-endian) that says how long the header is, the header as JSON, padded with spaces to
a multiple of four bytes, and then the run lengths of all masks as uint32, little-endian: down the columns, background
first. In the header each mask has "offset" and "runs" (both counted in uint32 from the payload's start) in place of
"rle". Low-resolution logits, where they are asked for, are float32, little-endian, in base64.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import lengths, of_lengths

BINARY = "application/vnd.anymask.masks"
"""The media type of the binary form."""

DETAILS = {"stability_score": np.float32, "point_coords": np.float64, "crop_box": np.int64}
"""Columns of everything mode that travel, and their types."""


def as_dict(
    masks: Masks,
    *,
    answer: str | None = None,
    note: str = "",
    simplify: float | None = None,
    logits: bool = False,
) -> dict[str, Any]:
    """The reply as JSON can hold it.

    answer: what the server calls this answer, to build on it. simplify: also give outlines, see `Masks.polygons`.
    logits: also give `Masks.logits`.
    """
    rows = _rows(masks, simplify, logits)
    for row, rle in zip(rows, masks.rle, strict=True):
        row["rle"] = {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
    return {"answer": answer, "size": list(masks.size), "note": note, "masks": rows}


def as_bytes(
    masks: Masks,
    *,
    answer: str | None = None,
    note: str = "",
    simplify: float | None = None,
    logits: bool = False,
) -> bytes:
    """The reply in the binary form; see `as_dict`."""
    rows = _rows(masks, simplify, logits)
    runs = [lengths(rle).astype("<u4") for rle in masks.rle]
    offset = 0
    for row, part in zip(rows, runs, strict=True):
        row["offset"], row["runs"] = offset, len(part)
        offset += len(part)
    header = {"answer": answer, "size": list(masks.size), "note": note, "masks": rows}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    return b"".join([struct.pack("<I", len(text)), text, *(part.tobytes() for part in runs)])


def read(content: bytes | dict[str, Any]) -> tuple[Masks, str | None, str]:
    """(masks, answer, note) of a reply in either form, a dict for the first. Raises BadSetting for anything else."""
    try:
        header, payload = (content, None) if isinstance(content, dict) else _parted(content)
        size = (int(header["size"][0]), int(header["size"][1]))
        rows = header["masks"]
        rles: list[Any] = []
        for row in rows:
            if payload is None:
                rles.append(row["rle"])
            else:
                part = payload[row["offset"] : row["offset"] + row["runs"]]
                rles.append(of_lengths(part.astype(np.int64), size))
        details = {
            name: np.array([row[name] for row in rows], kind)
            for name, kind in DETAILS.items()
            if rows and all(name in row for row in rows)
        }
        masks = Masks(
            size,
            rles,
            scores=[row["score"] for row in rows],
            parents=[row.get("parent", -1) for row in rows],
            # an answer of the server's is about one object
            ids=np.arange(len(rows)) if details else np.zeros(len(rows), np.int64),
            logits=_stacked(rows),
            details=details,
        )
        answer = header.get("answer")
        return masks, None if answer is None else str(answer), str(header.get("note", ""))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, struct.error) as error:
        if isinstance(error, BadSetting):
            raise
        raise BadSetting(f"this is no reply with masks: {type(error).__name__} {error}") from None


def _parted(content: bytes) -> tuple[dict[str, Any], Any]:
    (length,) = struct.unpack_from("<I", content)
    header = json.loads(content[4 : 4 + length])
    return header, np.frombuffer(content, "<u4", offset=4 + length)


def logits_as_dict(logits: NDArray[np.float32]) -> dict[str, Any]:
    """Low-resolution logits [h, w] of one mask, as JSON can hold them."""
    return {"size": list(logits.shape), "values": base64.b64encode(logits.astype("<f4").tobytes()).decode("ascii")}


def read_logits(value: Any) -> NDArray[np.float32]:
    """float32 [h, w] of what `logits_as_dict` gave. Raises BadSetting for anything else."""
    try:
        height, width = (int(side) for side in value["size"])
        flat = np.frombuffer(base64.b64decode(value["values"], validate=True), "<f4")
        if height < 1 or width < 1 or len(flat) != height * width:
            raise ValueError(f"{len(flat)} values for {height} x {width}")
        return flat.reshape(height, width).astype(np.float32)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise BadSetting(f"logits are {{size: [h, w], values: float32 in base64}}: {error}") from None


def _stacked(rows: list[dict[str, Any]]) -> NDArray[np.float32] | None:
    if not rows or not all("logits" in row for row in rows):
        return None
    return np.stack([read_logits(row["logits"]) for row in rows])


def _rows(masks: Masks, simplify: float | None, logits: bool) -> list[dict[str, Any]]:
    """What is said of each mask besides its pixels."""
    outlines = None if simplify is None else masks.polygons(simplify=simplify)
    rows = []
    for row, (score, area, box, parent) in enumerate(
        zip(masks.scores.tolist(), masks.areas().tolist(), masks.boxes().tolist(), masks.parents.tolist(), strict=True)
    ):
        x0, y0, x1, y1 = (int(side) for side in box)
        one: dict[str, Any] = {"score": score, "area": area, "box": [x0, y0, x1 - x0, y1 - y0]}
        if parent >= 0:
            one["parent"] = parent
        for name in DETAILS:
            if name in masks.details:
                one[name] = masks.details[name][row].tolist()
        if logits and masks.logits is not None:
            one["logits"] = logits_as_dict(masks.logits[row])
        if outlines is not None:
            one["polygons"] = [[ring.tolist() for ring in part.rings] for part in outlines[row]]
        rows.append(one)
    return rows
