"""Strips do to run lengths what slicing, shifting and `|` do to arrays; outlines come from them without decoding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from anymask.errors import BadSetting
from anymask.masks.outlined import outlined
from anymask.masks.polygons import outlines
from anymask.masks.rle import encode_one, lengths, of_lengths
from anymask.masks.strips import Strips

small = hnp.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


@settings(max_examples=200)
@given(small, st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.integers(0, 3))
def test_a_moved_mask_is_the_mask_elsewhere(mask, right, down, wider, higher):
    height, width = mask.shape
    canvas = np.zeros((height + down + higher, width + right + wider), bool)
    canvas[down : down + height, right : right + width] = mask
    strips = Strips.of(encode_one(mask)).moved(right, down)
    assert strips.rle(canvas.shape) == encode_one(canvas)
    assert strips.area() == mask.sum()
    rows, columns = np.nonzero(canvas)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
    assert strips.box() == box


@settings(max_examples=200)
@given(small, st.tuples(*[st.integers(0, 14)] * 4))
def test_the_part_in_a_window_is_a_slice(mask, window):
    x0, x1 = sorted((min(window[0], mask.shape[1]), min(window[1], mask.shape[1])))
    y0, y1 = sorted((min(window[2], mask.shape[0]), min(window[3], mask.shape[0])))
    part = np.zeros_like(mask)
    part[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
    strips = Strips.of(encode_one(mask))
    assert strips.within(x0, y0, x1, y1).rle(mask.shape) == encode_one(part)
    assert np.array_equal(strips.dense(x0, y0, x1, y1), mask[y0:y1, x0:x1])


@settings(max_examples=200)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))))
def test_a_union_is_a_union(masks):
    union = Strips.union([Strips.of(encode_one(mask)) for mask in masks])
    assert union.rle(masks.shape[1:]) == encode_one(masks.any(0))


def test_the_union_of_nothing_is_empty():
    assert Strips.union([]).rle((3, 4)) == encode_one(np.zeros((3, 4), bool))


def test_a_mask_off_its_canvas_is_refused():
    strips = Strips.of(encode_one(np.ones((3, 4), bool)))
    for right, down in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        with pytest.raises(BadSetting, match="outside"):
            strips.moved(right, down).rle((3, 4))


@pytest.mark.parametrize(
    "runs",
    [
        [400_000_000],
        [0, 400_000_000],
        [5, 3, 399_999_992],
        [399_999_000, 500, 500],
        [1, 200_000_000, 100_000_000, 50_000_000, 49_999_999],
    ],
)
def test_runs_of_the_largest_canvas_are_written_as_the_coco_code_writes_them(runs):
    size = (20000, 20000)
    mine = of_lengths(np.array(runs), size)
    assert mine["counts"] == coco.frPyObjects({"size": list(size), "counts": runs}, *size)["counts"]
    assert lengths(mine).tolist() == runs


def test_runs_that_do_not_fill_the_canvas_are_refused():
    for runs in ([11], [13], [-1, 13], []):
        with pytest.raises(BadSetting, match="add up"):
            of_lengths(np.array(runs, np.int64), (3, 4))


@settings(max_examples=400)
@given(small, st.sampled_from([0.0, 0.0, 1.0]))
def test_outlines_from_strips_are_those_of_the_decoded_mask(mask, simplify):
    mine, expected = outlined(encode_one(mask), simplify=simplify), outlines(mask, simplify=simplify)
    assert [[ring.tolist() for ring in part.rings] for part in mine] == [
        [ring.tolist() for ring in part.rings] for part in expected
    ]


def test_outlines_from_strips_want_a_sensible_tolerance():
    with pytest.raises(BadSetting, match="simplify"):
        outlined(encode_one(np.ones((3, 4), bool)), simplify=-1)
