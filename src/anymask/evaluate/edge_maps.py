"""Edge maps: what a model's masks say of edges, and Canny to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from anymask.masks.boxes import nms
from anymask.prompts.prompts import Prompts
from anymask.session.grid import grids

if TYPE_CHECKING:
    from anymask.models.interface import Decoded, Embedding, PromptModel

Floats = NDArray[np.float32]

POINTS_PER_SIDE = 16
AT_ONCE = 32
"""Prompts decoded, and masks held in full size, in one step."""
LOW_SHARE = 0.4
"""Canny's lower threshold over its upper one, as in the programs of the benchmark's authors."""


def mask_edges(
    model: PromptModel, embedding: Embedding, *, points_per_side: int = POINTS_PER_SIDE, box_nms_thresh: float = 0.7
) -> Floats:
    """Edges of all the masks a model sees in an image, float32 [H, W] in 0..1, thinned.

    A grid of points is asked, three masks each; none is filtered, duplicates are suppressed by their boxes. Of each
    mask's probabilities the strength of the Sobel filter is kept on the pixels just outside the mask's contour, and of
    all masks the strongest at each pixel. Source: Segment Anything, appendix D.2.
    """
    height, width = embedding.resize[0].original
    points = (grids(points_per_side, 0, 1)[0] * np.array([width, height])).astype(np.float32)
    answers: list[Decoded] = []
    boxes, scores = [], []
    for start in range(0, len(points), AT_ONCE):
        some = points[start : start + AT_ONCE, None]
        decoded = model.decode(embedding, Prompts(some, np.ones(some.shape[:2], np.int64)), multimask=True)
        answers.append(decoded)
        boxes.append(_boxes((decoded.upscaled() > 0).flatten(0, 1)))
        scores.append(decoded.scores.float().flatten().cpu().numpy())
    kept = set(nms(np.concatenate(boxes), np.concatenate(scores), box_nms_thresh).tolist())
    strongest = torch.zeros(height, width)
    first = 0
    for decoded in answers:
        count = decoded.logits.shape[0] * decoded.logits.shape[1]
        rows = [row - first for row in range(first, first + count) if row in kept]
        first += count
        if rows:
            logits = decoded.upscaled().flatten(0, 1)[rows]
            strongest = torch.maximum(strongest, _outlines(logits).amax(0).cpu())
    found: Floats = strongest.numpy()
    return thinned(found / max(float(found.max()), 1e-9))


def _boxes(masks: torch.Tensor) -> Floats:
    """Tight boxes, float32 [N, 4] XYXY with x1 and y1 inclusive, zeros for an empty mask. masks: bool [N, H, W]."""
    rows, columns = masks.any(2), masks.any(1)
    height, width = masks.shape[1:]
    sides = [
        columns.int().argmax(1),
        rows.int().argmax(1),
        width - 1 - columns.flip(1).int().argmax(1),
        height - 1 - rows.flip(1).int().argmax(1),
    ]
    boxes = torch.stack(sides, 1) * rows.any(1, keepdim=True)
    found: Floats = boxes.float().cpu().numpy()
    return found


def _outlines(logits: torch.Tensor) -> torch.Tensor:
    """Strength of the Sobel filter on the outer boundary of each mask, 0 elsewhere. logits: [N, H, W]."""
    chances = F.pad(logits.sigmoid()[:, None], (1, 1, 1, 1), mode="replicate")
    down = torch.tensor([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]], device=logits.device)
    steps = F.conv2d(chances, torch.stack([down, down.T])[:, None])
    masks = (logits > 0).float()
    outer = F.max_pool2d(masks, 3, 1, 1) - masks
    return torch.hypot(steps[:, 0], steps[:, 1]) * outer


def thinned(edges: Floats, *, smooth: float = 2.0, reach: int = 1, rim: int = 5) -> Floats:
    """Edge non-maximum suppression: what is weaker than its neighbours across the edge becomes 0. [H, W] in 0..1.

    smooth: standard deviation, in pixels, of the blur that directions are taken from. reach: how far across, in pixels.
    rim: pixels along the image's border, in which edges fade. Source: Canny (1986); directions from second derivatives
    as in Dollar and Zitnick, "Structured Forests for Fast Edge Detection" (2013), section 3.
    """
    blurred = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), smooth, borderType=cv2.BORDER_REFLECT)
    xx, yy, xy = (cv2.Sobel(blurred, cv2.CV_32F, *order, ksize=5) for order in ((2, 0), (0, 2), (1, 1)))
    # across an edge the second derivative is largest, negative on its ridge and positive on its flanks: the eigenvector
    # of the Hessian of the larger absolute eigenvalue
    turned = np.arctan2(2 * xy, xx - yy) / 2 + np.where(xx + yy < 0, np.pi / 2, 0)
    across_x, across_y = np.cos(turned), np.sin(turned)
    y, x = np.indices(edges.shape, np.float32)
    best = np.zeros(edges.shape, np.float32)
    for step in (*range(-reach, 0), *range(1, reach + 1)):
        place_x = (x + step * across_x).astype(np.float32)
        place_y = (y + step * across_y).astype(np.float32)
        beside = cv2.remap(edges, place_x, place_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        best = np.maximum(best, beside)
    # a plateau keeps its middle: equal but for rounding counts as strongest
    found = np.where(edges * 1.01 >= best, edges, 0).astype(np.float32)
    if rim > 0:
        rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) / rim for n in edges.shape)
        found *= np.minimum(rows, 1)[:, None] * np.minimum(columns, 1)[None]
    return found


def canny(pixels: NDArray[np.uint8], thresholds: NDArray[np.float64], sigma: float = 2.0) -> Floats:
    """The highest threshold at which each pixel is an edge for Canny, float32 [H, W] in 0..1.

    pixels: uint8 [H, W, 3] RGB. thresholds: upper ones, shares of the image's strongest gradient. sigma: of the blur,
    pixels. Source: Canny (1986), OpenCV's implementation; the scale as in the programs of the benchmark's authors.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    blurred = cv2.GaussianBlur(grey, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    dx, dy = (
        cv2.Sobel(blurred, cv2.CV_32F, *order, ksize=3, borderType=cv2.BORDER_REPLICATE) for order in ((1, 0), (0, 1))
    )
    # OpenCV takes whole numbers; this many keep the thresholds apart
    top = max(float(np.hypot(dx, dy).max()), 1e-9)
    whole = [np.rint(part * (16000 / top)).astype(np.int16) for part in (dx, dy)]
    found = np.zeros(grey.shape, np.float32)
    for level in np.sort(thresholds):
        edges = cv2.Canny(whole[0], whole[1], LOW_SHARE * level * 16000, level * 16000, L2gradient=True)
        found[edges > 0] = level
    return found
