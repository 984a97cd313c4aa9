"""The mask decoder: one for the whole family.

Source: Segment Anything, appendix A ("Lightweight mask decoder"); high-resolution features as in SAM 2
(arXiv 2408.00714, section 4). Parameter names are the official ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from anymask.nn import fast_decoder
from anymask.nn.cpu import lean, parts, untouched
from anymask.nn.dense_prompts import UndrawnPrompts
from anymask.nn.layers import MLP, LayerNorm2d
from anymask.nn.prompt_encoder import EncodedPrompts
from anymask.nn.two_way import TwoWayTransformer

ALL = slice(None)
SINGLE = slice(0, 1)
"""The answer of the token for unambiguous prompts."""
CANDIDATES = slice(1, None)
"""The answers to an ambiguous prompt."""


class Wanted(NamedTuple):
    """Which masks are wanted: those whose score is above `above`; the logits of all others are `otherwise`."""

    above: float
    otherwise: float


class MaskDecoder(nn.Module):
    """Masks and their predicted IoU from an image embedding and prompts.

    dim: channels of the embedding. candidates: masks answered to an ambiguous prompt, besides the single-mask one.
    sigmoid_iou: scores through a sigmoid (SAM 2); SAM 1 answers them raw.
    """

    def __init__(
        self,
        dim: int = 256,
        depth: int = 2,
        heads: int = 8,
        mlp_dim: int = 2048,
        iou_hidden: int = 256,
        iou_depth: int = 3,
        candidates: int = 3,
        sigmoid_iou: bool = False,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.mask_count = candidates + 1
        self.transformer = TwoWayTransformer(dim, depth, heads, mlp_dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(self.mask_count, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, 2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(dim, dim, dim // 8, 3) for _ in range(self.mask_count))
        self.iou_prediction_head = MLP(dim, iou_hidden, self.mask_count, iou_depth, sigmoid=sigmoid_iou)
        self._built = parts(self)

    def forward(
        self,
        image: Tensor,
        pe: Tensor,
        prompts: EncodedPrompts | UndrawnPrompts,
        high_res: tuple[Tensor, Tensor] | None = None,
        answers: slice = ALL,
        wanted: Wanted | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The mask tokens' answers, the single-mask one first.

        image: [1 or P, C, h, w]; pe: [1, C, h, w]; prompts: of P objects.
        high_res: ([1 or P, C/8, 4h, 4w], [1 or P, C/4, 2h, 2w]), already projected to these widths.
        answers: the ones that are asked for, `ALL`, `SINGLE` or `CANDIDATES`. wanted: None means all their masks.
        Returns logits [P, M, 4h, 4w] and scores [P, M].
        """
        # under autocast the prompts come in halves and the weights in floats; the plain modules sort that out
        plain = torch.is_autocast_enabled(image.device.type)
        if not plain and lean(image) and fast_decoder.suits(self, prompts.sparse) and untouched(self, self._built):
            return fast_decoder.decode(self, image, pe, prompts, high_res, answers, wanted)
        sparse, dense, prompt_maps = prompts.drawn() if isinstance(prompts, UndrawnPrompts) else prompts
        count = len(sparse)
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(count, -1, -1).to(sparse.dtype), sparse], 1)
        source = (image + dense).expand(count, -1, -1, -1)
        height, width = source.shape[-2:]
        tokens, pixels = self.transformer(tokens, source.flatten(2).transpose(1, 2), pe.flatten(2).transpose(1, 2))
        pixels = pixels.transpose(1, 2).unflatten(2, (height, width))
        if high_res is not None and prompt_maps is not None:
            high_res = (high_res[0] + prompt_maps[0], high_res[1] + prompt_maps[1])
        pixels = self._upscale(pixels, high_res)
        asked = range(self.mask_count)[answers]
        kernels = torch.stack([self.output_hypernetworks_mlps[i](tokens[:, 1 + i]) for i in asked], 1)
        logits = (kernels @ pixels.flatten(2)).unflatten(2, (4 * height, 4 * width))
        scores = self.iou_prediction_head(tokens[:, 0])[:, answers]
        if wanted is not None:
            logits = torch.where((scores > wanted.above)[..., None, None], logits, wanted.otherwise)
        return logits, scores

    def _upscale(self, pixels: Tensor, high_res: tuple[Tensor, Tensor] | None) -> Tensor:
        """[P, C, h, w] -> [P, C/8, 4h, 4w]."""
        if high_res is None:
            plain: Tensor = self.output_upscaling(pixels)
            return plain
        first, norm, act, second, last_act = self.output_upscaling
        fine, middle = high_res
        pixels = act(norm(first(pixels) + middle))
        fused: Tensor = last_act(second(pixels) + fine)
        return fused
