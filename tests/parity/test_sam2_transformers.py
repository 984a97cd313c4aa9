"""SAM 2 on still images gives what transformers' Sam2Model gives, from the safetensors file that transformers saves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sam2_cases import SIDE, picture, relative, transformers_config

from anymask.models.load import load
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def pair(peer, noisy, tmp_path_factory):
    """(Sam2Model with noise for weights, ours from its file, which holds no memory)."""
    transformers = peer("transformers")
    theirs = noisy(transformers.Sam2Model(transformers_config(transformers, "2.1", image_only=True)))
    with torch.no_grad():
        # one matrix under two names: noise was drawn for each
        shared = theirs.shared_image_embedding.positional_embedding
        theirs.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    folder = tmp_path_factory.mktemp("hub")
    theirs.save_pretrained(folder)
    ours = load("sam2.1-tiny-test", weights=folder / "model.safetensors", device="cpu")
    assert ours.memory is None
    return theirs, ours


@pytest.mark.parametrize("size", [(90, 140), (SIDE, SIDE)], ids=str)
def test_embedding_and_answers_are_theirs(pair, size):
    theirs, ours = pair
    image = Image.open(picture(size))
    frames, (resize,) = ours.preprocess([image])
    with torch.no_grad():
        embedding = ours.encode([image])
        maps = theirs.get_image_embeddings(frames)
        for name, expected in zip(("high_res_0", "high_res_1", "image"), maps, strict=True):
            assert (embedding.tensors[name] - expected).abs().max() < TOLERANCE, name
        points = np.array([[[60.0, 40.0]], [[20.0, 70.0]]], np.float32)
        box = np.array([[30.0, 20.0, 80.0, 75.0]], np.float32)
        for multimask in (True, False):
            click = ours.decode(embedding, Prompts.of(points=points), multimask=multimask)
            other = theirs(
                image_embeddings=maps,
                input_points=torch.from_numpy(resize.points(points))[None],
                input_labels=torch.ones(1, 2, 1, dtype=torch.int32),
                multimask_output=multimask,
            )
            assert relative(click.logits, other.pred_masks[0]) < TOLERANCE
            assert (click.scores - other.iou_scores[0]).abs().max() < TOLERANCE
            # a box beside nothing else they do not pad, unlike the official code; as two points they do
            corners = torch.from_numpy(resize.boxes(box)).view(1, 1, 2, 2)
            boxed = ours.decode(embedding, Prompts.of(boxes=box), multimask=multimask)
            other = theirs(
                image_embeddings=maps,
                input_points=corners,
                input_labels=torch.tensor([[[2, 3]]], dtype=torch.int32),
                multimask_output=multimask,
            )
            assert relative(boxed.logits, other.pred_masks[0]) < TOLERANCE
