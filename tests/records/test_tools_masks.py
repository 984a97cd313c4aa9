"""Masks in the codings of Label Studio and CVAT, read and written by their own packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anymask.errors import BadSetting
from anymask.records.brush_rle import brush_rle, read_brush_rle
from anymask.records.cvat_mask import cvat_points, read_cvat_points


def official(package: str, file: str):
    """A file of a package whose __init__ would ask for everything that its web client needs."""
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not installed (tests/peers.txt)")
    path = Path(next(iter(found.submodule_search_locations))) / file
    spec = importlib.util.spec_from_file_location(f"official_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def disc(height=40, width=60):
    y, x = np.mgrid[:height, :width]
    return (x - 25) ** 2 + (y - 18) ** 2 < 200


masks = st.integers(0, 2**32 - 1).flatmap(
    lambda seed: st.tuples(st.integers(1, 40), st.integers(1, 70), st.floats(0, 1)).map(
        lambda shape: np.random.default_rng(seed).random(shape[:2]) < shape[2]
    )
)


@settings(max_examples=40, deadline=None)
@given(masks)
def test_brush_labels_come_back(mask):
    assert (read_brush_rle(brush_rle(mask), mask.shape) == mask).all()


@settings(max_examples=40, deadline=None)
@given(masks)
def test_cvat_masks_come_back(mask):
    if mask.any():
        assert (read_cvat_points(cvat_points(mask), mask.shape) == mask).all()


def test_label_studio_reads_and_writes_the_same():
    brush = official("label_studio_sdk", "converter/brush.py")
    mask = np.zeros((700, 900), bool)
    mask[:40, :60] = disc()
    mask[300:, 100:] = True
    ours = brush_rle(mask)
    assert brush.decode_rle(ours).reshape(*mask.shape, 4)[..., 3].astype(bool).tolist() == mask.tolist()
    theirs = brush.mask2rle(mask.astype(np.uint8) * 255)
    assert (read_brush_rle(theirs, mask.shape) == mask).all()
    assert len(ours) <= len(theirs) + 1


def test_cvat_reads_and_writes_the_same():
    official_masks = official("cvat_sdk", "masks.py")
    for mask in (disc(), ~disc(), np.eye(7, dtype=bool)):
        assert cvat_points(mask) == official_masks.encode_mask(mask)
        height, width = mask.shape
        back = official_masks.decode_mask(cvat_points(mask), image_width=width, image_height=height)
        assert (back == mask).all()


def test_broken_codings_are_refused_with_a_sentence():
    good = brush_rle(disc())
    for rle in (good[:-3], good[:4], [1, 2, 3], [], [999], ["x"]):
        with pytest.raises(BadSetting, match="no brush label"):
            read_brush_rle(rle, (40, 60))
    with pytest.raises(BadSetting, match="9600"):
        read_brush_rle(good, (40, 61))
    for points in ([], [1, 2, 3], [3, 0, 0, 0, 0], [1, 0, 0, 99, 0], [0.5, 1, 0, 0, 1], [float("nan")] * 6):
        with pytest.raises(BadSetting):
            read_cvat_points(points, (40, 60))
    with pytest.raises(BadSetting, match="empty"):
        cvat_points(np.zeros((3, 3), bool))
