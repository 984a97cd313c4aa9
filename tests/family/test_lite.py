"""The model inside: its size, its shapes, and what its prompts do."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from anymask.family.lite import LiteModel
from anymask.models import places
from anymask.models.catalogue import card
from anymask.nn.dense_prompts import DensePromptEncoder
from anymask.nn.mask_decoder import SINGLE
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts


@pytest.fixture(scope="module")
def model() -> LiteModel:
    torch.manual_seed(0)
    built = LiteModel("lite0", dim=32, side=64).eval()
    built.card = card("anymask-lite")
    return built


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 96, 3)).astype(np.uint8)


def test_it_fits_in_25_megabytes_of_half_precision():
    built = card("anymask-lite").build()
    assert 2 * sum(tensor.numel() for tensor in built.state_dict().values()) < 25e6


def test_the_card_tells_the_truth_about_the_file_inside():
    described = card("anymask-lite")
    file = places.packaged(described.files[0])
    assert file is not None
    content = file.read_bytes()
    assert hashlib.sha256(content).hexdigest() == described.files[0].sha256
    assert len(content) == described.files[0].size < 25e6
    assert sum(p.numel() for p in described.build().parameters()) == described.parameters


def test_an_image_becomes_an_embedding_at_stride_8_and_features_at_2_and_4(model, picture):
    embedding = model.encode([Image.open(picture)])
    assert {name: tuple(tensor.shape) for name, tensor in embedding.tensors.items()} == {
        "image": (1, 32, 8, 8),
        "high_res_0": (1, 4, 32, 32),
        "high_res_1": (1, 8, 16, 16),
    }


def test_a_lone_click_gets_three_candidates_and_a_box_one(model, picture):
    with torch.no_grad():
        embedding = model.encode([Image.open(picture)])
        click = model.decode(embedding, Prompts.of(points=[20, 20]))
        box = model.decode(embedding, Prompts.of(boxes=[[10, 10, 40, 40], [0, 0, 96, 48]]))
    assert click.logits.shape == (1, 3, 32, 32) and box.logits.shape == (2, 1, 32, 32)
    assert box.upscaled().shape == (2, 1, 48, 96)
    assert ((click.scores >= 0) & (click.scores <= 1)).all()


def test_objects_in_one_call_get_what_they_get_alone(model, picture):
    boxes = np.array([[10, 10, 40, 40], [0, 0, 96, 48], [50, 5, 70, 30]], np.float32)
    with torch.no_grad():
        embedding = model.encode([Image.open(picture)])
        together = model.decode(embedding, Prompts.of(boxes=boxes)).logits
        alone = [model.decode(embedding, Prompts.of(boxes=box)).logits for box in boxes]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_autocast_by_the_caller_changes_the_answer_little(model, picture):
    with torch.inference_mode():
        embedding = model.encode([Image.open(picture)])
        expected = model.decode(embedding, Prompts.of(boxes=[10, 10, 40, 40])).logits
        with torch.autocast("cpu", torch.bfloat16):
            halved = model.decode(embedding, Prompts.of(boxes=[10, 10, 40, 40])).logits.float()
    assert (halved - expected).norm() < 0.05 * expected.norm()


def test_the_padding_is_the_colour_127(model):
    frames, _ = model.preprocess([Image.open(np.full((32, 64, 3), 127, np.uint8))])
    assert not frames.any()


def test_another_side_needs_no_other_weights(model, picture):
    model.set_side(96)
    try:
        with torch.no_grad():
            embedding = model.encode([Image.open(picture)])
            logits = model.decode(embedding, Prompts.of(points=[20, 20])).logits
    finally:
        model.set_side(64)
    assert logits.shape == (1, 3, 48, 48)


def test_prompts_are_drawn_where_they_are():
    torch.manual_seed(0)
    encoder = DensePromptEncoder(32, (8, 8), (64, 64))
    points, labels = torch.tensor([[[20.0, 44.0]]]), torch.tensor([[1]])
    with torch.no_grad():
        drawn = encoder(points, labels)
        padded = encoder(torch.tensor([[[20.0, 44.0], [50.0, 50.0]]]), torch.tensor([[1, -1]]))
        empty = encoder(points, torch.tensor([[-1]]))
    for with_point, with_padding, without in zip(drawn.high_res, padded.high_res, empty.high_res, strict=True):
        # padding draws nothing, and a point is strongest in its own cell
        torch.testing.assert_close(with_point, with_padding)
        difference = (with_point - without).abs().sum(1)[0]
        row, column = divmod(int(difference.argmax()), difference.shape[1])
        cells = difference.shape[0]
        assert (row, column) == (44 * cells // 64, 20 * cells // 64)


def test_gradients_reach_the_image_and_the_prompts(model, picture):
    frames = torch.randn(1, 3, 64, 64, requires_grad=True)
    tensors = model.encode_frames(frames)
    encoded = model.prompt_encoder(boxes=torch.tensor([[8.0, 8, 40, 40]]))
    logits, _ = model.decode_tokens(tensors, encoded, SINGLE)
    logits.sum().backward()
    assert frames.grad.abs().sum() > 0
    assert model.prompt_encoder.draw_fine.weight.grad.abs().sum() > 0
