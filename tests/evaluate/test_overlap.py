"""Mask and boundary IoU against the golden figures and arithmetic."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anymask.errors import BadSetting
from anymask.evaluate.overlap import band, boundary_iou, iou
from anymask.masks.rle import checked, decode_one


def masks(rles):
    return np.stack([decode_one(checked(rle)) for rle in rles])


def test_mask_iou_is_the_golden_one(shared):
    cases = json.loads((shared / "data/golden/mask_iou.json").read_text())["cases"]
    for case in cases:
        if case["dt"] and case["gt"]:
            found = iou(masks(one["rle"] for one in case["dt"])[:, None], masks(one["rle"] for one in case["gt"])[None])
            plain = ~np.array(case["iscrowd"], bool)
            assert found[:, plain] == pytest.approx(np.array(case["mask_iou"])[:, plain], abs=1e-9)


def test_boundary_iou_is_the_golden_one(shared):
    cases = json.loads((shared / "data/golden/boundary_iou.json").read_text())["cases"]
    assert len(cases) == 6
    for case in cases:
        answer, truth = masks([case["dt"], case["gt"]])
        width = case["dilation_px"]
        assert band(answer, width).sum() == case["dt_boundary_pixels"]
        assert band(truth, width).sum() == case["gt_boundary_pixels"]
        assert boundary_iou(answer, truth, case["dilation_ratio"]) == pytest.approx(case["boundary_iou"], abs=1e-12)
        assert iou(answer, truth) == pytest.approx(case["mask_iou"], abs=1e-12)


def test_the_band_of_a_square_is_its_frame_also_at_the_image_border():
    mask = np.zeros((100, 100), bool)
    mask[:20, 30:60] = True
    found = band(mask, 3)
    assert found.sum() == 20 * 30 - 14 * 24
    assert found[0, 45] and not found[3, 45] and not found[10, 45]


def test_many_masks_at_once_give_what_each_gives_alone():
    rng = np.random.default_rng(0)
    some = rng.random((2, 3, 60, 80)) > 0.4
    truth = rng.random((2, 1, 60, 80)) > 0.4
    found = boundary_iou(some, truth)
    assert found.shape == (2, 3)
    assert found[1, 2] == boundary_iou(some[1, 2], truth[1, 0])


def test_empty_masks_have_0_and_a_band_must_be_a_share():
    empty = np.zeros((20, 20), bool)
    assert boundary_iou(empty, empty) == 0 and iou(empty, empty) == 0
    with pytest.raises(BadSetting, match="share of the diagonal"):
        boundary_iou(empty, empty, 2)


def test_stability_is_the_golden_one(shared):
    import torch

    from anymask.pixels.resize import Resize
    from anymask.session.full_size import FullSize

    golden = json.loads((shared / "data/golden/stability_score.json").read_text())
    for logits, expected in zip(golden["logits"], golden["stability"], strict=True):
        values = torch.tensor(logits)
        size = (values.shape[0], values.shape[1])
        full = FullSize(Resize(size, size, size), size, threshold=golden["mask_threshold"], offset=golden["offset"])
        assert full.look_at(values).stability == pytest.approx(expected, abs=1e-7)
