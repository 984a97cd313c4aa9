"""A frame and an object's mask on it to what is remembered of them.

Source: SAM 2 (arXiv 2408.00714), section 4 ("Memory encoder") and appendix D.1, with blocks after ConvNeXt (arXiv
2201.03545). Parameter names are the official ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anymask.nn.layers import LayerNorm2d


class MaskDownsampler(nn.Module):
    """A mask at the frame's size to a map, [B, 1, H, W] -> [B, dim, H / stride, W / stride]; stride: a power of 2."""

    def __init__(self, dim: int = 256, stride: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential()
        channels = 1
        for _ in range(stride.bit_length() - 1):
            self.encoder.extend([nn.Conv2d(channels, 4 * channels, 3, 2, 1), LayerNorm2d(4 * channels), nn.GELU()])
            channels *= 4
        self.encoder.append(nn.Conv2d(channels, dim, 1))

    def forward(self, mask: Tensor) -> Tensor:
        out: Tensor = self.encoder(mask)
        return out


class FuserBlock(nn.Module):
    """A residual block of a depthwise 7x7 convolution and two linear layers, [B, C, h, w] -> same."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * dim, dim)
        # starts as the identity, nearly
        self.gamma = nn.Parameter(torch.full((dim,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        cells = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)
        cells = self.gamma * self.pwconv2(self.act(self.pwconv1(cells)))
        return x + cells.permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class Fuser(nn.Module):
    """`depth` blocks one after the other, [B, C, h, w] -> same."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FuserBlock(dim) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class MemoryEncoder(nn.Module):
    """dim: channels of the frame's features. memory: channels of what is kept. stride: pixels a cell."""

    def __init__(self, dim: int = 256, memory: int = 64, stride: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(dim, stride)
        self.pix_feat_proj = nn.Conv2d(dim, dim, 1)
        self.fuser = Fuser(dim, depth)
        self.out_proj = nn.Conv2d(dim, memory, 1)

    def forward(self, image: Tensor, masks: Tensor) -> Tensor:
        """image [1 or P, C, h, w]; masks [P, 1, H, W], scaled as they are to be read -> [P, Cm, h, w]."""
        fused = self.fuser(self.pix_feat_proj(image) + self.mask_downsampler(masks))
        out: Tensor = self.out_proj(fused)
        return out
