"""Examples of clips: what is shown, which objects are followed, and how each is pointed at on the first frame.

Source: SAM 2 (arXiv 2408.00714), section 4 ("Training") and appendix D.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.data.moving import OWN, Still, made
from anymask.errors import BadSetting
from anymask.pixels.resize import HW
from anymask.prompts.simulate import anywhere, innermost, loose_box, tight_box
from anymask.train.filmed import Filmed
from anymask.train.photos import Photo, Photos
from anymask.train.sampler import LARGEST_NOISE, LARGEST_SHARE, SMALLEST_TARGET, place_of
from anymask.train.settings import TrainSettings

SHAPES = ((1.0, 0.35), (9 / 16, 0.4), (3 / 4, 0.15), (-9 / 16, 0.1))
"""Height by width of clips, below 0 upright ones, with their shares."""
TRIES = 200
"""Clips that are drawn for one example before it is given up; most show an object that is large enough at once."""

KINDS = ("drawn", "boxed", "clicked")


@dataclass(frozen=True)
class ClipBatch:
    """B clips of T frames with M objects each, P = B * M.

    frames: uint8 [B, T, S, S, 3]. targets: bool [T, P, S/r, S/r]. kinds: [P], a rank of `KINDS`; boxes: float32 [P, 4]
    and clicks: float32 [P, 2], both in model px, of the first frame. shown: (H, W) of the picture in the frame.
    corrected: frames on which answers are corrected. numbers: of the clips. step, progress: of the run.
    """

    frames: NDArray[np.uint8]
    targets: NDArray[np.bool_]
    kinds: NDArray[np.int64]
    boxes: NDArray[np.float32]
    clicks: NDArray[np.float32]
    shown: tuple[int, int]
    corrected: tuple[int, ...]
    numbers: tuple[int, ...]
    step: int
    progress: float


class Source(Protocol):
    """Where clips come from."""

    def draw(self, rng: np.random.Generator, size: HW, frames: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Frames uint8 [T, H, W, 3] and what is seen of N objects, bool [T, N, H, W]; the last matter most."""
        ...


class Made:
    """Clips made of photos with masks, see `anymask.data.moving`."""

    def __init__(self, photos: Photos) -> None:
        self.photos = photos
        self._sets = list(photos.sets.values())
        weights = np.sqrt([min(len(entry), LARGEST_SHARE) for entry in self._sets])
        self._shares = weights / weights.sum()

    def draw(self, rng: np.random.Generator, size: HW, frames: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """See `Source`; what was cut out and moves by itself comes last."""
        clip = made(rng, self._still, size, frames)
        return clip.frames, clip.visible

    def _still(self, rng: np.random.Generator) -> Still:
        entry: list[Photo] = self._sets[int(rng.choice(len(self._sets), p=self._shares))]
        photo = entry[int(rng.integers(len(entry)))]
        chosen = rng.permutation(len(photo.masks))[: OWN + 1]
        return Still(self.photos.pixels(photo), [self.photos.mask(photo, int(one)) for one in chosen])


class ClipSampler:
    """Draws clips by number, with objects that are to be seen on their first frames and a prompt for each.

    photos: what clips are made of. filmed: filmed ones; where there are both, `settings.filmed` of the clips are.
    side, ratio, pad: as of `Sampler`.
    """

    def __init__(
        self,
        photos: Photos | None,
        filmed: Filmed | None,
        settings: TrainSettings,
        *,
        side: int,
        ratio: int,
        pad: tuple[int, int, int],
    ) -> None:
        self.settings = settings
        self.side, self.ratio, self.pad = side, ratio, pad
        self._made = None if photos is None else Made(photos)
        self._filmed = filmed

    def batch(self, step: int, numbers: Sequence[int]) -> ClipBatch:
        """Clips of a step, in the size and shape that the step has."""
        settings = self.settings
        progress = step / settings.steps
        side = settings.phase(progress).side or self.side
        rng = np.random.default_rng((settings.seed, step, 2))
        shape = SHAPES[int(rng.choice(len(SHAPES), p=[share for _, share in SHAPES]))][0]
        short = round(abs(shape) * side / 32) * 32
        shown = (short, side) if shape > 0 else (side, short)
        count = int(rng.choice(len(settings.corrected), p=settings.corrected))
        corrected = tuple(sorted((1 + rng.permutation(settings.frames - 1)[:count]).tolist()))
        drawn = [self._clip(number, side, shown) for number in numbers]
        frames, targets, kinds, boxes, clicks = zip(*drawn, strict=True)
        return ClipBatch(
            np.stack(frames),
            np.concatenate(targets, 1),
            np.concatenate(kinds),
            np.concatenate(boxes),
            np.concatenate(clicks),
            shown,
            corrected,
            tuple(numbers),
            step,
            progress,
        )

    def _clip(self, number: int, side: int, shown: tuple[int, int]) -> tuple[Any, ...]:
        settings = self.settings
        rng = np.random.default_rng((settings.seed, number, 1))
        grid = (shown[1] // self.ratio, shown[0] // self.ratio)
        for _ in range(TRIES):
            pictures, visible = self._source(rng).draw(rng, shown, settings.frames)
            small = np.zeros((*visible.shape[:2], side // self.ratio, side // self.ratio), np.bool_)
            for t, masks in enumerate(visible):
                for row, mask in enumerate(masks):
                    shares = cv2.resize(mask.view(np.uint8) * 255, grid, interpolation=cv2.INTER_AREA)
                    small[t, row, : grid[1], : grid[0]] = np.asarray(shares) > 127
            there = np.flatnonzero(small[0].sum((1, 2)) >= SMALLEST_TARGET)
            if len(there):
                break
        else:
            raise BadSetting(f"{TRIES} clips in a row show no object that is large enough to learn from")
        order = there[::-1] if rng.random() < 0.7 else rng.permutation(there)
        chosen = np.resize(order, settings.masks)
        frames = np.empty((settings.frames, side, side, 3), np.uint8)
        frames[:] = self.pad
        frames[:, : shown[0], : shown[1]] = pictures
        kinds, boxes, clicks = [], [], []
        for row in chosen:
            kinds.append(int(rng.choice(3, p=(0.5, 0.25, 0.25))))
            box = tuple(float(edge) for edge in tight_box(visible[0, row]))
            boxes.append(loose_box(box, shown, rng, rng.uniform(0, settings.box_noise), LARGEST_NOISE))  # type: ignore[arg-type]
            target = small[0, row]
            x, y = innermost(target)[:2] if rng.random() < 0.5 else anywhere(target, rng)
            clicks.append(place_of(x, y, self.ratio))
        return frames, small[:, chosen], np.array(kinds), np.array(boxes, np.float32), np.array(clicks, np.float32)

    def _source(self, rng: np.random.Generator) -> Source:
        """One of those there are. Where there is one, nothing is drawn for the choice."""
        if self._made is None or self._filmed is None:
            source: Source | None = self._made or self._filmed
            assert source is not None
            return source
        return self._filmed if rng.random() < self.settings.filmed else self._made
