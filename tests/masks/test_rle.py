"""Run lengths: exact both ways, equal to COCO's own, and closed to damaged input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from anymask.errors import BadSetting
from anymask.masks.rle import area, boxes, checked, decode, edges, encode, iou, merge

masks = hnp.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12)))


def plain_runs(mask):
    """Uncompressed COCO runs by the definition: down the columns, 0 first."""
    runs, value = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@given(masks)
def test_decoding_gives_back_what_was_encoded(dense):
    coded = encode(dense)
    assert all(rle["size"] == list(dense.shape[1:]) for rle in coded)
    np.testing.assert_array_equal(decode(coded), dense)
    np.testing.assert_array_equal(area(coded), dense.sum((1, 2)))


@given(masks)
def test_runs_are_those_of_the_coco_format(dense):
    for mask, rle in zip(dense, encode(dense), strict=True):
        expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert rle["counts"] == expected["counts"]
        # an uncompressed list of runs is the same mask
        assert checked({"size": list(mask.shape), "counts": plain_runs(mask)}) == rle
        assert checked({"size": mask.shape, "counts": rle["counts"].decode()}, mask.shape) == rle


@given(masks)
def test_boxes_are_tight_with_exclusive_ends(dense):
    for mask, box in zip(dense, boxes(encode(dense)).tolist(), strict=True):
        if mask.any():
            y, x = np.nonzero(mask)
            assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        else:
            assert box == [0, 0, 0, 0]


@given(hnp.arrays(bool, (3, 6, 7)), hnp.arrays(bool, (2, 6, 7)))
def test_iou_and_merge_are_those_of_sets(first, second):
    a, b = encode(first), encode(second)
    both = (first[:, None] & second[None]).sum((2, 3))
    either = (first[:, None] | second[None]).sum((2, 3))
    np.testing.assert_allclose(iou(a, b), np.where(either > 0, both / np.maximum(either, 1), 0))
    np.testing.assert_array_equal(decode([merge(a)])[0], first.any(0))
    np.testing.assert_array_equal(decode([merge(a, intersect=True)])[0], first.all(0))


def test_nothing_to_compare_is_an_empty_table():
    assert iou([], encode(np.ones((2, 3, 3), bool))).shape == (0, 2)
    assert area([]).shape == (0,) and boxes([]).shape == (0, 4)
    assert encode(np.zeros((0, 4, 4), bool)) == []


def test_masks_of_two_sizes_are_not_mixed():
    a, b = encode(np.ones((1, 2, 3), bool)), encode(np.ones((1, 3, 2), bool))
    for mix in (lambda: iou(a, b), lambda: merge([*a, *b]), lambda: decode([*a, *b])):
        with pytest.raises(BadSetting, match="size"):
            mix()


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        "0123",
        {"size": [3, 3]},
        {"counts": b"9"},
        {"size": [3], "counts": b"9"},
        {"size": ["a", 3], "counts": b"9"},
        {"size": [0, 3], "counts": b""},
        {"size": [-3, -3], "counts": b"9"},
        {"size": [2**20, 2**20], "counts": b"9"},
        {"size": [float("nan"), 3], "counts": b"9"},
        {"size": [3, 3], "counts": b""},
        {"size": [3, 3], "counts": b"8"},
        {"size": [3, 3], "counts": b"90001"},
        {"size": [3, 3], "counts": b"ooooooooooooooooooooooooo0"},
        {"size": [3, 3], "counts": b"o"},
        {"size": [3, 3], "counts": "é"},
        {"size": [3, 3], "counts": "\x00\x01"},
        {"size": [3, 3], "counts": [-1, 10]},
        {"size": [3, 3], "counts": [4, 4]},
        {"size": [3, 3], "counts": [2**63]},
        {"size": [3, 3], "counts": ["x"]},
        {"size": [3, 3], "counts": 9},
    ],
)
def test_what_is_no_mask_is_refused_before_it_reaches_c(bad):
    with pytest.raises(BadSetting):
        checked(bad)


def test_a_mask_of_another_size_than_the_image_is_refused():
    with pytest.raises(BadSetting, match="the mask is 2 x 3"):
        checked(encode(np.ones((1, 2, 3), bool))[0], (3, 2))


@settings(max_examples=500)
@given(st.integers(1, 40), st.integers(1, 40), st.binary(max_size=24))
@example(5, 5, b"PPP1")
def test_any_counts_decode_safely_or_are_refused(height, width, counts):
    try:
        rle = checked({"size": [height, width], "counts": counts})
    except BadSetting:
        return
    assert decode([rle]).shape == (1, height, width)
    assert 0 <= area([rle])[0] <= height * width


def test_more_masks_than_a_byte_counts_have_areas_and_boxes():
    dense = np.zeros((600, 4, 5), bool)
    dense[np.arange(600), 0, np.arange(600) % 5] = True
    rles = encode(dense)
    assert area(rles).tolist() == [1] * 600
    assert boxes(rles)[:, 0].tolist() == (np.arange(600) % 5).tolist()


@pytest.mark.parametrize("seed", range(6))
def test_edges_are_where_the_runs_of_the_coco_code_begin_and_end(seed):
    random = np.random.default_rng(seed)
    mask = random.random((random.integers(1, 40), random.integers(1, 40))) < (0.1, 0.5, 0.9, 0, 1, 0.99)[seed]
    flat = np.concatenate([[False], mask.T.reshape(-1), [False]])
    assert edges(mask).tolist() == np.flatnonzero(flat[1:] != flat[:-1]).tolist()
