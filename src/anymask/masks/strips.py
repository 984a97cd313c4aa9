"""Masks as vertical strips: moved, cut and united on canvases that are too large to decode.

A run-length encoded mask on 20,000 x 20,000 pixels is a few kilobytes and 400 MB once decoded. Everything here costs
what the mask's outline is long, whatever the canvas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.masks.rle import RLE, lengths, of_lengths
from anymask.pixels.resize import HW


@dataclass(frozen=True)
class Strips:
    """The pixels of a mask: S pieces of columns, in order of x, then top; they neither overlap nor touch.

    x, top, bottom: int64 [S]; strip s covers rows top..bottom (exclusive) of column x.
    """

    x: NDArray[np.int64]
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]

    @classmethod
    def of(cls, rle: RLE) -> Strips:
        """The strips of a mask, on its own canvas. Raises BadSetting for a damaged one."""
        height = rle["size"][0]
        ends = np.cumsum(lengths(rle))
        starts, ends = ends[0 : len(ends) - 1 : 2], ends[1::2]
        filled = ends > starts
        starts, ends = starts[filled], ends[filled]
        # a run that reaches the bottom goes on at the top of the next column
        first, last = starts // height, (ends - 1) // height
        count = last - first + 1
        run = np.repeat(np.arange(len(starts)), count)
        x = first[run] + np.arange(len(run)) - np.repeat(np.cumsum(count) - count, count)
        top = np.maximum(starts[run] - x * height, 0)
        bottom = np.minimum(ends[run] - x * height, height)
        return cls(x, top, bottom)

    @classmethod
    def union(cls, parts: Sequence[Strips]) -> Strips:
        """The pixels that are in any of the parts."""
        if len(parts) == 1:
            return parts[0]
        x = np.concatenate([part.x for part in parts] or [_NONE])
        top = np.concatenate([part.top for part in parts] or [_NONE])
        bottom = np.concatenate([part.bottom for part in parts] or [_NONE])
        if not len(x):
            return cls(_NONE, _NONE, _NONE)
        order = np.lexsort((top, x))
        x, top, bottom = x[order], top[order], bottom[order]
        # columns laid end to end with a gap between them, so that one running maximum serves them all
        pitch = int(bottom.max()) + 2
        reach = np.maximum.accumulate(x * pitch + bottom)
        fresh = np.concatenate(([True], x[1:] * pitch + top[1:] > reach[:-1]))
        at = np.flatnonzero(fresh)
        last = np.concatenate((at[1:], [len(x)])) - 1
        return cls(x[at], top[at], reach[last] - x[at] * pitch)

    def moved(self, right: int, down: int) -> Strips:
        """The same pixels elsewhere, so many pixels to the right and down."""
        return Strips(self.x + right, self.top + down, self.bottom + down)

    def within(self, x0: int, y0: int, x1: int, y1: int) -> Strips:
        """The part inside a rectangle, x1 and y1 exclusive; coordinates stay as they are."""
        a, b = np.searchsorted(self.x, [x0, x1])
        top, bottom = np.maximum(self.top[a:b], y0), np.minimum(self.bottom[a:b], y1)
        keep = bottom > top
        return Strips(self.x[a:b][keep], top[keep], bottom[keep])

    def rle(self, size: HW) -> RLE:
        """The mask on a canvas (H, W) px. Raises BadSetting when it does not lie on it."""
        height, width = size
        if len(self.x) and (self.x[0] < 0 or self.x[-1] >= width or self.top.min() < 0 or self.bottom.max() > height):
            raise BadSetting(f"the mask at {self.box()} lies outside of its canvas of {width} x {height} px")
        starts, ends = self.x * height + self.top, self.x * height + self.bottom
        # down one column and on at the top of the next is one run
        apart = np.flatnonzero(starts[1:] != ends[:-1])
        starts = starts[np.concatenate(([0], apart + 1))] if len(starts) else starts
        ends = ends[np.concatenate((apart, [len(ends) - 1]))] if len(ends) else ends
        edges = np.stack([starts, ends], 1).reshape(-1)
        total = height * width
        runs = np.diff(edges, prepend=0, append=total)
        return of_lengths(runs[:-1] if len(edges) and edges[-1] == total else runs, size)

    def area(self) -> int:
        """Pixels."""
        return int((self.bottom - self.top).sum())

    def box(self) -> tuple[int, int, int, int]:
        """Tight (x0, y0, x1, y1), x1 and y1 exclusive; zeros when empty."""
        if not len(self.x):
            return (0, 0, 0, 0)
        return (int(self.x[0]), int(self.top.min()), int(self.x[-1]) + 1, int(self.bottom.max()))

    def dense(self, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
        """bool [y1 - y0, x1 - x0]: the part inside a rectangle, decoded."""
        part = self.within(x0, y0, x1, y1)
        high = y1 - y0 + 1
        flips = np.zeros((x1 - x0) * high, np.int8)
        # one row more than there are, so that no strip ends where another begins
        flips[(part.x - x0) * high + part.top - y0] = 1
        flips[(part.x - x0) * high + part.bottom - y0] = -1
        columns = np.cumsum(flips, dtype=np.int8).reshape(x1 - x0, high)
        return np.ascontiguousarray(columns[:, : high - 1].T).view(np.bool_)


_NONE = np.zeros(0, np.int64)
