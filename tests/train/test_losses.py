"""Losses with values known by arithmetic."""

from __future__ import annotations

import math

import pytest
import torch

from anymask.train.losses import ALPHA, ambiguous_loss, candidate_losses, single_loss


def test_values_at_logit_zero():
    target = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    losses = candidate_losses(torch.zeros(1, 1, 4), torch.tensor([[0.5]]), target)
    # p = 1/2: focal = weight * 1/4 * ln 2, a quarter of the pixels weigh alpha, the others 1 - alpha
    weight = 0.25 * ALPHA + 0.75 * (1 - ALPHA)
    assert losses.focal.item() == pytest.approx(weight * 0.25 * math.log(2), rel=1e-5)
    # dice with one added above and below: 1 - (2 * 0.5 + 1) / (2 + 1 + 1)
    assert losses.dice.item() == pytest.approx(0.5)
    assert losses.iou.item() == 0
    assert losses.score.item() == pytest.approx(0.25)


def test_a_perfect_answer_costs_nothing():
    target = torch.tensor([[1.0, 0.0, 1.0]])
    losses = candidate_losses((target * 2 - 1)[:, None] * 40, torch.ones(1, 1), target)
    assert losses.iou.item() == 1
    assert single_loss(losses, focal=5.0, dice=1.0, score=1.0).item() == pytest.approx(0, abs=1e-6)


def test_only_the_best_of_three_candidates_is_pulled_to_the_target():
    target = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    logits = torch.tensor([[[0.0] * 4, [-3.0, -3, 3, 3], [2.0, 2, -2, -2], [0.0] * 4]], requires_grad=True)
    losses = candidate_losses(logits, torch.full((1, 4), 0.5), target)
    ambiguous_loss(losses, focal=5.0, dice=1.0, score=0.0, single=0.0).sum().backward()
    moved = logits.grad.abs().sum(2)[0] > 0
    assert moved.tolist() == [False, False, True, False]


def test_all_three_candidates_learn_their_scores():
    target = torch.tensor([[1.0, 0.0]])
    scores = torch.full((1, 4), 0.4, requires_grad=True)
    losses = candidate_losses(torch.ones(1, 4, 2), scores, target)
    ambiguous_loss(losses, focal=5.0, dice=1.0, score=1.0, single=0.0).sum().backward()
    # the true IoU is 1/2 where both pixels are taken, so predictions of 0.4 are off
    assert (scores.grad[0] != 0).tolist() == [False, True, True, True]
