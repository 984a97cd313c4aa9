"""Small holes and islands."""

import numpy as np

from anymask.masks.clean import without_small


def drawing(*rows: str):
    return np.array([[letter == "#" for letter in row] for row in rows])


def test_small_holes_are_filled_and_large_ones_stay():
    mask = drawing("#######", "#.##..#", "#####.#", "#######")
    filled, changed = without_small(mask, 2, "holes")
    assert changed
    assert (filled == drawing("#######", "####..#", "#####.#", "#######")).all()


def test_small_islands_go_and_corners_count_as_touching():
    mask = drawing("#..##", ".....", "#....", ".#..#")
    kept, changed = without_small(mask, 2, "islands")
    assert changed
    assert (kept == drawing("...##", ".....", "#....", ".#...")).all()


def test_of_islands_that_are_all_too_small_the_largest_stays():
    kept, changed = without_small(drawing("#.##", "...."), 10, "islands")
    assert changed
    assert (kept == drawing("..##", "....")).all()


def test_a_mask_with_nothing_small_is_left_as_it_is():
    mask = drawing("###", "#.#", "###")
    for kind in ("holes", "islands"):
        same, changed = without_small(mask, 1, kind)
        assert not changed
        assert (same == mask).all()


def test_an_empty_mask_stays_empty():
    mask = np.zeros((3, 3), bool)
    assert not without_small(mask, 5, "islands")[0].any()
    assert without_small(np.ones((3, 3), bool), 5, "holes")[0].all()


def test_background_that_goes_on_beyond_a_side_is_no_hole():
    mask = drawing("..###", ".####", "#####", "##.##")
    assert without_small(mask, 9, "holes")[0].all()
    kept, changed = without_small(mask, 9, "holes", goes_on=(True, False, False, False))
    assert changed
    assert (kept == drawing("..###", ".####", "#####", "#####")).all()
    assert not without_small(mask, 9, "holes", goes_on=(False, True, False, True))[1]
