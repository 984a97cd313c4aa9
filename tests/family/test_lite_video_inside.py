"""The memory in the package: what is clicked on the first frame is followed to the last."""

from __future__ import annotations

import numpy as np
import pytest

import anymask
from anymask.models.catalogue import card
from anymask.models.load import locate

data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")

FRAMES = 8
SIZE = (180, 320)


def _clip() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A disc of one photograph gliding over another, and its true masks."""
    ground, thing = data.astronaut()[:180, :320], data.coffee()[60:360, 150:450]
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    frames, truths = [], []
    for number in range(FRAMES):
        x, y = 90 + 14 * number, 100 - 4 * number
        truth = (columns - x) ** 2 + (rows - y) ** 2 < 36**2
        frame = ground.copy()
        frame[truth] = thing[(rows - y + 150)[truth], (columns - x + 150)[truth]]
        frames.append(frame)
        truths.append(truth)
    return frames, truths


def test_a_thing_that_was_boxed_once_is_followed_and_nothing_is_left_where_it_was():
    frames, truths = _clip()
    clip = anymask.video(frames)
    assert clip.model.card.name == "anymask-lite-video"
    clip.box(53, 63, 127, 137)
    for number, masks in clip.propagate():
        found = masks.dense()[0]
        assert (found & truths[number]).sum() / (found | truths[number]).sum() > 0.7
        assert masks.details["presence"][0] > 0


def test_the_file_in_the_package_is_the_one_on_the_card():
    memory = card("anymask-lite-video")
    assert locate(memory).stat().st_size == memory.files[0].size < 12e6
    model = anymask.load("anymask-lite-video", device="cpu")
    assert sum(one.numel() for one in model.parameters()) == memory.parameters
