"""TinyViT has the published sizes and layout, and its shortcuts change nothing."""

from __future__ import annotations

import pytest
import torch

from anymask.family import mobile_sam
from anymask.nn.tiny_vit import Block, ConvNorm, TinyViT, WindowAttention


@pytest.fixture
def small():
    """Every part of the real one at a size that tests can afford; windows do not divide the grids."""
    torch.manual_seed(0)
    model = TinyViT((16, 32, 32, 48), (1, 1, 2, 1), (1, 2, 2, 3), (3, 3, 5, 3), out=24)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.5 if name.endswith("var") else 0.3 * torch.randn_like(tensor))
    return model


@pytest.mark.parametrize(
    ("build", "total", "encoder"),
    [
        # published totals are with a classifier of 321,640 that no code reads
        (mobile_sam.mobile_sam, 10_130_092 - 321_640, 6_065_532 - 321_640),
        (mobile_sam.lite_medsam, 9_791_300, 9_791_300 - 4_064_560),
    ],
)
def test_published_sizes(build, total, encoder):
    with torch.device("meta"):
        model = build()
    assert sum(p.numel() for p in model.parameters()) == total
    assert sum(p.numel() for p in model.image_encoder.parameters()) == encoder
    assert len(model.state_dict()) == 435


def test_published_layout():
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in mobile_sam.mobile_sam().image_encoder.state_dict().items()}
    for name, shape in {
        "patch_embed.seq.2.c.weight": (64, 32, 3, 3),
        "layers.0.blocks.1.conv2.c.weight": (256, 1, 3, 3),
        "layers.0.downsample.conv3.bn.running_var": (128,),
        "layers.1.blocks.0.attn.attention_biases": (4, 49),
        "layers.2.blocks.5.attn.attention_biases": (5, 196),
        "layers.2.blocks.5.local_conv.c.weight": (160, 1, 3, 3),
        "layers.3.blocks.1.attn.qkv.weight": (960, 320),
        "layers.3.blocks.1.mlp.fc1.weight": (1280, 320),
        "neck.2.weight": (256, 256, 3, 3),
    }.items():
        assert shapes[name] == shape
    assert not any(name.startswith(("head", "norm_head")) for name in shapes)


@pytest.mark.parametrize(("stem", "side", "grid"), [("stride-4", 112, 7), ("pointwise", 28, 7)])
def test_the_last_grid_is_a_quarter_of_the_first(stem, side, grid):
    model = TinyViT((16, 16, 16, 16), (1, 1, 1, 1), (1, 1, 1, 1), (3, 3, 3, 3), stem, out=8).eval()
    out = model(torch.randn(2, 3, side, side))
    assert out.shape == (2, 8, grid, grid) and out.is_contiguous()


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 2, 1), (3, 1, 8)])
def test_the_folded_norm_is_the_norm(kernel, stride, groups):
    layer = ConvNorm(8, 8, kernel, stride, groups)
    with torch.no_grad():
        layer.bn.running_mean.normal_()
        layer.bn.running_var.uniform_(0.5, 2)
        layer.bn.weight.normal_()
        layer.bn.bias.normal_()
    x = torch.randn(2, 8, 9, 11)
    folded = layer.eval()(x)
    assert torch.allclose(folded, layer.bn(layer.c(x)), atol=1e-5)


def test_training_updates_the_statistics_and_evaluation_does_not(small):
    mean = small.patch_embed.seq[0].bn.running_mean
    before = mean.clone()
    small.eval()(torch.randn(2, 3, 64, 64))
    assert torch.equal(mean, before)
    small.train()(torch.randn(2, 3, 64, 64))
    assert not torch.equal(mean, before)


def test_attention_is_the_formula():
    """softmax(q k / sqrt(d) + bias of the distance) v, queries, keys and values lying together head by head."""
    torch.manual_seed(0)
    layer = WindowAttention(12, 3, 4)
    torch.nn.init.normal_(layer.attention_biases)
    x = torch.randn(5, 16, 12)
    qkv = layer.qkv(layer.norm(x)).view(5, 16, 3, 12)
    heads = []
    for head in range(3):
        q, k, v = qkv[:, :, head].split(4, dim=-1)
        bias = torch.tensor(
            [
                [layer.attention_biases[head, abs(a // 4 - b // 4) * 4 + abs(a % 4 - b % 4)].item() for b in range(16)]
                for a in range(16)
            ]
        )
        heads.append((q @ k.transpose(1, 2) / 2 + bias).softmax(-1) @ v)
    assert torch.allclose(layer(x), layer.proj(torch.cat(heads, -1)), atol=1e-5)


def test_windows_do_not_see_each_other_except_through_the_convolution():
    block = Block(8, 2, 3).eval()
    torch.nn.init.zeros_(block.local_conv.c.weight)
    x = torch.randn(1, 8, 6, 6)
    other = x.clone()
    other[..., 3:, :] += 1
    assert torch.equal(block._windowed(x.permute(0, 2, 3, 1))[:, :3], block._windowed(other.permute(0, 2, 3, 1))[:, :3])


def test_a_batch_gives_what_its_pictures_give(small):
    small.eval()
    x = torch.randn(3, 3, 64, 64)
    assert torch.allclose(small(x), torch.cat([small(one[None]) for one in x]), atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_reach_every_parameter(small, training):
    small.train(training)
    small(torch.randn(2, 3, 64, 64)).square().sum().backward()
    without = [name for name, p in small.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
