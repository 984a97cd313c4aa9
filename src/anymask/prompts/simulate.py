"""Simulated clicks and boxes: what a person would point at, drawn from a true mask.

Distances are exact Euclidean; a mask's border counts as its edge where it meets the border of the image.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadPrompt

Mask = NDArray[np.bool_]


class Click(NamedTuple):
    """A pixel (x, y) and whether it is meant as inside."""

    x: int
    y: int
    inside: bool


def depth(mask: Mask) -> NDArray[np.float32]:
    """How far each pixel of a mask [H, W] lies from the nearest pixel outside, float32 [H, W]; 0 outside.

    The mask is padded by one pixel of background first, so that the image's border is an edge.
    """
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.uint8)
    padded[1:-1, 1:-1] = mask
    found = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # OpenCV's roots differ in the last bit with where the array lies in memory, so that equals are told apart by
    # chance; squares of distances are whole numbers, and NumPy rounds their roots alike everywhere
    exact: NDArray[np.float32] = np.sqrt(np.rint(np.square(found, dtype=np.float64))).astype(np.float32)
    return exact


def innermost(mask: Mask) -> tuple[int, int, float]:
    """The pixel farthest from the mask's edge, (x, y, distance); the first in row order of equals.

    Raises BadPrompt for an empty mask.
    """
    # the transform of the mask's own window is that of the whole image, and much smaller
    x0, y0, x1, y1 = tight_box(mask)
    inner = depth(mask[y0:y1, x0:x1])
    y, x = np.unravel_index(int(inner.argmax()), inner.shape)
    return x0 + int(x), y0 + int(y), float(inner[y, x])


def anywhere(mask: Mask, rng: np.random.Generator) -> tuple[int, int]:
    """A pixel of the mask, all equally likely, (x, y). Raises BadPrompt for an empty mask."""
    places = np.flatnonzero(mask)
    if len(places) == 0:
        raise BadPrompt("an empty mask has no pixel to click on")
    y, x = divmod(int(places[rng.integers(len(places))]), mask.shape[1])
    return x, y


def tight_box(mask: Mask) -> tuple[int, int, int, int]:
    """The mask's box, XYXY with exclusive right and lower edges. Raises BadPrompt for an empty mask."""
    columns = np.flatnonzero(mask.any(0))
    rows = np.flatnonzero(mask.any(1))
    if len(columns) == 0:
        raise BadPrompt("an empty mask has no box")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def loose_box(
    box: tuple[float, float, float, float], size: tuple[int, int], rng: np.random.Generator, share: float, limit: float
) -> tuple[float, float, float, float]:
    """A box as a hand draws it: each edge moved by normal noise of `share` of its side, at most `limit` pixels.

    size: (H, W) of the image that the box stays in. The box keeps at least one pixel each way.
    """
    x0, y0, x1, y1 = box
    sides = np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
    noise = np.clip(rng.normal(size=4) * share * sides, -limit, limit)
    # edges never cross: a third of the side at most
    noise = np.clip(noise, -sides / 3, sides / 3)
    moved = np.clip(np.array(box) + noise, 0, [size[1], size[0], size[1], size[0]])
    x0, y0, x1, y1 = moved.tolist()
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def next_click(answer: Mask, truth: Mask, rng: np.random.Generator | None = None) -> Click | None:
    """The click that corrects an answer; None where nothing is wrong.

    The larger error is the one whose innermost pixel lies deepest; a tie goes to the missed part. The click is that
    pixel, or, given `rng`, half the time any pixel of the larger error.
    """
    missed, extra = truth & ~answer, answer & ~truth
    best: tuple[Click, float, Mask] | None = None
    for wrong, inside in ((missed, True), (extra, False)):
        if wrong.any():
            x, y, distance = innermost(wrong)
            if best is None or distance > best[1]:
                best = Click(x, y, inside), distance, wrong
    if best is None:
        return None
    click, _, wrong = best
    if rng is not None and rng.random() < 0.5:
        return Click(*anywhere(wrong, rng), click.inside)
    return click
