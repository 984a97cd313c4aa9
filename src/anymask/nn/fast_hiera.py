"""The same numbers as `nn.hiera.Hiera` and what follows it, with less waiting for memory on a CPU.

What differs, all of it exact up to the order of sums:
- linear layers run over a few rows at a time, so that what they hand on is still in the cache;
- padding of windows is never multiplied: a padded token enters qkv as zeros, so its q, k and v are the bias;
- convolutions of 1x1 work on cells as they come out of the trunk, and two in a row are one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.cpu import linear, linear_into, packed
from anymask.nn.fast_vit import _window_index

if TYPE_CHECKING:
    from anymask.nn.hiera import Hiera, HieraBlock, PoolingAttention

CHUNK = 1024
"""Rows of a linear layer at a time."""

Cells = tuple[Tensor, tuple[int, int]]
"""Rows [h * w, C] of an (h, w) grid."""


def stages(trunk: Hiera, frame: Tensor) -> Iterator[Cells]:
    """Cells after each stage, of one frame [1, 3, H, W], the finest first; good until the next is asked for."""
    patches = trunk.patch_embed(frame)
    grid = (patches.shape[1], patches.shape[2])
    stream = patches.contiguous().add_(trunk.positions(grid)).view(-1, patches.shape[3])
    del patches
    rooms = _Room(), _Room()
    for index, block in enumerate(trunk.blocks):
        stream, grid = _block(block, stream, grid, *rooms)  # type: ignore[arg-type]
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


class _Room:
    """Memory that blocks work in one after another, for fresh memory is several times slower than memory in use."""

    def __init__(self) -> None:
        self.memory = torch.empty(0)

    def take(self, rows: int, columns: int) -> Tensor:
        if self.memory.numel() < rows * columns:
            self.memory = torch.empty(rows * columns)
        return self.memory[: rows * columns].view(rows, columns)


def _block(block: HieraBlock, stream: Tensor, grid: tuple[int, int], first_room: _Room, second_room: _Room) -> Cells:
    """One transformer block on cells [h * w, dim]; those given are used up unless it changes their number or width."""
    attn, cells = block.attn, len(stream)
    qkv = first_room.take(cells + 1, len(attn.qkv.weight))
    weight, bias = packed(attn.qkv.weight, CHUNK), attn.qkv.bias
    width = len(attn.proj.weight)
    short = None if block.proj is None else torch.empty(cells, width)
    shorter = None if block.proj is None else packed(block.proj.weight, CHUNK)
    for rows in _chunks(cells):
        normed = _normed(block.norm1, stream[rows])
        linear_into(qkv[rows], normed, weight, bias)
        if short is not None and shorter is not None and block.proj is not None:
            linear_into(short[rows], normed, shorter, block.proj.bias)
    if short is not None:
        stream = short
    inner = (grid[0] // 2, grid[1] // 2) if block.pooled else grid
    if block.pooled:
        stream = _pooled(stream.view(1, *grid, width)).reshape(-1, width)
    attended = second_room.take(len(stream), width)
    if block.window:
        qkv[cells] = bias
        _windows(attn, qkv, attended, grid, block.window)
    else:
        _global(attn, qkv[:cells], attended, grid)
    weight = packed(attn.proj.weight, CHUNK)
    first, second = packed(block.mlp.lin1.weight, CHUNK), packed(block.mlp.lin2.weight, CHUNK)
    for rows in _chunks(len(stream)):
        part = stream[rows].add_(linear(attended[rows], weight, attn.proj.bias))
        hidden = linear(_normed(block.norm2, part), first, block.mlp.lin1.bias, gelu=True)
        part.add_(linear(hidden, second, block.mlp.lin2.bias))
    return stream, inner


def _windows(attn: PoolingAttention, qkv: Tensor, out: Tensor, grid: tuple[int, int], side: int) -> None:
    """Attention inside windows, one row of windows at a time; the last row of qkv stands for padding."""
    height, width = grid
    across, heads = -(-width // side), attn.heads
    inner = (height // 2, width // 2) if attn.pooled else grid
    small = side // 2 if attn.pooled else side
    gathered = torch.empty(across * side * side, qkv.shape[1])
    for top in range(0, height, side):
        torch.index_select(qkv, 0, _window_index(top, grid, side), out=gathered)
        q, k, v = gathered.view(across, side * side, 3, -1).unbind(2)
        if attn.pooled:
            q = _pooled(q.unflatten(1, (side, side))).flatten(1, 2)
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        joined = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, out.shape[1])
        index = _window_index(top // 2 if attn.pooled else top, inner, small)
        real = index < len(out)
        out[index[real]] = joined[real]


def _global(attn: PoolingAttention, qkv: Tensor, out: Tensor, grid: tuple[int, int]) -> None:
    """Attention over the whole grid."""
    q, k, v = qkv.view(1, len(qkv), 3, -1).unbind(2)
    if attn.pooled:
        q = _pooled(q.unflatten(1, grid)).flatten(1, 2)
    q, k, v = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (q, k, v))
    out.copy_(F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1))


def _pooled(x: Tensor) -> Tensor:
    """The maxima of 2 x 2 cells, [B, h, w, C] -> [B, h // 2, w // 2, C]."""
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    rows = torch.maximum(x[:, 0:height:2], x[:, 1:height:2])
    return torch.maximum(rows[:, :, 0:width:2], rows[:, :, 1:width:2])


def _normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _chunks(count: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
