"""A frame's features looking at what is remembered of an object.

Source: SAM 2 (arXiv 2408.00714), section 4 ("Memory attention") and appendix D.1. Parameter names are the official
ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.cpu import lean, parts, untouched
from anymask.nn.fast_memory import conditioned
from anymask.nn.rotary import Turn, axial, turned


class Remembered(NamedTuple):
    """What B objects are reminded of, M tokens each.

    keys: [B, M, Cm], with their positions; values: [B, M, Cm], without. cells: how many of the tokens, the first ones,
    are cells of the frame's own grid, frame after frame; the rest have no place on it.
    """

    keys: Tensor
    values: Tensor
    cells: int


class RotaryAttention(nn.Module):
    """Attention with one head or more, whose queries and keys are turned by their place on the grid.

    dim: channels in and out. memory: channels of what is looked at.
    """

    def __init__(self, dim: int, heads: int = 1, memory: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(memory or dim, dim)
        self.v_proj = nn.Linear(memory or dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, turn: Turn, cells: int, dropout: float = 0.0) -> Tensor:
        """x [B, N, C]; keys, values [B, M, Cm], of which the first `cells` are turned -> [B, N, C]."""
        q, k, v = (self._split(part) for part in (self.q_proj(x), self.k_proj(keys), self.v_proj(values)))
        q = turned(q, turn)
        if cells:
            k = torch.cat([turned(k[:, :, :cells], turn), k[:, :, cells:]], 2)
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout if self.training else 0.0)
        joined: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return joined

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class MemoryAttentionLayer(nn.Module):
    """Self-attention, attention to the memory, two linear layers; each after a norm, each added."""

    def __init__(self, dim: int, memory: int, hidden: int, heads: int = 1, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = dropout
        self.self_attn = RotaryAttention(dim, heads)
        self.cross_attn_image = RotaryAttention(dim, heads, memory)
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, remembered: Remembered, turn: Turn) -> Tensor:
        """[B, N, C] -> same."""
        normed = self.norm1(x)
        x = x + self._drop(self.self_attn(normed, normed, normed, turn, normed.shape[1], self.dropout))
        looked = self.cross_attn_image(self.norm2(x), *remembered[:2], turn, remembered.cells, self.dropout)
        x = x + self._drop(looked)
        return x + self._drop(self.linear2(self._drop(F.relu(self.linear1(self.norm3(x))))))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class MemoryAttention(nn.Module):
    """A frame's features, conditioned on memories.

    dim: channels of the frame. memory: channels of memories. hidden: of the linear layers.
    """

    def __init__(
        self, dim: int = 256, memory: int = 64, depth: int = 4, hidden: int = 2048, heads: int = 1, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.heads = heads
        self.layers = nn.ModuleList(MemoryAttentionLayer(dim, memory, hidden, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self._built = parts(self)

    def forward(self, image: Tensor, places: Tensor, remembered: Remembered) -> Tensor:
        """image [1 or B, C, h, w], its places [C, h, w] -> [B, C, h, w], B of the memories."""
        plain = torch.is_autocast_enabled(image.device.type)
        if not plain and self.heads == 1 and lean(image) and untouched(self, self._built):
            return conditioned(self, image, places, remembered)
        size = (image.shape[2], image.shape[3])
        turn = axial(size, image.shape[1] // self.heads, image.device)
        x = (image + 0.1 * places).flatten(2).transpose(1, 2).expand(len(remembered.keys), -1, -1)
        for layer in self.layers:
            x = layer(x, remembered, turn)
        out: Tensor = self.norm(x)
        return out.transpose(1, 2).unflatten(2, size)
