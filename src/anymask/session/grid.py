"""Where everything mode points: regular grids, on the whole image and on crops of it.

Source: Segment Anything, appendix B, "Cropping".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anymask.pixels.resize import HW


@dataclass(frozen=True)
class Crop:
    """A part of the image that is encoded by itself. XYXY pixels, x1 and y1 exclusive; layer 0 is the whole image."""

    x0: int
    y0: int
    x1: int
    y1: int
    layer: int

    @property
    def size(self) -> HW:
        """(H, W)."""
        return (self.y1 - self.y0, self.x1 - self.x0)


def point_grid(side: int) -> NDArray[np.float64]:
    """side x side points (x, y) in 0..1 at the centres of equal cells, row by row: float64 [side * side, 2]."""
    half = 1 / (2 * side)
    places = np.linspace(half, 1 - half, side)
    x, y = np.meshgrid(places, places)
    return np.stack([x, y], -1).reshape(-1, 2)


def grids(side: int, layers: int, shrink: int) -> tuple[NDArray[np.float64], ...]:
    """One grid for the whole image and each crop layer; layer n has int(side / shrink^n) points a side."""
    return tuple(point_grid(int(side / shrink**layer)) for layer in range(layers + 1))


def crops(size: HW, layers: int, overlap: float) -> list[Crop]:
    """The whole image, then 4 ** n crops for layer n, left to right by columns of crops.

    overlap: of the crops of layer 1, as a share of the image's short side; halved with each further layer.
    """
    height, width = size
    found = [Crop(0, 0, width, height, 0)]
    for layer in range(1, layers + 1):
        count = 2**layer
        shared = int(overlap * min(size) * (2 / count))
        long, high = (math.ceil((shared * (count - 1) + side) / count) for side in (width, height))
        for column in range(count):
            for row in range(count):
                x, y = (long - shared) * column, (high - shared) * row
                found.append(Crop(x, y, min(x + long, width), min(y + high, height), layer))
    return found


def coarse(count: int) -> NDArray[np.int64]:
    """The rows of every other point along both sides of a square grid of `count` points; all of any other grid."""
    side = math.isqrt(count)
    rows = np.arange(count)
    if side * side != count or side < 4:
        return rows
    return rows.reshape(side, side)[::2, ::2].reshape(-1)


def beside(count: int, promising: NDArray[np.int64]) -> NDArray[np.int64]:
    """The points of a square grid that `coarse` left out and that lie next to one of the `promising` rows."""
    side = math.isqrt(count)
    first = coarse(count)
    near = np.zeros((side + 2, side + 2), np.bool_)
    y, x = np.divmod(promising, max(side, 1))
    for down in range(3):
        for right in range(3):
            near[y + down, x + right] = True
    inside = near[1 : side + 1, 1 : side + 1].reshape(-1)
    return np.setdiff1d(np.flatnonzero(inside), first) if len(first) < count else np.zeros(0, np.int64)
