"""Maps of prompts drawn where something is to be seen, for the lean decoder.

A point's Gaussian is below the rounding of float32 six deviations away, so of the high-resolution maps only a small
rectangle is drawn and of the dense ones some rows; everywhere else they are what comes of a prompt that draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.dense_prompts import FINE_SIGMA, MIDDLE_SIGMA, NARROW_SIGMA, WIDE_SIGMA

if TYPE_CHECKING:
    from anymask.nn.dense_prompts import DensePromptEncoder, Seen, UndrawnPrompts

FAR = 6.0
"""Deviations from a point where its Gaussian, exp(-18), is lost in the rounding of the sum it is added to."""

SOFT = 9.0
"""Pixels from a box's edge where it is lost likewise: edges are sigmoids of two a pixel."""


@dataclass(frozen=True)
class Patches:
    """A rectangle of cells for each of P prompts, to be added to rows [h * w, C] in blocked order.

    corners: (y, x) of the upper left cell, P of them. values: [P, height, width, C].
    """

    corners: list[tuple[int, int]]
    values: Tensor

    def add(self, row: int, maps: Tensor, width: int, top: int) -> None:
        """Adds a prompt's rectangle to the grid's rows from `top` on, of `width` cells each, in place."""
        (y, x), value = self.corners[row], self.values[row]
        grid = maps.view(-1, width, value.shape[2])
        first, last = max(y, top), min(y + value.shape[0], top + len(grid))
        if first < last:
            grid[first - top : last - top, x : x + value.shape[1]] += value[first - y : last - y]


def blocked(maps: Tensor, factor: int) -> Tensor:
    """[B, C, f * h, f * w] with f of 2 or 4 to a cell's pixels together, [B, h, w, f * f * C]."""
    batch, channels, height, width = maps.shape
    if factor == 2:
        parts = maps.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 3, 5, 1)
    else:
        parts = maps.view(batch, channels, height // 4, 2, 2, width // 4, 2, 2).permute(0, 2, 5, 3, 6, 4, 7, 1)
    return parts.reshape(batch, height // factor, width // factor, -1)


class Drawing:
    """What is drawn of some prompts."""

    def __init__(self, prompts: UndrawnPrompts, rows: slice) -> None:
        self.encoder, self.place = prompts.encoder, prompts.place[rows]

    def hidden(self, out: list[Tensor]) -> list[slice]:
        """The dense maps of all prompts after the first layer and its GELU, less `blank`, into P of [D, h * w].

        Returns the cells of each that were written; all others are zero and are left as they are.
        """
        weight, bias = _pointwise(self.encoder.draw[0])
        blank = F.gelu(bias)
        height, width = self.encoder.grid
        if self.place.boxed.any():
            # a box is seen from everywhere
            tops, rows, maps = [0] * len(out), height, self.place.coarse(height, width)
        else:
            (_, rows), corners, (down, across) = self._seen(1, FAR * WIDE_SIGMA, 0.0, (True, False))
            tops = [y for _, y in corners]
            dots = [self.place.dots(height, width, sigma, (down, across)) for sigma in (NARROW_SIGMA, WIDE_SIGMA)]
            maps = torch.cat([*dots[0], *dots[1]], 1)
            weight = weight[:, :4]
        bands = [slice(top * width, (top + rows) * width) for top in tops]
        for memory, band, drawn in zip(out, bands, maps.flatten(2), strict=True):
            memory[:, band] = F.gelu(torch.addmm(bias[:, None], weight, drawn)).sub_(blank[:, None])
        return bands

    def fine(self) -> Patches:
        """Added to the features at four times the embedding's resolution, without the layer's bias."""
        return self._patches(self.encoder.draw_fine, 4, FINE_SIGMA)

    def middle(self) -> Patches:
        """Added to the features at twice the embedding's resolution, without the layer's bias."""
        return self._patches(self.encoder.draw_middle, 2, MIDDLE_SIGMA)

    def _patches(self, layer: nn.Module, factor: int, sigma: float) -> Patches:
        weight, _ = _pointwise(layer)
        height, width = self.encoder.grid
        finer = factor * min(height, width)
        _, corners, seen = self._seen(factor, FAR * sigma, SOFT / finer, (True, True))
        drawn = self.place.fine(factor * height, factor * width, sigma, seen)
        # the fourth map is that of earlier logits, of which there are none
        maps = torch.unflatten(weight[:, :3] @ drawn.flatten(2), 2, drawn.shape[2:])
        return Patches([(y, x) for x, y in corners], blocked(maps, factor))

    def _seen(
        self, factor: int, points: float, edges: float, cut: tuple[bool, bool]
    ) -> tuple[tuple[int, int], list[tuple[int, int]], Seen]:
        """The rectangles of cells that prompts are drawn in, `factor` pixels a cell.

        points, edges: see `Place.spread`. cut: whether height and width are cut to what is needed.
        Returns the (width, height) of all, the (x, y) of each, and the centres of their pixels.
        """
        height, width = self.encoder.grid
        size = torch.tensor([width, height])
        least, most = self.place.spread(points, edges)
        first = (least * size).floor().long().clamp(min=0)
        last = torch.maximum((most * size).ceil().long(), first + 1)
        # one size for all: that of the largest, and every rectangle lies inside the grid
        shape = torch.minimum((torch.minimum(last, size) - first).amax(0).clamp(min=1), size)
        shape = torch.where(torch.tensor(cut[::-1]), shape, size)
        first = torch.minimum(first, size - shape)
        across, down = (
            (first[:, axis, None] * factor + torch.arange(int(shape[axis]) * factor) + 0.5) / float(factor * size[axis])
            for axis in (0, 1)
        )
        corners = [(int(x), int(y)) for x, y in first.tolist()]
        return (int(shape[0]), int(shape[1])), corners, (down, across)


def _pointwise(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution's weight [out, in] and bias [out]."""
    return layer.weight.flatten(1), layer.bias  # type: ignore[operator, return-value]


def biases(encoder: DensePromptEncoder) -> tuple[Tensor, Tensor]:
    """What the drawing adds to every pixel of the fine and of the middle features, [1, C', 1, 1] each."""
    fine, middle = (layer.bias[None, :, None, None] for layer in (encoder.draw_fine, encoder.draw_middle))  # type: ignore[index]
    return fine, middle


def second(encoder: DensePromptEncoder) -> tuple[Tensor, Tensor]:
    """The layer that takes what `Drawing.hidden` draws to channels [C, D], and what is added to every cell [C, 1, 1].

    The latter is what comes of a prompt that draws nothing.
    """
    weight, bias = _pointwise(encoder.draw[2])
    blank = F.gelu(_pointwise(encoder.draw[0])[1])
    return weight, (bias + weight @ blank)[:, None, None]
