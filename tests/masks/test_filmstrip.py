"""The strip of frames with masks."""

from __future__ import annotations

import numpy as np
import pytest

from anymask.errors import BadSetting
from anymask.masks.colours import colour
from anymask.masks.filmstrip import TRACK, Shot, chosen, film_strip
from anymask.masks.masks import Masks
from anymask.pixels.image import Image

SIZE = (90, 160)


def _shot(frame, marks=()):
    dense = np.zeros((2, *SIZE), bool)
    dense[0, 20:60, 30:80] = True
    return Shot(Image.open(np.full((*SIZE, 3), 90, np.uint8)), Masks.from_dense(dense, ids=[1, 2]), frame, marks)


def test_frames_are_spread_evenly_over_the_clip():
    assert chosen(100, 5) == [0, 25, 50, 74, 99] and chosen(3) == [0, 1, 2] and chosen(1) == [0]
    with pytest.raises(BadSetting):
        chosen(0)


def test_bars_are_coloured_where_an_object_is_seen():
    seen = np.ones((2, 30), bool)
    seen[1, 10:20] = False
    page = np.asarray(film_strip([_shot(at) for at in chosen(30)], seen, rate=10, width=800))
    assert page.shape[1] == 800

    def where(tint, rows):
        return np.flatnonzero((page[rows] == tint).all(-1).any(0))

    lanes = slice(page.shape[0] - 60, None)
    first, second = where(colour(0), lanes), where(colour(1), lanes)
    assert np.diff(first).max() == 1
    # a third in the middle is missing
    gap = np.diff(second).max()
    assert gap == pytest.approx(len(first) / 3, abs=8) and len(where(TRACK, lanes)) >= gap - 12


def test_clicks_are_to_be_seen_on_the_frame_they_were_made_on():
    seen = np.ones((2, 2), bool)
    plain = np.asarray(film_strip([_shot(0), _shot(1)], seen, width=600))
    marked = np.asarray(film_strip([_shot(0, [(120, 30, 1), (140, 70, 0)]), _shot(1)], seen, width=600))
    changed = (plain != marked).any(-1)
    assert changed[:, :300].sum() > 300 and not changed[:, 300:].any()


def test_of_many_objects_the_last_place_says_how_many_more():
    dense = np.zeros((40, *SIZE), bool)
    shot = Shot(Image.open(np.full((*SIZE, 3), 90, np.uint8)), Masks.from_dense(dense), 0)
    few = film_strip([Shot(shot.image, shot.masks[:12], 0)], np.ones((12, 1), bool), width=400)
    assert film_strip([shot], np.ones((40, 1), bool), width=400).height == few.height


def test_what_does_not_fit_together_is_told():
    with pytest.raises(BadSetting, match="at least one"):
        film_strip([], np.ones((2, 3), bool))
    with pytest.raises(BadSetting, match="each of the 1"):
        film_strip([_shot(0)], np.ones((1, 3), bool))
    with pytest.raises(BadSetting, match="0 to 2"):
        film_strip([_shot(7)], np.ones((2, 3), bool))
