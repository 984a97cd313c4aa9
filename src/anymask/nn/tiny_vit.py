"""TinyViT, the small encoder of MobileSAM and LiteMedSAM: convolutions first, then attention inside windows.

Sources: TinyViT (arXiv 2207.10666); MobileSAM (arXiv 2306.14289) for the change that keeps a 64 x 64 grid
to the end and for the neck. Parameter names are those of the published files.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.layers import LayerNorm2d

Stem = Literal["stride-4", "pointwise"]


class ConvNorm(nn.Module):
    """Convolution without bias and batch norm, [B, inputs, H, W] -> [B, outputs, H/stride, W/stride]."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return cast(Tensor, self.bn(self.c(x)))
        # with fixed statistics the norm is a factor and a bias of the convolution: one pass over the map instead of two
        mean, variance = cast(Tensor, self.bn.running_mean), cast(Tensor, self.bn.running_var)
        factor = self.bn.weight * torch.rsqrt(variance + self.bn.eps)
        weight, bias = self.c.weight * factor[:, None, None, None], self.bn.bias - mean * factor
        if self.c.kernel_size == (1, 1):
            # a matrix product over the pixels of a channels-last map; torch's 1x1 convolution copies the map first
            return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
        return F.conv2d(x, weight, bias, self.c.stride, self.c.padding, groups=self.c.groups)


class PatchEmbed(nn.Module):
    """Pixels to the first map, [B, 3, H, W] -> [B, dim, H/4, W/4], or at full size with the pointwise stem."""

    def __init__(self, dim: int, stem: Stem) -> None:
        super().__init__()
        kernel, stride = (3, 2) if stem == "stride-4" else (1, 1)
        self.seq = nn.Sequential(
            ConvNorm(3, dim // 2, kernel, stride), nn.GELU(), ConvNorm(dim // 2, dim, kernel, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.seq(x))


class MBConv(nn.Module):
    """Inverted bottleneck with a residual, [B, dim, H, W] -> same."""

    def __init__(self, dim: int, expand: int = 4) -> None:
        super().__init__()
        self.conv1 = ConvNorm(dim, expand * dim)
        self.conv2 = ConvNorm(expand * dim, expand * dim, 3, groups=expand * dim)
        self.conv3 = ConvNorm(expand * dim, dim)
        nn.init.zeros_(self.conv3.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(wide))


class PatchMerging(nn.Module):
    """To the next stage's width, [B, dim, H, W] -> [B, out, H/stride, W/stride]."""

    def __init__(self, dim: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(dim, out)
        self.conv2 = ConvNorm(out, out, 3, stride, groups=out)
        self.conv3 = ConvNorm(out, out)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class WindowAttention(nn.Module):
    """Self-attention over all tokens of a window, with a learned bias for each distance (|dy|, |dx|) and head.

    [B, window * window, dim] -> same; the norm before it is part of it.
    """

    offsets: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        row, column = torch.arange(window * window) // window, torch.arange(window * window) % window
        distance = (row[:, None] - row).abs() * window + (column[:, None] - column).abs()
        self.register_buffer("offsets", distance, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        # queries, keys and values lie together head by head
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        # a leading axis of one: with three axes torch's fused kernel is not chosen
        bias = self.attention_biases[None, :, self.offsets].to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return cast(Tensor, self.proj(out.transpose(1, 2).flatten(2)))


class Mlp(nn.Module):
    """Norm and two linear layers, [..., dim] -> same."""

    def __init__(self, dim: int, ratio: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.fc2 = nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(F.gelu(self.fc1(self.norm(x)))))


class Block(nn.Module):
    """Attention in windows, a depthwise convolution across their borders, and an MLP; [B, dim, H, W] -> same."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(dim, heads, window)
        self.mlp = Mlp(dim)
        self.local_conv = ConvNorm(dim, dim, 3, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._windowed(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.local_conv(x)
        return x + cast(Tensor, self.mlp(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)

    def _windowed(self, x: Tensor) -> Tensor:
        """[B, H, W, dim] -> same; zeros pad the right and lower edge and take part, as in the published network."""
        side = self.window
        batch, height, width, dim = x.shape
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        x = x.view(batch, rows, side, columns, side, dim).transpose(2, 3).reshape(-1, side * side, dim)
        x = self.attn(x).view(batch, rows, columns, side, side, dim).transpose(2, 3)
        return x.reshape(batch, rows * side, columns * side, dim)[:, :height, :width]


class Stage(nn.Module):
    """Blocks of one width and the way to the next."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nn.Module):
    """Frames [B, 3, S, S] to an embedding [B, out, S/16, S/16], or [B, out, S/4, S/4] with the pointwise stem.

    dims, depths, heads, windows: of the four stages; the first is convolutional, its head and window count are unused.
    stem: two 3x3 convolutions of stride 2 (MobileSAM), or two 1x1 of stride 1 for small frames (LiteMedSAM).
    """

    def __init__(
        self,
        dims: tuple[int, ...] = (64, 128, 160, 320),
        depths: tuple[int, ...] = (2, 2, 6, 2),
        heads: tuple[int, ...] = (2, 4, 5, 10),
        windows: tuple[int, ...] = (7, 7, 14, 7),
        stem: Stem = "stride-4",
        out: int = 256,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dims[0], stem)
        stages = []
        for index, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            blocks: list[nn.Module] = [
                Block(dim, heads[index], windows[index]) if index else MBConv(dim) for _ in range(depth)
            ]
            last = index == len(dims) - 1
            # the last step keeps the grid: SAM's decoder wants 64 x 64
            stride = 1 if index == len(dims) - 2 else 2
            stages.append(Stage(blocks, None if last else PatchMerging(dim, dims[index + 1], stride)))
        self.layers = nn.ModuleList(stages)
        self.neck = nn.Sequential(
            nn.Conv2d(dims[-1], out, 1, bias=False),
            LayerNorm2d(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            LayerNorm2d(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        # channels last: the attention stages then read the maps without moving them
        x = self.patch_embed(x.contiguous(memory_format=torch.channels_last))
        for layer in self.layers:
            x = layer(x)
        return cast(Tensor, self.neck(x)).contiguous()
