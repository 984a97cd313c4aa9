"""Masks: columns that stay aligned, whatever is picked, joined or handed on."""

from __future__ import annotations

import copy
import json
import pickle
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anymask import Image, Masks
from anymask.errors import BadSetting, MissingExtra
from anymask.masks.rle import encode


def squares(count=4, size=(20, 30), **columns):
    """Masks whose row i is a square of side i + 1."""
    dense = np.zeros((count, *size), bool)
    for row in range(count):
        dense[row, 2 : 3 + row, 4 : 5 + row] = True
    return Masks.from_dense(dense, **columns)


@pytest.fixture
def full():
    picture = Image.open(np.zeros((20, 30, 3), np.uint8))
    return squares(
        scores=[0.9, 0.8, 0.95, 0.1],
        labels=["a", None, "b", "a"],
        parents=[1, 3, 3, -1],
        ids=[0, 0, 1, 1],
        logits=np.arange(4 * 2 * 2).reshape(4, 2, 2),
        image=picture,
    )


def test_defaults_are_sensible():
    masks = squares(3)
    assert masks.size == (20, 30)
    assert masks.scores.tolist() == [1, 1, 1] and masks.scores.dtype == np.float32
    assert masks.labels == (None, None, None)
    assert masks.parents.tolist() == [-1, -1, -1]
    assert masks.ids.tolist() == [0, 1, 2] and masks.ids.dtype == np.int64
    assert masks.logits is None and masks.image is None


def test_measures_are_those_of_the_pixels():
    masks = squares(3)
    assert masks.areas().tolist() == [1, 4, 9]
    assert masks.boxes().tolist() == [[4, 2, 5, 3], [4, 2, 6, 4], [4, 2, 7, 5]]
    assert masks.boxes().dtype == np.float32
    assert masks.dense().shape == (3, 20, 30) and masks.dense().dtype == bool
    assert [[polygon.area for polygon in parts] for parts in masks.polygons()] == [[1], [4], [9]]


def test_rows_are_masks_of_length_one(full):
    rows = list(full)
    assert len(full) == 4 and len(rows) == 4 and all(isinstance(row, Masks) and len(row) == 1 for row in rows)
    assert [row.areas()[0] for row in rows] == [1, 4, 9, 16]
    assert full[-1].labels == ("a",)
    assert full[np.int64(2)].scores[0] == np.float32(0.95)
    with pytest.raises(IndexError, match="4 masks"):
        full[4]


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        (slice(1, 3), [1, 2]),
        (slice(None, None, -1), [3, 2, 1, 0]),
        ([2, 0], [2, 0]),
        (np.array([3, 3]), [3, 3]),
        ([], []),
        (np.array([True, False, False, True]), [0, 3]),
        ([-1], [3]),
    ],
)
def test_columns_stay_aligned_when_rows_are_picked(full, rows, kept):
    picked = full[rows]
    assert picked.areas().tolist() == [(row + 1) ** 2 for row in kept]
    assert picked.scores.tolist() == full.scores[kept].tolist()
    assert picked.labels == tuple(full.labels[row] for row in kept)
    assert picked.ids.tolist() == full.ids[kept].tolist()
    assert picked.logits.tolist() == full.logits[kept].tolist()
    assert picked.image is full.image and picked.size == full.size


def test_where_keeps_what_is_true(full):
    assert full.where(full.scores > 0.5).areas().tolist() == [1, 4, 9]
    with pytest.raises(BadSetting, match="True or False"):
        full.where([0, 1])
    with pytest.raises(BadSetting, match="4 masks"):
        full.where(np.array([True]))


@pytest.mark.parametrize("rows", ["a", None, ..., (0, 1), [0.5], [[0, 1]], {"a": 1}])
def test_what_picks_no_rows_is_refused(full, rows):
    with pytest.raises((BadSetting, IndexError)):
        full[rows]


def test_a_row_whose_parent_is_left_out_gets_the_next_one_up(full):
    assert full[[0, 1, 3]].parents.tolist() == [1, 2, -1]
    assert full[[0, 3]].parents.tolist() == [1, -1]
    assert full[[0, 1]].parents.tolist() == [1, -1]
    assert full[[3, 0]].parents.tolist() == [-1, 0]


def test_best_is_the_best_scored_row_of_each_object(full):
    assert full.best().areas().tolist() == [1, 9]
    assert full[[3, 2, 1, 0]].best().areas().tolist() == [9, 1]
    assert len(full[[]].best()) == 0


def test_joined_masks_keep_their_columns(full):
    joined = Masks.join([full, full[[1, 3]]])
    assert len(joined) == 6
    assert joined.areas().tolist() == [1, 4, 9, 16, 4, 16]
    assert joined.parents.tolist() == [1, 3, 3, -1, 5, -1]
    assert joined.ids.tolist() == [0, 0, 1, 1, 0, 1]
    assert joined.logits.shape == (6, 2, 2) and joined.image is full.image
    assert Masks.join([full, full.replace(logits=None)]).logits is None
    with pytest.raises(BadSetting, match="size"):
        Masks.join([full, squares(1, (5, 9))])
    with pytest.raises(BadSetting, match="nothing"):
        Masks.join([])


def test_masks_never_change(full):
    with pytest.raises(AttributeError, match="replace"):
        full.scores = np.zeros(4)
    for column in (full.scores, full.ids, full.parents, full.logits):
        with pytest.raises(ValueError):
            column[0] = 0
    changed = full.replace(ids=[7, 7, 7, 7], labels=None)
    assert changed.ids.tolist() == [7] * 4 and changed.labels == (None,) * 4
    assert full.ids.tolist() == [0, 0, 1, 1]
    with pytest.raises(BadSetting, match="score"):
        full.replace(score=[1])


def test_columns_are_copied(full):
    scores = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    masks = full.replace(scores=scores)
    scores[:] = 9
    assert masks.scores[0] == np.float32(0.1)


def test_masks_can_be_copied_and_sent_to_another_process(full):
    for twin in (pickle.loads(pickle.dumps(full)), copy.deepcopy(full)):
        np.testing.assert_array_equal(twin.dense(), full.dense())
        assert twin.labels == full.labels and twin.scores.tolist() == full.scores.tolist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"scores": [1, 2]}, r"scores must be \[4\]"),
        ({"scores": [1, 2, 3, "x"]}, "scores must be numbers"),
        ({"scores": ["1", "2", "3", "4"]}, "scores must be numbers"),
        ({"scores": [1, 2, 3, np.nan]}, "finite"),
        ({"scores": [[1, 2], [3, 4]]}, "scores"),
        ({"labels": ["a"]}, "4 names"),
        ({"labels": "abcd"}, "a list"),
        ({"labels": [1, 2, 3, 4]}, "names or None"),
        ({"parents": [0, 0, 0, 0]}, "circle"),
        ({"parents": [1, 0, -1, -1]}, "circle"),
        ({"parents": [4, -1, -1, -1]}, "rows 0 to 3"),
        ({"parents": [-2, -1, -1, -1]}, "rows 0 to 3"),
        ({"ids": [0.5, 1, 2, 3]}, "whole"),
        ({"ids": [0, 1]}, r"\[4\]"),
        ({"ids": [2**70, 0, 0, 0]}, "ids"),
        ({"logits": np.zeros((3, 2, 2))}, r"\[4, h, w\]"),
        ({"logits": np.zeros((4, 2))}, r"\[4, h, w\]"),
        ({"logits": [[1], [1, 2]]}, "regular"),
        ({"image": "photo.png"}, "anymask Image"),
        ({"image": Image.open(np.zeros((30, 20), np.uint8))}, "size"),
    ],
)
def test_columns_that_do_not_fit_are_refused_when_made(columns, message):
    with pytest.raises(BadSetting, match=message):
        squares(**columns)


@pytest.mark.parametrize("size", [(0, 5), (5,), (5, 5, 5), "ab", None, (2.5, 3), (-1, 3), (float("inf"), 3)])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(BadSetting, match="size"):
        Masks(size, [])


@pytest.mark.parametrize(
    "dense", [np.zeros((2, 2, 2, 2), bool), np.zeros((1, 0, 3), bool), np.zeros(3, bool), np.zeros((2, 2)), [[2, 0]]]
)
def test_dense_arrays_that_are_no_masks_are_refused(dense):
    with pytest.raises(BadSetting, match="dense masks"):
        Masks.from_dense(dense)


def test_dense_masks_may_be_numbers_or_tensors():
    expected = [[False, True], [True, False]]
    for dense in ([[0, 1], [1, 0]], np.array([[0, 255], [255, 0]], np.uint8), torch.tensor(expected)):
        assert Masks.from_dense(dense).dense().tolist() == [expected]
    assert Masks.from_dense(np.zeros((0, 3, 4), bool)).size == (3, 4)


def test_damaged_runs_are_refused():
    with pytest.raises(BadSetting):
        Masks((5, 5), [{"size": [5, 5], "counts": b"zzz"}])
    with pytest.raises(BadSetting, match="5 x 5"):
        Masks((6, 6), encode(np.ones((1, 5, 5), bool)))
    with pytest.raises(BadSetting, match="list"):
        Masks((5, 5), encode(np.ones((1, 5, 5), bool))[0])


def test_no_masks_at_all_is_a_normal_result():
    none = Masks((4, 5), [])
    assert len(none) == 0 and list(none) == [] and none.dense().shape == (0, 4, 5)
    assert none.boxes().shape == (0, 4) and none.polygons() == [] and none.to_coco() == []
    assert none.overlay().size == (5, 4) and none.cutouts(np.zeros((4, 5), np.uint8)) == []
    assert repr(none) == "Masks(0 masks on 5 x 4 px)"


def test_coco_annotations_are_ready_for_json(full):
    rows = json.loads(json.dumps(full.to_coco(image_id=5, category_id=2, first_id=10)))
    assert [row["id"] for row in rows] == [10, 11, 12, 13]
    assert rows[2] | {"segmentation": None} == {
        "id": 12,
        "image_id": 5,
        "category_id": 2,
        "segmentation": None,
        "area": 9,
        "bbox": [4, 2, 3, 3],
        "iscrowd": 0,
        "score": 0.95,
    }
    back = Masks(full.size, [row["segmentation"] for row in rows])
    np.testing.assert_array_equal(back.dense(), full.dense())


def test_coco_polygons_are_written_only_where_they_lose_nothing():
    ring = np.ones((5, 5), bool)
    ring[2, 2] = False
    solid, holed = Masks.from_dense(np.stack([np.ones((5, 5), bool), ring])).to_coco(segmentation="polygon")
    assert solid["segmentation"] == [[0, 0, 5, 0, 5, 5, 0, 5]]
    assert set(holed["segmentation"]) == {"size", "counts"}
    with pytest.raises(BadSetting, match="segmentation"):
        Masks((5, 5), []).to_coco(segmentation="png")


def test_supervision_gets_aligned_columns(full):
    supervision = pytest.importorskip("supervision")
    detections = full.to_supervision()
    assert isinstance(detections, supervision.Detections) and len(detections) == 4
    np.testing.assert_array_equal(detections.xyxy, full.boxes())
    np.testing.assert_array_equal(detections.mask, full.dense())
    np.testing.assert_allclose(detections.confidence, full.scores)
    assert detections.class_id.tolist() == [1, 0, 2, 1]
    assert detections.data["class_name"].tolist() == ["a", "", "b", "a"]
    picture = np.zeros((20, 30, 3), np.uint8)
    assert supervision.MaskAnnotator().annotate(picture.copy(), squares().to_supervision()).any()
    assert len(full[[]].to_supervision()) == 0


def test_without_supervision_the_pip_command_is_named(full, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtra, match=r"pip install 'anymask\[supervision\]'"):
        full.to_supervision()


def test_repr_says_how_many_how_good_how_large(full):
    assert repr(full) == "Masks(4 masks on 30 x 20 px; score 0.90, 0.80, 0.95, ...; area 0.2%, 0.7%, 1.5%, ...)"
    assert repr(full[0]) == "Masks(1 mask on 30 x 20 px; score 0.90; area 0.2%)"


@given(st.lists(st.integers(-4, 3), max_size=8))
def test_any_choice_of_rows_keeps_parents_within_them(rows):
    masks = squares(parents=[1, 2, 3, -1])[rows]
    assert len(masks) == len(rows)
    for row, parent in enumerate(masks.parents.tolist()):
        assert parent == -1 or masks.areas()[parent] > masks.areas()[row]
