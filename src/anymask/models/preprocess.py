"""How a picture reaches a model's input: scaled, normalised, padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anymask.pixels.image import Image
from anymask.pixels.resample import Resample, resample
from anymask.pixels.resize import HW, Fit, Resize

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Preprocess:
    """One member's way from pixels to its input frame.

    side: of the square frame in pixels. fit: see `Resize.fit`.
    resample: "pillow" is bilinear with antialiasing on uint8 (SAM), "bicubic" likewise (SAM 2's official frames of
    clips), "float" bilinear with antialiasing on floats (SAM 2); "area" averages when shrinking, else bilinear;
    "linear" is bilinear without antialiasing (EfficientSAM).
    normalise: "mean-std" with `mean` and `std` on 0..255; "min-max" stretches each picture to 0..1 (MedSAM).
    Padding is zero after normalising.
    """

    side: int = 1024
    fit: Fit = "long-side"
    resample: Resample = "pillow"
    normalise: Literal["mean-std", "min-max"] = "mean-std"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def resize(self, size: HW) -> Resize:
        """The map for an image of (H, W) `size`."""
        return Resize.fit(size, self.side, self.fit)

    def __call__(self, images: Sequence[Image]) -> tuple[Tensor, tuple[Resize, ...]]:
        """float32 [B, 3, side, side] and the B maps."""
        frames = torch.zeros(len(images), 3, self.side, self.side)
        maps = tuple(self.resize(image.size) for image in images)
        for frame, image, resize in zip(frames, images, maps, strict=True):
            height, width = resize.resized
            frame[:, :height, :width] = self.normalised(self.scaled(image.pixels(), resize))
        return frames, maps

    def scaled(self, pixels: NDArray[np.uint8], resize: Resize) -> NDArray[Any]:
        """uint8 [H, W, 3] at the resized size; float32 if `resample` is "float"."""
        return resample(pixels, resize.resized, self.resample)

    def normalised(self, pixels: NDArray[Any]) -> Tensor:
        """uint8 or float32 [h, w, 3], 0..255, to float32 [3, h, w]."""
        x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float()
        if self.normalise == "min-max":
            low, high = x.min(), x.max()
            return (x - low) / (high - low).clamp(min=1e-8)
        return self.mean_std(x)

    def mean_std(self, x: Tensor) -> Tensor:
        """0..255 float [..., 3, h, w], normalised by mean and deviation."""
        mean = x.new_tensor(self.mean)[:, None, None]
        std = x.new_tensor(self.std)[:, None, None]
        return (x - mean) / std
