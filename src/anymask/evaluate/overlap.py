"""How well a mask agrees with the true one: mask IoU and boundary IoU."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting

Bools = NDArray[np.bool_]

BAND = 0.02
"""Width of the band along a contour, as a share of the image's diagonal."""


def iou(answers: Bools, truths: Bools) -> NDArray[np.float64]:
    """Intersection over union of masks [..., H, W], 0 where both are empty."""
    both = (answers & truths).sum((-1, -2))
    either = (answers | truths).sum((-1, -2))
    return np.asarray(both / np.maximum(either, 1), np.float64)


def band(mask: Bools, width: int) -> Bools:
    """The pixels of a mask [H, W] that lie within `width` pixels of its edge; the image's border is an edge.

    A pixel is left out where the square of `width` pixels all around it lies inside the mask.
    """
    found = np.zeros(mask.shape, np.bool_)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return found
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part = mask[window]
    # beyond its window a mask has only background, so that the window alone tells what erosion leaves
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    inner = cv2.erode(part.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    found[window] = part & (inner == 0)
    return found


def boundary_iou(answers: Bools, truths: Bools, share: float = BAND) -> NDArray[np.float64]:
    """IoU of the bands along the contours of masks [..., H, W], float64 [...]; 0 where both are empty.

    share: width of the band over the image's diagonal; at least one pixel.
    Raises BadSetting for a share out of range. Source: Cheng et al., "Boundary IoU" (2021), section 4; mBIoU of
    HQ-SAM is its mean.
    """
    if not 0 < share < 1:
        raise BadSetting(f"the band is a share of the diagonal between 0 and 1, got {share:g}")
    answers, truths = np.broadcast_arrays(answers, truths)
    size = answers.shape[-2:]
    width = max(1, round(share * math.hypot(*size)))
    pairs = zip(answers.reshape(-1, *size), truths.reshape(-1, *size), strict=True)
    found = [iou(band(answer, width), band(truth, width)) for answer, truth in pairs]
    return np.array(found, np.float64).reshape(answers.shape[:-2])
