"""The plain vision transformer without windows and relative positions: every token attends to every other.

Source: Dosovitskiy et al. (arXiv 2010.11929), with SAM's neck, as EfficientSAM (arXiv 2312.00863) uses it. Parameter
names are the official ones, but for the linear layers of the MLP, which are called as in `nn.vit`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.layers import LayerNorm2d, MLPBlock
from anymask.nn.vit import PatchEmbed, RelativeAttention


class PlainAttention(nn.Module):
    """Self-attention over tokens, [B, N, dim] -> same."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return attend(self, x)


def attend(attn: PlainAttention | RelativeAttention, x: Tensor) -> Tensor:
    """Self-attention of tokens [B, N, dim] through a layer's projections, whatever positions it knows besides."""
    q, k, v = attn.qkv(x).unflatten(-1, (3, attn.heads, -1)).permute(2, 0, 3, 1, 4)
    out: Tensor = attn.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    return out


class PlainBlock(nn.Module):
    """A pre-norm transformer block, [B, N, dim] -> same."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = PlainAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class PlainViT(nn.Module):
    """[B, 3, S, S] -> [B, out, S/patch, S/patch]; any S that the patch divides.

    table: side of the grid that the learned positions are for; other grids get them by bicubic interpolation.
    """

    def __init__(
        self, dim: int = 192, depth: int = 12, heads: int = 3, out: int = 256, patch: int = 16, table: int = 14
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(patch, dim)
        # the first row belonged to the class token of the pre-training; files carry it, nothing reads it
        self.pos_embed = nn.Parameter(torch.zeros(1, table * table + 1, dim))
        self.blocks = nn.ModuleList(PlainBlock(dim, heads) for _ in range(depth))
        self.neck = nn.Sequential(
            nn.Conv2d(dim, out, 1, bias=False),
            LayerNorm2d(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            LayerNorm2d(out),
        )

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """The position embedding of an (h, w) grid, [1, h, w, dim]."""
        table = self.pos_embed[:, 1:]
        side = round(table.shape[1] ** 0.5)
        table = table.unflatten(1, (side, side))
        if grid == (side, side):
            return table
        spread = F.interpolate(table.permute(0, 3, 1, 2), grid, mode="bicubic", align_corners=False)
        return spread.permute(0, 2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        _, height, width, _ = x.shape
        x = (x + self.positions((height, width))).flatten(1, 2)
        for block in self.blocks:
            x = block(x)
        embedding: Tensor = self.neck(x.transpose(1, 2).unflatten(2, (height, width)))
        return embedding
