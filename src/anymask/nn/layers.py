"""Small layers that the whole family is built from."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of an image, [B, C, H, W] -> same.

    Source: Segment Anything, appendix A (neck and decoder), after ConvNeXt.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        centred = x - mean
        variance = centred.pow(2).mean(1, keepdim=True)
        normal = centred / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * normal + self.bias[:, None, None]


class MLP(nn.Module):
    """`depth` linear layers with ReLU between them, [..., inputs] -> [..., outputs]."""

    def __init__(self, inputs: int, hidden: int, outputs: int, depth: int, sigmoid: bool = False) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (depth - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            x = layer(x) if index == last else F.relu(layer(x))
        return torch.sigmoid(x) if self.sigmoid else x


class MLPBlock(nn.Module):
    """The two linear layers of a transformer block, [..., dim] -> [..., dim]."""

    def __init__(self, dim: int, hidden: int, act: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden)
        self.lin2 = nn.Linear(hidden, dim)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lin2(self.act(self.lin1(x)))
        return out


def windowed(x: Tensor, side: int) -> Tensor:
    """[B, h, w, C] cut into windows [B * rows * columns, side, side, C], zero-padded right and below."""
    batch, height, width, dim = x.shape
    x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    cut = x.view(batch, x.shape[1] // side, side, x.shape[2] // side, side, dim)
    return cut.transpose(2, 3).reshape(-1, side, side, dim)


def unwindowed(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Windows [B * rows * columns, side, side, C] back to [B, h, w, C], without the padding."""
    side, (height, width) = x.shape[1], size
    # nothing below zero is divided: exported graphs round that towards zero
    rows, columns = (height + side - 1) // side, (width + side - 1) // side
    whole = x.view(-1, rows, columns, side, side, x.shape[3]).transpose(2, 3)
    return whole.reshape(-1, rows * side, columns * side, x.shape[3])[:, :height, :width]
