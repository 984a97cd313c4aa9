"""The neck behind SAM 2's trunk, and the sine positions of the maps it makes.

Source: SAM 2 (arXiv 2408.00714), appendix D.1; feature pyramids (arXiv 1612.03144); sine positions as in DETR
(arXiv 2005.12872). Parameter names are the official ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEMPERATURE = 10000.0


class FpnNeck(nn.Module):
    """Maps of several widths to one width; deep maps are added to some of the finer ones.

    widths: channels of the maps, the finest first. top_down: indices of the maps that take the next deeper one over.
    """

    def __init__(self, widths: Sequence[int], dim: int = 256, top_down: tuple[int, ...] = (2, 3)) -> None:
        super().__init__()
        self.top_down = top_down
        # the deepest first; each is called "conv", as in the published files
        self.convs = nn.ModuleList(
            nn.ModuleDict({"conv": nn.Conv2d(width, dim, 1)}) for width in reversed(list(widths))
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """[B, C, h, w] each, the finest first, to [B, dim, h, w] each."""
        out: list[Tensor] = []
        for index in reversed(range(len(maps))):
            lateral: Tensor = self.convs[len(maps) - 1 - index]["conv"](maps[index])  # type: ignore[index, operator]
            if index in self.top_down and out:
                # in floats, also under autocast
                lateral = lateral + F.interpolate(out[-1].float(), scale_factor=2.0, mode="nearest")
            out.append(lateral)
        return out[::-1]


def sine_positions(size: tuple[int, int], dim: int, device: torch.device | None = None) -> Tensor:
    """Sines and cosines of the rows, then of the columns of an (h, w) grid, float32 [dim, h, w]."""
    half = dim // 2
    rank = torch.arange(half, device=device, dtype=torch.float32)
    waves = TEMPERATURE ** (2 * (rank // 2) / half)
    codes = []
    for count in size:
        place = torch.arange(1, count + 1, device=device, dtype=torch.float32)
        phase = (place / (place[-1:] + 1e-6) * (2 * math.pi))[:, None] / waves
        codes.append(torch.stack([phase[:, 0::2].sin(), phase[:, 1::2].cos()], 2).flatten(1))
    rows, columns = codes
    height, width = size
    return torch.cat(
        [rows.t()[:, :, None].expand(half, height, width), columns.t()[:, None].expand(half, height, width)]
    )


def sine_times(times: Tensor, dim: int) -> Tensor:
    """Sines, then cosines of times [N], [N, dim]."""
    half = dim // 2
    rank = torch.arange(half, device=times.device, dtype=torch.float32)
    phase = times[:, None] / TEMPERATURE ** (2 * (rank // 2) / half)
    return torch.cat([phase.sin(), phase.cos()], -1)


@lru_cache(maxsize=8)
def kept_sine_positions(size: tuple[int, int], dim: int, device: torch.device) -> Tensor:
    """`sine_positions`, kept for the next caller; not to be written into."""
    # made outside of inference mode, for the next caller may want gradients
    with torch.inference_mode(False), torch.no_grad():
        return sine_positions(size, dim, device)
