"""The plain vision transformer with windows that encodes images for SAM.

Source: Segment Anything, appendix A ("Image encoder"), after ViTDet (arXiv 2203.16527); decomposed relative positions
after MViTv2 (arXiv 2112.01526). Parameter names are the official ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.cpu import lean, parts, untouched
from anymask.nn.fast_vit import encode
from anymask.nn.layers import LayerNorm2d, MLPBlock, unwindowed, windowed


class PatchEmbed(nn.Module):
    """Pixels to patch tokens, [B, 3, H, W] -> [B, H/patch, W/patch, dim]."""

    def __init__(self, patch: int, dim: int, channels: int = 3) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.proj(x)
        return patches.permute(0, 2, 3, 1)


class RelativeAttention(nn.Module):
    """Self-attention over an (h, w) grid with decomposed relative positions.

    side: of the grid that the tables are for; the tables hold 2 * side - 1 offsets.
    """

    def __init__(self, dim: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.side = side
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))

    def offsets(self) -> tuple[Tensor, Tensor]:
        """Both tables spread out over (query, key) pairs, [side, side, dim / heads] each."""
        place = torch.arange(self.side, device=self.rel_pos_h.device)
        index = place[:, None] - place[None, :] + self.side - 1
        return self.rel_pos_h[index], self.rel_pos_w[index]

    def forward(self, x: Tensor) -> Tensor:
        """[B, side, side, dim] -> same."""
        batch, height, width, _ = x.shape
        q, k, v = self.qkv(x).view(batch, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        grid = q.unflatten(2, (height, width))
        table_h, table_w = self.offsets()
        # the unscaled query meets the tables, as in the official code
        bias_h = torch.einsum("bnyxc,ykc->bnyxk", grid, table_h)
        bias_w = torch.einsum("bnyxc,xkc->bnyxk", grid, table_w)
        bias = (bias_h[..., :, None] + bias_w[..., None, :]).flatten(4).flatten(2, 3)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        joined: Tensor = self.proj(out.transpose(1, 2).reshape(batch, height, width, -1))
        return joined


class Block(nn.Module):
    """A pre-norm transformer block; window 0 attends over the whole grid."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, window: int, grid: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = RelativeAttention(dim, heads, window or grid)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """[B, h, w, dim] -> same."""
        normed = self.norm1(x)
        if self.window:
            # the padding takes part, as in the official code
            attended = unwindowed(self.attn(windowed(normed, self.window)), (x.shape[1], x.shape[2]))
        else:
            attended = self.attn(normed)
        x = x + attended
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class ImageEncoderViT(nn.Module):
    """SAM's image encoder, [B, 3, side, side] -> [B, out, side/patch, side/patch].

    side: pixels of the square input. global_blocks: indices of the blocks that attend over the whole grid.
    """

    def __init__(
        self,
        side: int = 1024,
        patch: int = 16,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        out: int = 256,
        window: int = 14,
        global_blocks: tuple[int, ...] = (2, 5, 8, 11),
    ) -> None:
        super().__init__()
        self.side = side
        grid = side // patch
        self.patch_embed = PatchEmbed(patch, dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, dim))
        self.blocks = nn.ModuleList(
            Block(dim, heads, mlp_ratio, 0 if index in global_blocks else window, grid) for index in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(dim, out, 1, bias=False),
            LayerNorm2d(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            LayerNorm2d(out),
        )
        self._built = parts(self)

    def forward(self, x: Tensor) -> Tensor:
        if lean(x) and untouched(self, self._built):
            half = torch.is_autocast_enabled("cpu")
            with torch.autocast("cpu", enabled=False):
                return encode(self, x, torch.get_autocast_dtype("cpu") if half else torch.float32)
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        embedding: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return embedding
