"""Photos with masks, read from COCO folders once and kept as one flat file of pixels.

Layout read: `<data>/<set>/annotations.json` with `<data>/<set>/images/`, or `<data>` itself being one such set.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from anymask.errors import BadSetting
from anymask.evaluate.folders import open_rgb, read_set, set_folders

LONGEST = 640
"""Photos are kept at this side at most, in pixels."""
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


def load_photos(data: Sequence[Path], cache: Path) -> Photos:
    """Photos of all sets under the `data` folders; the first call writes the cache, later ones map it.

    Raises BadSetting where nothing is found or two sets have the same name.
    """
    folders = [folder for root in data for folder in set_folders(root)]
    if len({folder.name for folder in folders}) < len(folders):
        raise BadSetting("two sets have the same name; rename one of the folders")
    stamp = hashlib.sha256()
    for folder in folders:
        file = folder / "annotations.json"
        stamp.update(f"{folder.name} {file.stat().st_size} {LONGEST} {SMALLEST}".encode())
    stem = cache / f"photos-{stamp.hexdigest()[:12]}"
    if not stem.with_suffix(".json").is_file():
        _write(folders, stem)
    index = json.loads(stem.with_suffix(".json").read_text())
    pixels = np.memmap(stem.with_suffix(".bin"), np.uint8, mode="r")
    sets = {
        name: [Photo(p["offset"], tuple(p["size"]), tuple(p["masks"]), _boxes(p["masks"])) for p in photos]
        for name, photos in index.items()
    }
    return Photos(pixels, sets)


def _boxes(masks: list[dict[str, Any]]) -> NDArray[np.float32]:
    boxes = np.asarray(coco_mask.toBbox(masks), np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _write(folders: list[Path], stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    index: dict[str, list[dict[str, Any]]] = {}
    offset = 0
    unfinished = stem.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("wb") as out:
        for folder in folders:
            photos = index.setdefault(folder.name, [])
            for name, masks in read_set(folder):
                pixels, masks = _shrunk(open_rgb(folder / "images" / name), masks)
                if masks:
                    photos.append({"offset": offset, "size": pixels.shape[:2], "masks": masks})
                    out.write(pixels.tobytes())
                    offset += pixels.size
    unfinished.replace(stem.with_suffix(".bin"))
    unfinished.write_text(json.dumps(index))
    unfinished.replace(stem.with_suffix(".json"))


def _shrunk(pixels: NDArray[np.uint8], masks: list[dict[str, Any]]) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    scale = LONGEST / max(pixels.shape[:2])
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        dense = [cv2.resize(coco_mask.decode(m) * 255, size, interpolation=cv2.INTER_AREA) > 127 for m in masks]
        masks = [coco_mask.encode(np.asfortranarray(m, np.uint8)) for m in dense]
        masks = [{"size": list(m["size"]), "counts": m["counts"].decode()} for m in masks]
    return pixels, [m for m in masks if coco_mask.area(m) >= SMALLEST]
