"""Training batches: a view of a photo, some of its masks, and a first prompt for each.

A batch depends on nothing but (seed, worker, step), so a run that was stopped goes on exactly where it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.prompts.simulate import anywhere, innermost, loose_box, tight_box
from anymask.train.augment import PAD, paste, random_view, recolour
from anymask.train.photos import Photo, Photos

SMALLEST_TARGET = 20
"""Pixels on the grid of the answers (half the frame's side) that a target has at least."""
LARGEST_SHARE = 2000
"""Photos of one set beyond this number add no weight to it."""


@dataclass(frozen=True)
class Batch:
    """images: uint8 [B, S, S, 3]. targets: bool [B, M, S/2, S/2].

    boxes: float32 [B, M/2, 4] XYXY model px of the first half of each image's masks; clicks: float32 [B, M/2, 2]
    (x, y) model px of the second half.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    clicks: NDArray[np.float32]


class Sampler:
    """Draws set by the square root of its size, then a photo, then masks, all at random.

    photos: what to draw from. seed, worker: which stream of batches. pasting: share of images with a foreign object.
    """

    def __init__(self, photos: Photos, *, seed: int = 0, worker: int = 0, pasting: float = 0.25) -> None:
        self.photos = photos
        self.seed, self.worker, self.pasting = seed, worker, pasting
        self._sets = list(photos.sets.values())
        weights = np.sqrt([min(len(entry), LARGEST_SHARE) for entry in self._sets])
        self._shares = weights / weights.sum()

    def batch(self, step: int, images: int, masks: int, side: int, scales: tuple[float, float]) -> Batch:
        """The batch of a step: `images` photos with `masks` (an even number) targets each, in frames of `side` px."""
        rng = np.random.default_rng((self.seed, self.worker, step))
        drawn = [self._example(rng, masks, side, scales) for _ in range(images)]
        stacked = (np.stack(column) for column in zip(*drawn, strict=True))
        return Batch(*stacked)

    def _photo(self, rng: np.random.Generator) -> Photo:
        entry = self._sets[int(rng.choice(len(self._sets), p=self._shares))]
        return entry[int(rng.integers(len(entry)))]

    def _example(
        self, rng: np.random.Generator, count: int, side: int, scales: tuple[float, float]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
        while True:
            image, full = self._view(rng, count, side, scales)
            if full:
                break
        order = rng.permutation(max(count, len(full)))[:count] % len(full)
        boxes, clicks, targets = [], [], []
        for place, index in enumerate(order):
            mask, target = full[index]
            targets.append(target)
            if place < count // 2:
                box = tuple(float(v) for v in tight_box(mask))
                share = 0.0 if rng.random() < 0.4 else rng.uniform(0, 0.07)
                boxes.append(loose_box(box, (side, side), rng, share, 20.0))  # type: ignore[arg-type]
            else:
                x, y = innermost(target)[:2] if rng.random() < 0.5 else anywhere(target, rng)
                clicks.append((2 * x + 0.5, 2 * y + 0.5))
        return image, np.stack(targets), np.array(boxes, np.float32), np.array(clicks, np.float32)

    def _view(
        self, rng: np.random.Generator, count: int, side: int, scales: tuple[float, float]
    ) -> tuple[NDArray[np.uint8], list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]]:
        """An augmented frame and its usable masks as (at frame size, at half size)."""
        photo = self._photo(rng)
        anchor = int(rng.integers(len(photo.masks)))
        x0, y0, x1, y1 = photo.boxes[anchor]
        around = (rng.uniform(x0, x1), rng.uniform(y0, y1))
        view = random_view(photo.size, around, side, scales, rng)
        image = view.image(self.photos.pixels(photo))
        inside = view.mask(np.ones(photo.size, np.uint8))
        others = rng.permutation(len(photo.masks))
        chosen = [anchor, *others[others != anchor][: 2 * count].tolist()]
        masks = [view.mask(self.photos.mask(photo, index)) for index in chosen]
        if rng.random() < self.pasting:
            donor = self._photo(rng)
            object_mask = self.photos.mask(donor, int(rng.integers(len(donor.masks))))
            share = object_mask.mean()
            laid = paste(image, self.photos.pixels(donor), object_mask, rng) if 0.003 < share < 0.5 else None
            if laid is not None:
                image, where = laid
                where = where & inside
                masks = [where, *(mask & ~where for mask in masks)]
        image = recolour(image, rng)
        image[~inside] = PAD
        usable = []
        for mask in masks:
            half = np.asarray(
                cv2.resize(mask.astype(np.uint8) * 255, (side // 2, side // 2), interpolation=cv2.INTER_AREA)
            )
            target = half > 127
            if np.count_nonzero(target) >= SMALLEST_TARGET:
                usable.append((mask, target))
                if len(usable) == 2 * count:
                    break
        return image, usable
