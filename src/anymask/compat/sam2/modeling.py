"""The parts of a SAM 2 as scripts for fine-tuning call them by hand: `sam_prompt_encoder` and `sam_mask_decoder`.

They are thin faces of our own modules and share their parameters, see `compat.segment_anything.modeling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from anymask.compat.segment_anything.modeling import PromptEncoder, _checked, _Face, with_maps
from anymask.models.tracking import TrackingModel
from anymask.nn.mask_decoder import ALL, CANDIDATES, SINGLE
from anymask.nn.mask_decoder import MaskDecoder as OwnDecoder
from anymask.nn.prompt_encoder import EncodedPrompts

BOX = (2, 3)
"""Labels of the corners of a box among the points."""


class SAM2PromptEncoder(PromptEncoder):
    """Prompts in the model's frame to (sparse [B, T, C], dense [B, C, h, w]); boxes also as points labelled 2 and 3."""

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """points: (coordinates [B, N, 2], labels [B, N]); boxes: [B, 4]; masks: logits [B, 1, 4h, 4w]. BadPrompt."""
        xy, labels, corners = _checked(points, boxes, masks, self.mask_input_size)
        if points is not None and labels is not None:
            # corners of a box keep their labels here
            given = points[1].to(labels.dtype)
            labels = torch.where((given == BOX[0]) | (given == BOX[1]), given, labels)
        sparse, dense, maps = self.inner(xy, labels, corners, masks)
        return sparse, with_maps(dense.expand(len(sparse), -1, -1, -1), maps)


class SAM2MaskDecoder(_Face):
    """Embeddings to low-resolution logits, predicted IoU, mask tokens and the object's presence."""

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
        repeat_image: bool = False,
        high_res_features: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits [B, M, 4h, 4w], predicted IoU [B, M], tokens [B, M, C], presence [B, 1] of B prompts.

        image_embeddings: of one image, or of B. repeat_image: taken and ignored; one image serves all prompts.
        high_res_features: the two finer maps, as `SAM2ImagePredictor._features` holds them.
        """
        decoder = cast(OwnDecoder, self.inner)
        answers = CANDIDATES if multimask_output else SINGLE
        # with gradients all answers are computed, as officially: distributed training wants one for each parameter
        asked = ALL if torch.is_grad_enabled() else answers
        maps = None if high_res_features is None else (high_res_features[0], high_res_features[1])
        prompts = EncodedPrompts(sparse_prompt_embeddings, dense_prompt_embeddings)
        answer = decoder.answer(image_embeddings, image_pe, prompts, maps, asked)
        logits, scores, tokens, presence = answer
        if asked != answers:
            logits, scores, tokens = logits[:, answers], scores[:, answers], tokens[:, answers]
        there = scores.new_full((len(scores),), 10.0) if presence is None else presence
        return logits, scores, tokens, there[:, None]


def with_parts(model: TrackingModel) -> TrackingModel:
    """The model with its parts under their official names, and `image_size`."""
    # not as attributes of nn.Module: the parts must not appear in state_dict() a second time
    model.__dict__["sam_prompt_encoder"] = SAM2PromptEncoder(model.prompt_encoder)
    model.__dict__["sam_mask_decoder"] = SAM2MaskDecoder(model.mask_decoder)
    model.__dict__["image_size"] = model.preprocess.side
    return model
