"""What a low-resolution answer is at full size, exactly as bilinear interpolation in two steps would show it.

The official code blows every mask up to the image's size and then looks at all of its pixels. Here a mask is looked at
only where it can be: the two interpolations along one axis are one matrix of three or four taps a row, so that the part
of the image under the mask is a product of three small matrices. That sums in another order than torch does, hence
differs in the last bits. So each pixel nearer to a threshold than rounding can carry it is computed again in float64;
where that leaves a doubt, by torch's own arithmetic; and where that is not known, the whole answer is upscaled by
torch. Signs, and with them counts, boxes and run lengths, are therefore torch's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from anymask.pixels.resize import HW, Resize
from anymask.session.torch_bits import Bits, taps

ROUNDING = 2e-6
"""How far two float32 evaluations may lie apart, relative to the largest logit that takes part: both interpolations in
torch and the three products here round about twelve times by 6e-8 at most."""

TORCH_ROUNDING = 7e-7
"""The same between torch and exact arithmetic, relative to the mean size of the logits that take part: eight roundings
in the sums, two in the weights."""

BLOCK = 64
"""Columns of the image computed in one product: wide enough for its speed, narrow enough that few taps are zero."""

STRIP = 1 << 18
"""Pixels looked at together: as floats they fit into a core's own cache, and memory does not grow with the image."""


@dataclass(frozen=True)
class Sight:
    """One mask at full size.

    edges: int64 [2R], where its R runs begin and end (exclusive), counting pixels down the columns of the canvas.
    box: (x0, y0, x1, y1) pixels on the canvas, x1 and y1 exclusive; zeros when empty.
    area: its pixels. above, below: pixels above threshold + offset and threshold - offset.
    """

    edges: NDArray[np.int64]
    box: tuple[int, int, int, int]
    area: int
    above: int
    below: int

    @property
    def stability(self) -> np.float32:
        """How little the mask changes with its threshold, `above` / `below`; an empty mask scores 0."""
        return np.float32(self.above) / np.float32(self.below) if self.below else np.float32(0)


class FullSize:
    """Looks at low-resolution logits [h, w] as if they were upscaled to a canvas.

    resize: the map of the image (or crop) that was encoded. low: (h, w) of the logits. planes: answers of a prompt,
    which torch upscales together. canvas: (H, W) of the image that masks lie on, corner: (x, y) of the crop on it; left
    out, the image itself.
    threshold: logits above it are foreground. offset: for `Sight.above` and `Sight.below`.
    Working buffers are kept and reused: fresh memory costs more than the arithmetic.
    """

    def __init__(
        self,
        resize: Resize,
        low: HW,
        *,
        planes: int = 3,
        canvas: HW | None = None,
        corner: tuple[int, int] = (0, 0),
        threshold: float = 0.0,
        offset: float = 1.0,
    ) -> None:
        self.canvas, self.corner = canvas or resize.original, corner
        self.threshold = threshold
        self.levels = (threshold - offset, threshold, threshold + offset)
        frame, inner = resize.by_way_of(low)
        self._y, self._x = (_axis(low[i], frame[i], inner[i], resize.original[i]) for i in (0, 1))
        self._resize, self._low, self._planes = resize, low, planes
        self._torch: Bits | None = None
        height = resize.original[0]
        self._values = torch.empty(max(STRIP, height))
        # one place before the first column, one after each: runs then end within their column
        self._inside = np.zeros(1 + 2 * max(STRIP, height), np.bool_)

    def look(self, logits: NDArray[np.float32]) -> Sight | None:
        """What one mask, float32 [h, w], is at full size; None where only torch's own upscaling can tell."""
        top = float(np.abs(logits).max())
        doubt = ROUNDING * top
        if not np.isfinite(top) or 0 < self.levels[2] - self.levels[0] < 32 * doubt:
            return None
        possible = logits > self.levels[0] - doubt
        rows, columns = np.flatnonzero(possible.any(1)), np.flatnonzero(possible.any(0))
        seen = _Seen(self)
        if len(rows):
            y0, y1 = self._y.touched(rows[0], rows[-1])
            x0, x1 = self._x.touched(columns[0], columns[-1])
            if y0 < y1 and x0 < x1:  # else it lies in the padding alone
                top_tap, bottom_tap = self._y.taps(y0, y1)
                part = torch.from_numpy(logits[top_tap:bottom_tap])
                tall = part.t() @ self._y.turned[top_tap:bottom_tap, y0:y1]
                step = max(1, STRIP // (y1 - y0))
                for begin in range(x0, x1, step):
                    values = self._field(tall, begin, min(begin + step, x1))
                    levels = sorted(set(self.levels))
                    if not all(self._settle(values, logits, level, doubt, y0, begin) for level in levels):
                        return None
                    seen.add(values, y0, begin)
        return seen.sight()

    def look_at(self, upscaled: torch.Tensor) -> Sight:
        """The same of logits that torch has upscaled already, float32 [H, W] of the encoded image."""
        height, width = upscaled.shape
        seen = _Seen(self)
        step = max(1, STRIP // height)
        for begin in range(0, width, step):
            seen.add(np.ascontiguousarray(upscaled[:, begin : begin + step].t().numpy()), 0, begin)
        return seen.sight()

    def _field(self, tall: torch.Tensor, x0: int, x1: int) -> NDArray[np.float32]:
        """The upscaled logits of some columns, float32 [x1 - x0, H']; tall: the logits upscaled downwards, [w, H']."""
        values = self._values[: (x1 - x0) * tall.shape[1]].view(x1 - x0, -1)
        for begin in range(x0, x1, BLOCK):
            end = min(begin + BLOCK, x1)
            first, last = self._x.taps(begin, end)
            torch.mm(self._x.weights[begin:end, first:last], tall[first:last], out=values[begin - x0 : end - x0])
        return values.numpy()

    def _settle(
        self, values: NDArray[np.float32], logits: NDArray[np.float32], level: float, doubt: float, y0: int, x0: int
    ) -> bool:
        """Makes sure that each value is on torch's side of `level`, changing those in doubt; False if one cannot be."""
        if np.count_nonzero(values > level - doubt) == np.count_nonzero(values > level + doubt):
            return True
        flat = values.reshape(-1)
        near = np.flatnonzero(np.abs(flat - np.float32(level)) <= 1.01 * doubt + 1e-7 * abs(level))
        x, y = np.divmod(near, values.shape[1])
        y, x = y + y0, x + x0
        exact, reach = self._exactly(logits, y, x)
        distance = exact - level
        unsure = np.abs(distance) <= TORCH_ROUNDING * reach
        if unsure.any():
            if self._torch is None:
                self._torch = Bits(self._resize, self._low, self._planes)
            bits = self._torch.at(logits, y[unsure], x[unsure])
            if bits is None:
                return False
            distance[unsure] = bits > np.float32(level)
        flat[near] = level + np.where(distance > 0, 4, -4) * max(doubt, 1e-6)
        return True

    def _exactly(
        self, logits: NDArray[np.float32], y: NDArray[np.int64], x: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Single pixels in float64 [K], and the mean size of the logits that take part in each [K]."""
        rows, columns = self._y.places[y], self._x.places[x]
        parts = logits[rows[:, :, None], columns[:, None, :]].astype(np.float64)
        down, across = self._y.shares[y], self._x.shares[x]
        found = np.einsum("ka,kab,kb->k", down, parts, across)
        return found, np.einsum("ka,kab,kb->k", down, np.abs(parts), across)


class _Seen:
    """A mask as it is put together, some columns at a time."""

    def __init__(self, full: FullSize) -> None:
        self.full = full
        self.above = self.below = self.area = 0
        self.edges: list[NDArray[np.int64]] = []
        self.top, self.bottom = full.canvas[0], 0

    def add(self, values: NDArray[np.float32], y0: int, x0: int) -> None:
        """Columns x0 on, float32 [w, h], each beginning at row y0 of the encoded image."""
        width, height = values.shape
        low, level, high = self.full.levels
        self.above += int(np.count_nonzero(values > high))
        self.below += int(np.count_nonzero(values > low))
        flags = self.full._inside[: 1 + width * (height + 1)]
        columns = flags[1:].reshape(width, height + 1)
        np.greater(values, level, out=columns[:, :height])
        columns[:, height] = False
        changes = np.flatnonzero(flags[1:] != flags[:-1])
        if len(changes):
            x, y = np.divmod(changes, height + 1)
            left, top = x0 + self.full.corner[0], y0 + self.full.corner[1]
            self.area += int((y[1::2] - y[::2]).sum())
            self.top, self.bottom = min(self.top, top + int(y[::2].min())), max(self.bottom, top + int(y[1::2].max()))
            self.edges.append((x + left) * self.full.canvas[0] + (y + top))

    def sight(self) -> Sight:
        if not self.edges:
            return Sight(np.zeros(0, np.int64), (0, 0, 0, 0), 0, self.above, self.below)
        edges = np.concatenate(self.edges)
        height = self.full.canvas[0]
        box = (int(edges[0]) // height, self.top, (int(edges[-1]) - 1) // height + 1, self.bottom)
        # a run that reaches the canvas's bottom goes on at the top of the next column
        joined = edges[1:-1:2] == edges[2::2]
        if joined.any():
            keep = np.ones(len(edges), np.bool_)
            keep[1:-1:2] = keep[2::2] = ~joined
            edges = edges[keep]
        return Sight(edges, box, self.area, self.above, self.below)


@dataclass(frozen=True)
class _Axis:
    """Both interpolations along one axis as one: n pixels of the image from m logits.

    weights: float32 [n, m], and turned: [m, n]. first, last: int64 [n], the logits that a pixel is made of, inclusive.
    places: int64 [n, 4], shares: float64 [n, 4]: the same as four taps.
    """

    weights: torch.Tensor
    turned: torch.Tensor
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    places: NDArray[np.int64]
    shares: NDArray[np.float64]

    def touched(self, low: int, high: int) -> tuple[int, int]:
        """The pixels that logits low to high (inclusive) take part in, as a half-open range."""
        return int(np.searchsorted(self.last, low)), int(np.searchsorted(self.first, high, side="right"))

    def taps(self, begin: int, end: int) -> tuple[int, int]:
        """The logits that pixels begin to end (exclusive) are made of, as a half-open range."""
        return int(self.first[begin]), int(self.last[end - 1]) + 1


@lru_cache(maxsize=16)
def _axis(low: int, padded: int, resized: int, original: int) -> _Axis:
    once, twice = taps(low, padded), taps(resized, original)
    places = np.stack([half for end in (twice.first, twice.second) for half in (once.first[end], once.second[end])], 1)
    ends = ((twice.first, twice.left), (twice.second, twice.right))
    shares = np.stack(
        [half[end].astype(np.float64) * outer for end, outer in ends for half in (once.left, once.right)], 1
    )
    weights = np.zeros((original, low))
    np.add.at(weights, (np.arange(original)[:, None], places), shares)
    dense = torch.from_numpy(weights.astype(np.float32))
    return _Axis(dense, dense.t().contiguous(), places[:, 0], places[:, 3], places, shares)
