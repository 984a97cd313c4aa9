"""Many prompts on one image: the lean decoder gives the plain modules' masks, however prompts are grouped and drawn."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch

from anymask.family.lite import LiteModel
from anymask.models.interface import UNWANTED, Decoded
from anymask.nn import fast_decoder, fast_low_rank, fast_prepared, fast_upscale
from anymask.nn.dense_prompts import DensePromptEncoder, UndrawnPrompts
from anymask.nn.fast_cells import weighted
from anymask.nn.mask_decoder import ALL, CANDIDATES, SINGLE, MaskDecoder, Wanted
from anymask.nn.prompt_encoder import EncodedPrompts, PromptEncoder
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts

GRID = (12, 20)
FRAME = (96, 160)


def noisy(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.2)
    return module.eval()


@pytest.fixture
def parts():
    torch.manual_seed(0)
    encoder = noisy(DensePromptEncoder(32, GRID, FRAME))
    decoder = noisy(MaskDecoder(32, heads=4, mlp_dim=64, iou_hidden=32, sigmoid_iou=True))
    image = torch.randn(1, 32, *GRID)
    high_res = (torch.randn(1, 4, 4 * GRID[0], 4 * GRID[1]), torch.randn(1, 8, 2 * GRID[0], 2 * GRID[1]))
    with torch.no_grad():
        yield encoder, decoder, image, high_res


def given(kind, count):
    """points, labels, boxes, masks"""
    points = torch.rand(count, 2, 2) * torch.tensor([FRAME[1], FRAME[0]])
    labels = torch.tensor([[1, 0]]).repeat(count, 1)
    corner = torch.rand(count, 2) * 60
    boxes = torch.cat([corner, corner + 1 + torch.rand(count, 2) * 35], 1)
    edges = torch.tensor([[0.0, 0], [FRAME[1] - 1, FRAME[0] - 1], [0, FRAME[0] - 1], [-50, 300]])
    masks = torch.randn(count, 1, 4 * GRID[0], 4 * GRID[1])
    return {
        "one point": (points[:, :1], labels[:, :1], None, None),
        "two points": (points, labels, None, None),
        "alike": (torch.full((count, 2, 2), 40.0), torch.ones(count, 2, dtype=torch.long), None, None),
        "edges": (edges.repeat(count, 1)[:count, None], labels[:, :1], None, None),
        "padding": (points, torch.tensor([[-1, -1]]).repeat(count, 1), None, None),
        "boxes": (None, None, boxes, None),
        "points and boxes": (points, labels, boxes, None),
        "masks": (points, labels, None, masks),
        "masks alone": (None, None, None, masks),
    }[kind]


KINDS = ("one point", "two points", "alike", "edges", "padding", "boxes", "points and boxes", "masks", "masks alone")


def same(ours, plain):
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max()), rtol=1e-4)


def plainly(monkeypatch, call):
    with monkeypatch.context() as patch:
        patch.setenv("ANYMASK_FAST", "0")
        return call()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3, 4, 9, 17])
def test_masks_are_those_of_the_plain_decoder(parts, monkeypatch, kind, count):
    encoder, decoder, image, high_res = parts
    prompts = given(kind, count)
    plain = plainly(monkeypatch, lambda: decoder(image, encoder.dense_pe(), encoder(*prompts), high_res, CANDIDATES))
    undrawn = encoder.undrawn(*prompts)
    assert isinstance(undrawn, UndrawnPrompts) == (prompts[3] is None)
    same(decoder(image, encoder.dense_pe(), undrawn, high_res, CANDIDATES), plain)


@pytest.mark.parametrize("answers", [ALL, SINGLE, CANDIDATES])
@pytest.mark.parametrize("fine", [True, False])
@pytest.mark.parametrize("kind", ["one point", "masks"])
def test_answers_with_and_without_fine_features(parts, monkeypatch, answers, fine, kind):
    encoder, decoder, image, high_res = parts
    sparse, dense, maps = encoder(*given(kind, 6))
    if kind == "one point":
        dense, maps = dense[:1], None
    prompts = EncodedPrompts(sparse, dense, maps if fine else None)
    arguments = image, encoder.dense_pe(), prompts, high_res if fine else None, answers
    same(decoder(*arguments), plainly(monkeypatch, lambda: decoder(*arguments)))


def test_groups_give_what_prompts_alone_give(parts, monkeypatch):
    encoder, decoder, image, high_res = parts
    prompts = given("one point", 11)
    together = decoder(image, encoder.dense_pe(), encoder.undrawn(*prompts), high_res)
    monkeypatch.setattr(fast_decoder, "GROUP", 3)
    same(decoder(image, encoder.dense_pe(), encoder.undrawn(*prompts), high_res), together)
    for row in range(11):
        alone = encoder.undrawn(prompts[0][row : row + 1], prompts[1][row : row + 1])
        same(decoder(image, encoder.dense_pe(), alone, high_res), [answer[row : row + 1] for answer in together])


def test_drawing_is_left_to_the_decoder_only_where_nobody_would_notice(parts, monkeypatch):
    encoder, *_ = parts
    prompts = given("one point", 2)
    with torch.enable_grad():
        assert encoder.undrawn(*prompts).dense.requires_grad
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert isinstance(encoder.undrawn(*prompts), EncodedPrompts)
    assert isinstance(plainly(monkeypatch, lambda: encoder.undrawn(*prompts)), EncodedPrompts)
    for listened in (encoder, encoder.draw[1]):
        seen = []
        handle = listened.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        assert isinstance(encoder.undrawn(*prompts), EncodedPrompts) and seen
        handle.remove()
    assert isinstance(encoder.undrawn(*prompts), UndrawnPrompts)
    undrawn = encoder.undrawn(*prompts).drawn()
    for one, other in zip(undrawn, encoder(*prompts), strict=True):
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one, other)


def test_a_decoder_that_is_listened_to_draws_everything(parts, monkeypatch):
    encoder, decoder, image, high_res = parts
    undrawn = encoder.undrawn(*given("one point", 5))
    expected = decoder(image, encoder.dense_pe(), undrawn, high_res)
    seen = []
    handle = decoder.transformer.layers[0].register_forward_hook(lambda *_: seen.append(1))
    same(decoder(image, encoder.dense_pe(), undrawn, high_res), expected)
    assert seen == [1]
    handle.remove()
    with torch.enable_grad():
        logits, _ = decoder(image, encoder.dense_pe(), undrawn, high_res)
        assert logits.requires_grad


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("fine", [True, False])
@pytest.mark.parametrize("count", [7, 8, 19])
def test_prompts_that_share_their_cells_never_compute_them(monkeypatch, depth, fine, count):
    torch.manual_seed(1)
    encoder = noisy(PromptEncoder(64, GRID, FRAME))
    decoder = noisy(MaskDecoder(64, depth=depth, heads=1, mlp_dim=64, iou_hidden=32))
    made = mock.Mock(wraps=fast_low_rank._next)
    monkeypatch.setattr(fast_low_rank, "_next", made)
    monkeypatch.setattr(fast_upscale, "BAND", 70)
    high_res = (torch.randn(1, 8, 4 * GRID[0], 4 * GRID[1]), torch.randn(1, 16, 2 * GRID[0], 2 * GRID[1]))
    with torch.no_grad():
        prompts = encoder(*given("one point", count))
        arguments = 3 * torch.randn(1, 64, *GRID), encoder.dense_pe(), prompts, high_res if fine else None
        same(decoder(*arguments), plainly(monkeypatch, lambda: decoder(*arguments)))
    assert made.called == (count >= fast_decoder.LAYERED_PROMPTS)


@pytest.mark.parametrize("name", ["image", "features", "weights", "drawing", "unshared"])
def test_a_prepared_image_is_made_anew_after_any_change(parts, monkeypatch, name):
    encoder, decoder, image, high_res = parts
    prompts = given("one point", 5)

    def ask():
        return decoder(image, encoder.dense_pe(), encoder.undrawn(*prompts), high_res)

    first = ask()
    kept = fast_prepared._LATEST[decoder][0].made
    for one, other in zip(ask(), first, strict=True):
        assert torch.equal(one, other)
    assert fast_prepared._LATEST[decoder][0].made is kept
    if name == "unshared":
        decoder.transformer.layers[0].cross_attn_token_to_image.k_proj.weight = torch.nn.Parameter(torch.randn(16, 32))
    else:
        changed = {
            "image": image,
            "features": high_res[0],
            "weights": decoder.transformer.layers[1].norm4.weight,
            "drawing": encoder.draw_fine.bias,
        }[name]
        changed.add_(1)
    same(ask(), plainly(monkeypatch, ask))
    assert fast_prepared._LATEST[decoder][0].made is not kept


def test_a_prepared_image_goes_with_its_embedding(parts):
    encoder, decoder, image, high_res = parts
    prompts = encoder.undrawn(*given("one point", 5))
    copy = image.clone()
    decoder(copy, encoder.dense_pe(), prompts, high_res)
    assert fast_prepared._LATEST[decoder]
    del copy
    assert not fast_prepared._LATEST[decoder]
    with torch.inference_mode():
        decoder(image.clone(), encoder.dense_pe(), prompts, high_res)
    assert not fast_prepared._LATEST[decoder]


def test_people_on_several_pictures_do_not_drive_out_each_other(parts, monkeypatch):
    encoder, decoder, image, high_res = parts
    prompts = encoder.undrawn(*given("one point", 1))
    pictures = [image + step for step in range(fast_prepared.KEPT + 1)]

    def ask(picture):
        return decoder(picture, encoder.dense_pe(), prompts, high_res)

    first = [ask(picture) for picture in pictures[:-1]]
    kept = [one.made for one in reversed(fast_prepared._LATEST[decoder])]
    for picture, made, before in zip(pictures, kept, first, strict=False):
        for one, other in zip(ask(picture), before, strict=True):
            assert torch.equal(one, other)
        assert fast_prepared._LATEST[decoder][0].made is made
        same(ask(picture), plainly(monkeypatch, lambda picture=picture: ask(picture)))
    ask(pictures[-1])
    # the one that nobody asked about for longest made room
    assert [one.made for one in fast_prepared._LATEST[decoder]][1:] == kept[:0:-1]


@pytest.mark.parametrize("kind", ["one point", "boxes", "masks"])
@pytest.mark.parametrize("answers", [SINGLE, CANDIDATES])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_only_wanted_masks_are_drawn(parts, monkeypatch, kind, answers, share):
    encoder, decoder, image, high_res = parts
    prompts = given(kind, 9)

    def ask(wanted):
        return decoder(image, encoder.dense_pe(), encoder.undrawn(*prompts), high_res, answers, wanted)

    logits, scores = ask(None)
    least = 2.0 if share == 1 else -1.0 if share == 0 else float(scores.flatten().quantile(share))
    wanted = Wanted(least, -77.0)
    good = scores > least
    drawn = mock.Mock(wraps=fast_upscale.Upscaler.draw)
    monkeypatch.setattr(fast_upscale.Upscaler, "draw", lambda *given: drawn(*given))
    some, same_scores = ask(wanted)
    assert drawn.call_count == int(good.any(1).sum())
    assert torch.equal(same_scores, scores)
    same([some[good]], [logits[good]]) if good.any() else None
    assert (some[~good] == -77).all()
    same((some, scores), plainly(monkeypatch, lambda: ask(wanted)))


def test_a_score_at_the_limit_or_undefined_is_not_wanted(parts, monkeypatch):
    encoder, decoder, image, high_res = parts
    undrawn = encoder.undrawn(*given("one point", 4))
    _, scores = decoder(image, encoder.dense_pe(), undrawn, high_res, CANDIDATES)
    limit = Wanted(float(scores[2].max()), 0.0)
    logits, _ = decoder(image, encoder.dense_pe(), undrawn, high_res, CANDIDATES, limit)
    assert not logits[2].any()
    decoder.iou_prediction_head.layers[-1].bias.fill_(float("nan"))
    for fast in ("0", "1"):
        monkeypatch.setenv("ANYMASK_FAST", fast)
        logits, _ = decoder(image, encoder.dense_pe(), undrawn, high_res, CANDIDATES, Wanted(-1.0, 0.0))
        assert not logits.any()


def test_a_model_leaves_out_the_masks_that_score_too_little(monkeypatch):
    torch.manual_seed(0)
    model = LiteModel(side=64).eval()
    image = Image.open(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8))
    asked = Prompts.of(np.random.default_rng(1).random((6, 1, 2)) * [70, 50], size=image.size)
    with torch.no_grad():
        embedding = model.encode([image])
        every = model.decode(embedding, asked, multimask=True)
        limit = float(every.scores.median())
        for fast in ("0", "1"):
            monkeypatch.setenv("ANYMASK_FAST", fast)
            some = model.decode(embedding, asked, multimask=True, min_score=limit)
            same([some.scores], [every.scores])
            good = some.scores > limit
            assert 0 < good.sum() < good.numel()
            same([some.logits[good]], [every.logits[good]])
            assert (some.logits[~good] == UNWANTED).all()
            assert (
                not Decoded(some.logits[~good][:, None], some.scores[~good][:, None], some.resize).masks().areas().any()
            )


def test_thousands_of_cells_are_added_up_without_losing_digits():
    torch.manual_seed(0)
    weights = torch.softmax(3 * torch.randn(8, 2, 4096), -1)
    values = torch.randn(8, 4096, 16) + 3
    exact = weights.double() @ values.double()
    assert (weighted(weights, values) - exact).norm() < 5e-7 * exact.norm()
    odd = weighted(weights[..., :1000], values[:, :1000])
    torch.testing.assert_close(odd, weights[..., :1000] @ values[:, :1000])
