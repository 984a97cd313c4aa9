"""What is known of one object on one frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from anymask.masks.rle import RLE

FILLED = 0.1
"""The logit of a filled hole: just inside, as in SAM 2."""


@dataclass(frozen=True)
class Answer:
    """One object on one frame, in one line of memory.

    logits: float32 [h, w], low-resolution, holes filled. score: predicted IoU, 0..1. presence: logit of its being
    there. pointer: [C]. features: [Cm, h, w] of the memory encoder; None until tracking needs them.
    rle: the mask in the clip's size.
    line: which of the lines of memory on the frame before this one continues (`Policy.lines`).
    carried: numbers that the policy hands from frame to frame.
    """

    logits: Tensor
    score: float
    presence: float
    pointer: Tensor
    features: Tensor | None
    rle: RLE
    line: int = 0
    carried: tuple[float, ...] = ()


@dataclass(frozen=True)
class Entry:
    """All that is known of an object on one frame.

    answers: one for each line of memory, the one to show first. reverse: whether time ran backward when it was
    tracked. serial: how many edits the session had seen by then. taken_back: a person's answer whose prompt was
    cleared: something to remember, but not tracked.
    """

    answers: tuple[Answer, ...]
    reverse: bool
    serial: int
    taken_back: bool = False


def without_holes(logits: Tensor, area: int) -> Tensor:
    """Logits [h, w] where background regions of at most `area` pixels (8-connected) lie just inside the object."""
    if area < 1:
        return logits
    background = np.ascontiguousarray((logits <= 0).cpu().numpy(), np.uint8)
    count, regions, stats, _ = cv2.connectedComponentsWithStats(background, connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= area
    small[0] = False
    if count < 2 or not small.any():
        return logits
    holes = torch.as_tensor(small[regions], device=logits.device)
    return torch.where(holes, torch.full_like(logits, FILLED), logits)
