"""Small holes and specks taken out of a mask."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray


def without_small(
    mask: NDArray[np.bool_], area: int, kind: Literal["holes", "islands"]
) -> tuple[NDArray[np.bool_], bool]:
    """(mask, whether it changed): holes filled, or islands dropped, of fewer than `area` pixels.

    mask: bool [H, W]. Regions touch by sides or corners (8-connected). When every island is too small, the largest one
    stays, the first of equals. Source: Segment Anything, appendix B, "Postprocessing".
    """
    wanted = mask if kind == "islands" else ~mask
    _, regions, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(wanted, np.uint8), connectivity=8)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    small = sizes < area
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
