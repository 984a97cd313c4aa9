"""Cells to the pixels of masks, four times finer.

A transposed convolution of kernel and stride 2 is a linear layer, if the four pixels of a cell stay together until the
end ("blocked" order); then only the few mask rows are brought into reading order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.cpu import linear, packed
from anymask.nn.fast_cells import Layer
from anymask.nn.fast_drawing import Patches, blocked

if TYPE_CHECKING:
    from anymask.nn.fast_cells import Cells
    from anymask.nn.layers import LayerNorm2d
    from anymask.nn.mask_decoder import MaskDecoder

Pair = tuple[Tensor, Tensor]

BAND = 1024
"""Cells that are upscaled at a time; 4096 x 128 floats are 2 MB."""


class Upscaler:
    """Upscales the cells of one prompt after another.

    grid: (h, w) of the cells. features: high-resolution features ([B, C/8, 4h, 4w], [B, C/4, 2h, 2w]) of one image or
    of each prompt. added: maps to be added to them, likewise.
    """

    def __init__(
        self, decoder: MaskDecoder, grid: tuple[int, int], features: Pair | None, added: Pair | None = None
    ) -> None:
        first, norm, _, second, _ = decoder.output_upscaling
        cells = grid[0] * grid[1]
        self.grid, self.features, self.added = grid, features, added
        self.norm: LayerNorm2d = norm  # type: ignore[assignment]
        self.first, self.second = _grown(first, cells), _grown(second, 4 * cells)
        self.band = max(1, BAND // grid[1])
        self.common: Pair | None = None
        if features is not None and len(features[0]) == 1 and (added is None or len(added[0]) == 1):
            self.common = self._own(0)

    def _own(self, row: int) -> Pair | None:
        """One prompt's features in blocked order, [h, w, 2 C] and [h, w, C], the finer first."""
        if self.features is None:
            return None
        fine, middle = (feature[row if len(feature) > 1 else 0] for feature in self.features)
        if self.added is not None:
            more = [maps[row if len(maps) > 1 else 0] for maps in self.added]
            fine, middle = fine + more[0], middle + more[1]
        return blocked(fine[None], 4)[0], blocked(middle[None], 2)[0]

    def draw(
        self,
        canvas: Canvas,
        row: int,
        ranks: list[int],
        cells: Cells,
        kernels: Tensor,
        patches: Sequence[tuple[Patches, int]],
    ) -> None:
        """Masks of one prompt onto a canvas, some rows of the grid at a time, so that they stay in the cache.

        row: of the canvas and of the features. ranks: which of the row's masks. kernels: one each, [len(ranks), C/8],
        of which each pixel's product is the logit.
        patches: added to the fine and the middle features, each with the row of it.
        """
        own = self.common or self._own(row)
        if own is None:
            patches = ()
        height, width = self.grid
        for top in range(0, height, self.band):
            bottom = min(top + self.band, height)
            part = None if own is None else (own[0][top:bottom], own[1][top:bottom])
            up = cells.projected(self.first, slice(top * width, bottom * width))
            canvas.draw(row, ranks, top, kernels, self._pixels(up, part, patches, top))

    def _pixels(self, up: Tensor, own: Pair | None, patches: Sequence[tuple[Patches, int]], top: int) -> Tensor:
        """Pixels in blocked order, [16 n, C / 8], of n cells after the first layer, [n, C]; these are overwritten."""
        channels, width = len(self.norm.weight), self.grid[1]
        if own is not None:
            up.add_(own[1].view_as(up))
        for patch, at in patches[1:]:
            patch.add(at, up, width, top)
        up = F.layer_norm(up.view(-1, channels), (channels,), self.norm.weight, self.norm.bias, self.norm.eps)
        torch.ops.aten.gelu_(up)
        second = self.second
        if own is None:
            return linear(up, second.ready, second.bias, gelu=True).view(-1, channels // 2)
        pixels = linear(up, second.ready, second.bias)
        pixels.add_(own[0].view_as(pixels))
        for patch, at in patches[:1]:
            patch.add(at, pixels, width, top)
        return torch.ops.aten.gelu_(pixels).view(-1, channels // 2)  # type: ignore[no-any-return]


class Canvas:
    """Logits [P, M, 4h, 4w] that are filled in one prompt at a time."""

    def __init__(self, count: int, answers: int, grid: tuple[int, int]) -> None:
        height, width = self.grid = grid
        self.logits = torch.empty(count, answers, 4 * height, 4 * width)
        # the two pixels of a pair stay together and move as one number of twice the width
        self._pairs = self.logits.view(torch.float64).view(count, answers, height, 2, 2, width, 2)

    def draw(self, row: int, ranks: list[int], top: int, kernels: Tensor, pixels: Tensor) -> None:
        """A prompt's masks in the grid's rows from `top` on: kernels [M, K] times pixels [16 n, K], blocked."""
        width = self.grid[1]
        drawn = linear(kernels, pixels).view(torch.float64).view(len(kernels), -1, width, 2, 2, 2)
        pairs = self._pairs[row, :, top : top + drawn.shape[1]]
        if len(ranks) == len(pairs):
            pairs.copy_(drawn.permute(0, 1, 3, 5, 2, 4))
            return
        for rank, one in zip(ranks, drawn.permute(0, 1, 3, 5, 2, 4), strict=True):
            pairs[rank] = one


def _grown(layer: nn.Module, rows: int) -> Layer:
    """A transposed convolution of kernel and stride 2 as a linear layer for about `rows` cells.

    In blocked order it takes [N, C] to [N, 4 C'], the same memory as [4 N, C'].
    """
    weight: Tensor = layer.weight  # type: ignore[assignment]
    bias: Tensor = layer.bias  # type: ignore[assignment]
    flat = weight.permute(2, 3, 1, 0).reshape(4 * weight.shape[1], -1)
    return Layer(flat, packed(flat, rows), bias.repeat(4))
