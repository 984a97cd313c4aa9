"""The lean CPU paths give the plain modules' numbers, whatever the shapes, and step aside when gradients are wanted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from anymask.nn import cpu, fast_decoder
from anymask.nn.dense_prompts import DensePromptEncoder
from anymask.nn.mask_decoder import ALL, CANDIDATES, SINGLE, MaskDecoder
from anymask.nn.prompt_encoder import PromptEncoder
from anymask.nn.vit import ImageEncoderViT


def noisy(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.2)
    return module.eval()


@pytest.fixture
def both(monkeypatch):
    """Calls a function on the plain path and on the lean one."""

    def run(function):
        with torch.no_grad():
            monkeypatch.setenv("ANYMASK_FAST", "0")
            plain = function()
            monkeypatch.setenv("ANYMASK_FAST", "1")
            return plain, function()

    torch.manual_seed(0)
    return run


# the grid is side / 16: windows that divide it, that do not, that are larger, and rows that QUERIES does not divide
@pytest.mark.parametrize(
    ("side", "window", "queries", "chunk"), [(128, 4, 256, 1024), (160, 3, 30, 7), (112, 14, 21, 64), (80, 2, 1, 3)]
)
@pytest.mark.parametrize("batch", [1, 2])
def test_encoder_equals_the_plain_one(both, monkeypatch, side, window, queries, chunk, batch):
    monkeypatch.setattr("anymask.nn.fast_vit.QUERIES", queries)
    monkeypatch.setattr("anymask.nn.fast_vit.CHUNK", chunk)
    encoder = noisy(ImageEncoderViT(side, 16, 24, 3, 3, out=8, window=window, global_blocks=(1,)))
    frames = torch.randn(batch, 3, side, side)
    plain, lean = both(lambda: encoder(frames))
    torch.testing.assert_close(lean, plain, atol=2e-5, rtol=1e-4)


def test_encoder_in_bfloat16_is_nearer_to_float32_than_autocast_is(both):
    encoder = noisy(ImageEncoderViT(128, 16, 64, 4, 2, out=16, window=3, global_blocks=(1, 3)))
    frames = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        exact = encoder(frames)

    def half():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return encoder(frames).float()

    autocast, lean = both(half)
    assert (lean - exact).norm() < (autocast - exact).norm()
    assert (lean - exact).norm() / exact.norm() < 0.01


PARTS = {
    "sam": lambda: (PromptEncoder(64, (8, 8), (128, 128)), MaskDecoder(64, mlp_dim=128, iou_hidden=64), False),
    "lite": lambda: (
        DensePromptEncoder(64, (8, 8), (64, 64)),
        MaskDecoder(64, mlp_dim=128, iou_hidden=64, sigmoid_iou=True),
        True,
    ),
}


def prompts(encoder, kind, count):
    points = torch.rand(count, 2, 2) * 60
    labels = torch.ones(count, 2, dtype=torch.long)
    boxes = torch.tensor([[5.0, 6.0, 50.0, 40.0]]).repeat(count, 1)
    mask = torch.randn(count, 1, 32, 32)
    with torch.no_grad():
        return {
            "points": lambda: encoder(points, labels),
            "box": lambda: encoder(boxes=boxes),
            "mask": lambda: encoder(masks=mask),
            "all": lambda: encoder(points, labels, boxes, mask),
        }[kind]()


@pytest.mark.parametrize("kind", ["points", "box", "mask", "all"])
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("answers", [ALL, SINGLE, CANDIDATES])
def test_decoder_equals_the_plain_one(both, name, kind, count, answers):
    encoder, decoder, fine = PARTS[name]()
    encoded = prompts(noisy(encoder), kind, count)
    assert fast_decoder.suits(noisy(decoder), encoded.sparse)
    image = torch.randn(1, 64, 8, 8)
    high_res = (torch.randn(1, 8, 32, 32), torch.randn(1, 16, 16, 16)) if fine else None
    pe = encoder.dense_pe()
    plain, lean = both(lambda: decoder(image, pe, encoded, high_res, answers))
    torch.testing.assert_close(lean[0], plain[0], atol=1e-5 * float(plain[0].abs().max()), rtol=1e-4)
    torch.testing.assert_close(lean[1], plain[1], atol=1e-5, rtol=1e-4)


def test_an_image_of_its_own_for_each_prompt(both):
    encoder, decoder, _ = PARTS["sam"]()
    encoded = prompts(noisy(encoder), "points", 5)
    image = torch.randn(5, 64, 8, 8)
    noisy(decoder)
    plain, lean = both(lambda: decoder(image, encoder.dense_pe(), encoded))
    torch.testing.assert_close(lean[0], plain[0], atol=1e-4, rtol=1e-4)


def test_many_points_take_the_plain_form(both):
    encoder, decoder, _ = PARTS["sam"]()
    with torch.no_grad():
        encoded = noisy(encoder)(torch.rand(2, 30, 2) * 100, torch.ones(2, 30, dtype=torch.long))
    assert not fast_decoder.suits(decoder, encoded.sparse)
    image = torch.randn(1, 64, 8, 8)
    plain, lean = both(lambda: decoder(image, encoder.dense_pe(), encoded))
    torch.testing.assert_close(lean[0], plain[0])


def test_gradients_take_the_plain_path():
    encoder = noisy(ImageEncoderViT(64, 16, 16, 2, 2, out=8, window=3, global_blocks=(1,)))
    frames = torch.randn(1, 3, 64, 64, requires_grad=True)
    encoder(frames).sum().backward()
    assert frames.grad is not None and frames.grad.abs().sum() > 0


def test_changed_weights_are_noticed():
    encoder = noisy(ImageEncoderViT(64, 16, 16, 2, 2, out=8, window=3, global_blocks=(1,)))
    frames = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = encoder(frames)
        encoder.blocks[0].attn.qkv.weight.mul_(2)
        after = encoder(frames)
    assert not torch.allclose(before, after)


def test_positions_of_the_grid_follow_their_matrix_and_the_size():
    encoder = PromptEncoder(16, (4, 6), (64, 96))
    matrix = encoder.pe_layer.positional_encoding_gaussian_matrix
    with torch.inference_mode():
        first = encoder.dense_pe()
        assert encoder.dense_pe().data_ptr() == first.data_ptr()
    assert not first.is_inference()
    encoder.load_state_dict({key: value + 1 for key, value in encoder.state_dict().items()})
    torch.testing.assert_close(encoder.dense_pe()[0], encoder.pe_layer._centres((4, 6)))
    assert not torch.allclose(encoder.dense_pe(), first)
    assert encoder.pe_layer.grid((3, 5)).shape == (16, 3, 5)
    assert encoder.double().dense_pe().dtype == torch.float64
    assert encoder.pe_layer.positional_encoding_gaussian_matrix is not matrix


def test_threads_do_not_share_working_memory():
    encoder = noisy(ImageEncoderViT(128, 16, 24, 3, 3, out=8, window=3, global_blocks=(1,)))
    frames = [torch.randn(1, 3, 128, 128) for _ in range(8)]

    def encode(frame):
        with torch.no_grad():
            return encoder(frame)

    alone = [encode(frame) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(encode, frames))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other)


@pytest.fixture
def fresh():
    """Nothing measured before, and nothing remembered of what the test broke."""
    cpu._onednn_wins.cache_clear()
    yield
    cpu._onednn_wins.cache_clear()


@pytest.mark.parametrize("wins", [True, False])
@pytest.mark.parametrize("rows", [50, 64, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_matrix_products_give_the_layer(monkeypatch, wins, rows, dtype):
    if wins and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no oneDNN linear operator")
    monkeypatch.setattr(cpu, "_onednn_wins", lambda *_: wins)
    x, weight, bias = (torch.randn(shape).to(dtype) for shape in ((50, 24), (40, 24), (40,)))
    expected = torch.nn.functional.linear(x.float(), weight.float(), bias.float())
    tolerance = {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.1, "rtol": 0.02}
    with torch.no_grad():
        for form in (weight, cpu.packed(weight, rows)):
            out = torch.empty(50, 40, dtype=dtype)
            cpu.linear_into(out, x, form, bias)
            torch.testing.assert_close(out.float(), expected, **tolerance)
            gelu = cpu.linear(x, form, bias, gelu=True)
            torch.testing.assert_close(gelu.float(), torch.nn.functional.gelu(expected), **tolerance)


@pytest.mark.parametrize("missing", ["_onednn_linear", "_onednn_packed"])
@pytest.mark.parametrize("measured", [True, False])
def test_a_torch_without_the_private_operators_still_works(monkeypatch, fresh, missing, measured):
    def absent(*_):
        raise AttributeError("no such operator")

    monkeypatch.setattr(cpu, missing, absent)
    assert not cpu._onednn_wins(torch.float32, 1, measured)


def test_an_operator_that_answers_wrongly_is_not_trusted(monkeypatch, fresh):
    monkeypatch.setattr(
        cpu, "_onednn_linear", lambda x, weight, bias, gelu: cpu._torch_linear(x, weight, bias, gelu) + 1
    )
    monkeypatch.setattr(cpu, "_onednn_packed", lambda weight, rows: weight)
    monkeypatch.setenv("ANYMASK_FAST", "1")
    assert not cpu._takes_onednn(torch.float32)


def test_an_operator_that_is_no_faster_is_not_taken(monkeypatch, fresh):
    monkeypatch.setattr(cpu, "fastest", lambda _: [1.0, 1.0])
    monkeypatch.setenv("ANYMASK_FAST", "auto")
    assert not cpu._takes_onednn(torch.float32)
