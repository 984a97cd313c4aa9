"""MobileSAM gives what the official package gives for the same weights."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from anymask.models.catalogue import card
from anymask.models.load import load
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts

TOLERANCE = 1e-4
LOGITS = 1e-5
"""Of the largest logit."""


@pytest.fixture(scope="module")
def pair(peer, noisy, tmp_path_factory):
    """Official model with noise for weights, and ours, loaded from the file that the official class saved."""
    registry = peer("mobile_sam").sam_model_registry
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        official = noisy(registry["vit_t"]())
    path = tmp_path_factory.mktemp("mobile") / "mobile_sam.pt"
    torch.save(official.state_dict(), path)
    ours = load(weights=path)
    assert ours.card.name == "mobile-sam"
    return official, ours


@pytest.fixture(scope="module")
def scene(pair, peer):
    """A landscape picture with structure, encoded by both: (official predictor, our embedding)."""
    official, ours = pair
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:171, :260]
    waves = 127 + 80 * np.sin(x / 9)[..., None] * np.cos(y / 13)[..., None]
    picture = (waves + rng.normal(0, 20, (171, 260, 3))).clip(0, 255).astype(np.uint8)
    predictor = peer("mobile_sam").SamPredictor(official)
    with torch.no_grad():
        predictor.set_image(picture)
        return predictor, ours.encode([Image.open(picture)])


def test_the_file_that_the_official_class_saves_loads_strictly(pair):
    official, ours = pair
    theirs = {name for name in official.state_dict() if ".head." not in name and ".norm_head." not in name}
    assert theirs == set(ours.state_dict())
    # published: 10,130,092 with an ImageNet head of 321,640 that nothing reads
    assert sum(p.numel() for p in official.parameters()) == 10_130_092
    assert sum(p.numel() for p in ours.parameters()) == 10_130_092 - 321_640 == card("mobile-sam").parameters


def test_the_embedding_is_the_official_one(scene):
    predictor, embedding = scene
    image = embedding.tensors["image"]
    assert image.shape == (1, 256, 64, 64)
    assert (image - predictor.get_image_embedding()).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    "prompt",
    [
        {"points": [(60, 40)]},
        {"points": [(60, 40), (200, 150), (10, 10)], "labels": [1, 0, 1]},
        {"boxes": [30, 20, 180, 140]},
        {"boxes": [30, 20, 180, 140], "points": [(60, 40)], "labels": [0]},
    ],
    ids=["point", "points", "box", "box and point"],
)
@pytest.mark.parametrize("multimask", [True, False])
def test_logits_and_scores_are_the_official_ones(pair, scene, prompt, multimask):
    predictor, embedding = scene
    with torch.no_grad():
        ours = pair[1].decode(embedding, Prompts.of(**prompt), multimask=multimask)
    points = prompt.get("points")
    masks, scores, low_res = predictor.predict(
        point_coords=None if points is None else np.array(points, np.float64),
        point_labels=None if points is None else np.array(prompt.get("labels", [1] * len(points))),
        box=np.array(prompt["boxes"], np.float64) if "boxes" in prompt else None,
        multimask_output=multimask,
    )
    assert np.abs(ours.logits[0].numpy() - low_res).max() < LOGITS * np.abs(low_res).max()
    assert np.abs(ours.scores[0].numpy() - scores).max() < TOLERANCE
    own = (ours.upscaled()[0] > 0).numpy()
    either = (own | masks).sum()
    assert either == 0 or (own & masks).sum() / either >= 0.999
