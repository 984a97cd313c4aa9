"""Pixels at another size, the ways that models were trained with."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from anymask.pixels.resize import HW

Resample = Literal["pillow", "area", "linear"]
"""Bilinear with antialiasing on uint8; averages when shrinking, else bilinear; bilinear without antialiasing."""


def resample(pixels: NDArray[np.uint8], size: HW, way: Resample) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] at another (H, W) `size`; the array itself where it has that size."""
    height, width = size
    if pixels.shape[:2] == (height, width):
        return pixels
    if way == "pillow":
        return np.asarray(Pillow.fromarray(pixels).resize((width, height), Pillow.Resampling.BILINEAR))
    average = way == "area" and height < pixels.shape[0]
    scaled = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if average else cv2.INTER_LINEAR)
    return np.asarray(scaled, np.uint8)
