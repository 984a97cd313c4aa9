"""DAVIS: a palette PNG a frame, 00000.png and so on; a pixel holds the number of its object, 0 is background.

YouTube-VOS, MOSE and LVOS have the same. An object's colour is that of PASCAL VOC's map, as published. A pixel has one
object: where masks overlap the smaller one shows, see `labelmap`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import encode_one
from anymask.pixels.resize import HW
from anymask.records import atomic, labelmap
from anymask.records.clip import ClipRecord, ClipRef

MOST = 255
"""The highest number of an object."""


def palette() -> NDArray[np.uint8]:
    """uint8 [256, 3] RGB: the bits of a number, dealt out to red, green and blue from the highest down."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for turn in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * turn + channel)) & 1) << (7 - turn)
    return colours.astype(np.uint8)


_PALETTE = palette()


def name(frame: int) -> str:
    """A frame's file name."""
    return f"{frame:05}.png"


def as_bytes(masks: Masks) -> bytes:
    """The PNG of one frame, whose objects' numbers are `ids`. Raises BadSetting for numbers outside 1 to 255."""
    if len(masks) and (masks.ids.min() < 1 or masks.ids.max() > MOST):
        raise BadSetting(f"in DAVIS PNGs objects have the numbers 1 to {MOST}, got {sorted(set(masks.ids.tolist()))}")
    return labelmap.png(masks.size, labelmap.bands(masks, np.dtype(np.uint8), masks.ids), _PALETTE)


def write(masks: Masks, path: str | os.PathLike[str]) -> Path:
    """Writes one frame, whole or not at all."""
    return atomic.write(path, as_bytes(masks))


def parse(levels: NDArray[np.int64]) -> Masks:
    """The masks of a map of numbers [H, W], objects ascending."""
    numbers = np.unique(levels)
    numbers = numbers[numbers > 0]
    size: HW = (int(levels.shape[0]), int(levels.shape[1]))
    return Masks(size, [encode_one(levels == one) for one in numbers], ids=numbers.astype(np.int64))


def read(folder: str | os.PathLike[str]) -> ClipRecord:
    """The frames of a folder, numbered as their names are; frames between them count as unknown.

    Raises BadSetting where there is none or one is no label map.
    """
    place = Path(folder)
    found = {}
    for path in sorted(place.glob("*.png")) if place.is_dir() else ():
        if re.fullmatch(r"\d+", path.stem, re.ASCII):
            found[int(path.stem)] = parse(labelmap.levels(path))
    if not found:
        raise BadSetting(f"{folder} holds no label maps named 00000.png and so on")
    size = next(iter(found.values())).size
    return ClipRecord(ClipRef(place.name, size, max(found) + 1), found)
