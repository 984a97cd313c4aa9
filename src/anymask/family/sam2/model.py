"""SAM 2 and 2.1: Hiera and its neck, SAM's prompt encoder and decoder with an object token, and the memory.

Source: SAM 2 (arXiv 2408.00714), section 4 and appendix D.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.preprocess import Preprocess
from anymask.models.tracking import TrackingModel
from anymask.nn.cpu import lean, parts, untouched
from anymask.nn.fast_hiera import pointwise, stages
from anymask.nn.fpn_neck import FpnNeck
from anymask.nn.hiera import Hiera
from anymask.nn.mask_decoder import MaskDecoder
from anymask.nn.object_memory import ObjectMemory
from anymask.nn.prompt_encoder import PromptEncoder

STRIDE = 16
"""Pixels a cell of the embedding."""


class Sam2Encoder(nn.Module):
    """Frames to an embedding at stride 16 and high-resolution features at strides 4 and 8.

    [B, 3, S, S] -> "image" [B, C, S/16, S/16], "high_res_0" [B, C/8, S/4, S/4], "high_res_1" [B, C/4, S/8, S/8]. The
    image is marked as one without memory, as the decoder reads it; whoever reads memories takes the mark off again.
    """

    def __init__(self, trunk: Hiera, dim: int = 256) -> None:
        super().__init__()
        self.trunk = trunk
        self.neck = FpnNeck(trunk.widths, dim)
        # the decoder's in the published files; here, so that they run once an image
        self.conv_s0 = nn.Conv2d(dim, dim // 8, 1)
        self.conv_s1 = nn.Conv2d(dim, dim // 4, 1)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, dim))
        nn.init.trunc_normal_(self.no_mem_embed, std=0.02)
        self._built = parts(self)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        half = torch.is_autocast_enabled(frames.device.type)
        if not half and lean(frames) and untouched(self, self._built):
            found = [self._lean(frame[None]) for frame in frames]
            return {name: torch.cat([one[name] for one in found]) for name in found[0]}
        fine, middle, image, _ = self.neck(self.trunk(frames))
        return {
            "image": image + self.mark(),
            "high_res_0": self.conv_s0(fine),
            "high_res_1": self.conv_s1(middle),
        }

    def _lean(self, frame: Tensor) -> dict[str, Tensor]:
        """The same for one frame, see `nn.fast_hiera`."""
        at_32, at_16, at_8, at_4 = (level["conv"] for level in self.neck.convs)  # type: ignore[index]
        cells = stages(self.trunk, frame)
        fine = pointwise(next(cells), at_4, self.conv_s0)
        middle = pointwise(next(cells), at_8, self.conv_s1)
        image = pointwise(next(cells), at_16)
        deep = pointwise(next(cells), at_32)
        image.add_(F.interpolate(deep, scale_factor=2.0, mode="nearest")).add_(self.mark())
        return {"image": image, "high_res_0": fine, "high_res_1": middle}

    def mark(self) -> Tensor:
        """What tells a frame without memory, [1, C, 1, 1]."""
        return self.no_mem_embed.transpose(1, 2)[..., None]


class Sam2(TrackingModel):
    """A SAM 2 with random weights.

    trunk: its Hiera. dim: channels of the embedding. side: of the input frame in pixels. version: "2" or "2.1", which
    marks memories of frames without the object, and tells pointers their distance. depth, hidden: of the memory
    attention.
    """

    high_res = True

    def __init__(
        self,
        trunk: Hiera,
        version: str = "2.1",
        dim: int = 256,
        side: int = 1024,
        depth: int = 4,
        hidden: int = 2048,
    ) -> None:
        grid, newer = (side // STRIDE, side // STRIDE), version == "2.1"
        super().__init__(
            Sam2Encoder(trunk, dim),
            PromptEncoder(dim, grid, (side, side), always_pad=True),
            MaskDecoder(dim, sigmoid_iou=True, object_token=True, steady=True),
            Preprocess(side, fit="direct", resample="float"),
            ObjectMemory(dim, depth=depth, hidden=hidden, stride=STRIDE, occluded=newer, timed=newer),
        )

    def unconditioned(self, tensors: Mapping[str, Tensor]) -> Tensor:
        return tensors["image"] - cast(Sam2Encoder, self.image_encoder).mark()


def tiny(version: str = "2.1") -> Sam2:
    """Hiera-T: 39.0 M parameters."""
    return Sam2(Hiera(96, 1, (1, 2, 7, 2), (8, 4, 14, 7), (5, 7, 9), (7, 7)), version)


def small(version: str = "2.1") -> Sam2:
    """Hiera-S: 46.1 M parameters."""
    return Sam2(Hiera(96, 1, (1, 2, 11, 2), (8, 4, 14, 7), (7, 10, 13), (7, 7)), version)


def base_plus(version: str = "2.1") -> Sam2:
    """Hiera-B+: 80.9 M parameters."""
    return Sam2(Hiera(112, 2, (2, 3, 16, 3), (8, 4, 14, 7), (12, 16, 20), (14, 14)), version)


def large(version: str = "2.1") -> Sam2:
    """Hiera-L: 224.4 M parameters."""
    return Sam2(Hiera(144, 2, (2, 6, 36, 4), (8, 4, 16, 8), (23, 33, 43), (7, 7)), version)


def for_tests(version: str = "2.1") -> Sam2:
    """The same structure at a size that tests can afford; windows do not divide the grids, as in the real ones."""
    trunk = Hiera(16, 1, (1, 2, 3, 2), (8, 4, 6, 3), (4,), (4, 4))
    return Sam2(trunk, version, dim=128, side=128, depth=2, hidden=256)


SIZES: dict[str, Callable[[str], Sam2]] = {
    "tiny": tiny,
    "small": small,
    "base-plus": base_plus,
    "large": large,
    "tiny-test": for_tests,
}
