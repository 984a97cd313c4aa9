"""Small holes and specks taken out of a mask."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Sides = tuple[bool, bool, bool, bool]
"""Left, top, right, bottom."""


def without_small(
    mask: NDArray[np.bool_],
    area: int,
    kind: Literal["holes", "islands"],
    *,
    goes_on: Sides = (False, False, False, False),
) -> tuple[NDArray[np.bool_], bool]:
    """(mask, whether it changed): holes filled, or islands dropped, of fewer than `area` pixels.

    mask: bool [H, W]. Regions touch by sides or corners (8-connected). When every island is too small, the largest one
    stays, the first of equals. goes_on: sides beyond which the background goes on for at least `area` pixels, where
    `mask` is a part of a picture; what touches them is no hole.
    Source: Segment Anything, appendix B, "Postprocessing".
    """
    wanted = mask if kind == "islands" else ~mask
    _, regions, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(wanted, np.uint8), connectivity=8)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    small = sizes < area
    if kind == "holes":
        borders = (regions[:, 0], regions[0], regions[:, -1], regions[-1])
        for border in (border for border, more in zip(borders, goes_on, strict=True) if more):
            outside = np.unique(border)
            small[outside[outside > 0] - 1] = False
    if not small.any():
        return mask, False
    # what each region becomes; region 0 is everything that was not looked at
    inside = np.empty(len(stats), np.bool_)
    if kind == "holes":
        inside[0], inside[1:] = True, small
    else:
        inside[0], inside[1:] = False, ~small
        if small.all():
            inside[1 + int(np.argmax(sizes))] = True
    return inside[regions], True
