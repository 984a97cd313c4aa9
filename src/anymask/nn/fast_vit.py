"""The same numbers as `nn.vit.ImageEncoderViT`, with a twentieth of the memory and less waiting for it.

What differs, all of it exact up to the order of sums:
- linear layers run over a few rows at a time, so that what they hand on is still in the cache;
- padding of windows is never multiplied: a padded token enters qkv as zeros, so its q, k and v are the bias;
- relative positions are read out of one small product per query by strides, instead of spread-out tables;
- global attention is done for some rows of one head at a time, so that no [heads, 4096, 4096] tensor exists.

In bfloat16 the products are bfloat16, while the residual stream and LayerNorm stay float32, which halves the error of
autocast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from anymask.nn.cpu import linear, linear_into, packed, parameters_of

if TYPE_CHECKING:
    from anymask.nn.vit import Block, ImageEncoderViT, RelativeAttention

CHUNK = 1024
"""Rows of a linear layer at a time; 1024 x 3072 floats are 12 MB."""

QUERIES = 256
"""Queries of one head at a time in global attention; 256 x 4096 floats are 4 MB."""


class _Buffers:
    """The memory that one image's pass through the blocks works in."""

    def __init__(self, cells: int, dim: int, dtype: torch.dtype) -> None:
        # one row more: the q, k, v of padding
        self.qkv = torch.empty(cells + 1, 3 * dim, dtype=dtype)
        self.attended = torch.empty(cells, dim, dtype=dtype)


def encode(encoder: ImageEncoderViT, frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Frames float32 [B, 3, side, side] to the embedding, float32 [B, out, h, w]; products in `dtype`."""
    return torch.cat([_encode_one(encoder, frame[None], dtype) for frame in frames])


def _encode_one(encoder: ImageEncoderViT, frame: Tensor, dtype: torch.dtype) -> Tensor:
    patches = encoder.patch_embed(frame)
    _, height, width, dim = patches.shape
    stream = patches.contiguous().add_(encoder.pos_embed).view(-1, dim)
    del patches
    buffers = _Buffers(len(stream), dim, dtype)
    for block in encoder.blocks:
        _block(block, stream, (height, width), buffers)  # type: ignore[arg-type]
    del buffers
    grid = stream.view(1, height, width, dim).permute(0, 3, 1, 2)
    embedding: Tensor = encoder.neck(grid)
    return embedding


def _block(block: Block, stream: Tensor, grid: tuple[int, int], buffers: _Buffers) -> None:
    """One transformer block on the residual stream [cells, dim], in place."""
    attn, cells = block.attn, len(stream)
    dtype = buffers.qkv.dtype
    weight, bias = parameters_of(attn.qkv, dtype)
    # packed once for all chunks; nothing is kept beyond the layer, so no copy can go stale or fill memory
    weight = packed(weight, CHUNK)
    for rows in _chunks(cells):
        normed = F.layer_norm(stream[rows], stream.shape[1:], block.norm1.weight, block.norm1.bias, block.norm1.eps)
        linear_into(buffers.qkv[rows], normed.to(dtype), weight, bias)
    if block.window:
        buffers.qkv[cells] = bias
        _windows(attn, buffers, grid, block.window)
    else:
        _global(attn, buffers, grid)
    weight, bias = parameters_of(attn.proj, dtype)
    weight = packed(weight, CHUNK)
    for rows in _chunks(cells):
        stream[rows].add_(linear(buffers.attended[rows], weight, bias))
    first, first_bias = parameters_of(block.mlp.lin1, dtype)
    second, second_bias = parameters_of(block.mlp.lin2, dtype)
    first, second = packed(first, CHUNK), packed(second, CHUNK)
    for rows in _chunks(cells):
        normed = F.layer_norm(stream[rows], stream.shape[1:], block.norm2.weight, block.norm2.bias, block.norm2.eps)
        stream[rows].add_(linear(linear(normed.to(dtype), first, first_bias, gelu=True), second, second_bias))


def _chunks(count: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]


def _offsets(attn: RelativeAttention) -> Tensor:
    """Both relative tables, mirrored and side by side, [head dim, 2 * (2 side - 1)].

    Mirrored, the entries for one query and keys 0, 1, 2... stand in ascending order.
    """
    return torch.cat([attn.rel_pos_h.flip(0), attn.rel_pos_w.flip(0)]).t()


def _bias(products: Tensor, rows: range, side: int, out: Tensor) -> None:
    """Relative-position bias of the queries in some grid rows, into out [B, rows, side, side, side].

    products: contiguous [B, rows * side, 2 * (2 side - 1)], query times `_offsets`. The entry for query row y and key
    row k is number side - 1 - y + k; a stride one shorter a row makes that a plain view, and nothing is gathered.
    """
    length = 2 * side - 1
    batch, start = len(products), products.storage_offset()
    per_cell, per_row, per_batch = 2 * length, 2 * length * side, 2 * length * side * len(rows)
    along_h = products.as_strided(
        (batch, len(rows), side, side),
        (per_batch, per_row - 1, per_cell, 1),
        start + side - 1 - rows.start,
    )
    along_w = products.as_strided(
        (batch, len(rows), side, side),
        (per_batch, per_row, per_cell - 1, 1),
        start + length + side - 1,
    )
    torch.add(along_h[..., :, None], along_w[..., None, :], out=out)


def _windows(attn: RelativeAttention, buffers: _Buffers, grid: tuple[int, int], side: int) -> None:
    """Attention inside windows; one row of windows at a time."""
    height, width = grid
    heads, cells = attn.heads, height * width
    dim = buffers.attended.shape[1]
    across = -(-width // side)
    table = _offsets(attn)
    dtype = buffers.qkv.dtype
    gathered = torch.empty(across * side * side, 3 * dim, dtype=dtype)
    mask = torch.empty(across * heads, side, side, side, side, dtype=dtype)
    for top in range(0, height, side):
        index = _window_index(top, grid, side)
        torch.index_select(buffers.qkv, 0, index, out=gathered)
        q, k, v = gathered.view(across, side * side, 3, heads, -1).permute(2, 0, 3, 1, 4).flatten(1, 2).unbind()
        _bias(q.float() @ table, range(side), side, mask)
        out = _attend(q, k, v, mask.view(len(mask), side * side, side * side))
        real = index < cells
        joined = out.unflatten(0, (across, heads)).transpose(1, 2).reshape(-1, dim)
        buffers.attended[index[real]] = joined[real]


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Plain attention [B, N, C] with a bias [B, N, N] that may be overwritten."""
    if q.dtype == torch.float32:
        return F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask[None])[0]
    # torch's fused attention in bfloat16 is slower than in float32; batched products are not
    scores = mask.baddbmm_(q, k.transpose(1, 2), alpha=q.shape[-1] ** -0.5)
    return torch.bmm(torch.softmax(scores, -1), v)


def _window_index(top: int, grid: tuple[int, int], side: int) -> Tensor:
    """Rows of qkv that make up the windows whose upper edge is `top`, padding pointing at the last row."""
    height, width = grid
    across = -(-width // side)
    y = top + torch.arange(side)[None, :, None]
    x = (torch.arange(across)[:, None, None] * side) + torch.arange(side)[None, None, :]
    index = torch.where((y < height) & (x < width), y * width + x, height * width)
    return index.reshape(-1)


def _global(attn: RelativeAttention, buffers: _Buffers, grid: tuple[int, int]) -> None:
    """Attention over the whole grid, some queries of one head at a time."""
    height, width = grid
    heads, cells = attn.heads, height * width
    dtype = buffers.qkv.dtype
    table = _offsets(attn)
    rows = max(1, QUERIES // width)
    mask = torch.empty(1, rows, width, height, width)
    weights = torch.empty(rows * width, cells)
    halves = None if dtype == torch.float32 else torch.empty_like(weights, dtype=dtype)
    q_all, k_all, v_all = buffers.qkv[:cells].view(cells, 3, heads, -1).permute(1, 2, 0, 3)
    scale = q_all.shape[-1] ** -0.5
    for head in range(heads):
        q = q_all[head].contiguous()
        places = q.float()
        keys, values = (
            packed(k_all[head].contiguous(), rows * width),
            packed(v_all[head].t().contiguous(), rows * width),
        )
        out = buffers.attended.view(cells, heads, -1)[:, head]
        for top in range(0, height, rows):
            span = range(top, min(top + rows, height))
            part = slice(span.start * width, span.stop * width)
            count = part.stop - part.start
            _bias((places[part] @ table)[None], span, width, mask[:, : len(span)])
            scores, now = mask.view(-1, cells)[:count], weights[:count]
            products = linear(q[part], keys)
            if halves is None:
                torch.softmax(scores.add_(products, alpha=scale), -1, out=now)
            else:
                # a mixed sum would convert into fresh memory
                torch.softmax(scores.add_(now.copy_(products), alpha=scale), -1, out=now)
                now = halves[:count].copy_(now)
            out[part] = linear(now, values)
