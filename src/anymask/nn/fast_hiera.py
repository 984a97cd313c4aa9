"""The same numbers as `nn.hiera.Hiera` and what follows it, with less waiting for memory on a CPU.

What differs, all of it exact up to the order of sums:
- a block runs over one row of windows at a time, so that what its layers hand on is still in the cache;
- padding of windows is never multiplied: a padded token enters qkv as zeros, so its q, k and v are the bias;
- convolutions of 1x1 work on cells as they come out of the trunk, and two in a row are one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.cpu import linear, packed

if TYPE_CHECKING:
    from anymask.nn.hiera import Hiera, HieraBlock, PoolingAttention

CHUNK = 1024
"""Rows of a linear layer at a time."""

Cells = tuple[Tensor, tuple[int, int]]
"""Rows [h * w, C] of an (h, w) grid."""


def stages(trunk: Hiera, frame: Tensor) -> Iterator[Cells]:
    """Cells after each stage, of one frame [1, 3, H, W], the finest first; good until the next is asked for."""
    conv = trunk.patch_embed.proj
    # weights with their channels last give patches with their channels last, which are what follows wants
    weight = conv.weight.contiguous(memory_format=torch.channels_last)
    patches = F.conv2d(frame, weight, conv.bias, conv.stride, conv.padding).permute(0, 2, 3, 1)  # type: ignore[arg-type]
    grid = (patches.shape[1], patches.shape[2])
    stream = patches.contiguous().add_(trunk.positions(grid)).view(-1, patches.shape[3])
    del patches
    for index, block in enumerate(trunk.blocks):
        stream, grid = _block(block, stream, grid)  # type: ignore[arg-type]
        if index in trunk.stage_ends:
            yield stream, grid


def pointwise(cells: Cells, *layers: nn.Conv2d) -> Tensor:
    """Convolutions of 1x1, one after the other, [1, C', h, w]."""
    rows, grid = cells
    weight, bias = layers[0].weight.flatten(1), layers[0].bias
    assert bias is not None
    for layer in layers[1:]:
        following, more = layer.weight.flatten(1), layer.bias
        assert more is not None
        weight, bias = following @ weight, torch.addmv(more, following, bias)
    ready = packed(weight, CHUNK)
    out = torch.empty(len(weight), len(rows))
    for part, to in zip(rows.split(CHUNK), out.split(CHUNK, 1), strict=True):
        to.copy_(linear(part, ready, bias).t())
    return out.view(1, -1, *grid)


def _block(block: HieraBlock, stream: Tensor, grid: tuple[int, int]) -> Cells:
    """One transformer block on cells [h * w, dim], one row of windows at a time.

    The cells given are used up unless the block changes their number or width.
    """
    attn, (height, width) = block.attn, grid
    high = block.window or height
    shrunk = 2 if block.pooled else 1
    inner = (height // shrunk, width // shrunk)
    fresh = block.pooled or block.proj is not None
    out = torch.empty(inner[0] * inner[1], len(attn.proj.weight)) if fresh else stream
    wide, shorter = (None if layer is None else packed(layer.weight, high * width) for layer in (attn.qkv, block.proj))
    narrow, first, second = (packed(layer.weight, CHUNK) for layer in (attn.proj, block.mlp.lin1, block.mlp.lin2))
    for top in range(0, height, high):
        rows = min(high, height - top)
        cells = stream[top * width : (top + rows) * width]
        normed = _normed(block.norm1, cells)
        attended = _attended(attn, linear(normed, wide, attn.qkv.bias), (rows, width), block.window)  # type: ignore[arg-type]
        begin = top // shrunk * inner[1]
        row = out[begin : begin + len(attended)]
        if fresh:
            short = cells if block.proj is None else linear(normed, shorter, block.proj.bias)  # type: ignore[arg-type]
            row.copy_(_pooled(short.view(1, rows, width, -1)).view(row.shape) if block.pooled else short)
        for part, seen in zip(row.split(CHUNK), attended.split(CHUNK), strict=True):
            part.add_(linear(seen, narrow, attn.proj.bias))
            hidden = linear(_normed(block.norm2, part), first, block.mlp.lin1.bias, gelu=True)
            part.add_(linear(hidden, second, block.mlp.lin2.bias))
    return out, inner


def _attended(attn: PoolingAttention, qkv: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Cells after attention inside one row of windows, or over the whole grid where side is 0; in the grid's order."""
    if not side:
        q, k, v = qkv.view(1, len(qkv), 3, -1).unbind(2)
        q = _pooled(q.unflatten(1, grid)).flatten(1, 2) if attn.pooled else q
        return _looked(attn.heads, q, k, v)
    places = _places(grid, side)
    gathered = qkv[places.cells]
    if len(places.padding):
        gathered[places.padding] = attn.qkv.bias
    q, k, v = gathered.view(-1, side * side, 3, gathered.shape[1] // 3).unbind(2)
    if attn.pooled:
        q = _pooled(q.unflatten(1, (side, side))).flatten(1, 2)
        places = _places((grid[0] // 2, grid[1] // 2), side // 2)
    return _looked(attn.heads, q, k, v)[places.back]


def _looked(heads: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of [B, N, C] with [B, M, C], rows [B * N, C]."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2).flatten(0, 1)


class _Places(NamedTuple):
    """How the cells of a row of windows lie in them, window after window."""

    cells: Tensor
    """The cell at each place, 0 where there is none,"""
    padding: Tensor
    """the places where there is none,"""
    back: Tensor
    """and the place of each cell."""


@lru_cache(maxsize=32)
def _places(grid: tuple[int, int], side: int) -> _Places:
    rows, width = grid
    across = -(-width // side)
    y = torch.arange(side)[None, :, None]
    x = torch.arange(0, across * side, side)[:, None, None] + torch.arange(side)
    real = ((y < rows) & (x < width)).flatten()
    cells = (y * width + x).flatten() * real
    back = torch.empty(rows * width, dtype=torch.long)
    back[cells[real]] = real.nonzero()[:, 0]
    return _Places(cells, (~real).nonzero()[:, 0], back)


def _pooled(x: Tensor) -> Tensor:
    """The maxima of 2 x 2 cells, [B, h, w, C] -> [B, h // 2, w // 2, C]."""
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    rows = torch.maximum(x[:, 0:height:2], x[:, 1:height:2])
    return torch.maximum(rows[:, :, 0:width:2], rows[:, :, 1:width:2])


def _normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
