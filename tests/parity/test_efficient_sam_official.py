"""EfficientSAM gives what its published code gives for the same weights.

The code is on no registry; with a checkout of yformer/EfficientSAM on PYTHONPATH these tests run.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anymask.models.load import load
from anymask.nn.mask_decoder import CANDIDATES, SINGLE
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts

TOLERANCE = 1e-4
LOGITS = 1e-5
"""Of the largest logit."""


@pytest.fixture(scope="module")
def pair(peer, noisy, tmp_path_factory):
    """Official ViT-Ti with noise for weights, and ours from the file that it saves."""
    build = peer("efficient_sam.efficient_sam").build_efficient_sam
    official = noisy(build(encoder_patch_embed_dim=192, encoder_num_heads=3))
    path = tmp_path_factory.mktemp("efficient") / "efficient_sam_vitt.pt"
    torch.save({"model": official.state_dict()}, path)
    ours = load(weights=path, device="cpu")
    assert ours.card.name == "efficient-sam-ti"
    return official, ours


@pytest.fixture(scope="module")
def scene(pair):
    """A landscape picture's frame and embedding by the official code, and our embedding of it."""
    official, ours = pair
    y, x = np.mgrid[:171, :260]
    waves = 127 + 80 * np.sin(x / 9)[..., None] * np.cos(y / 13)[..., None]
    picture = (waves + np.random.default_rng(3).normal(0, 20, (171, 260, 3))).clip(0, 255).astype(np.uint8)
    image = Image.open(picture)
    with torch.no_grad():
        frame = official.preprocess(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)
        theirs = official.image_encoder(frame)
        embedding = ours.encode([image])
    return frame, theirs, embedding


def test_frame_and_embedding_are_the_official_ones(pair, scene):
    frame, theirs, embedding = scene
    _, ours = pair
    with torch.no_grad():
        assert (ours.image_encoder(frame) - theirs).abs().max() < TOLERANCE
    # the official code scales floats, ours whole numbers
    assert (embedding.tensors["image"] - theirs).abs().mean() < 0.01


@pytest.mark.parametrize(
    ("prompt", "points", "labels"),
    [
        ({"points": [(60, 40)]}, [[60, 40]], [1]),
        ({"points": [(60, 40), (200, 150)], "labels": [1, 0]}, [[60, 40], [200, 150]], [1, 0]),
        ({"boxes": [30, 20, 180, 140]}, [[30, 20], [180, 140]], [2, 3]),
        (
            {"boxes": [30, 20, 180, 140], "points": [(60, 40)], "labels": [0]},
            [[60, 40], [30, 20], [180, 140]],
            [0, 2, 3],
        ),
    ],
    ids=["point", "points", "box", "box and point"],
)
@pytest.mark.parametrize("multimask", [True, False])
def test_logits_and_scores_are_the_official_ones(pair, scene, prompt, points, labels, multimask):
    official, ours = pair
    _, theirs, embedding = scene
    asked = (torch.tensor(points)[None, None].float(), torch.tensor(labels)[None, None].float())
    with torch.no_grad():
        logits, scores = official.predict_masks(theirs, *asked, multimask, 171, 260)
        encoded = ours.encode_prompts(Prompts.of(**prompt), embedding.resize[0])
        found, sure = ours.decode_tokens({"image": theirs}, encoded, CANDIDATES if multimask else SINGLE)
    assert (found[0] - logits[0, 0]).abs().max() < LOGITS * logits.abs().max()
    assert (sure[0] - scores[0, 0]).abs().max() < TOLERANCE
