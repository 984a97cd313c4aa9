"""Pixels at another size, the ways that models were trained with."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from anymask.pixels.resize import HW

Resample = Literal["pillow", "bicubic", "float", "area", "linear"]
"""Bilinear with antialiasing on uint8, bicubic likewise, bilinear with antialiasing on floats; averages when shrinking,
else bilinear; bilinear without antialiasing."""


def resample(pixels: NDArray[np.uint8], size: HW, way: Resample) -> NDArray[Any]:
    """uint8 [H, W, 3] at another (H, W) `size`, float32 if `way` is "float", else uint8.

    The array itself where it has that size and type.
    """
    height, width = size
    if pixels.shape[:2] == (height, width):
        return pixels.astype(np.float32) if way == "float" else pixels
    if way == "float":
        planes = (Pillow.fromarray(pixels[..., channel].astype(np.float32)) for channel in range(pixels.shape[2]))
        return np.stack([np.asarray(p.resize((width, height), Pillow.Resampling.BILINEAR)) for p in planes], -1)
    if way in ("pillow", "bicubic"):
        kernel = Pillow.Resampling.BILINEAR if way == "pillow" else Pillow.Resampling.BICUBIC
        return np.asarray(Pillow.fromarray(pixels).resize((width, height), kernel))
    average = way == "area" and height < pixels.shape[0]
    scaled = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if average else cv2.INTER_LINEAR)
    return np.asarray(scaled, np.uint8)
