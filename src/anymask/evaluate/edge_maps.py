"""Edge maps: what a model's masks say of edges, and Canny to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.masks.boxes import nms
from anymask.prompts.prompts import Prompts
from anymask.session.grid import grids

if TYPE_CHECKING:
    from anymask.models.interface import Embedding, PromptModel

Floats = NDArray[np.float32]

POINTS_PER_SIDE = 16
AT_ONCE = 8
"""Prompts decoded in one step; of each three masks are held in full size."""
LOW_SHARE = 0.4
"""Canny's lower threshold over its upper one, that of MATLAB."""


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
    outlines: list[Outline] = []
    for start in range(0, len(points), AT_ONCE):
        some = points[start : start + AT_ONCE, None]
        decoded = model.decode(embedding, Prompts(some, np.ones(some.shape[:2], np.int64)), multimask=True)
        logits = decoded.upscaled().flatten(0, 1).cpu().numpy()
        scores = decoded.scores.float().flatten().cpu().numpy()
        outlines += [outline(*pair) for pair in zip(logits, scores, strict=True)]
    boxes = np.array([one.box for one in outlines], np.float32)
    strongest = np.zeros(height * width, np.float32)
    for row in nms(boxes, np.array([one.score for one in outlines], np.float32), box_nms_thresh):
        np.maximum.at(strongest, outlines[row].places, outlines[row].strength)
    strongest /= max(float(strongest.max()), 1e-9)
    return thinned(strongest.reshape(height, width))


@dataclass(frozen=True)
class Outline:
    """The outer boundary of one mask. places: of its pixels, counted along rows. strength: of the Sobel filter there.

    box: XYXY px, x1 and y1 inclusive, zeros for an empty mask. score: predicted IoU.
    """

    places: NDArray[np.int64]
    strength: Floats
    box: tuple[int, int, int, int]
    score: float


def outline(logits: Floats, score: float) -> Outline:
    """The outer boundary of the mask that logits [H, W] give, and how sharply its probabilities change there."""
    height, width = logits.shape
    mask = logits > 0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return Outline(np.zeros(0, np.int64), np.zeros(0, np.float32), (0, 0, 0, 0), score)
    box = (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
    # the boundary lies one pixel around the mask, and the filter looks one further
    y0, y1 = max(box[1] - 2, 0), min(box[3] + 3, height)
    x0, x1 = max(box[0] - 2, 0), min(box[2] + 3, width)
    part = mask[y0:y1, x0:x1].astype(np.uint8)
    around = cv2.dilate(part, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    chances: Floats = 1 / (1 + np.exp(-logits[y0:y1, x0:x1].clip(-60, 60)))
    dx, dy = (cv2.Sobel(chances, cv2.CV_32F, *order, borderType=cv2.BORDER_REPLICATE) for order in ((1, 0), (0, 1)))
    y, x = np.nonzero(around > part)
    return Outline((y + y0) * width + x + x0, np.hypot(dx[y, x], dy[y, x]), box, score)


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


def canny(pixels: NDArray[np.uint8], levels: NDArray[np.float64], sigma: float = 2.0) -> Floats:
    """The highest level at which each pixel is an edge for Canny, float32 [H, W] in 0..1.

    pixels: uint8 [H, W, 3] RGB. levels: square roots of upper thresholds, 1 for a straight step from black to white;
    the same for all images, as OpenCV's thresholds are, and roots because most edges are weak. sigma: of the blur, px.
    Source: Canny (1986), OpenCV's implementation.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    step = np.zeros((9, 64), np.float32)
    step[:, 32:] = 255
    most = float(_gradient(step, sigma)[0].max())
    # OpenCV takes whole numbers; this many keep the thresholds apart
    whole = [np.rint(part * (16000 / most)).clip(-32767, 32767).astype(np.int16) for part in _gradient(grey, sigma)]
    found = np.zeros(grey.shape, np.float32)
    for level in np.sort(levels):
        upper = level * level * 16000
        edges = cv2.Canny(whole[0], whole[1], LOW_SHARE * upper, upper, L2gradient=True)
        found[edges > 0] = level
    return found


def _gradient(grey: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Steps rightwards and downwards after a blur, float32 [H, W] each."""
    blurred = cv2.GaussianBlur(grey, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    dx, dy = (
        cv2.Sobel(blurred, cv2.CV_32F, *order, ksize=3, borderType=cv2.BORDER_REPLICATE) for order in ((1, 0), (0, 1))
    )
    return np.asarray(dx, np.float32), np.asarray(dy, np.float32)
