"""The exported decoder beside segment-anything's SamOnnxModel with the same random weights: one script for both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sam_cases import official_tiny, randomise

NAMES = ("image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size")

CALLS = {
    "click": ([[[40, 70], [0, 0]]], [[1, -1]], False),
    "clicks": ([[[40, 70], [90, 20], [0, 0]]], [[1, 0, -1]], False),
    "box": ([[[20, 30], [80, 100]]], [[2, 3]], False),
    "box, click and mask": ([[[20, 30], [80, 100], [50, 50]]], [[2, 3, 1]], True),
}


@pytest.fixture(scope="module")
def both(peer):
    """Our tiny SAM and the official classes with the same weights."""
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    from anymask.family.sam import tiny
    from anymask.models.card import Card

    theirs = randomise(official_tiny(peer("segment_anything.modeling")))
    ours = tiny().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    ours.card, ours.weights = replace(Card("tiny", "tiny"), build=tiny), "tiny"
    return ours, theirs


@pytest.mark.parametrize("single", [False, True])
def test_the_decoder_answers_what_the_official_export_answers(both, peer, single):
    from anymask.export.decoder import decoder_graph
    from anymask.models.onnx_files import open_session

    ours, theirs = both
    session = open_session(decoder_graph(ours, single=single).SerializeToString())
    assert [entry.name for entry in session.get_inputs()] == list(NAMES)
    official = peer("segment_anything.utils.onnx").SamOnnxModel(theirs, return_single_mask=single)
    rng = np.random.default_rng(0)
    for name, (points, labels, masked) in CALLS.items():
        for size in ((90, 140), (33, 20)):
            mask = rng.standard_normal((1, 1, 32, 32)) * 5 * masked
            values = (rng.standard_normal((1, 32, 8, 8)), points, labels, mask, [float(masked)], size)
            feeds = {key: np.asarray(value, np.float32) for key, value in zip(NAMES, values, strict=True)}
            expected = official(*(torch.from_numpy(value) for value in feeds.values()))
            found = session.run(["masks", "iou_predictions", "low_res_masks"], feeds)
            for mine, other in zip(found, expected, strict=True):
                assert mine.shape == other.shape, name
                assert np.abs(mine - other.numpy()).max() < 1e-4 * max(1.0, float(other.abs().max())), name
