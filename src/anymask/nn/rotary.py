"""Rotary positions on a grid: cells are turned by angles that grow along x in one half of the channels, along y in the
other.

Source: RoFormer (arXiv 2104.09864), in its axial form of two dimensions (arXiv 2403.13298), as SAM 2 uses it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

THETA = 10000.0

Turn = tuple[Tensor, Tensor]
"""Cosines and sines, [cells, dim / 2] each: one angle for each pair of neighbouring channels."""


@lru_cache(maxsize=8)
def axial(size: tuple[int, int], dim: int, device: torch.device) -> Turn:
    """The turns of all cells of an (h, w) grid, row by row; dim: channels, a multiple of 4."""
    height, width = size
    # made outside of inference mode, for the next caller may want gradients
    with torch.inference_mode(False), torch.no_grad():
        waves = 1 / THETA ** (torch.arange(0, dim, 4, device=device).float() / dim)
        places = [torch.arange(count, device=device).float() for count in (width, height)]
        x, y = (place[:, None] * waves for place in places)
        half = dim // 4
        angles = torch.cat([x[None].expand(height, width, half), y[:, None].expand(height, width, half)], -1)
        angles = angles.reshape(height * width, 2 * half)
        return angles.cos(), angles.sin()


def turned(x: Tensor, turn: Turn) -> Tensor:
    """Cells [..., r * N, dim] turned by `turn` of N cells, over and over; float32 or wider."""
    cos, sin = turn
    pairs = x.unflatten(-2, (-1, len(cos))).unflatten(-1, (-1, 2))
    pairs = pairs if pairs.dtype == torch.float64 else pairs.float()
    a, b = pairs.unbind(-1)
    out = torch.stack([a * cos - b * sin, a * sin + b * cos], -1)
    return out.flatten(-2).flatten(-3, -2).to(x.dtype)
