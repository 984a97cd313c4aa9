"""Training examples: a view of a photo, some of its masks, and a first prompt for each.

An example depends on nothing but (seed, its number), so a run that was stopped goes on exactly where it was, and the
same step holds the same examples however many processes share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from anymask.prompts.simulate import anywhere, innermost, loose_box, tight_box
from anymask.train.augment import PAD, paste, random_view, recolour
from anymask.train.photos import Photo, Photos
from anymask.train.settings import Phase, TrainSettings

SMALLEST_TARGET = 20
"""Pixels on the grid of the answers that a target has at least."""
LARGEST_SHARE = 2000
"""Photos of one set beyond this number add no weight to it."""
LOADERS = 4
"""Processes that draw ahead for each GPU, where a run does not say how many."""
LARGEST_NOISE = 20.0
"""Pixels that a box's edge is moved at most (Segment Anything, appendix A)."""


@dataclass(frozen=True)
class Batch:
    """Examples of a step, or the part of them that a process takes at once.

    images: uint8 [B, S, S, 3]. targets: bool [B, M, S/r, S/r], r the ratio of frame and answers.
    boxes: float32 [B, M/2, 4] XYXY model px of the first half of each image's masks; clicks: float32 [B, M/2, 2]
    (x, y) model px of the second half. numbers: of the examples, [B].
    step: which step; progress: of the run when it is drawn, 0..1.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    clicks: NDArray[np.float32]
    numbers: tuple[int, ...]
    step: int
    progress: float

    @property
    def ratio(self) -> int:
        """Pixels of the frame a pixel of the answers."""
        return self.images.shape[1] // self.targets.shape[2]


class Sampler:
    """Draws set by the square root of its size, then a photo, then masks, all at random.

    photos: what to draw from. side: of the model's frame, where a phase has none of its own. ratio: of the frame's side
    and that of the model's answers (2 or 4). pad: colour of the frame where there is no photo.
    """

    def __init__(
        self,
        photos: Photos,
        settings: TrainSettings,
        *,
        side: int,
        ratio: int = 4,
        pad: tuple[int, int, int] = (PAD, PAD, PAD),
    ) -> None:
        self.photos, self.settings = photos, settings
        self.side, self.ratio, self.pad = side, ratio, pad
        self._sets = list(photos.sets.values())
        weights = np.sqrt([min(len(entry), LARGEST_SHARE) for entry in self._sets])
        self._shares = weights / weights.sum()

    def batch(self, step: int, numbers: Sequence[int]) -> Batch:
        """Examples of a step, in the size that the step has."""
        progress = step / self.settings.steps
        phase = self.settings.phase(progress)
        drawn = [self._example(number, phase) for number in numbers]
        images, targets, boxes, clicks = (np.stack(column) for column in zip(*drawn, strict=True))
        return Batch(images, targets, boxes, clicks, tuple(numbers), step, progress)

    def _photo(self, rng: np.random.Generator) -> Photo:
        entry = self._sets[int(rng.choice(len(self._sets), p=self._shares))]
        return entry[int(rng.integers(len(entry)))]

    def _example(
        self, number: int, phase: Phase
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
        rng = np.random.default_rng((self.settings.seed, number))
        side, count = phase.side or self.side, self.settings.masks
        while True:
            image, full = self._view(rng, count, side, phase.scales)
            if full:
                break
        order = rng.permutation(max(count, len(full)))[:count] % len(full)
        boxes, clicks, targets = [], [], []
        for place, index in enumerate(order):
            mask, target = full[index]
            targets.append(target)
            if place < count // 2:
                box = tuple(float(v) for v in tight_box(mask))
                exact = rng.random() < self.settings.exact_boxes
                share = 0.0 if exact else rng.uniform(0, self.settings.box_noise)
                boxes.append(loose_box(box, (side, side), rng, share, LARGEST_NOISE))  # type: ignore[arg-type]
            else:
                x, y = innermost(target)[:2] if rng.random() < 0.5 else anywhere(target, rng)
                clicks.append(place_of(x, y, self.ratio))
        return image, np.stack(targets), np.array(boxes, np.float32), np.array(clicks, np.float32)

    def _view(
        self, rng: np.random.Generator, count: int, side: int, scales: tuple[float, float]
    ) -> tuple[NDArray[np.uint8], list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]]:
        """An augmented frame and its usable masks as (at frame size, at the answers' size)."""
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
        if rng.random() < self.settings.pasting:
            donor = self._photo(rng)
            object_mask = self.photos.mask(donor, int(rng.integers(len(donor.masks))))
            share = object_mask.mean()
            laid = paste(image, self.photos.pixels(donor), object_mask, rng) if 0.003 < share < 0.5 else None
            if laid is not None:
                image, where = laid
                where = where & inside
                masks = [where, *(mask & ~where for mask in masks)]
        image = recolour(image, rng)
        image[~inside] = self.pad
        usable = []
        answers = (side // self.ratio, side // self.ratio)
        for mask in masks:
            small = np.asarray(cv2.resize(mask.astype(np.uint8) * 255, answers, interpolation=cv2.INTER_AREA))
            target = small > 127
            if np.count_nonzero(target) >= SMALLEST_TARGET:
                usable.append((mask, target))
                if len(usable) == 2 * count:
                    break
        return image, usable


def place_of(x: float, y: float, ratio: int) -> tuple[float, float]:
    """Where the centre of an answer's pixel lies in the frame, model px counted from pixel centres."""
    return ratio * (x + 0.5) - 0.5, ratio * (y + 0.5) - 0.5


class Examples(Protocol):
    """What draws the examples of a run by their numbers. side: of the frames, where a phase has none of its own."""

    settings: TrainSettings
    side: int

    def batch(self, step: int, numbers: Sequence[int], /) -> Any: ...


class Batches(Dataset[Any]):
    """The parts of all steps that one process takes, in order.

    rank, processes: which process of how many.
    """

    def __init__(self, sampler: Examples, *, rank: int = 0, processes: int = 1) -> None:
        self.sampler, self.rank = sampler, rank
        self.at_once, self.parts = sampler.settings.part(processes)

    def __len__(self) -> int:
        return self.sampler.settings.steps * self.parts

    def __getitem__(self, index: int) -> Any:
        step, part = divmod(index, self.parts)
        settings = self.sampler.settings
        first = step * settings.images + (self.rank * self.parts + part) * self.at_once
        return self.sampler.batch(step, range(first, first + self.at_once))

    def __iter__(self) -> Iterator[Any]:
        return self.starting(0)

    def starting(self, step: int) -> Iterator[Any]:
        """From a step on, drawn ahead by `settings.loaders` processes of their own."""
        rest = range(step * self.parts, len(self))
        loaders = self.sampler.settings.loaders
        if loaders is None:
            loaders = LOADERS if torch.cuda.is_available() else 0
        ahead = {"prefetch_factor": 4, "worker_init_fn": _one_thread} if loaders else {}
        if loaders:
            # before they are forked: there, it would wait for ever for the threads of this process to end
            cv2.setNumThreads(1)
        return iter(DataLoader(self, batch_size=None, sampler=rest, num_workers=loaders, collate_fn=_same, **ahead))  # type: ignore[arg-type]


def _same(batch: Any) -> Any:
    return batch


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
