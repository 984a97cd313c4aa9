"""YOLO: what its readers see of masks with holes and several parts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import supervision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anymask import Masks
from anymask.errors import BadSetting
from anymask.masks.rle import encode_one
from anymask.records import ImageRef, Record, yolo
from anymask.records.rings import filled, ring

SPLIT = {0, 3, 7}
"""Rows of the awkward masks that are in several pieces; row 5 is empty."""


def pieces(mask):
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


def test_supervision_sees_the_same_pixels(record, empty, dense, run):
    out = run("yolo", {"Straße 1": record, "none": empty})
    data = supervision.DetectionDataset.from_yolo(str(out / "images"), str(out / "labels"), str(out / "data.yaml"))
    assert data.classes == ["object"] and len(data) == 2
    seen = {path.rsplit("/", 1)[1]: found for path, _, found in data}
    assert len(seen["none.png"]) == 0
    rows = [row for row in range(10) if row != 5]
    masks = seen["Straße 1.png"].mask
    assert len(masks) == len(rows)
    for row, mask in zip(rows, masks, strict=True):
        if row not in SPLIT:
            np.testing.assert_array_equal(mask, dense[row])
        else:
            # one line more for each cut between parts, never a pixel less
            assert mask[dense[row]].all() and (mask & ~dense[row]).sum() <= (pieces(dense[row]) - 1) * 64
    assert not masks[1][30:36, 40:50].any() and not masks[1][40, 60]


def test_readers_that_cut_digits_off_see_the_same(record, dense, run):
    """ultralytics' polygons: float32 numbers times the size, cut to whole ones, filled by OpenCV."""
    lines = (run("yolo", {"x": record}) / "labels/x.txt").read_text().splitlines()
    for line, row in zip(lines, [row for row in range(10) if row != 5], strict=True):
        number, *shares = line.split()
        corners = np.array(shares, np.float32).reshape(-1, 2) * np.array([64, 48], np.float32)
        seen = np.zeros((48, 64), np.uint8)
        cv2.fillPoly(seen, [corners.astype(np.int32)], 1)
        assert number == "0" and ((np.array(shares, float) >= 0) & (np.array(shares, float) < 1)).all()
        if row not in SPLIT:
            np.testing.assert_array_equal(seen, dense[row])


def test_the_own_reader_gives_records(record, empty, dense, run):
    out = run(yolo.Yolo(("cat", "object")), {"a.b": record, "b": empty})
    first, second = yolo.read(out / "data.yaml")
    assert first.image.path.endswith("images/a.b.png") and len(second.masks) == 0
    np.testing.assert_array_equal(first.masks.dense()[1], dense[1])
    assert first.masks.labels == (None,) * 9


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 9).map(bool)))
def test_a_line_filled_gives_the_mask_back(mask):
    seen = filled(ring(encode_one(mask)), mask.shape)
    assert (seen & mask).sum() == mask.sum()
    if pieces(mask) <= 1:
        np.testing.assert_array_equal(seen, mask)


def test_large_canvases_keep_their_pixels():
    for column in (0, 1, 9_999, 19_998, 19_999):
        one = np.zeros((2, 20_000), bool)
        one[1, column] = True
        text = yolo.as_text(Record(ImageRef(None, (2, 20_000)), Masks.from_dense(one)))
        corner = np.array(text.split()[1:3], np.float32) * np.array([20_000, 2], np.float32)
        assert corner.astype(int).tolist() == np.round(corner).astype(int).tolist() == [column, 1]


@pytest.mark.parametrize(
    "line",
    [
        "x 0 0 1 1 0 1",
        "0 0 0 1 1 0",
        "0 0 0 1 1",
        "3 0 0 1 1 0 1",
        "0 0 0 1 nan 0 1",
        "0 0 0 1 77 0 1",
        "0 a b c d e f",
    ],
)
def test_damaged_labels_are_refused_by_name_and_line(line, record, run):
    out = run("yolo", {"x": record})
    (out / "labels/x.txt").write_text("0 0 0 1 0 1 1\n" + line + "\n")
    with pytest.raises(BadSetting, match=r"x\.txt, line 2"):
        list(yolo.read(out / "data.yaml"))


@pytest.mark.parametrize(
    "text", ["", "[]", "names: 3", "train: images", "names: [a]\ntrain: {a: 1}", "a: [", "names: {b: c}"]
)
def test_damaged_descriptions_are_refused_by_name(text, record, run):
    out = run("yolo", {"x": record})
    (out / "data.yaml").write_text(text)
    with pytest.raises(BadSetting, match=r"data\.yaml"):
        list(yolo.read(out / "data.yaml"))


def test_missing_folders_and_damaged_pictures_are_named(record, run):
    out = run("yolo", {"x": record})
    (out / "images/y.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(BadSetting, match=r"y\.png is damaged"):
        list(yolo.read(out / "data.yaml"))
    (out / "data.yaml").write_text("train: nowhere\nnames: [object]\n")
    with pytest.raises(BadSetting, match="nowhere, which is not there"):
        list(yolo.read(out / "data.yaml"))
