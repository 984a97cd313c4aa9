"""Prompts in every nesting that people pass, and a sentence for everything else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anymask import Prompts
from anymask.errors import AnymaskError, BadPrompt

SIZE = (50, 80)


@pytest.mark.parametrize(
    "points",
    [
        [10, 20],
        (10, 20),
        [(10, 20)],
        [[[10, 20]]],
        np.array([10, 20]),
        np.array([[10.0, 20.0]], np.float16),
        torch.tensor([[10, 20]]),
        [np.array([10, 20])],
        [np.int64(10), np.float32(20)],
    ],
)
def test_one_point_in_any_nesting_is_one_object(points):
    prompts = Prompts.of(points, size=SIZE)
    assert prompts.points.tolist() == [[[10, 20]]] and prompts.points.dtype == np.float32
    assert prompts.point_labels.tolist() == [[1]] and prompts.point_labels.dtype == np.int64
    assert len(prompts) == 1 and prompts.ambiguous


def test_points_of_one_object_and_their_labels():
    prompts = Prompts.of([[1, 2], [3, 4]], [1, 0], size=SIZE)
    assert prompts.points.shape == (1, 2, 2) and prompts.point_labels.tolist() == [[1, 0]]
    assert not prompts.ambiguous
    assert Prompts.of([1, 2], 0).point_labels.tolist() == [[0]]
    assert Prompts.of([1, 2], [0]).point_labels.tolist() == [[0]]
    assert Prompts.of([[1, 2], [3, 4]], [True, False]).point_labels.tolist() == [[1, 0]]


def test_ragged_points_are_padded_and_grouped_without_padding():
    prompts = Prompts.of([[[1, 2]], [[3, 4], [5, 6], [7, 8]], [[9, 10]]], [[1], [1, 0, 1], [0]], size=SIZE)
    assert prompts.point_labels.tolist() == [[1, -1, -1], [1, 0, 1], [0, -1, -1]]
    groups = prompts.groups()
    assert [rows.tolist() for rows, _ in groups] == [[0, 2], [1]]
    assert [part.points.shape for _, part in groups] == [(2, 1, 2), (1, 3, 2)]
    assert groups[0][1].point_labels.tolist() == [[1], [0]]


def test_padding_of_the_caller_is_kept_within_and_dropped_at_the_end():
    prompts = Prompts.of([[[1, 2], [0, 0], [3, 4], [0, 0]]], [[1, -1, 0, -1]])
    ((rows, part),) = prompts.groups()
    assert rows.tolist() == [0] and part.point_labels.tolist() == [[1, -1, 0]]


def test_boxes_alone_and_with_points():
    assert Prompts.of(boxes=[1, 2, 30, 40], size=SIZE).boxes.tolist() == [[1, 2, 30, 40]]
    both = Prompts.of([[[5, 5]], [[6, 6]]], boxes=[[1, 2, 30, 40], [2, 3, 31, 41]], size=SIZE)
    assert len(both) == 2 and not both.ambiguous
    with pytest.raises(BadPrompt, match="same number of objects"):
        Prompts.of([5, 5], boxes=[[1, 2, 30, 40], [2, 3, 31, 41]])


def test_drawn_masks_are_told_from_logits_by_their_type():
    drawn = np.zeros(SIZE, np.uint8)
    drawn[5:9, 5:9] = 255
    for mask in (
        drawn,
        drawn > 0,
        (drawn > 0).astype(np.int64),
        torch.from_numpy(drawn > 0),
        drawn[None],
        drawn[None, None],
    ):
        prompts = Prompts.of(mask=mask, size=SIZE)
        assert prompts.masks.dtype == bool and prompts.masks.sum() == 16 and prompts.low_res is None
    logits = Prompts.of(mask=np.zeros((32, 32)), size=SIZE)
    assert logits.low_res.dtype == np.float32 and logits.masks is None
    with pytest.raises(BadPrompt, match="image's size"):
        Prompts.of(mask=drawn.T, size=SIZE)
    with pytest.raises(BadPrompt, match="label map"):
        Prompts.of(mask=np.arange(4000).reshape(SIZE), size=SIZE)


def test_logits_are_copied_since_those_of_masks_are_read_only():
    logits = np.zeros((1, 8, 8), np.float32)
    logits.flags.writeable = False
    prompts = Prompts.of(mask=logits)
    assert prompts.low_res.flags.writeable and not np.shares_memory(prompts.low_res, logits)


def test_a_point_outside_names_the_valid_range():
    with pytest.raises(BadPrompt, match=r"\(81, 5\) lies outside the image: x is 0 to 80, y is 0 to 50"):
        Prompts.of([[5, 5], [81, 5]], size=SIZE)
    Prompts.of([[0, 0], [80, 50]], size=SIZE)
    Prompts.of([[5, 5], [999, 999]], [1, -1], size=SIZE)  # padding may stand anywhere


def test_a_box_may_reach_over_the_border_but_must_touch_the_image():
    Prompts.of(boxes=[-10, -10, 500, 500], size=SIZE)
    for box in ([90, 1, 95, 5], [-9, 1, 0, 5], [1, 50, 5, 60]):
        with pytest.raises(BadPrompt, match="does not touch"):
            Prompts.of(boxes=box, size=SIZE)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({}, "at least one prompt"),
        ({"labels": [1]}, "without points"),
        ({"points": []}, "points"),
        ({"points": [[]]}, "points"),
        ({"points": [[[]]]}, "points|point"),
        ({"points": 5}, "points must be"),
        ({"points": "12"}, "points must be"),
        ({"points": [1, 2, 3]}, r"\[K, 2\]"),
        ({"points": [[1, 2], [3]]}, "regular"),
        ({"points": [[[1, 2]], 3]}, "points"),
        ({"points": [[[1, 2]], None]}, "points"),
        ({"points": [None, 2]}, "points must be numbers"),
        ({"points": ["1", "2"]}, "points must be numbers"),
        ({"points": [float("nan"), 2]}, "NaN"),
        ({"points": [1e400, 2]}, "infinity"),
        ({"points": [1e300, 2]}, "must be pixels"),
        ({"points": [10**30, 2]}, "points must be"),
        ({"boxes": [0, 0, 1e300, 9]}, "must be pixels"),
        ({"mask": np.full((4, 4), 1e300)}, "infinity"),
        ({"points": [1j, 2]}, "points must be numbers"),
        ({"points": {"x": 1, "y": 2}}, "points must be"),
        ({"points": np.zeros((2, 2, 2, 2))}, "points must be"),
        ({"points": [1, 2], "labels": [1, 0]}, "one label for each point"),
        ({"points": [1, 2], "labels": [2]}, "labels are 1"),
        ({"points": [1, 2], "labels": [0.5]}, "labels are 1"),
        ({"points": [1, 2], "labels": "1"}, "label"),
        ({"points": [[[1, 2]], [[3, 4]]], "labels": [1, 1]}, "nested"),
        ({"points": [[[1, 2]], [[3, 4]]], "labels": [[1]]}, "nested|labels"),
        ({"points": [[[1, 2]], [[3, 4]]], "labels": [[1], 1]}, "label"),
        ({"boxes": [1, 2, 3]}, r"\[P, 4\]"),
        ({"boxes": []}, "boxes"),
        ({"boxes": [[[1, 2, 3, 4]]]}, r"\[P, 4\]"),
        ({"boxes": [10, 10, 5, 5]}, "is it XYWH"),
        ({"boxes": [10, 10, 10, 20]}, "x1 > x0"),
        ({"boxes": [0, 0, float("inf"), 9]}, "infinity"),
        ({"boxes": "1,2,3,4"}, "boxes must be numbers"),
        ({"mask": 5}, "mask"),
        ({"mask": "mask.png"}, "mask"),
        ({"mask": [[0, 1], [1]]}, "mask"),
        ({"mask": np.zeros((0, 5))}, "mask"),
        ({"mask": np.full((4, 4), np.nan)}, "NaN"),
        ({"mask": np.full((4, 4), 7)}, "label map"),
        ({"mask": np.zeros((4, 4), complex)}, "mask"),
        ({"mask": object()}, "mask"),
    ],
)
def test_what_is_no_prompt_is_refused_with_a_sentence(given_, message):
    with pytest.raises(BadPrompt, match=message):
        Prompts.of(**given_)


def test_too_many_objects_and_points_are_refused():
    with pytest.raises(BadPrompt, match="split the call"):
        Prompts.of(boxes=np.tile([0, 0, 1, 1], (100_001, 1)))
    with pytest.raises(BadPrompt, match="10,000 points"):
        Prompts.of(np.zeros((10_001, 2)))


def test_prompts_made_by_hand_are_checked_as_well():
    with pytest.raises(BadPrompt, match="come together"):
        Prompts(points=np.zeros((1, 1, 2), np.float32))
    with pytest.raises(BadPrompt, match=r"\[P, K, 2\]"):
        Prompts(points=np.zeros((1, 2), np.float32), point_labels=np.ones((1, 1), np.int64))
    with pytest.raises(BadPrompt, match=r"\[P, 4\]"):
        Prompts(boxes=np.zeros(4, np.float32))
    with pytest.raises(BadPrompt, match=r"\[P, h, w\]"):
        Prompts(low_res=np.zeros((4, 4), np.float32))
    with pytest.raises(BadPrompt, match="not both"):
        Prompts(low_res=np.zeros((1, 4, 4), np.float32), masks=np.zeros((1, 9, 9), bool))


json_like = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=1), inner, max_size=2)
    ),
    max_leaves=8,
)
arrays = hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
anything = json_like | arrays


@settings(max_examples=600, deadline=None)
@given(anything, anything, anything, anything)
def test_anything_at_all_gives_prompts_or_a_sentence(points, labels, boxes, mask):
    for prompt in ({"points": points, "labels": labels}, {"boxes": boxes}, {"mask": mask}):
        try:
            prompts = Prompts.of(**prompt, size=SIZE)
        except AnymaskError as error:
            assert len(str(error)) > 20
        else:
            assert len(prompts) >= 1 and sum(len(rows) for rows, _ in prompts.groups()) == len(prompts)
