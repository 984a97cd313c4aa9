"""Focal, dice and predicted-IoU losses, per prompt and candidate.

Source: Segment Anything, appendix A ("Training algorithm"); pixels may come in any order.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

ALPHA = 0.25
"""Weight of foreground pixels in the focal loss (gamma 2); Lin et al., arXiv 1708.02002."""


class CandidateLosses(NamedTuple):
    """All [P, K]: focal and dice losses, squared error of the predicted IoU, the IoU itself."""

    focal: Tensor
    dice: Tensor
    score: Tensor
    iou: Tensor


def candidate_losses(logits: Tensor, scores: Tensor, target: Tensor) -> CandidateLosses:
    """Losses of each candidate.

    logits: [P, K, N], N pixels; scores: [P, K] predicted IoU; target: [P, N] of 0 and 1.
    """
    logits = logits.float()
    truth = target.to(logits.dtype)[:, None]
    probability = torch.sigmoid(logits)
    # the cross entropy of a logit x is softplus(x) - x * t
    entropy = F.softplus(logits) - logits * truth
    wrong = probability + truth - 2 * probability * truth
    weight = (1 - ALPHA) + (2 * ALPHA - 1) * truth
    focal = (weight * wrong * wrong * entropy).mean(2)
    both = (probability * truth).sum(2)
    dice = 1 - (2 * both + 1) / (probability.sum(2) + truth.sum(2) + 1)
    with torch.no_grad():
        hard = (logits > 0).to(logits.dtype)
        shared = (hard * truth).sum(2)
        iou = shared / (hard.sum(2) + truth.sum(2) - shared).clamp(min=1)
    return CandidateLosses(focal, dice, (scores.float() - iou) ** 2, iou)


def single_loss(losses: CandidateLosses, *, focal: float | Tensor, dice: float, score: float) -> Tensor:
    """[P], the loss of an unambiguous prompt: candidate 0 alone."""
    return focal * losses.focal[:, 0] + dice * losses.dice[:, 0] + score * losses.score[:, 0]


def ambiguous_loss(
    losses: CandidateLosses, *, focal: float | Tensor, dice: float, score: float, single: float
) -> Tensor:
    """[P], the loss of a lone click, candidates [single, 1, 2, 3]: the best of the last three counts.

    All three learn to predict their IoU. single: how much the single-mask token counts beside them, so that it too
    answers one click (`multimask=False`).
    """
    fit = focal * losses.focal + dice * losses.dice
    best = fit[:, 1:].min(1).values + score * losses.score[:, 1:].mean(1)
    return best + single * (fit[:, 0] + score * losses.score[:, 0])
