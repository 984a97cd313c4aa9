"""SAM 2's trunk and memory attention give without gradients, on lean paths, what the plain modules give."""

from __future__ import annotations

import pytest
import torch

from anymask.family.sam2.model import Sam2Encoder, for_tests
from anymask.nn import fast_attention
from anymask.nn.fpn_neck import kept_sine_positions
from anymask.nn.hiera import Hiera
from anymask.nn.memory_attention import MemoryAttention, Remembered

TOLERANCE = 2e-5


def shaken(module):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def agree(plain, lean):
    return float((plain.detach() - lean).abs().max() / plain.detach().abs().max()) < TOLERANCE


@pytest.mark.parametrize(
    "trunk",
    [
        for_tests().image_encoder.trunk,
        # windows that fit everywhere, and a stage that begins with a block over the whole grid
        Hiera(32, 2, (1, 1, 2, 1), (8, 4, 4, 2), (2,), (7, 7)),
    ],
    ids=["padded windows", "pooled whole grid"],
)
def test_frames_are_encoded_the_same(trunk):
    encoder = shaken(Sam2Encoder(trunk, 64))
    frames = torch.randn(2, 3, 128, 128)
    plain = encoder(frames)
    assert plain["image"].requires_grad
    for _ in range(2):
        with torch.no_grad():
            lean = encoder(frames)
        assert all(agree(plain[name], lean[name]) for name in plain)
    # kept positions follow their tables
    with torch.no_grad():
        encoder.trunk.pos_embed.mul_(3)
        lean = encoder(frames)
    assert agree(encoder(frames)["image"], lean["image"]) and not agree(plain["image"], lean["image"])


@pytest.mark.parametrize("keys", [64, 100, 4096])
@pytest.mark.parametrize(("cells", "pointers"), [(2, 0), (0, 8), (3, 12)])
def test_memories_are_read_the_same(monkeypatch, keys, cells, pointers):
    monkeypatch.setattr(fast_attention, "KEYS", keys)
    monkeypatch.setattr(fast_attention, "QUERIES", 40)
    attention = shaken(MemoryAttention(64, 32, 2, 96))
    image, places = torch.randn(1, 64, 7, 9), kept_sine_positions((7, 9), 64, torch.device("cpu"))
    tokens = 63 * cells + pointers
    # far apart, so that some pieces of the keys weigh next to nothing
    remembered = Remembered(9 * torch.randn(3, tokens, 32), torch.randn(3, tokens, 32), 63 * cells)
    plain = attention(image, places, remembered)
    with torch.no_grad():
        lean = attention(image, places, remembered)
    assert plain.shape == (3, 64, 7, 9) and agree(plain, lean)


def test_a_part_that_was_exchanged_is_not_passed_by():
    attention = shaken(MemoryAttention(64, 32, 1, 96))
    image, places = torch.randn(1, 64, 4, 4), kept_sine_positions((4, 4), 64, torch.device("cpu"))
    remembered = Remembered(torch.randn(1, 16, 32), torch.randn(1, 16, 32), 16)
    with torch.no_grad():
        before = attention(image, places, remembered)
        attention.layers[0].linear1.register_forward_hook(lambda module, given, out: 0 * out)
        assert not agree(before, attention(image, places, remembered))
