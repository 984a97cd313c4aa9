"""Outlines follow pixel edges: filling them gives the mask back, pixel for pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco
from scipy import ndimage

from anymask.errors import BadSetting
from anymask.masks.polygons import Polygon, fill, outlines, ring_area

small = hnp.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


def mask_of(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


def crossings(rings, size):
    """The even-odd rule by its definition, one pixel centre at a time: rings crossed by a ray to the right."""
    height, width = size
    inside = np.zeros(size, bool)
    for y in range(height):
        for x in range(width):
            odd = False
            for ring in rings:
                for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
                    if (y0 > y + 0.5) != (y1 > y + 0.5):
                        odd ^= x + 0.5 < x0 + (y + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            inside[y, x] = odd
    return inside


@settings(max_examples=300)
@given(small)
def test_filling_the_outlines_gives_the_mask_back(mask):
    np.testing.assert_array_equal(fill(outlines(mask), mask.shape), mask)


@settings(max_examples=60)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_the_even_odd_rule_by_its_definition_agrees(mask):
    rings = [ring for polygon in outlines(mask) for ring in polygon.rings]
    np.testing.assert_array_equal(crossings(rings, mask.shape), mask)


@settings(max_examples=300)
@given(small)
def test_each_polygon_is_one_part_and_no_ring_meets_itself(mask):
    polygons = outlines(mask)
    labels, count = ndimage.label(mask)  # parts joined by edges
    assert len(polygons) == count
    for polygon in polygons:
        part = fill([polygon], mask.shape)
        assert len(set(labels[part].tolist())) == 1
        assert polygon.area == part.sum()
        assert ring_area(polygon.exterior) > 0 and all(ring_area(hole) < 0 for hole in polygon.holes)
        for ring in polygon.rings:
            assert ring.dtype == np.int32 and len({tuple(point) for point in ring.tolist()}) == len(ring)
            steps = np.roll(ring, -1, 0) - ring
            assert ((steps == 0).sum(1) == 1).all(), "along pixel edges, and no corner that is none"
            assert ((steps[:, 0] == 0) != np.roll(steps[:, 0] == 0, 1)).all()


@settings(max_examples=100)
@given(small)
def test_pycocotools_fills_outlines_without_holes_alike(mask):
    flat = [polygon.exterior.reshape(-1).tolist() for polygon in outlines(ndimage.binary_fill_holes(mask))]
    expected = ndimage.binary_fill_holes(mask)
    if flat:
        found = coco.decode(coco.merge(coco.frPyObjects(flat, *mask.shape)))
        np.testing.assert_array_equal(found.astype(bool), expected)


def test_a_single_pixel_is_a_square():
    (polygon,) = outlines(mask_of("...", "..#", "..."))
    assert polygon.exterior.tolist() == [[2, 1], [3, 1], [3, 2], [2, 2]] and polygon.holes == ()


def test_pixels_that_touch_at_a_corner_are_two_parts():
    first, second = outlines(mask_of("#.", ".#"))
    assert first.exterior.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert second.exterior.tolist() == [[1, 1], [2, 1], [2, 2], [1, 2]]


def test_an_island_in_a_hole_is_a_part_of_its_own():
    mask = mask_of(
        "#######",
        "#.....#",
        "#.###.#",
        "#.#.#.#",
        "#.###.#",
        "#.....#",
        "#######",
    )
    outer, inner = outlines(mask)
    assert [len(polygon.holes) for polygon in (outer, inner)] == [1, 1]
    assert (outer.area, inner.area) == (24, 8)
    np.testing.assert_array_equal(fill([outer, inner], mask.shape), mask)


def test_a_pocket_that_is_open_at_a_corner_only_is_a_hole():
    mask = mask_of(
        ".##",
        "#.#",
        "###",
    )
    (polygon,) = outlines(mask)
    assert polygon.area == 7 and len(polygon.holes) == 1
    assert len(polygon.exterior) == 6


def test_an_empty_mask_has_no_outline_and_a_full_one_the_border():
    assert outlines(np.zeros((3, 4), bool)) == []
    (polygon,) = outlines(np.ones((3, 4), bool))
    assert polygon.exterior.tolist() == [[0, 0], [4, 0], [4, 3], [0, 3]]


def test_noise_of_many_parts_comes_back():
    mask = np.random.default_rng(0).random((300, 400)) > 0.5
    np.testing.assert_array_equal(fill(outlines(mask), mask.shape), mask)


@settings(max_examples=50)
@given(small, st.floats(0.1, 5))
def test_simplified_outlines_keep_every_part_and_stay_near(mask, tolerance):
    exact, simple = outlines(mask), outlines(mask, simplify=tolerance)
    assert len(simple) == len(exact)
    for one, other in zip(simple, exact, strict=True):
        assert 3 <= len(one.exterior) <= len(other.exterior)
        assert {tuple(p) for p in one.exterior.tolist()} <= {tuple(p) for p in other.exterior.tolist()}


def test_a_staircase_becomes_a_line():
    mask = np.tri(40, 40, dtype=bool)
    (polygon,) = outlines(mask, simplify=1.0)
    assert len(polygon.exterior) <= 5
    assert abs(polygon.area - mask.sum()) < 40


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(tolerance):
    with pytest.raises(BadSetting, match="simplify"):
        outlines(np.ones((2, 2), bool), simplify=tolerance)


def test_polygons_of_other_tools_are_filled_at_pixel_centres():
    triangle = [[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]
    filled = fill([[triangle]], (4, 4))
    np.testing.assert_array_equal(filled, crossings([np.array(triangle)], (4, 4)))
    # parts outside of the image are cut off
    far = np.array(triangle) * 1000 - 500
    assert fill([[far]], (4, 4)).all()
    assert not fill([[np.array(triangle) + 100]], (4, 4)).any()
    assert not fill([], (4, 4)).any()


@pytest.mark.parametrize(
    "ring",
    [[], [[1, 2]], [[1, 2], [3, 4]], [[1, 2, 3]] * 3, [[np.nan, 1]] * 3, [[1e300, 0]] * 3, "abc", [["a", "b"]] * 3],
)
def test_rings_that_are_none_are_refused(ring):
    with pytest.raises(BadSetting, match=r"ring|corners"):
        fill([[ring]], (4, 4))


def test_area_of_a_polygon_leaves_out_its_holes():
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], np.int32)
    hole = np.array([[1, 1], [1, 3], [3, 3], [3, 1]], np.int32)
    assert Polygon(square, (hole,)).area == 12
