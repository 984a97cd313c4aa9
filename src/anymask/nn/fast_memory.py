"""The same numbers as `nn.memory_attention.MemoryAttention`, in about half the time on a CPU.

What differs, all of it exact up to the order of sums:
- weights are multiplied with memories as they are, of 64 channels, and projected afterwards: a weighted sum of
  projections is the projection of the weighted sum, and the weights sum to one, so that the bias is added once;
- the value's projection and the one after the attention are one product;
- keys, queries and the linear layers run in pieces that stay in the cache (`nn.fast_attention`);
- what all objects share before they look at their memories is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn import fast_attention
from anymask.nn.cpu import linear, packed
from anymask.nn.fast_attention import Attended
from anymask.nn.rotary import axial

if TYPE_CHECKING:
    from anymask.nn.memory_attention import MemoryAttention, MemoryAttentionLayer, Remembered, RotaryAttention

CHUNK = 1024
"""Rows of a linear layer at a time."""


def conditioned(attention: MemoryAttention, image: Tensor, places: Tensor, remembered: Remembered) -> Tensor:
    """As `MemoryAttention.forward`, for one head."""
    size = (image.shape[2], image.shape[3])
    turn = torch.complex(*axial(size, image.shape[1], image.device))
    shared = _rows(image + 0.1 * places)
    layers: list[MemoryAttentionLayer] = list(attention.layers)  # type: ignore[arg-type]
    out = []
    started = [_self(layers[0], x, turn) for x in shared]
    for index in range(len(remembered.keys)):
        x = started[index if len(started) > 1 else 0]
        for rank, layer in enumerate(layers):
            x = _self(layer, x, turn) if rank else x.clone()
            _cross(layer, x, remembered, index, turn)
            _feed_forward(layer, x)
        out.append(_normed(attention.norm, x))
    return torch.stack(out).transpose(1, 2).unflatten(2, size)


def _self(layer: MemoryAttentionLayer, x: Tensor, turn: Tensor) -> Tensor:
    """Cells [N, C] after they have looked at each other."""
    attn = layer.self_attn
    normed = _normed(layer.norm1, x)
    q, k = (_turned(_project(part, normed), turn) for part in (attn.q_proj, attn.k_proj))
    v = _project(attn.v_proj, normed)
    out = F.scaled_dot_product_attention(q[None, None], k[None, None], v[None, None])[0, 0]
    return _project(attn.out_proj, out).add_(x)


def _cross(layer: MemoryAttentionLayer, x: Tensor, remembered: Remembered, index: int, turn: Tensor) -> None:
    """Cells [N, C] look at the memories of one object, in place."""
    attn: RotaryAttention = layer.cross_attn_image
    queries = _turned(_project(attn.q_proj, _normed(layer.norm2, x)), turn)
    keys = _pieces(attn, remembered.keys[index], remembered.cells, turn)
    read = Attended(keys, remembered.values[index]).read(queries.mul_(queries.shape[1] ** -0.5))
    weight = attn.out_proj.weight @ attn.v_proj.weight
    bias = torch.addmv(attn.out_proj.bias, attn.out_proj.weight, attn.v_proj.bias)
    x.add_(linear(read, weight, bias))


def _pieces(attn: RotaryAttention, memories: Tensor, cells: int, turn: Tensor) -> Iterator[Tensor]:
    """The keys of memories [M, Cm], of which the first `cells` are turned, some rows at a time."""
    weight, count = packed(attn.k_proj.weight, fast_attention.KEYS), len(turn)
    for start, part in enumerate(memories.split(fast_attention.KEYS)):
        keys = linear(part, weight, attn.k_proj.bias)
        first = start * fast_attention.KEYS
        turning = max(0, min(len(keys), cells - first))
        if turning:
            place = torch.arange(first, first + turning) % count
            _turned(keys[:turning], turn[place])
        yield keys


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """Cells [N, C] turned in place by complex numbers [N, C / 2]: pairs of channels are complex numbers."""
    torch.view_as_complex(x.unflatten(1, (-1, 2))).mul_(turn)
    return x


def _feed_forward(layer: MemoryAttentionLayer, x: Tensor) -> None:
    """The two linear layers on cells [N, C], in place."""
    first, second = packed(layer.linear1.weight, CHUNK), packed(layer.linear2.weight, CHUNK)
    for rows in x.split(CHUNK):
        hidden = linear(_normed(layer.norm3, rows), first, layer.linear1.bias).relu_()
        rows.add_(linear(hidden, second, layer.linear2.bias))


def _project(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer on many rows [N, in], [N, out]."""
    weight = packed(layer.weight, CHUNK)
    out = torch.empty(len(x), len(layer.weight))
    for rows, part in zip(out.split(CHUNK), x.split(CHUNK), strict=True):
        rows.copy_(linear(part, weight, layer.bias))
    return out


def _normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _rows(maps: Tensor) -> Tensor:
    """[B, C, h, w] to contiguous rows [B, h * w, C]."""
    return maps.flatten(2).transpose(1, 2).contiguous()
