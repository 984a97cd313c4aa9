"""Single pixels of torch's bilinear interpolation, to the last bit.

A mask's boundary passes so near to some pixels that only torch's own roundings decide on which side they lie, and
upscaling a whole image for one pixel is slow. So torch's arithmetic is repeated for that pixel. How torch adds up
depends on its build, the processor and the number of threads; the forms known are compared with torch itself on a few
thousand pixels of the very size, once, and where none agrees in every bit the answer is that nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from anymask.pixels.resize import HW, Resize

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

Form = Callable[[F32, F32, F32, F32, F32], F32]
"""(corners [4, ...], weights of left, right, upper, lower [...]) to values [...]."""

PROBED = 4096
"""Pixels on which a form must agree with torch."""


@dataclass(frozen=True)
class Taps:
    """The two values that each of n interpolated ones is made of, along one axis.

    first, second: int64 [n], their places. left, right: float32 [n], their weights as torch has them.
    """

    first: I64
    second: I64
    left: F32
    right: F32


@lru_cache(maxsize=64)
def taps(count: int, wanted: int) -> Taps:
    """How torch brings `count` values to `wanted`.

    The weights are read off torch, since it rounds them from absolute positions: zeros and ones in turn come out as the
    weight of the one.
    """
    scale, half = np.float32(count) / np.float32(wanted), np.float32(0.5)
    place = np.maximum(scale * (np.arange(wanted, dtype=np.float32) + half) - half, np.float32(0))
    first = np.minimum(place.astype(np.int64), count - 1)
    second = np.minimum(first + 1, count - 1)
    turn = torch.arange(count) % 2
    probe = torch.stack([turn, 1 - turn, turn]).float()[None, :, :, None].expand(1, 3, count, 64).contiguous()
    # as wide as pictures are: torch has other code for small ones
    odd_ones, even_ones = F.interpolate(probe, (wanted, 128), mode="bilinear", align_corners=False)[0, :2, :, 0].numpy()
    odd = first % 2 == 1
    right = np.where(odd, even_ones, odd_ones)
    left = np.where(odd, odd_ones, even_ones)
    # at the end both places are the last one, and the probe shows the sum of both weights
    end = first == second
    right = np.where(end, np.clip(place - first, 0, 1), right).astype(np.float32)
    left = np.where(end, np.float32(1) - right, left).astype(np.float32)
    return Taps(first, second, left, right)


class Bits:
    """Torch's values of single pixels, after both interpolations.

    resize: the map of the encoded image. low: (h, w) of the logits. planes: answers of a prompt that torch upscales
    together; another number of them takes another kernel.
    """

    def __init__(self, resize: Resize, low: HW, planes: int = 3) -> None:
        threads = torch.get_num_threads()
        frame, inner = resize.by_way_of(low)
        self._forms = (
            _form(planes, low, low, frame, threads),
            _form(planes, frame, inner, resize.original, threads),
        )
        self._first = [taps(low[axis], frame[axis]) for axis in (0, 1)]
        self._second = [taps(inner[axis], resize.original[axis]) for axis in (0, 1)]

    def at(self, logits: F32, y: I64, x: I64) -> F32 | None:
        """Pixels (y, x) [K] of logits [h, w] upscaled to the image's size, float32 [K]; None where torch is unknown."""
        first, second = self._forms
        if first is None or second is None:
            return None
        rows, columns = self._second
        corners = [
            _pixel(first, logits, self._first[0], self._first[1], below[y], beside[x])
            for below in (rows.first, rows.second)
            for beside in (columns.first, columns.second)
        ]
        weights = (columns.left[x], columns.right[x], rows.left[y], rows.right[y])
        return second(np.stack(corners), *weights)


def _pixel(form: Form, values: F32, rows: Taps, columns: Taps, y: I64, x: I64) -> F32:
    """Pixels (y, x) of one interpolation of values [..., h, w]: [..., K]."""
    corners = np.stack(
        [values[..., i[y], j[x]] for i in (rows.first, rows.second) for j in (columns.first, columns.second)]
    )
    return form(corners, columns.left[x], columns.right[x], rows.left[y], rows.right[y])


def _fused(a: F32, b: F32, c: F32) -> F32:
    """a * b + c, rounded once: the product of two float32 is exact in float64."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def _rows_fused(corners: F32, left: F32, right: F32, upper: F32, lower: F32) -> F32:
    above = _fused(corners[0], left, corners[1] * right)
    below = _fused(corners[2], left, corners[3] * right)
    return _fused(above, upper, below * lower)


def _rows_fused_late(corners: F32, left: F32, right: F32, upper: F32, lower: F32) -> F32:
    above = _fused(corners[1], right, corners[0] * left)
    below = _fused(corners[3], right, corners[2] * left)
    return _fused(below, lower, above * upper)


def _rows(corners: F32, left: F32, right: F32, upper: F32, lower: F32) -> F32:
    above, below = corners[0] * left + corners[1] * right, corners[2] * left + corners[3] * right
    found: F32 = above * upper + below * lower
    return found


def _corners_fused(corners: F32, left: F32, right: F32, upper: F32, lower: F32) -> F32:
    found = corners[1] * (upper * right)
    for corner, weight in ((0, upper * left), (2, lower * left), (3, lower * right)):
        found = _fused(corners[corner], weight, found)
    return found


def _corners(corners: F32, left: F32, right: F32, upper: F32, lower: F32) -> F32:
    found: F32 = corners[0] * (upper * left) + corners[1] * (upper * right)
    return found + corners[2] * (lower * left) + corners[3] * (lower * right)


FORMS: tuple[Form, ...] = (_rows_fused, _corners_fused, _rows, _rows_fused_late, _corners)


@lru_cache(maxsize=64)
def _form(planes: int, whole: HW, used: HW, wanted: HW, threads: int) -> Form | None:
    """The form that torch takes from `used` (h, w), a corner of a map of size `whole`, to `wanted`; None if unknown.

    threads: part of the question, because torch divides the work by it and then takes another kernel.
    """
    random = np.random.default_rng(0)
    values = random.standard_normal((planes, *whole), np.float32)[:, : used[0], : used[1]]
    probe = torch.from_numpy(values)[None]
    exact = F.interpolate(probe, wanted, mode="bilinear", align_corners=False)[0]
    count = min(PROBED, wanted[0] * wanted[1])
    y, x = random.integers(0, wanted[0], count), random.integers(0, wanted[1], count)
    # the borders, where both places are one
    y[:4], x[:4] = (0, 0, wanted[0] - 1, wanted[0] - 1), (0, wanted[1] - 1, 0, wanted[1] - 1)
    expected = exact[:, y, x].numpy()
    rows, columns = (taps(used[axis], wanted[axis]) for axis in (0, 1))
    for form in FORMS:
        if np.array_equal(_pixel(form, values, rows, columns, y, x), expected):
            return form
    return None
