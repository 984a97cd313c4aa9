"""Made clips: what is told of their objects is what is to be seen on their frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from anymask.data.moving import MovingClips, Still, made
from anymask.data.sample import Sample
from anymask.errors import BadSetting
from anymask.masks.rle import encode

RED, BLUE = (220, 30, 30), (30, 30, 220)


def disc(size: int = 200, radius: int = 60) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size / 2
    return (x * x + y * y < radius * radius).astype(np.uint8)


@dataclass(frozen=True)
class Discs:
    """Photos of one red disc each, on blue."""

    count: int = 3
    name: str = "discs"
    licence: str = ""

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        mask = disc(radius=40 + 10 * index)
        pixels = np.where(mask[..., None] > 0, np.uint8(RED), np.uint8(BLUE)).astype(np.uint8)
        return Sample(f"discs/{index}", (200, 200), tuple(encode(mask[None] > 0)), (), lambda: pixels)


def backdrop_then_discs():
    """A plain blue photo first, then photos of red discs."""
    mask = disc()
    photo = np.where(mask[..., None] > 0, np.uint8(RED), np.uint8(BLUE)).astype(np.uint8)
    stills = iter([Still(np.full((240, 320, 3), BLUE, np.uint8), [])])
    return lambda rng: next(stills, Still(photo, [mask]))


@pytest.mark.parametrize("seed", range(8))
def test_what_is_told_is_what_is_seen(seed: int) -> None:
    clip = made(np.random.default_rng(seed), backdrop_then_discs(), (160, 192), 6)
    assert clip.frames.shape == (6, 160, 192, 3)
    red = clip.frames[..., 0].astype(int) > clip.frames[..., 2]
    told = clip.visible.any(1)
    # what passes by without being an object of the clip may be red as well, but nothing told is blue
    if told.any():
        assert (red & told).sum() / told.sum() > 0.97
    assert not (clip.visible & ~clip.amodal).any()


def test_what_lies_before_hides_what_lies_behind() -> None:
    crossed = 0
    for seed in range(20):
        clip = made(np.random.default_rng(seed), backdrop_then_discs(), (128, 128), 5)
        assert (clip.visible.sum(1) <= 1).all()
        hidden = clip.amodal & ~clip.visible
        crossed += int(hidden.any())
    assert crossed > 2


def test_a_photo_s_own_objects_move_with_it() -> None:
    clips = MovingClips([Discs()], seed=3, size=(128, 128), frames=5)
    for index in range(10):
        clip = clips[index]
        red = clip.frames[..., 0].astype(int) > clip.frames[..., 2]
        told = clip.visible.any(1)
        if told.any():
            assert (red & told).sum() / told.sum() > 0.95


def test_the_same_number_is_the_same_clip() -> None:
    clips = MovingClips([Discs()], seed=5, size=(96, 96), frames=4)
    first = clips[2]
    clips[0]
    again = MovingClips([Discs()], seed=5, size=(96, 96), frames=4)[2]
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.visible, again.visible)
    other = MovingClips([Discs()], seed=6, size=(96, 96), frames=4)[2]
    assert not np.array_equal(first.frames, other.frames)


def test_objects_move_and_some_leave_and_come_back() -> None:
    clips = MovingClips([Discs()], seed=1, size=(96, 96), frames=16)
    moved, gone = 0, 0
    for index in range(12):
        seen = clips[index].visible.reshape(16, -1, 96 * 96)
        areas = seen.sum(2)
        gone += int(((areas == 0).any(0) & (areas > 0).any(0)).sum())
        if seen.shape[1]:
            moved += int((seen[0] != seen[-1]).any())
    assert moved > 6
    assert gone > 1


def test_settings_that_make_no_clip_are_refused() -> None:
    with pytest.raises(BadSetting, match="photos with masks"):
        MovingClips([])
    with pytest.raises(BadSetting, match="32 to 2048"):
        MovingClips([Discs()], size=(16, 64))
    with pytest.raises(BadSetting, match="at least 1"):
        MovingClips([Discs()], frames=0)
