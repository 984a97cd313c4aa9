"""The mask decoder: one for the whole family.

Source: Segment Anything, appendix A ("Lightweight mask decoder"); high-resolution features as in SAM 2
(arXiv 2408.00714, section 4), as are the token that tells whether the object is there and the choice of a steady mask.
Parameter names are the official ones.
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


class Answer(NamedTuple):
    """What M mask tokens answer to P prompts.

    logits: [P, M, 4h, 4w]. scores: [P, M]. tokens: [P, M, C], after the transformer. presence: [P], above 0 the object
    is there; None of a decoder that has no token for that.
    """

    logits: Tensor
    scores: Tensor
    tokens: Tensor
    presence: Tensor | None


STEADY = 0.98
"""A single mask of less stability gives way to the best candidate, see `steady`."""
STEADY_OFFSET = 0.05
"""Of the two thresholds that stability compares, in logits."""


class MaskDecoder(nn.Module):
    """Masks and their predicted IoU from an image embedding and prompts.

    dim: channels of the embedding. candidates: masks answered to an ambiguous prompt, besides the single-mask one.
    sigmoid_iou: scores through a sigmoid (SAM 2); SAM 1 answers them raw.
    object_token: with a token that tells whether the object is there at all (SAM 2). steady: a single mask that is not
    stable gives way to the best candidate, except in training (SAM 2).
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
        object_token: bool = False,
        steady: bool = False,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.steady = steady
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
        self.obj_score_token = nn.Embedding(1, dim) if object_token else None
        self.pred_obj_score_head = MLP(dim, dim, 1, 3) if object_token else None
        self._built = parts(self)

    def own_tokens(self) -> Tensor:
        """The tokens before those of the prompts: object (if there is one), score, masks, [T, C]."""
        weights = [self.iou_token.weight, self.mask_tokens.weight]
        if self.obj_score_token is not None:
            weights.insert(0, self.obj_score_token.weight)
        return torch.cat(weights)

    @property
    def score_rank(self) -> int:
        """Which of the tokens is the score's; those of the masks follow it."""
        return 0 if self.obj_score_token is None else 1

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
        return self.answer(image, pe, prompts, high_res, answers, wanted)[:2]

    def answer(
        self,
        image: Tensor,
        pe: Tensor,
        prompts: EncodedPrompts | UndrawnPrompts,
        high_res: tuple[Tensor, Tensor] | None = None,
        answers: slice = ALL,
        wanted: Wanted | None = None,
    ) -> Answer:
        """As `forward`, with the tokens, and whether the object is there."""
        if not self.steady or self.training or 0 not in range(self.mask_count)[answers]:
            return self._answer(image, pe, prompts, high_res, answers, wanted)
        # the single mask may give way to a candidate, so all of them are needed
        every = self._answer(image, pe, prompts, high_res, ALL, None)
        logits, scores = steady(every.logits, every.scores)
        logits, scores = logits[:, answers], scores[:, answers]
        if wanted is not None:
            logits = torch.where((scores > wanted.above)[..., None, None], logits, wanted.otherwise)
        return Answer(logits, scores, every.tokens[:, answers], every.presence)

    def _answer(
        self,
        image: Tensor,
        pe: Tensor,
        prompts: EncodedPrompts | UndrawnPrompts,
        high_res: tuple[Tensor, Tensor] | None,
        answers: slice,
        wanted: Wanted | None,
    ) -> Answer:
        # under autocast the prompts come in halves and the weights in floats; the plain modules sort that out
        plain = torch.is_autocast_enabled(image.device.type)
        if not plain and lean(image) and fast_decoder.suits(self, prompts.sparse) and untouched(self, self._built):
            return Answer(*fast_decoder.decode(self, image, pe, prompts, high_res, answers, wanted))
        sparse, dense, prompt_maps = prompts.drawn() if isinstance(prompts, UndrawnPrompts) else prompts
        count = len(sparse)
        tokens = torch.cat([self.own_tokens().expand(count, -1, -1).to(sparse.dtype), sparse], 1)
        source = (image + dense).expand(count, -1, -1, -1)
        height, width = source.shape[-2:]
        tokens, pixels = self.transformer(tokens, source.flatten(2).transpose(1, 2), pe.flatten(2).transpose(1, 2))
        pixels = pixels.transpose(1, 2).unflatten(2, (height, width))
        if high_res is not None and prompt_maps is not None:
            high_res = (high_res[0] + prompt_maps[0], high_res[1] + prompt_maps[1])
        pixels = self._upscale(pixels, high_res)
        first = self.score_rank + 1
        asked = range(self.mask_count)[answers]
        kernels = torch.stack([self.output_hypernetworks_mlps[i](tokens[:, first + i]) for i in asked], 1)
        logits = (kernels @ pixels.flatten(2)).unflatten(2, (4 * height, 4 * width))
        scores = self.iou_prediction_head(tokens[:, first - 1])[:, answers]
        if wanted is not None:
            logits = torch.where((scores > wanted.above)[..., None, None], logits, wanted.otherwise)
        presence = None if self.pred_obj_score_head is None else self.pred_obj_score_head(tokens[:, 0])[:, 0]
        return Answer(logits, scores, tokens[:, first : first + self.mask_count][:, answers], presence)

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


def steady(logits: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Answers of all mask tokens, [P, M, h, w] and [P, M], in which an unstable single mask, the first, has given way.

    In its place stands the candidate of the best score. Stability is the area above an offset by that above its
    negative; an empty mask is stable. Source: SAM 2 (arXiv 2408.00714), appendix D.1.
    """
    single = logits[:, 0].flatten(1)
    above, below = ((single > offset).to(scores.dtype).sum(1) for offset in (STEADY_OFFSET, -STEADY_OFFSET))
    stable = (torch.where(below > 0, above / below.clamp(min=1), 1.0) >= STEADY)[:, None]
    rank = torch.where(stable, 0, 1 + scores[:, 1:].argmax(1, keepdim=True))
    score = scores.gather(1, rank)
    chosen = logits.gather(1, rank[..., None, None].expand(-1, 1, *logits.shape[2:]))
    return torch.cat([chosen, logits[:, 1:]], 1), torch.cat([score, scores[:, 1:]], 1)
