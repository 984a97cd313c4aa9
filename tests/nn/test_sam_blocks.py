"""The shared blocks have the published sizes, take optional features, and stay differentiable."""

from __future__ import annotations

import pytest
import torch

from anymask.family import sam
from anymask.nn.mask_decoder import MaskDecoder
from anymask.nn.prompt_encoder import PromptEncoder
from anymask.nn.vit import ImageEncoderViT


@pytest.mark.parametrize(
    ("build", "total", "encoder", "tensors"),
    [
        (sam.vit_b, 93_735_472, 89_670_912, 314),
        (sam.vit_l, 312_342_832, 308_278_272, 482),
        (sam.vit_h, 641_090_608, 637_026_048, 594),
    ],
)
def test_published_sizes(build, total, encoder, tensors):
    with torch.device("meta"):
        model = build()
    assert sum(p.numel() for p in model.parameters()) == total
    assert sum(p.numel() for p in model.image_encoder.parameters()) == encoder
    assert len(model.state_dict()) == tensors


def test_the_decoder_has_the_published_size():
    assert sum(p.numel() for p in MaskDecoder().parameters()) == 4_058_340
    assert sum(p.numel() for p in PromptEncoder().parameters()) == 6_220


def _prompts(encoder):
    return encoder(torch.tensor([[[40.0, 50.0]], [[9.0, 9.0]]]), torch.tensor([[1], [0]]))


@pytest.fixture
def parts():
    torch.manual_seed(0)
    return PromptEncoder(32, (8, 8), (128, 128)), MaskDecoder(32, mlp_dim=64, iou_hidden=32)


def test_high_resolution_features_are_optional_and_matter(parts):
    encoder, decoder = parts
    image, prompts = torch.randn(1, 32, 8, 8), _prompts(encoder)
    plain, _ = decoder(image, encoder.dense_pe(), prompts)
    fine, middle = torch.randn(1, 4, 32, 32), torch.randn(1, 8, 16, 16)
    fused, _ = decoder(image, encoder.dense_pe(), prompts, (fine, middle))
    zero, _ = decoder(image, encoder.dense_pe(), prompts, (torch.zeros_like(fine), torch.zeros_like(middle)))
    assert plain.shape == fused.shape == (2, 4, 32, 32)
    assert not torch.allclose(plain, fused, atol=1e-3)
    torch.testing.assert_close(plain, zero, atol=1e-5, rtol=1e-4)


def test_prompt_maps_are_added_to_the_high_resolution_features(parts):
    encoder, decoder = parts
    image, prompts = torch.randn(1, 32, 8, 8), _prompts(encoder)
    fine, middle = torch.randn(1, 4, 32, 32), torch.randn(1, 8, 16, 16)
    maps = (torch.randn(2, 4, 32, 32), torch.randn(2, 8, 16, 16))
    both, _ = decoder(image, encoder.dense_pe(), prompts._replace(high_res=maps), (fine, middle))
    summed, _ = decoder(image, encoder.dense_pe(), prompts, (fine + maps[0], middle + maps[1]))
    torch.testing.assert_close(both, summed, atol=1e-5, rtol=1e-4)


def test_an_image_per_prompt_equals_one_image_repeated(parts):
    encoder, decoder = parts
    image, prompts = torch.randn(1, 32, 8, 8), _prompts(encoder)
    once, scores = decoder(image, encoder.dense_pe(), prompts)
    twice, scores_too = decoder(image.expand(2, -1, -1, -1), encoder.dense_pe(), prompts)
    torch.testing.assert_close(once, twice, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores, scores_too, atol=1e-5, rtol=1e-4)


def test_every_parameter_of_the_encoder_gets_a_gradient():
    encoder = ImageEncoderViT(64, 16, 16, 2, 2, out=8, window=3, global_blocks=(1,))
    encoder(torch.randn(2, 3, 64, 64)).square().sum().backward()
    without = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
    assert without == []


def test_every_parameter_of_the_decoder_gets_a_gradient(parts):
    encoder, decoder = parts
    encoded = encoder(
        torch.tensor([[[40.0, 50.0], [1.0, 1.0]]]),
        torch.tensor([[1, 0]]),
        torch.tensor([[5.0, 5.0, 90.0, 90.0]]),
        torch.randn(1, 1, 32, 32),
    )
    logits, scores = decoder(torch.randn(1, 32, 8, 8), encoder.dense_pe(), encoded)
    (logits.square().sum() + scores.square().sum()).backward()
    # what the prompts at hand do not use: padding points, and the embedding for "no mask"
    unused = {"not_a_point_embed.weight", "no_mask_embed.weight"}
    for part in (encoder, decoder):
        without = {name for name, parameter in part.named_parameters() if parameter.grad is None}
        assert without <= unused
