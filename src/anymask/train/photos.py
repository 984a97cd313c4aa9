"""Photos with masks, read once from whatever layout they lie in (`data/`) and kept as one flat file of pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from anymask.data.open import open_data
from anymask.data.sample import Dataset, Sample, Stream
from anymask.errors import BadSetting
from anymask.masks.rle import encode_one
from anymask.train.flat import LONGEST, Reading, flat, shrunk, text

SMALLEST = 32
"""Masks with fewer pixels are not kept."""


@dataclass(frozen=True)
class Photo:
    """One photo: where its pixels lie in the flat file, and its masks as compressed RLE of that size."""

    offset: int
    size: tuple[int, int]
    masks: tuple[dict[str, Any], ...]
    boxes: NDArray[np.float32]
    """XYXY [N, 4] in pixels of `size`."""


class Photos:
    """All photos, by set.

    sets: name -> its photos, each with at least one mask.
    """

    def __init__(self, pixels: NDArray[np.uint8], sets: dict[str, list[Photo]]) -> None:
        self._pixels = pixels
        self.sets = {name: photos for name, photos in sets.items() if photos}
        if not self.sets:
            raise BadSetting("there is no photo with a mask in the data")

    def __len__(self) -> int:
        return sum(len(photos) for photos in self.sets.values())

    def pixels(self, photo: Photo) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB."""
        height, width = photo.size
        return self._pixels[photo.offset : photo.offset + height * width * 3].reshape(height, width, 3)

    @staticmethod
    def mask(photo: Photo, index: int) -> NDArray[np.uint8]:
        """One mask, uint8 [H, W] of 0 and 1."""
        dense: NDArray[np.uint8] = coco_mask.decode(photo.masks[index])
        return dense

    @property
    def mask_count(self) -> int:
        return sum(len(photo.masks) for photos in self.sets.values() for photo in photos)


def load_photos(data: Sequence[Path], cache: Path, kind: str | None = None, tell: Reading | None = None) -> Photos:
    """Photos of all sets under the `data` paths, of any layout; the first call writes the cache, later ones map it.

    Generated scenes ("scenes:...") are drawn into the cache too. kind: of the layout, see `data.open.open_data`;
    recognised if left out. tell: called after each photo while the cache is written.
    Raises BadSetting where nothing is found or two sets have the same name.
    """

    def write(out: IO[bytes]) -> dict[str, Any]:
        sets = [entry for root in data for entry in open_data(root, kind)]
        if len({entry.name for entry in sets}) < len(sets):
            raise BadSetting("two sets have the same name; rename one of the folders, or give scenes another seed")
        return _written(sets, out, tell)

    index, pixels = flat(cache, "photos", (LONGEST, SMALLEST, kind), data, write)
    if not any(index.values()):
        raise BadSetting("there is no photo with a mask in the data")
    sets_of = {
        name: [Photo(p["offset"], tuple(p["size"]), tuple(p["masks"]), _boxes(p["masks"])) for p in photos]
        for name, photos in index.items()
    }
    return Photos(pixels, sets_of)


def _boxes(masks: list[dict[str, Any]]) -> NDArray[np.float32]:
    boxes = np.asarray(coco_mask.toBbox(masks), np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _written(sets: Sequence[Dataset | Stream], out: IO[bytes], tell: Reading | None) -> dict[str, Any]:
    """The index of all sets, whose pixels go to `out`."""
    index: dict[str, list[dict[str, Any]]] = {}
    offset = 0
    for entry in sets:
        photos = index.setdefault(entry.name, [])
        total = len(entry) if isinstance(entry, Dataset) else None
        for done, sample in enumerate(_samples(entry), 1):
            if tell is not None:
                tell(entry.name, done, total)
            if not sample.masks:
                continue
            pixels, masks = _fitted(sample.pixels(), [text(mask) for mask in sample.masks])
            if masks:
                photos.append({"offset": offset, "size": pixels.shape[:2], "masks": masks})
                out.write(pixels.tobytes())
                offset += pixels.size
    return index


def _samples(entry: Dataset | Stream) -> Iterator[Sample]:
    if isinstance(entry, Dataset):
        return (entry[index] for index in range(len(entry)))
    return iter(entry)


def _fitted(pixels: NDArray[np.uint8], masks: list[dict[str, Any]]) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    small = shrunk(pixels)
    if small.shape != pixels.shape:
        size = (small.shape[1], small.shape[0])
        dense = [cv2.resize(coco_mask.decode(m) * 255, size, interpolation=cv2.INTER_AREA) > 127 for m in masks]
        masks = [text(encode_one(mask)) for mask in dense]
    return small, [m for m in masks if coco_mask.area(m) >= SMALLEST]
