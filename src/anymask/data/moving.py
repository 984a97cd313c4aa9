"""Made clips: objects cut out of photos move before a photo under a moving camera, their masks known on every frame.

    from anymask.data.moving import MovingClips
    clip = MovingClips(data, seed=1)[7]     # data: photos with masks, any `Dataset`
    clip.frames, clip.visible, clip.amodal

Clip i of seed s is the same whatever else is drawn. Objects walk, swing, stop, turn, bend, cross each other and leave
the frame and come back; light changes, things blur as they move, and some are twins of others. What is told of the
photo's own objects moves with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anymask.data.motions import Bend, Poses, camera
from anymask.data.moving_layers import Backdrop, Cutout, cut, lay
from anymask.data.moving_light import Light
from anymask.data.sample import Dataset
from anymask.errors import BadSetting
from anymask.masks.rle import decode_one
from anymask.pixels.resize import HW

U8 = NDArray[np.uint8]
SMALLEST = 24
"""Pixels that an object shows on one of the frames at least; others have no mask."""
OWN = 3
"""Objects of the background's photo that are told of, at most."""
_TRIES = 20


@dataclass(frozen=True)
class Still:
    """A photo, uint8 [H, W, 3], and some of its masks, uint8 [H, W] of 0 and 1 each."""

    pixels: U8
    masks: Sequence[U8]


Stills = Callable[[np.random.Generator], Still]
"""Draws a photo."""


@dataclass(frozen=True)
class MovingClip:
    """T frames with N objects.

    frames: uint8 [T, H, W, 3]. visible: bool [T, N, H, W], what is seen of each object. amodal: likewise, the whole
    object as far as it lies in the frame.
    """

    frames: U8
    visible: NDArray[np.bool_]
    amodal: NDArray[np.bool_]


class MovingClips:
    """Made clips by number.

    photos: sets to draw from, each as often as the others. seed: which clips. length: how many. size: (H, W) of the
    frames in pixels. frames: of each clip. Raises BadSetting for what is out of range, or sets without photos.
    """

    def __init__(
        self,
        photos: Sequence[Dataset],
        *,
        seed: int = 0,
        length: int = 10_000,
        size: HW = (256, 256),
        frames: int = 8,
    ) -> None:
        if length < 1 or seed < 0 or frames < 1:
            raise BadSetting("clips need a length and frames of at least 1 and a seed from 0 up")
        if min(size) < 32 or max(size) > 2048:
            raise BadSetting(f"frames of made clips are 32 to 2048 pixels each way, got {size}")
        self.photos = [entry for entry in photos if len(entry)]
        if not self.photos:
            raise BadSetting("made clips need photos with masks to cut objects from; these sets have none")
        self.seed, self.length, self.size, self.frames = seed, length, size, frames

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> MovingClip:
        number = range(self.length)[index]
        return made(np.random.default_rng((self.seed, number, 0xC11B)), self._still, self.size, self.frames)

    def _still(self, rng: np.random.Generator) -> Still:
        entry = self.photos[int(rng.integers(len(self.photos)))]
        sample = entry[int(rng.integers(len(entry)))]
        chosen = rng.permutation(len(sample.masks))[: OWN + 1]
        return Still(sample.pixels(), [decode_one(sample.masks[one]).astype(np.uint8) for one in chosen])


def made(rng: np.random.Generator, stills: Stills, size: HW, frames: int) -> MovingClip:
    """One clip. stills: draws the photos that it is made of. size: (H, W) in pixels."""
    side = max(size)
    view = camera(rng, frames)
    backdrop = _backdrop(rng, stills(rng), view, size, frames)
    things = _things(rng, stills, size, frames)
    light = Light.random(rng, size, frames, len(things))
    told = len(backdrop.masks)
    # things first in `things` lie farthest back
    count = told + sum(thing.told for thing in things)
    out = np.empty((frames, *size, 3), np.uint8)
    amodal = np.zeros((frames, count, *size), np.bool_)
    visible = np.zeros_like(amodal)
    for t in range(frames):
        picture, own = backdrop.at(t, light.shutter)
        amodal[t, :told] = own
        visible[t, :told] = own
        row = told
        for index, thing in enumerate(things):
            matrix = view[t] @ np.vstack([thing.poses.matrices[t], [0, 0, 1]])
            ahead = view[min(t + 1, frames - 1)] @ np.vstack([thing.poses.matrices[min(t + 1, frames - 1)], [0, 0, 1]])
            laid = lay(picture, thing, matrix, ahead, t, side, light.shutter, light.gains[index, t])
            if laid is not None:
                window, solid = laid
                rows, columns = window
                visible[t, :row, rows, columns] &= ~solid
                if thing.told:
                    visible[t, row][window] = amodal[t, row][window] = solid
            row += thing.told
        out[t] = light.shone(picture, t, rng)
    seen = visible.sum((2, 3)).max(0, initial=0) >= SMALLEST
    return MovingClip(out, visible[:, seen], amodal[:, seen])


def _backdrop(rng: np.random.Generator, still: Still, view: NDArray[np.float64], size: HW, frames: int) -> Backdrop:
    amount = rng.choice([0.0, 0.004, 0.012], p=[0.6, 0.25, 0.15])
    bend = Bend.random(rng, frames, amount) if amount else None
    return Backdrop.before(rng, still.pixels, still.masks[:OWN], view, size, bend)


def _things(rng: np.random.Generator, stills: Stills, size: HW, frames: int) -> list[Cutout]:
    """What lies before the background, farthest first."""
    count = int(rng.choice(5, p=[0.12, 0.28, 0.3, 0.2, 0.1]))
    things: list[Cutout] = []
    for _ in range(_TRIES * count):
        if len(things) >= count:
            break
        if things and rng.random() < 0.15:
            # a twin, which only its place tells from the other
            other = things[int(rng.integers(len(things)))]
            things.append(other.again(_poses(rng, frames, size, other)))
            continue
        found = cut(rng, stills(rng), max(size))
        if found is not None:
            told = rng.random() < 0.85
            things.append(Cutout(found, _poses(rng, frames, size, None), told))
    return things


def _poses(rng: np.random.Generator, frames: int, size: HW, twin: Cutout | None) -> Poses:
    side = max(size)
    share = float(np.exp(rng.uniform(np.log(0.1), np.log(0.85))))
    if twin is not None:
        share = float(np.linalg.norm(twin.poses.matrices[0, :, 0])) * rng.uniform(0.8, 1.25)
    place = (rng.uniform(0.08, 0.92) * size[1] / side, rng.uniform(0.08, 0.92) * size[0] / side)
    return Poses.random(rng, frames, share, place)
