"""J, F and J&F: how well a mask agrees with the true one by region and by contour, frame by frame, as DAVIS does.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation" (2016), sections
4 and 5; the statistics as davis2017-evaluation computes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting

Mask = NDArray[np.bool_]

TOLERANCE = 0.008
"""How far contours may lie apart, as a share of the image's diagonal."""


def j(answer: Mask, truth: Mask) -> float:
    """Region similarity: intersection over union of two masks [H, W]; 1 where both are empty."""
    either = int(np.count_nonzero(answer | truth))
    return int(np.count_nonzero(answer & truth)) / either if either else 1.0


def f(answer: Mask, truth: Mask, tolerance: float = TOLERANCE) -> float:
    """Contour accuracy: F of precision and recall of the contour's pixels, masks [H, W]; 1 where both have none.

    A pixel counts as found where the other contour passes within ceil(tolerance x diagonal) pixels, or within
    `tolerance` pixels where that is 1 or more. Raises BadSetting where the sizes differ.
    """
    precision, recall = contours(answer, truth, tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contours(answer: Mask, truth: Mask, tolerance: float = TOLERANCE) -> tuple[float, float]:
    """(precision, recall) of the contour's pixels, see `f`; (1, 0) or (0, 1) where only one of the masks has any."""
    if answer.shape != truth.shape:
        raise BadSetting(f"the answer is {answer.shape} (H, W), the true mask {truth.shape}")
    reach = tolerance if tolerance >= 1 else math.ceil(tolerance * math.hypot(*truth.shape))
    window = _around(answer, truth, int(reach) + 2)
    ours, theirs = contour(answer)[window], contour(truth)[window]
    found, true = int(np.count_nonzero(ours)), int(np.count_nonzero(theirs))
    if not found or not true:
        return float(not found or true > 0), float(not true or found > 0)
    return (
        int(np.count_nonzero(ours & _within(theirs, reach))) / found,
        int(np.count_nonzero(theirs & _within(ours, reach))) / true,
    )


def contour(mask: Mask) -> Mask:
    """The pixels of [H, W] that differ from the one to the right, below, or below to the right; bool [H, W].

    What lies beyond the border is like the border.
    """
    seen = mask.astype(np.bool_, copy=False)
    found = np.zeros(seen.shape, np.bool_)
    found[:, :-1] |= seen[:, :-1] ^ seen[:, 1:]
    found[:-1] |= seen[:-1] ^ seen[1:]
    found[:-1, :-1] |= seen[:-1, :-1] ^ seen[1:, 1:]
    return found


class Statistics(NamedTuple):
    """Of one measure of one object over a clip. mean; recall: share of frames above 0.5; decay: see `statistics`."""

    mean: float
    recall: float
    decay: float


def statistics(values: Sequence[float]) -> Statistics:
    """Mean, recall and decay of an object's figures, frame by frame; NaN for no frames.

    decay: how much better the first quarter of the frames is than the last; the quarters share their outermost frames.
    """
    figures = np.asarray(values, np.float64)
    if not len(figures):
        return Statistics(math.nan, math.nan, math.nan)
    edges = (np.round(np.linspace(1, len(figures), 5) + 1e-10) - 1).astype(np.int64)
    first, last = figures[edges[0] : edges[1] + 1], figures[edges[3] : edges[4] + 1]
    return Statistics(float(figures.mean()), float((figures > 0.5).mean()), float(first.mean() - last.mean()))


def _within(contour: Mask, reach: float) -> Mask:
    """Pixels at most `reach` away from a contour that has some."""
    away = cv2.distanceTransform((~contour).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # squares of distances are whole numbers; roots of equals need not be equal
    return np.asarray(np.rint(np.square(away, dtype=np.float64)) <= reach * reach, np.bool_)


def _around(answer: Mask, truth: Mask, margin: int) -> tuple[slice, slice]:
    """The window that holds both masks and a margin: what lies farther away tells nothing."""
    either = answer | truth
    rows, columns = np.flatnonzero(either.any(1)), np.flatnonzero(either.any(0))
    if not len(rows):
        return np.s_[:1, :1]
    return np.s_[
        max(rows[0] - margin, 0) : rows[-1] + 1 + margin, max(columns[0] - margin, 0) : columns[-1] + 1 + margin
    ]
