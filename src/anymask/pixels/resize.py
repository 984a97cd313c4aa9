"""The exact map between the pixels of an original image and those of a model's input frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting

HW = tuple[int, int]
"""A size as (height, width) in pixels."""

Fit = Literal["long-side", "square", "direct"]


@dataclass(frozen=True)
class Resize:
    """How one image was brought into a model's frame: scaled, then padded right and below.

    original: (H, W) of the image as the user holds it.
    resized: (H, W) after scaling, before padding.
    padded: (H, W) of the model's input frame.
    direct: whether low-resolution answers go to the original size in one step, not by way of the frame.
    """

    original: HW
    resized: HW
    padded: HW
    direct: bool = False

    @classmethod
    def fit(cls, original: HW, side: int, fit: Fit = "long-side") -> Resize:
        """The map of an image of size `original` into a square frame of `side` pixels.

        "long-side" keeps the aspect: the longest side becomes `side`, the other int(x * scale + 0.5)
        (Segment Anything, ResizeLongestSide); "square" stretches both; "direct" too, and answers go back in one step
        (SAM 2).
        """
        height, width = original
        if height < 1 or width < 1 or side < 1:
            raise BadSetting(f"sizes must be at least one pixel, got image {original} and frame side {side}")
        if fit != "long-side":
            return cls(original, (side, side), (side, side), fit == "direct")
        scale = side / max(height, width)
        # a 1 x 5000 image would otherwise round to a side of zero
        resized = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
        return cls(original, resized, (side, side))

    def by_way_of(self, low: HW) -> tuple[HW, HW]:
        """(frame, part of it) that answers of (h, w) `low` take on their way to the original size."""
        return (low, low) if self.direct else (self.padded, self.resized)

    @property
    def scale(self) -> NDArray[np.float64]:
        """Model pixels per original pixel, float64 [2] as (x, y)."""
        return np.array([self.resized[1] / self.original[1], self.resized[0] / self.original[0]])

    def points(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """(x, y) in original pixels [..., 2] to (x, y) in the model's frame."""
        # float64 until the end: the official code multiplies in double before it casts
        return (np.asarray(points, np.float64) * self.scale).astype(np.float32)

    def boxes(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """XYXY boxes in original pixels [..., 4] to XYXY in the model's frame."""
        boxes = np.asarray(boxes)
        return self.points(boxes.reshape(*boxes.shape[:-1], 2, 2)).reshape(boxes.shape)
