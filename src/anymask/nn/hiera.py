"""Hiera, a vision transformer of four stages with windows: the image encoder of SAM 2.

Source: Hiera (arXiv 2306.00989), with the absolute window positions of arXiv 2311.05613; SAM 2 (arXiv 2408.00714),
section 4 and appendix D.1. Parameter names are the official ones.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.cpu import lean
from anymask.nn.layers import MLPBlock, unwindowed, windowed

POOL = 2
"""By how much a stage's first block shrinks height and width."""
STRIDE = 4
"""Pixels between patches."""


class OverlappingPatches(nn.Module):
    """Pixels to patch tokens, [B, 3, H, W] -> [B, H/4, W/4, dim]; patches of 7 pixels overlap."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 7, STRIDE, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.proj(x)
        return patches.permute(0, 2, 3, 1)


class PoolingAttention(nn.Module):
    """Self-attention over an (h, w) grid, whose queries may be pooled first.

    dim: channels in. out: channels out. pooled: whether queries are the maxima of 2 x 2 cells.
    """

    def __init__(self, dim: int, out: int, heads: int, pooled: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.pooled = pooled
        self.qkv = nn.Linear(dim, 3 * out)
        self.proj = nn.Linear(out, out)

    def forward(self, x: Tensor) -> Tensor:
        """[B, h, w, dim] -> [B, h', w', out], halves where pooled."""
        batch, height, width, _ = x.shape
        q, k, v = self.qkv(x).view(batch, height * width, 3, -1).unbind(2)
        if self.pooled:
            q = pool(q.unflatten(1, (height, width)))
            height, width = q.shape[1:3]
            q = q.flatten(1, 2)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v)
        joined: Tensor = self.proj(out.transpose(1, 2).reshape(batch, height, width, -1))
        return joined


class HieraBlock(nn.Module):
    """A pre-norm transformer block; window 0 attends over the whole grid.

    pooled: whether it halves the grid, as the first block of a later stage does.
    """

    def __init__(self, dim: int, out: int, heads: int, window: int, pooled: bool = False) -> None:
        super().__init__()
        self.window = window
        self.pooled = pooled
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = PoolingAttention(dim, out, heads, pooled)
        self.norm2 = nn.LayerNorm(out, eps=1e-6)
        self.mlp = MLPBlock(out, 4 * out)
        self.proj = nn.Linear(dim, out) if dim != out else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, h, w, dim] -> [B, h', w', out]."""
        normed = self.norm1(x)
        if self.proj is not None:
            # what is added to is projected after the norm, unlike in a plain block
            x = self.proj(normed)
            x = pool(x) if self.pooled else x
        if self.window:
            # the padding takes part, as in the official code
            attended = unwindowed(self.attn(windowed(normed, self.window)), (x.shape[1], x.shape[2]))
        else:
            attended = self.attn(normed)
        x = x + attended
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class Hiera(nn.Module):
    """Frames to a map a stage, at strides 4, 8, 16 and 32.

    dim, heads: of the first stage; both double from stage to stage. stages: blocks of each. windows: sides of their
    windows in cells. global_blocks: indices of blocks that attend over the whole grid. background: (h, w) of the table
    of positions that is stretched over the grid.
    """

    def __init__(
        self,
        dim: int = 96,
        heads: int = 1,
        stages: tuple[int, ...] = (1, 2, 7, 2),
        windows: tuple[int, ...] = (8, 4, 14, 7),
        global_blocks: tuple[int, ...] = (5, 7, 9),
        background: tuple[int, int] = (7, 7),
    ) -> None:
        super().__init__()
        self.patch_embed = OverlappingPatches(dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, dim, *background))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, dim, windows[0], windows[0]))
        self.stage_ends = tuple(last - 1 for last in accumulate(stages))
        self.widths = tuple(dim << stage for stage in range(len(stages)))
        blocks: list[nn.Module] = []
        for stage, count in enumerate(stages):
            for index in range(count):
                first = stage > 0 and index == 0
                # a stage's first block still works on the grid of the stage before, with its windows
                window = 0 if len(blocks) in global_blocks else windows[stage - first]
                before = self.widths[stage - first]
                blocks.append(HieraBlock(before, self.widths[stage], heads << stage, window, pooled=first))
        self.blocks = nn.ModuleList(blocks)
        self._latest: tuple[tuple[Tensor, Tensor], tuple[int, ...], Tensor] | None = None

    def positions(self, size: tuple[int, int]) -> Tensor:
        """What is added to the patches of an (h, w) grid, [1, h, w, dim]; not to be written into.

        The latest is kept without gradients: every frame of a clip asks for the same.
        """
        tables = (self.pos_embed, self.pos_embed_window)
        if not lean(self.pos_embed) or any(table.is_inference() for table in tables):
            return self._positions(size)
        mark = (*size, *(table._version for table in tables), *(table.data_ptr() for table in tables))
        latest = self._latest
        if latest is None or latest[1] != mark:
            with torch.inference_mode(False), torch.no_grad():
                latest = self._latest = tables, mark, self._positions(size)
        return latest[2]

    def _positions(self, size: tuple[int, int]) -> Tensor:
        side = self.pos_embed_window.shape[-1]
        whole = F.interpolate(self.pos_embed, size=size, mode="bicubic")
        return (whole + self.pos_embed_window.tile(1, 1, size[0] // side, size[1] // side)).permute(0, 2, 3, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W], both multiples of 4 times the first window, to [B, C, h, w] a stage, the finest first."""
        x = self.patch_embed(x)
        x = x + self.positions((x.shape[1], x.shape[2]))
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.stage_ends:
                maps.append(x.permute(0, 3, 1, 2))
        return maps


def pool(x: Tensor) -> Tensor:
    """The maxima of 2 x 2 cells, [B, h, w, C] -> [B, h/2, w/2, C]."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), POOL, POOL).permute(0, 2, 3, 1)
