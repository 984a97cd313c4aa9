"""Everything mode against segment-anything's own generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from everything_cases import blobs, differences, official, ours, rounded
from sam_cases import official_tiny, picture, randomise

from anymask.compat.segment_anything import SamAutomaticMaskGenerator
from anymask.models.load import load

CASES = {
    "defaults": {},
    "crops": {"crop_n_layers": 1},
    "two layers, fewer points": {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2, "crop_overlap_ratio": 0.2},
    "specks removed": {"crop_n_layers": 1, "min_mask_region_area": 60},
    "loose": {"pred_iou_thresh": 0.6, "stability_score_thresh": 0.5, "box_nms_thresh": 0.9, "points_per_batch": 7},
    "no filters": {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "stability_score_offset": 0.5},
    "strict crops": {"crop_n_layers": 1, "crop_nms_thresh": 0.3, "stability_score_thresh": 0.97},
}


@pytest.mark.parametrize("size", [(150, 220), (230, 130)])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_equal_logits_give_equal_records(peer, options, size):
    package = peer("segment_anything")
    pixels, answers = picture(size), rounded(blobs())
    settings = {"points_per_side": 8, **options}
    records = official(package, pixels, answers, **settings)
    assert len(records) > 5
    assert differences(records, ours(pixels, answers, **settings), size) == []


def test_noise_from_a_network_with_random_weights_gives_equal_records(peer):
    """Signs change at every other pixel; nothing is smooth."""
    package = peer("segment_anything")
    random = np.random.default_rng(0)
    logits, scores = random.normal(0, 0.6, (25, 3, 64, 64)).astype(np.float32), random.random((25, 3), np.float32)

    def answers(size, points):
        rows = (np.floor(points[:, 1] * 5) * 5 + np.floor(points[:, 0] * 5)).astype(int)
        return logits[rows], scores[rows]

    settings = {"points_per_side": 5, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.0, "box_nms_thresh": 0.999}
    records = official(package, picture((120, 160)), answers, **settings)
    assert len(records) >= 1
    assert differences(records, ours(picture((120, 160)), answers, **settings), (120, 160)) == []


@pytest.fixture(scope="module")
def both(peer, tmp_path_factory):
    """The same random weights in the official class and in ours."""
    package = peer("segment_anything")
    theirs = randomise(official_tiny(peer("segment_anything.modeling")))
    path = tmp_path_factory.mktemp("official") / "tiny.pth"
    torch.save(theirs.state_dict(), path)
    return package, theirs, load(weights=path, device="cpu")


def test_the_whole_generator_finds_what_the_official_one_finds(both):
    package, theirs, mine = both
    pixels = picture((96, 128))
    # random weights answer with the whole picture nearly always, so nothing is suppressed
    settings = {
        "points_per_side": 6, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.1, "stability_score_offset": 0.05,
        "box_nms_thresh": 1.0, "crop_nms_thresh": 1.0, "crop_n_layers": 1,
    }  # fmt: skip

    def order(records):
        # scores that agree to rounding may change places
        return sorted(records, key=lambda one: (one["crop_box"], one["point_coords"], one["predicted_iou"]))

    with torch.no_grad():
        expected = package.SamAutomaticMaskGenerator(theirs, **settings).generate(pixels)
    records = SamAutomaticMaskGenerator(mine, **settings).generate(pixels)
    assert len(records) == len(expected) > 5
    for record, other in zip(order(records), order(expected), strict=True):
        assert list(record) == list(other)
        # the networks agree to rounding, so single pixels whose logit is nearly zero may differ
        assert (record["segmentation"] != other["segmentation"]).mean() < 1e-3
        assert record["point_coords"] == other["point_coords"]
        assert record["crop_box"] == other["crop_box"]
        assert record["predicted_iou"] == pytest.approx(other["predicted_iou"], abs=1e-4)


@pytest.mark.parametrize("mode", ["binary_mask", "uncompressed_rle", "coco_rle"])
def test_output_modes_have_the_official_types(both, mode):
    package, theirs, mine = both
    pixels = picture((60, 80))
    settings = {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "output_mode": mode}
    with torch.no_grad():
        expected = package.SamAutomaticMaskGenerator(theirs, **settings).generate(pixels)
    for record, other in zip(SamAutomaticMaskGenerator(mine, **settings).generate(pixels), expected, strict=True):
        assert {key: type(value) for key, value in record.items()} == {key: type(other[key]) for key in record}
        assert [type(value) for value in record["bbox"]] == [type(value) for value in other["bbox"]]
        if mode == "binary_mask":
            assert record["segmentation"].dtype == other["segmentation"].dtype
            assert record["segmentation"].shape == (60, 80)
        else:
            assert type(record["segmentation"]["counts"]) is type(other["segmentation"]["counts"])
