"""Arrays of any number type, brought to 8-bit RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadImage

OVERSHOOT = 0.1
"""How far a float picture in 0..1 may exceed its range: bicubic resizing overshoots by a few percent."""

_CHANNELS = {1: "grey", 2: "grey and alpha", 3: "RGB", 4: "RGB and alpha"}


def to_rgb(array: NDArray[Any], *, bgr: bool = False) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB from [H, W], [H, W, 1], [H, W, 2], [H, W, 3] or [H, W, 4] of any real type.

    Alpha is dropped, as scripts for the official code do by hand. bgr: the first three channels are in OpenCV's order.
    The result never shares memory with `array`. Raises BadImage.
    """
    shape = array.shape
    if array.ndim not in (2, 3) or 0 in shape:
        hint = "; give one image at a time" if array.ndim == 4 else ""
        raise BadImage(f"an image array must be [H, W] or [H, W, channels] with at least one pixel, got {shape}{hint}")
    if array.ndim == 2:
        array = array[:, :, None]
    channels = array.shape[2]
    if channels not in _CHANNELS:
        hint = ""
        if shape[0] in (1, 3, 4):
            hint = "; this looks like channels first: use array.transpose(1, 2, 0)"
        raise BadImage(f"an image array must be [H, W, channels] with 1 to 4 channels, got {shape}{hint}")
    levels = to_uint8(array[:, :, : channels - 1 if channels in (2, 4) else channels])
    if levels.shape[2] == 1:
        return np.repeat(levels, 3, axis=2)
    return np.array(levels[:, :, ::-1] if bgr else levels, order="C")


def to_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The same array in 0..255, by the rule that `Stretch.of` finds in it. Raises BadImage."""
    return Stretch.of(array)(array)


@dataclass(frozen=True)
class Stretch:
    """How the numbers of a picture become 0..255; decided once, so that all parts of a large picture agree.

    rule: "same" takes 8-bit values as they are, "range" stretches low..high. low, high: in the picture's own numbers.
    """

    rule: Literal["same", "range"]
    low: float = 0.0
    high: float = 255.0

    @classmethod
    def of(cls, array: NDArray[Any]) -> Stretch:
        """The rule for an array of any shape, or for a sample of it.

        uint8: as it is. bool: 0 and 255.
        float: 0..1 becomes 0..255 (values up to OVERSHOOT outside are clipped).
        float or int32/int64 with whole numbers in 0..255: 8-bit values that lost their type, taken as they are.
        everything else, which includes all uint16 and int16: stretched from the lowest to the highest value of the
        whole picture, all channels alike, because microscopes and scanners rarely use the full range of their type.
        Raises BadImage for NaN, infinity, complex numbers and objects.
        """
        kind = array.dtype.kind
        if array.dtype == np.uint8:
            return cls("same")
        if kind == "b":
            return cls("range", 0, 1)
        if kind not in "iuf":
            raise BadImage(f"an image array must hold real numbers, got {array.dtype}")
        if kind == "f" and not np.isfinite(array).all():
            raise BadImage("the image holds NaN or infinity; replace them first, for instance with np.nan_to_num")
        low, high = array.min(), array.max()
        if kind == "f" and low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
            return cls("range", 0, 1)
        wide = kind == "f" or array.dtype.itemsize > 2
        if wide and low >= 0 and high <= 255 and (kind != "f" or bool((array == np.rint(array)).all())):
            return cls("same")
        if not np.isfinite(float(high) - float(low)):
            raise BadImage(
                f"the image's values range from {low:g} to {high:g}, too far apart to show; scale them first"
            )
        return cls("range", float(low), float(high))

    def __call__(self, array: NDArray[Any]) -> NDArray[np.uint8]:
        """uint8 of the same shape; what lies outside of the rule's range is clipped."""
        if array.dtype == np.uint8:
            return np.asarray(array, np.uint8)
        if array.dtype.kind == "b":
            return np.asarray(np.where(array, 255, 0), np.uint8)
        if self.rule == "same":
            # copies of the whole only where a part of a larger picture holds what the sample did not
            return (array if array.min() >= 0 and array.max() <= 255 else np.clip(array, 0, 255)).astype(np.uint8)
        if array.dtype.kind == "f" and (self.low, self.high) == (0, 1):
            return _rounded(np.clip(array, 0, 1) * array.dtype.type(255))
        if self.low == self.high:
            return np.zeros(array.shape, np.uint8)
        out = np.empty(array.shape, np.uint8)
        for row in range(0, len(array), 256):
            # in bands: a whole picture in float64 is eight times its 8-bit size. And float64, since the difference of
            # two int64 or float32 extremes overflows its own type
            band = array[row : row + 256].astype(np.float64)
            out[row : row + 256] = _rounded((band - self.low) / (self.high - self.low) * 255)
        return out


def _rounded(levels: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(levels, 0, 255) + levels.dtype.type(0.5)).astype(np.uint8)
