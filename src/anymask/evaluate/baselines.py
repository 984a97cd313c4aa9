"""What needs no network: a shape and a colour model from the same box, to be beaten."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]
"""XYXY with exclusive right and lower edges, pixels."""


def ellipse(size: tuple[int, int], box: Box) -> NDArray[np.bool_]:
    """The ellipse inscribed in a box, bool [H, W]: pixels whose centre lies inside it."""
    x0, y0, x1, y1 = box
    y, x = np.ogrid[: size[0], : size[1]]
    across = (2 * (x + 0.5) - x0 - x1) / (x1 - x0)
    down = (2 * (y + 0.5) - y0 - y1) / (y1 - y0)
    inside: NDArray[np.bool_] = across**2 + down**2 <= 1
    return inside


def grabcut(pixels: NDArray[np.uint8], box: Box, rounds: int = 5) -> NDArray[np.bool_]:
    """GrabCut started from a box, bool [H, W]; the box itself where nothing is left of it.

    pixels: uint8 [H, W, 3] RGB. Source: Rother et al., "GrabCut" (2004), OpenCV's implementation.
    """
    x0, y0, x1, y1 = box
    height, width = pixels.shape[:2]
    if x0 == 0 and y0 == 0 and x1 == width and y1 == height:
        # without any background to learn from OpenCV refuses
        return np.ones((height, width), bool)
    mask = np.zeros((height, width), np.uint8)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    try:
        cv2.grabCut(bgr, mask, (x0, y0, x1 - x0, y1 - y0), background, foreground, rounds, cv2.GC_INIT_WITH_RECT)
    except cv2.error:
        # too few colours for the mixture models
        mask[y0:y1, x0:x1] = cv2.GC_PR_FGD
    found: NDArray[np.bool_] = (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)
    if not found.any():
        # a small object whose colours are around it too is given up altogether; the box is the better answer
        found[y0:y1, x0:x1] = True
    return found
