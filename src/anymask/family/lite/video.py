"""anymask-lite-video: the model inside, following objects through clips with a small memory beside it.

The image model answers what is pointed at first, as ever. On later frames `nn.cell_memory` tells where the object went,
and a decoder of its own, begun as a copy of the image model's, answers from there, and whether the object is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.errors import BadPrompt, BadSetting
from anymask.family.lite.model import DIM, HEADS, SIDE, LiteEncoder, LiteModel
from anymask.models.interface import UNWANTED, Embedding, only_one
from anymask.models.promptable import mask_prompt
from anymask.models.tracking import LARGEST_LOGIT, SURE
from anymask.models.video import Recalled, Tracked
from anymask.nn.cell_memory import Carried, CellMemory, peaks
from anymask.nn.dense_prompts import UndrawnPrompts
from anymask.nn.mask_decoder import CANDIDATES, SINGLE, Answer, MaskDecoder
from anymask.nn.prompt_encoder import EncodedPrompts
from anymask.pixels.resize import Resize
from anymask.prompts.prompts import Prompts

LOOKS_STRIDE = 16
"""Pixels of the frame a cell of the memory."""


class ObjectCells(CellMemory):
    """The memory and the decoder that reads it: all that the second file holds."""

    def __init__(self, dim: int = DIM) -> None:
        super().__init__(dim)
        self.decoder = MaskDecoder(
            dim, heads=HEADS, mlp_dim=8 * dim, iou_hidden=2 * dim, sigmoid_iou=True, object_token=True
        )


class LiteVideo(LiteModel):
    """The model inside with a memory; behind `VideoModel`."""

    slots = 5
    pointer_slots = 7

    def __init__(self, variant: str = "lite2", dim: int = DIM, side: int = SIDE) -> None:
        super().__init__(variant, dim, side)
        cast(LiteEncoder, self.image_encoder).looks = True
        self.memory = ObjectCells(dim)

    def begin(self) -> None:
        """A memory that was never trained starts with the image model's decoder."""
        self.memory.decoder.load_state_dict(self.mask_decoder.state_dict(), strict=False)
        head = self.memory.decoder.pred_obj_score_head
        assert head is not None
        # objects are taken to be there until it is learned when they are not
        nn.init.zeros_(head.layers[-1].weight)  # type: ignore[arg-type]
        nn.init.constant_(head.layers[-1].bias, 2.0)  # type: ignore[arg-type]

    # the parts, with gradients where the caller lets them flow

    def carried(
        self, tensors: Mapping[str, Tensor], memories: Sequence[tuple[Tensor, int]], shown: tuple[int, int]
    ) -> Carried:
        """Where objects with memories (maps [P, ...], slot) are on a frame; see `CellMemory.forward`.

        shown: (rows, columns) of the memory's cells that show the picture; what lies beyond is empty.
        """
        rows, columns = shown
        appearance = self.memory.appearance(tensors["image"], tensors["looks"])
        size = appearance.shape[2:]
        appearance = appearance[..., :rows, :columns]
        maps = [(maps[..., :rows, :columns], slot) for maps, slot in memories]
        addition, logits = self.memory(appearance, self.memory.keys(appearance), maps, max(size))
        beyond = (0, 2 * (size[1] - columns), 0, 2 * (size[0] - rows))
        return Carried(F.pad(addition, beyond), F.pad(logits, beyond, value=-SURE))

    def followed(
        self, tensors: Mapping[str, Tensor], carried: Carried, encoded: EncodedPrompts, hints: Tensor, several: bool
    ) -> Answer:
        """The answers of the memory's decoder. hints: [P, 2, C], see `CellMemory.hinted`."""
        none = self.prompt_encoder.not_a_point_embed.weight
        encoded = encoded._replace(
            sparse=torch.cat([encoded.sparse, none + hints], 1), dense=encoded.dense + carried.addition
        )
        high_res = (tensors["high_res_0"], tensors["high_res_1"])
        pe = self.prompt_encoder.dense_pe()
        answers = CANDIDATES if several else SINGLE
        return self.memory.decoder.answer(tensors["image"], pe, encoded, high_res, answers)

    def unprompted(self, logits: Tensor, *, pointed: bool = True) -> EncodedPrompts:
        """What the decoder reads where nobody points: logits [P, 1, h, w] of the object, and their peaks as clicks."""
        size = self.prompt_encoder.mask_size
        masks = F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
        points, labels = peaks(logits, self.preprocess.side // logits.shape[3])
        if not pointed:
            labels = torch.full_like(labels, -1)
        out: EncodedPrompts = self.prompt_encoder(points, labels, None, masks)
        return out

    # the protocol

    def track(
        self,
        embedding: Embedding,
        recalled: Sequence[Recalled],
        prompts: Prompts | None = None,
        *,
        multimask: bool | None = None,
    ) -> Tracked:
        """Answers for P = len(recalled) objects on one frame; see `VideoModel.track`."""
        embedding = only_one(embedding, self.weights)
        if not recalled:
            raise BadSetting("track needs at least one object")
        if prompts is not None and len(prompts) != len(recalled):
            raise BadPrompt(f"prompts are for {len(prompts)} objects, memories for {len(recalled)}")
        if prompts is not None and prompts.masks is not None:
            raise BadPrompt("track takes points, boxes and logits; drawn masks go to drawn")
        if prompts is not None and prompts.low_res is not None:
            prompts = replace(prompts, low_res=prompts.low_res.clip(-LARGEST_LOGIT, LARGEST_LOGIT))
        several = prompts is not None and (prompts.ambiguous if multimask is None else multimask)
        kinds: dict[tuple[tuple[int, ...], int], list[int]] = {}
        for index, own in enumerate(recalled):
            kinds.setdefault((tuple(slot for _, slot in own.features), len(own.pointers)), []).append(index)
        parts = []
        for (slots, _), rows in kinds.items():
            chosen = None if prompts is None else prompts[np.array(rows)]
            parts.append(self._part(embedding, [recalled[row] for row in rows], slots, chosen, several))
        order = torch.tensor([row for rows in kinds.values() for row in rows]).argsort().to(self.device)
        logits, scores, pointers, presence = (torch.cat(column)[order] for column in zip(*parts, strict=True))
        there = (presence > 0)[:, None, None, None]
        logits = torch.where(there, logits, torch.full_like(logits, UNWANTED))
        return Tracked(logits, scores, pointers, presence, scores.argmax(1), embedding.resize[0])

    def drawn(self, embedding: Embedding, prompts: Prompts) -> Tracked:
        """Masks that a person drew, taken as the answer themselves; see `VideoModel.drawn`."""
        embedding = only_one(embedding, self.weights)
        resize = embedding.resize[0]
        if prompts.masks is None:
            raise BadPrompt("drawn takes masks in the frame's size; points and boxes go to track")
        low = mask_prompt(prompts, resize, self.prompt_encoder.mask_size, self.device)
        assert low is not None
        presence = torch.where((low > 0).flatten(1).any(1), SURE, -SURE)
        answer = self._plain(embedding.tensors, self.unprompted(low, pointed=False), SINGLE)
        pointers = self.memory.pointers(answer.tokens, presence[:, None])
        best = torch.zeros(len(low), dtype=torch.long, device=self.device)
        return Tracked(low, low.new_ones(len(low), 1), pointers, presence, best, resize)

    def memorise(self, embedding: Embedding, logits: Tensor, presence: Tensor, *, prompted: bool) -> Tensor:
        """Answers [P, h, w] with presence [P] to memory features [P, Cm, h', w']; see `VideoModel.memorise`."""
        tensors = only_one(embedding, self.weights).tensors
        logits = logits.to(self.device).float()
        masks = (logits > 0).float() if prompted else torch.sigmoid(logits)
        with self._precision():
            appearance = self.memory.appearance(tensors["image"], tensors["looks"])
            made = self.memory.made(appearance, self.memory.keys(appearance), masks, presence.to(self.device))
        return made.float()

    def _part(
        self,
        embedding: Embedding,
        recalled: Sequence[Recalled],
        slots: tuple[int, ...],
        prompts: Prompts | None,
        several: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Objects with memories in the same slots: logits [P, M, h, w], scores, pointers [P, M, C], presence [P]."""
        tensors, resize = embedding.tensors, embedding.resize[0]
        if not slots:
            encoded = self._nothing(len(recalled)) if prompts is None else self._said(prompts, resize)
            answer = self._plain(tensors, encoded, CANDIDATES if several else SINGLE)
            presence = answer.scores.new_full((len(recalled),), SURE)
        else:
            device = self.device
            maps = [torch.stack([own.features[at][0] for own in recalled]).to(device) for at in range(len(slots))]
            with self._precision():
                carried = self.carried(tensors, list(zip(maps, slots, strict=True)), _shown(resize))
            carried = Carried(carried.addition.float(), carried.logits.float())
            hints = self._hints(recalled)
            if prompts is None:
                logits = self.unprompted(carried.logits)
            else:
                # logits are drawn in any case, so nothing is left undrawn
                logits = cast(EncodedPrompts, self._said(prompts, resize, carried.logits))
            answer = self.followed(tensors, carried, logits, hints, several)
            assert answer.presence is not None
            presence = answer.presence
            if prompts is not None:
                # who points at an object knows that it is there
                presence = presence.new_full(presence.shape, SURE)
        pointers = self.memory.pointers(answer.tokens, presence[:, None])
        return answer.logits, answer.scores, pointers, presence

    def _plain(self, tensors: Mapping[str, Tensor], encoded: EncodedPrompts | UndrawnPrompts, answers: slice) -> Answer:
        """As the image model answers."""
        high_res = (tensors["high_res_0"], tensors["high_res_1"])
        return self.mask_decoder.answer(tensors["image"], self.prompt_encoder.dense_pe(), encoded, high_res, answers)

    def _said(self, prompts: Prompts, resize: Resize, carried: Tensor | None = None) -> EncodedPrompts | UndrawnPrompts:
        """Prompts, with the logits that the memory gives where there are no earlier ones."""
        if carried is not None and prompts.low_res is None:
            masks = F.interpolate(carried, self.prompt_encoder.mask_size, mode="bilinear", align_corners=False)
            prompts = replace(prompts, low_res=masks[:, 0].detach().cpu().numpy())
        return self.encode_prompts(prompts, resize)

    def _nothing(self, count: int) -> EncodedPrompts:
        points, labels = torch.zeros(count, 1, 2, device=self.device), torch.full((count, 1), -1, device=self.device)
        out: EncodedPrompts = self.prompt_encoder(points, labels)
        return out

    def _hints(self, recalled: Sequence[Recalled]) -> Tensor:
        """[P, 2, C] of objects with equally many pointers."""
        own = [sorted(one.pointers, key=lambda told: abs(told[1])) for one in recalled]
        if not own[0]:
            return self.memory.no_pointer.new_zeros(len(own), 2, self.memory.dim)
        told = torch.stack([torch.stack([pointer for pointer, _ in one]) for one in own]).to(self.memory.no_pointer)
        return self.memory.hinted(told, told[:, 0])

    def _precision(self) -> torch.autocast:
        half = self.compute_dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.compute_dtype, enabled=half)


def _shown(resize: Resize) -> tuple[int, int]:
    """Rows and columns of the memory's cells that show the picture, in pairs."""
    rows, columns = (2 * -(-side // (2 * LOOKS_STRIDE)) for side in resize.resized)
    return min(rows, resize.padded[0] // LOOKS_STRIDE), min(columns, resize.padded[1] // LOOKS_STRIDE)
