"""anymask-lite: the small model that comes with the package.

EfficientNet-Lite2 taps, a neck to an embedding at stride 8, high-resolution features at strides 4 and 2, SAM's prompt
encoder with dense prompt maps, SAM's mask decoder. Card and training log: docs/model-inside.md.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.preprocess import Preprocess
from anymask.models.promptable import PromptableModel
from anymask.nn.cpu import lean
from anymask.nn.dense_prompts import DensePromptEncoder
from anymask.nn.efficientnet_lite import ConvNorm, EfficientNetLite
from anymask.nn.layers import LayerNorm2d, MLPBlock
from anymask.nn.mask_decoder import MaskDecoder

SIDE = 512
DIM = 128
HEADS = 8
STRIDE = 8


class Lateral(nn.Module):
    """1x1 convolution and channel norm: backbone taps are linear projections with deviations of 2 to 13, and drown
    everything they are added to unless they are normalised first."""

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)
        self.norm = LayerNorm2d(outputs)
        nn.init.constant_(self.norm.weight, gain)

    def forward(self, x: Tensor) -> Tensor:
        normal: Tensor = self.norm(self.conv(x))
        return normal


class NeckBlock(nn.Module):
    """A plain transformer block over all cells of a map, [B, C, h, w] -> same."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLPBlock(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        cells = x.flatten(2).transpose(1, 2)
        joined = torch.unflatten(self.qkv(self.norm1(cells)), -1, (3, self.heads, -1))
        q, k, v = joined.permute(2, 0, 3, 1, 4).unbind(0)
        cells = cells + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        cells = cells + self.mlp(self.norm2(cells))
        return torch.unflatten(cells.transpose(1, 2), 2, size)


class Mix(nn.Module):
    """A residual block of a depthwise 5x5 and two 1x1 convolutions."""

    def __init__(self, dim: int, expand: int = 2) -> None:
        super().__init__()
        self.wide = nn.Conv2d(dim, expand * dim, 1)
        self.depthwise = ConvNorm(expand * dim, expand * dim, 5, groups=expand * dim, act=False)
        self.depthwise.fold()
        self.narrow = nn.Conv2d(expand * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.narrow(F.gelu(self.depthwise(F.gelu(self.wide(x)))))
        return out


class LiteEncoder(nn.Module):
    """Frames to an embedding at stride 8 and high-resolution features at strides 2 and 4.

    [B, 3, S, S] -> "image" [B, C, S/8, S/8], "high_res_0" [B, C/8, S/2, S/2], "high_res_1" [B, C/4, S/4, S/4].
    looks: also "looks" [B, C, S/16, S/16], how things look there before it is known what they are.
    """

    def __init__(self, variant: str = "lite2", dim: int = DIM, heads: int = HEADS, looks: bool = False) -> None:
        super().__init__()
        self.looks = looks
        self.backbone = EfficientNetLite(variant)
        self.backbone.fold()
        widths = self.backbone.widths
        self.fine = Lateral(widths[0], dim // 8, gain=0.1)
        self.middle = Lateral(widths[1], dim // 4, gain=0.3)
        self.laterals = nn.ModuleList(Lateral(width, dim) for width in widths[2:])
        self.blocks = nn.Sequential(NeckBlock(dim, heads), NeckBlock(dim, heads))
        self.mixes = nn.ModuleList([Mix(dim), Mix(dim)])
        self.norm = LayerNorm2d(dim)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        if not lean(frames):
            return self.neck(self.backbone(frames))
        # depthwise and 1x1 convolutions are faster with a cell's channels side by side
        found = self.neck(self.backbone(frames.contiguous(memory_format=torch.channels_last)))
        return {name: tensor.contiguous() for name, tensor in found.items()}

    def neck(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Backbone maps at strides 2 to 32 to the embedding's tensors."""
        at_8, at_16, at_32 = (lateral(x) for lateral, x in zip(self.laterals, maps[2:], strict=True))
        deep = self.blocks(at_32)
        more = {"looks": at_16} if self.looks else {}
        at_16 = self.mixes[0](at_16 + F.interpolate(deep, at_16.shape[-2:]))
        at_8 = self.mixes[1](at_8 + F.interpolate(at_16, at_8.shape[-2:]))
        found = {"image": self.norm(at_8), "high_res_0": self.fine(maps[0]), "high_res_1": self.middle(maps[1])}
        return found | more


class LiteModel(PromptableModel):
    """The model inside.

    side: of the input frame in pixels, a multiple of 32; dim: channels of the embedding.
    """

    high_res = True

    def __init__(self, variant: str = "lite2", dim: int = DIM, side: int = SIDE) -> None:
        super().__init__(
            LiteEncoder(variant, dim),
            DensePromptEncoder(dim, (side // STRIDE, side // STRIDE), (side, side)),
            MaskDecoder(dim, heads=HEADS, mlp_dim=8 * dim, iou_hidden=2 * dim, sigmoid_iou=True),
            Preprocess(side, resample="area", mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)),
        )

    def set_side(self, side: int) -> None:
        """Work on frames of another side from now on; every weight fits any side."""
        self.prompt_encoder.grid = (side // STRIDE, side // STRIDE)
        self.prompt_encoder.mask_size = (4 * side // STRIDE, 4 * side // STRIDE)
        self.prompt_encoder.input_size = (side, side)
        self.preprocess = Preprocess(side, resample="area", mean=self.preprocess.mean, std=self.preprocess.std)
