"""Label maps: one picture an image, each pixel holds the number of a mask, 0 for none and row + 1 for a mask.

Where masks overlap the smallest shows: a part lies on its whole. Of two of one size the later row shows. What others
cover completely is not in the picture.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import encode_one
from anymask.masks.strips import Strips
from anymask.pixels.resize import HW
from anymask.records import atomic
from anymask.records.record import ImageRef, Provenance, Record

BLOCK = 512
"""How many rows are painted at once."""

DEEP = 1 << 16
"""Masks from which 16 bits do not suffice."""

MOST = (1 << 24) - 1
"""Masks that fit into a label map as PNG."""

Bands = Iterator[tuple[int, NDArray[np.unsignedinteger]]]
"""(first row, labels [up to BLOCK, W]) from top to bottom."""


def bands(masks: Masks, kind: np.dtype[np.unsignedinteger], labels: NDArray[np.int64] | None = None) -> Bands:
    """The label map piece by piece, so that memory does not grow with the image's height.

    kind: its unsigned type. labels: int64 [N], what to paint for each mask instead of row + 1.
    """
    height, width = masks.size
    numbers = np.arange(1, len(masks) + 1) if labels is None else labels
    strips = [Strips.of(rle) for rle in masks.rle]
    boxes = np.array([one.box() for one in strips], np.int64).reshape(-1, 4)
    # the largest first, so that what lies on it is painted later
    order = np.argsort(-masks.areas(), kind="stable")
    for top in range(0, height, BLOCK):
        bottom = min(top + BLOCK, height)
        painted = np.zeros((bottom - top, width), kind)
        for row in order[(boxes[order, 1] < bottom) & (boxes[order, 3] > top)].tolist():
            x0, y0, x1, y1 = boxes[row].tolist()
            y0, y1 = max(y0, top), min(y1, bottom)
            painted[y0 - top : y1 - top, x0:x1][strips[row].dense(x0, y0, x1, y1)] = numbers[row]
        yield top, painted


def as_bytes(record: Record) -> bytes:
    """The PNG: 16 bits grey up to 65,535 masks; beyond, RGB with R + 256 G + 65,536 B, as COCO codes panoptic maps.

    One type whatever is in the image, so that a folder of them is alike. Raises BadSetting for 16,777,216 masks or
    more.
    """
    count = len(record.masks)
    if count > MOST:
        raise BadSetting(f"a label map as PNG holds {MOST:,} masks, got {count:,}; write GeoTIFF or SA-1B instead")
    if count < DEEP:
        return png(record.masks.size, bands(record.masks, np.dtype(np.uint16)))
    coded = ((top, _rgb(labels)) for top, labels in bands(record.masks, np.dtype(np.uint32)))
    return png(record.masks.size, coded)


def png(size: HW, pieces: Iterable[tuple[int, NDArray[Any]]], palette: NDArray[np.uint8] | None = None) -> bytes:
    """A PNG file of pieces [h, W] uint8, [h, W] uint16 or [h, W, 3] uint8, top to bottom.

    palette: uint8 [P, 3] RGB of the values of a uint8 picture. Written here, piece by piece, since Pillow takes whole
    pictures only, and no 16 bits with a filter: label maps repeat the row above, which "up" turns into zeros.
    Source: PNG specification, third edition, sections 5, 9 and 11.
    """
    height, width = size
    out = io.BytesIO()
    out.write(b"\x89PNG\r\n\x1a\n")
    packer = zlib.compressobj(6)
    above: NDArray[np.uint8] | None = None
    for _, piece in pieces:
        if above is None:
            depth = piece.dtype.itemsize * 8
            colour = 2 if piece.ndim == 3 else 0 if palette is None else 3
            _chunk(out, b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
            if palette is not None:
                _chunk(out, b"PLTE", palette.astype(np.uint8).tobytes())
        big = piece.astype(piece.dtype.newbyteorder(">"), copy=False)
        rows = np.ascontiguousarray(big).view(np.uint8).reshape(len(piece), -1)
        above = np.zeros(rows.shape[1], np.uint8) if above is None else above
        filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
        filtered[:, 0] = 2
        np.subtract(rows, np.concatenate([above[None], rows[:-1]]), out=filtered[:, 1:])
        above = rows[-1]
        _chunk(out, b"IDAT", packer.compress(filtered.tobytes()))
    _chunk(out, b"IDAT", packer.flush())
    _chunk(out, b"IEND", b"")
    return out.getvalue()


def write(record: Record, path: str | os.PathLike[str]) -> Path:
    """Writes the PNG, whole or not at all."""
    return atomic.write(path, as_bytes(record))


def read(path: str | os.PathLike[str]) -> Record:
    """One mask for each number in a label map, ascending; 0 is no mask. Also 8 bits, palette and COCO's RGB code.

    `ids` are the numbers less 1, the rows they were written from. Raises BadSetting for a picture that is no label
    map, OSError if it cannot be opened.
    """
    labels = levels(path)
    numbers, rows, columns = np.unique(labels), labels.shape[0], labels.shape[1]
    numbers = numbers[numbers > 0]
    masks = Masks((rows, columns), [encode_one(labels == one) for one in numbers], ids=numbers.astype(np.int64) - 1)
    return Record(ImageRef(os.fspath(path), masks.size), masks, Provenance(anymask="", time=""))


def levels(path: str | os.PathLike[str]) -> NDArray[np.int64]:
    """The numbers in a label map, int64 [H, W]. Raises BadSetting, OSError."""
    try:
        with Path(path).open("rb") as file, Pillow.open(file) as picture:
            if picture.mode not in ("1", "L", "P", "I", "I;16", "I;16B", "RGB"):
                raise BadSetting(f"{path} has colours of mode {picture.mode}; a label map holds a number a pixel")
            values = np.asarray(picture).astype(np.int64)
    except (BadSetting, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError, zlib.error, struct.error) as error:
        raise BadSetting(f"{path} is damaged or no picture: {error}") from None
    return values if values.ndim == 2 else values @ np.array([1, 256, 65536])


class LabelMap:
    """The format of folder runs: TITLE.png for each image."""

    name = "png"

    def files(self, record: Record, title: str) -> dict[str, bytes]:
        """The files of one image, by relative path."""
        return {f"{title}.png": as_bytes(record)}

    def finish(self, titles: Iterable[str], read: Callable[[str], bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Nothing: the data set has no files of its own."""
        return iter(())


def _rgb(labels: NDArray[np.unsignedinteger]) -> NDArray[np.uint8]:
    """uint8 [h, W, 3] of numbers [h, W], lowest byte first."""
    little = np.ascontiguousarray(labels.astype("<u4"))
    return little.view(np.uint8).reshape(*labels.shape, 4)[:, :, :3]


def _chunk(out: io.BytesIO, kind: bytes, data: bytes) -> None:
    if data or kind == b"IEND":
        out.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
