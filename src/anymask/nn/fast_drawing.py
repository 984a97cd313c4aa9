"""Maps of prompts drawn where something is to be seen, for the lean decoder.

A point's Gaussian is below the rounding of float32 six deviations away, so of the high-resolution maps only a small
rectangle is drawn; everywhere else they are the bias of their layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anymask.nn.dense_prompts import FINE_SIGMA, MIDDLE_SIGMA

if TYPE_CHECKING:
    from anymask.nn.dense_prompts import DensePromptEncoder, UndrawnPrompts

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

    def hidden(self, out: list[Tensor]) -> None:
        """The dense maps of all prompts after the first layer and its GELU, into P of [D, h * w]."""
        layer: nn.Module = self.encoder.draw[0]
        weight: Tensor = layer.weight.flatten(1)  # type: ignore[operator, assignment]
        bias: Tensor = layer.bias[:, None]  # type: ignore[index, assignment]
        for memory, maps in zip(out, self.place.coarse(*self.encoder.grid).flatten(2), strict=True):
            torch.ops.aten.gelu_(torch.addmm(bias, weight, maps, out=memory))

    def fine(self) -> Patches:
        """Added to the features at four times the embedding's resolution, without the layer's bias."""
        return self._patches(self.encoder.draw_fine, 4, FINE_SIGMA)

    def middle(self) -> Patches:
        """Added to the features at twice the embedding's resolution, without the layer's bias."""
        return self._patches(self.encoder.draw_middle, 2, MIDDLE_SIGMA)

    def _patches(self, layer: nn.Module, factor: int, sigma: float) -> Patches:
        weight: Tensor = layer.weight.flatten(1)  # type: ignore[operator, assignment]
        height, width = self.encoder.grid
        size = torch.tensor([width, height])
        finer = factor * size
        least, most = self.place.spread(FAR * sigma, SOFT / float(finer.min()))
        first = (least * size).floor().long().clamp(min=0)
        last = torch.maximum((most * size).ceil().long(), first + 1)
        # one size for all: that of the largest, and every rectangle lies inside the grid
        shape = torch.minimum((torch.minimum(last, size) - first).amax(0).clamp(min=1), size)
        first = torch.minimum(first, size - shape)
        across, down = (
            (first[:, axis, None] * factor + torch.arange(int(shape[axis]) * factor) + 0.5) / float(finer[axis])
            for axis in (0, 1)
        )
        seen = self.place.fine(factor * height, factor * width, sigma, (down, across))
        # the fourth map is that of earlier logits, of which there are none
        maps = torch.unflatten(weight[:, :3] @ seen.flatten(2), 2, seen.shape[2:])
        return Patches([(y, x) for x, y in first.tolist()], blocked(maps, factor))


def biases(encoder: DensePromptEncoder) -> tuple[Tensor, Tensor]:
    """What the drawing adds to every pixel of the fine and of the middle features, [1, C', 1, 1] each."""
    fine, middle = (layer.bias[None, :, None, None] for layer in (encoder.draw_fine, encoder.draw_middle))  # type: ignore[index]
    return fine, middle


def second(encoder: DensePromptEncoder) -> tuple[Tensor, Tensor]:
    """The layer that takes what `Drawing.hidden` draws to channels: weight [C, D] and bias [C, 1, 1]."""
    layer: nn.Module = encoder.draw[2]
    return layer.weight.flatten(1), layer.bias[:, None, None]  # type: ignore[operator, index, return-value]
