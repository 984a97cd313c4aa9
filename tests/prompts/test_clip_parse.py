"""Prompts on frames of a clip, as people type them or keep them in a file."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anymask.errors import BadPrompt
from anymask.prompts.clip_parse import Pointed, Script

SIZE = (20, 30)


def _no_files(path):
    raise BadPrompt(f"{path} cannot be opened")


def _script(points=(), boxes=(), masks=(), objects=None, read=_no_files):
    return Script.of(points, boxes, masks, objects, read)


def test_points_are_of_object_1_on_frame_0_if_nothing_is_said():
    found = _script(["10,12", "3.5,4,0", "5,6@9", "2:7,8@9"])
    assert found.said == (
        Pointed(0, 1, ((10, 12, 1), (3.5, 4, 0))),
        Pointed(9, 1, ((5, 6, 1),)),
        Pointed(9, 2, ((7, 8, 1),)),
    )
    assert found.objects == (1, 2)


def test_several_boxes_alone_are_one_object_each():
    assert [one.object for one in _script(boxes=["1,2,3,4", "5,6,7,8@2"]).said] == [1, 2]
    (one,) = _script(["2,3"], ["1,2,3,4"]).said
    assert one.box == (1, 2, 3, 4) and len(one.points) == 1
    with pytest.raises(BadPrompt, match="two boxes on frame 0"):
        _script(["2,3"], ["1,2,3,4", "5,6,7,8"])


def test_masks_come_from_files_whose_numbers_are_objects():
    def read(path):
        return {0: np.ones(SIZE, bool)} if path.name == "one.png" else {3: np.eye(20, 30) > 0, 5: np.ones(SIZE, bool)}

    assert [(one.object, one.frame) for one in _script(masks=["one.png@4"], read=read).said] == [(1, 4)]
    assert [(one.object, one.frame) for one in _script(masks=["2:one.png"], read=read).said] == [(2, 0)]
    assert _script(masks=["all.png@1"], read=read).objects == (3, 5)
    with pytest.raises(BadPrompt, match="2 objects, numbered 3, 5"):
        _script(masks=["4:all.png"], read=read)


def test_a_file_names_objects_and_prompts_them_anywhere(tmp_path):
    rows = [
        {"id": 4, "name": "dog", "prompts": [{"frame": 2, "points": [[1, 2], [3, 4, 0]]}, {"box": [1, 1, 5, 5]}]},
        {"points": [[7, 8]]},
        {"id": 6, "frame": 3, "mask": "m.png"},
    ]
    seen = []

    def read(path):
        seen.append(path)
        return {0: np.ones(SIZE, bool)}

    for content in (rows, {"objects": rows}):
        (tmp_path / "o.json").write_text(json.dumps(content))
        found = _script(objects=tmp_path / "o.json", read=read)
        assert [(one.frame, one.object) for one in found.said] == [(0, 2), (0, 4), (2, 4), (3, 6)]
        assert found.names == {4: "dog"} and found.said[2].points == ((1, 2, 1), (3, 4, 0))
    assert seen[0] == tmp_path / "m.png"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "say what to follow"),
        ({"points": ["1;2"]}, "1;2"),
        ({"points": ["1,2@x"]}, "after @"),
        ({"points": ["0:1,2"]}, "from 1"),
        ({"boxes": ["1,2,3"]}, "1,2,3"),
        ({"masks": ["gone.png@1"]}, "gone.png"),
    ],
)
def test_what_cannot_be_read_is_repeated(given, named):
    with pytest.raises(BadPrompt, match=named):
        _script(**given)


@pytest.mark.parametrize("text", ["", "3", "[3]", '[{"id": 0, "points": [[1, 2]]}]', '[{"id": 1}]', '[{"frame": -1}]'])
def test_files_that_make_no_sense_are_told(tmp_path, text):
    (tmp_path / "o.json").write_text(text)
    with pytest.raises(BadPrompt, match=r"o\.json"):
        _script(objects=tmp_path / "o.json")


def test_prompts_that_do_not_fit_the_clip_are_told():
    for one, named in (
        (Pointed(5, 1, ((1, 1, 1),)), "frames 0 to 4"),
        (Pointed(0, 1, ((40, 1, 1),)), "outside the image"),
        (Pointed(0, 1, ((1, 1, 0),)), "only points outside"),
        (Pointed(0, 1, ((1, 1, 1),), mask=np.ones(SIZE, bool)), "another"),
        (Pointed(0, 1, mask=np.ones((5, 5), bool)), "image's size"),
    ):
        with pytest.raises(BadPrompt, match=named):
            one.check(SIZE, 5)
    Pointed(4, 1, ((1, 1, 1),), (0, 0, 5, 5)).check(SIZE, 5)
