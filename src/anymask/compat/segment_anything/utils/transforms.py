"""ResizeLongestSide under its official name, and the same for members whose frame is reached in another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from anymask.errors import BadImage, BadPrompt, BadSetting
from anymask.models.preprocess import Preprocess
from anymask.pixels.image import Image
from anymask.pixels.resize import HW, Resize
from anymask.prompts.prompts import MAX_NUMBERS


class ResizeLongestSide:
    """Images, points and boxes from original pixels to a frame whose longest side is `target_length` pixels."""

    def __init__(self, target_length: int) -> None:
        self.target_length = int(target_length)
        self._way = Preprocess(self.target_length)

    @classmethod
    def of(cls, way: Preprocess) -> ResizeLongestSide:
        """The transform of a member that brings pictures into its frame by `way`, which need not keep the aspect."""
        transform = cls(way.side)
        transform._way = way
        return transform

    def _resize(self, original_size: Any) -> Resize:
        return self._way.resize(image_size(original_size))

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] to uint8 [h, w, 3] at the resized size."""
        pixels = Image.open(image).pixels()
        return np.array(self._way.scaled(pixels, self._resize(pixels.shape[:2])))

    def apply_coords(self, coords: NDArray[Any], original_size: tuple[int, ...]) -> NDArray[np.float64]:
        """(x, y) in original pixels [..., 2] to (x, y) in the frame; original_size is (H, W)."""
        array = numbers(coords, "coordinates")
        if array.ndim == 0 or array.shape[-1] != 2:
            raise BadPrompt(f"points must be [..., 2] as (x, y), got {array.shape}")
        return array * self._resize(original_size).scale

    def apply_boxes(self, boxes: NDArray[Any], original_size: tuple[int, ...]) -> NDArray[np.float64]:
        """XYXY boxes [B, 4] in original pixels to the frame; original_size is (H, W)."""
        array = numbers(boxes, "boxes")
        if array.size % 4:
            raise BadPrompt(f"boxes must be [B, 4] XYXY in pixels, got {array.shape}")
        return self.apply_coords(array.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    def apply_image_torch(self, image: Tensor) -> Tensor:
        """float [B, C, H, W] to [B, C, h, w]; differs from `apply_image`, which the models expect, by a rounding."""
        if image.ndim != 4:
            raise BadImage(f"apply_image_torch takes [B, C, H, W], got {tuple(image.shape)}")
        resized = self._resize(image.shape[-2:]).resized
        return F.interpolate(image, resized, mode="bilinear", align_corners=False, antialias=True)

    def apply_coords_torch(self, coords: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """As `apply_coords`, for a tensor; float32."""
        if coords.ndim == 0 or coords.shape[-1] != 2:
            raise BadPrompt(f"points must be [..., 2] as (x, y), got {tuple(coords.shape)}")
        x, y = self._resize(original_size).scale.tolist()
        coords = coords.to(torch.float)
        # Python's own numbers, in double, as the official code has them
        return torch.stack([coords[..., 0] * x, coords[..., 1] * y], -1)

    def apply_boxes_torch(self, boxes: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """As `apply_boxes`, for a tensor; float32."""
        if boxes.numel() % 4:
            raise BadPrompt(f"boxes must be [B, 4] XYXY in pixels, got {tuple(boxes.shape)}")
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """(H, W) of an image after its longest side became `long_side_length`."""
        return Resize.fit((oldh, oldw), long_side_length).resized


def image_size(size: Any) -> HW:
    """(H, W) from what is passed as a size: a tuple, a torch.Size, an array; raises BadSetting."""
    try:
        height, width = (int(side) for side in size)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise BadSetting(f"an image size is (height, width) in pixels, got {_shown(size)}") from None
    if height < 1 or width < 1:
        raise BadSetting(f"an image size is (height, width) of at least one pixel each, got {(height, width)}")
    return height, width


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def numbers(value: Any, what: str) -> NDArray[np.float64]:
    """A float64 array of what is passed as numbers; raises BadPrompt."""
    try:
        raw = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        if raw.dtype.kind not in "fiub":
            raise TypeError(f"dtype {raw.dtype}")
        if raw.size <= MAX_NUMBERS:
            return raw.astype(np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadPrompt(f"{what} must be numbers in a regular array: {reason}") from None
    # before anything is copied: a view of a single number can claim any size
    raise BadPrompt(f"{what} of {raw.size:,} numbers are more than {MAX_NUMBERS:,}; split the call")
