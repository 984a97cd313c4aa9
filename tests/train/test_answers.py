"""The fast way through a model gives the losses and the gradients of its own modules."""

from __future__ import annotations

import pytest
import torch

from anymask.train.answers import BlockedAnswers, PlainAnswers, answers_of
from anymask.train.photos import load_photos
from anymask.train.rounds import Promptable
from anymask.train.run import ratio_of
from anymask.train.sampler import Sampler
from anymask.train.settings import Phase, TrainSettings
from anymask.train.start import prepare


def gradients(model, made_up, tmp_path, settings, answers=None):
    sampler = Sampler(load_photos([made_up], tmp_path / "cache"), settings, side=64, ratio=ratio_of(model))
    task = Promptable(model, settings, answers)
    model.zero_grad()
    loss, report = task(sampler.batch(0, [0, 1]))
    loss.backward()
    return report, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("idle", [False, True])
def test_blocked_answers_are_the_plain_ones(small, made_up, tmp_path, idle):
    settings = TrainSettings(
        steps=10,
        images=2,
        masks=4,
        method="scratch",
        precision="float32",
        rounds=((0.0, 0.0, 1.0), (1.0,)),
        idle_rounds=idle,
        phases=(Phase(1.0, 64, (0.9, 1.1)),),
    )
    prepare(small, settings)
    assert isinstance(answers_of(small, compiled=False, dtype=torch.float32), BlockedAnswers)
    fast, fast_gradients = gradients(small, made_up, tmp_path, settings)
    plain, plain_gradients = gradients(small, made_up, tmp_path, settings, PlainAnswers(small))
    assert fast == pytest.approx(plain, abs=1e-4)
    for name, gradient in plain_gradients.items():
        if name not in fast_gradients:
            # a key's bias adds the same to every score, which the softmax removes
            assert name.endswith("k_proj.bias") and float(gradient.abs().max()) < 1e-6, name
            continue
        scale = float(gradient.abs().max()) + 1e-5
        assert float((fast_gradients[name] - gradient).abs().max()) < 1e-2 * scale, name
