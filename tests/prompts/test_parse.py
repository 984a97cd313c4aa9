"""Prompts from the command line's text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.errors import BadPrompt
from anymask.prompts.parse import Typed, box, point


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("120,80", (120, 80, 1)),
        ("120,80,0", (120, 80, 0)),
        ("120,80,1", (120, 80, 1)),
        (" 120.5 , 80 ", (120.5, 80, 1)),
        ("(120, 80)", (120, 80, 1)),
        ("[120, 80]", (120, 80, 1)),
        ("-3,.5", (-3, 0.5, 1)),
        ("1e2,8.", (100, 8, 1)),
    ],
)
def test_points_are_read(text, expected):
    assert point(text) == expected


def test_boxes_are_read():
    assert box("1,2,30.5,40") == (1, 2, 30.5, 40)


@pytest.mark.parametrize(
    "text", ["", "120", "120 80", "a,b", "1,2,3", "1,2,-1", "1,2,0,5", "nan,1", "inf,1", "1,,2", "1_0,2", "٣,1"]
)
def test_what_is_no_point_is_repeated_in_the_message(text):
    with pytest.raises(BadPrompt, match="a point") as caught:
        point(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "0x1,2,3,4", "1" * 500])
def test_what_is_no_box_is_refused(text):
    with pytest.raises(BadPrompt, match="a box is") as caught:
        box(text)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=12))
def test_any_text_is_a_point_or_a_sentence(text):
    try:
        x, y, label = point(text)
    except BadPrompt:
        return
    assert label in (0, 1) and float(x) == x and float(y) == y


def test_points_and_a_box_describe_one_object():
    typed = Typed.of(["10,20", "30,40,0"], ["1,2,50,60"])
    prompts = typed.prompts((100, 100))
    assert prompts.points.tolist() == [[[10, 20], [30, 40]]] and prompts.point_labels.tolist() == [[1, 0]]
    assert prompts.boxes.tolist() == [[1, 2, 50, 60]] and len(prompts) == 1


def test_several_boxes_are_several_objects_but_not_with_points():
    assert len(Typed.of(boxes=["1,2,3,4", "5,6,7,8"]).prompts((100, 100))) == 2
    with pytest.raises(BadPrompt, match="which belongs to which"):
        Typed.of(["1,2"], ["1,2,3,4", "5,6,7,8"])


def test_nothing_typed_is_false_and_a_mask_alone_is_enough():
    assert not Typed.of() and Typed.of(["1,2"])
    assert len(Typed.of().prompts((4, 4), np.ones((4, 4), bool))) == 1
    with pytest.raises(BadPrompt, match="at least one prompt"):
        Typed.of().prompts((4, 4))
    with pytest.raises(BadPrompt, match="outside the image"):
        Typed.of(["9,9"]).prompts((4, 4))
