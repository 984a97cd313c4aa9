"""Outlines of masks taken from their strips: nothing is decoded, whatever the mask covers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anymask.masks.polygons import Corners, Polygon, assembled, tolerance
from anymask.masks.rle import RLE
from anymask.masks.strips import Strips


def outlined(rle: RLE, *, simplify: float = 0.0) -> list[Polygon]:
    """The same as `polygons.outlines` of the decoded mask, at a cost that grows with the outline and not the area."""
    strips = Strips.of(rle)
    simplify = tolerance(simplify)
    if not len(strips.x):
        return []

    def connected(places: list[tuple[int, int]]) -> list[int]:
        row, column = np.array(places, np.int64).T
        return [int(number) for number in _parts(strips)[_at(strips, column, row)]]

    return assembled(_corners(strips), connected, (0, 0), simplify)


def _corners(strips: Strips) -> Corners:
    """Where the outline turns: at the ends of strips, unless the next column's strip ends there in the same way."""
    count = len(strips.x)
    # each end of a strip lies on the line to the left of its column and on the one to the right
    x = np.concatenate([strips.x + 1, strips.x + 1, strips.x, strips.x])
    y = np.tile(np.concatenate([strips.top, strips.bottom]), 2)
    left = np.arange(4 * count) < 2 * count  # the strip lies to the left of the line
    begins = np.tile(np.arange(2 * count) < count, 2)
    order = np.lexsort((left, x, y))
    x, y, left, begins = x[order], y[order], left[order], begins[order]
    same = np.zeros(4 * count, np.bool_)
    same[1:] = (x[1:] == x[:-1]) & (y[1:] == y[:-1])
    paired = same.copy()
    paired[:-1] |= same[1:]
    # of two ends at one place, the other one is the next or the one before
    other = np.arange(4 * count) + np.where(same, -1, 1)
    alike = np.zeros(4 * count, np.bool_)
    alike[paired] = begins[other[paired]] == begins[paired]
    keep = ~alike
    x, y, left, begins, double, second = x[keep], y[keep], left[keep], begins[keep], paired[keep], same[keep]
    # this column's pixels above and below the end, and those of the column on the other side of the line
    above, below = ~begins, begins
    beside = _at(strips, np.where(left, x, x - 1), y) >= 0
    beside_above, beside_below = np.where(double, ~above, beside), np.where(double, ~below, beside)
    around = (
        np.where(left, above, beside_above),
        np.where(left, beside_above, above),
        np.where(left, below, beside_below),
        np.where(left, beside_below, below),
    )
    return Corners.between(x, y, around, double, second)


def _at(strips: Strips, x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the strip that pixel (x, y) lies in, -1 for none: int64 [K]."""
    pitch = int(strips.bottom.max()) + 2
    found = np.searchsorted(strips.x * pitch + strips.top, x * pitch + y, side="right") - 1
    hit = (found >= 0) & (strips.x[found] == x) & (strips.bottom[found] > y)
    return np.where(hit, found, -1)


def _parts(strips: Strips) -> NDArray[np.int64]:
    """int64 [S]: equal for strips that hang together by the sides of their pixels."""
    pitch = int(strips.bottom.max()) + 2
    tops, bottoms = strips.x * pitch + strips.top, strips.x * pitch + strips.bottom
    # the strips of the next column that share a row with this one follow each other
    begin = np.searchsorted(bottoms, tops + pitch, side="right")
    count = np.maximum(np.searchsorted(tops, bottoms + pitch, side="left") - begin, 0)
    here = np.repeat(np.arange(len(tops)), count)
    there = np.arange(len(here)) - np.repeat(np.cumsum(count) - count, count) + begin[here]
    label = np.arange(len(tops))
    while True:
        first, second = label[here], label[there]
        if np.array_equal(first, second):
            return label
        np.minimum.at(label, np.maximum(first, second), np.minimum(first, second))
        while not np.array_equal(label[label], label):
            label = label[label]
