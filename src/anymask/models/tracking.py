"""A promptable model with a memory: SAM's parts and SAM 2's, behind `encode`, `decode` and the video protocol.

Source: SAM 2 (arXiv 2408.00714), section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.errors import BadPrompt, BadSetting
from anymask.models.interface import UNWANTED, Embedding, only_one
from anymask.models.preprocess import Preprocess
from anymask.models.promptable import PromptableModel
from anymask.models.video import Recalled, Tracked
from anymask.nn.mask_decoder import CANDIDATES, SINGLE, Answer, MaskDecoder
from anymask.nn.object_memory import ObjectMemory, at_frame
from anymask.nn.prompt_encoder import EncodedPrompts, PromptEncoder
from anymask.pixels.resize import Resize
from anymask.prompts.prompts import Prompts

LARGEST_LOGIT = 32.0
"""Earlier logits are cut off here before they are read again, as the official video predictor does."""
SURE = 10.0
"""Logit of what a person said: of a drawn mask, and that its object is there."""
TOGETHER = 4
"""Objects whose memories are read at once on a CPU, so that memory does not grow with their number."""


class TrackingModel(PromptableModel):
    """A promptable model that also answers in the light of earlier frames.

    memory: None for weights that hold the parts for still images alone; such a model tracks nothing.
    pointer_slots: see `VideoModel`.
    """

    memory: ObjectMemory | None

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        preprocess: Preprocess,
        memory: ObjectMemory,
        pointer_slots: int = 15,
    ) -> None:
        super().__init__(image_encoder, prompt_encoder, mask_decoder, preprocess)
        self.memory = memory
        self.slots = memory.slots
        self.pointer_slots = pointer_slots

    def unconditioned(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The frame's features [1, C, h, w] as the memory reads them, of an embedding's tensors."""
        return tensors["image"]

    def track(
        self,
        embedding: Embedding,
        recalled: Sequence[Recalled],
        prompts: Prompts | None = None,
        *,
        multimask: bool | None = None,
    ) -> Tracked:
        """Answers for P = len(recalled) objects on one frame; see `VideoModel.track`."""
        memory = self._memory()
        embedding = only_one(embedding, self.weights)
        if not recalled:
            raise BadSetting("track needs at least one object")
        if prompts is not None and len(prompts) != len(recalled):
            raise BadPrompt(f"prompts are for {len(prompts)} objects, memories for {len(recalled)}")
        image = self.conditioned(embedding, recalled)
        encoded, points = self._video_prompts(prompts, embedding.resize[0], len(recalled))
        several = points <= 1 if multimask is None else multimask
        answer = self._asked(embedding.tensors, image, encoded, several)
        presence = _presence(answer)
        there = (presence > 0)[:, None, None, None]
        logits = torch.where(there, answer.logits, torch.full_like(answer.logits, UNWANTED))
        pointers = memory.pointers(answer.tokens, presence)
        return Tracked(logits, answer.scores, pointers, presence, answer.scores.argmax(1), embedding.resize[0])

    def drawn(self, embedding: Embedding, prompts: Prompts) -> Tracked:
        """Masks that a person drew, taken as the answer themselves; see `VideoModel.drawn`."""
        memory = self._memory()
        embedding = only_one(embedding, self.weights)
        resize = embedding.resize[0]
        if prompts.masks is None:
            raise BadPrompt("drawn takes masks in the frame's size; points and boxes go to track")
        if prompts.masks.shape[1:] != resize.original:
            raise BadPrompt(f"a drawn mask must have the frame's size {resize.original}, got {prompts.masks.shape[1:]}")
        masks = torch.stack(
            [self._at_frame(torch.as_tensor(mask, device=self.device), resize) for mask in prompts.masks]
        )
        low = F.interpolate(
            (2 * masks - 1)[:, None] * SURE, self.prompt_encoder.mask_size, mode="bilinear", antialias=True
        )
        points, labels = self._nowhere(len(masks))
        encoded = self.prompt_encoder(points, labels, None, memory.prompt_of(masks))
        answer = self._asked(embedding.tensors, self.unconditioned(embedding.tensors), encoded, False)
        # the person is right about whether the object is there, whatever the decoder thinks of it
        presence = torch.where(masks.flatten(1).any(1), SURE, -SURE)
        asked = memory.pointers(answer.tokens, _presence(answer))
        pointers = torch.where((presence > 0)[:, None, None], asked, memory.no_obj_ptr)
        scores, best = masks.new_ones(len(masks), 1), torch.zeros(len(masks), dtype=torch.long, device=self.device)
        return Tracked(low, scores, pointers, presence, best, resize)

    def memorise(self, embedding: Embedding, logits: Tensor, presence: Tensor, *, prompted: bool) -> Tensor:
        """Answers [P, h, w] with presence [P] to memory features [P, Cm, h', w']; see `VideoModel.memorise`."""
        memory = self._memory()
        embedding = only_one(embedding, self.weights)
        side = (self.preprocess.side, self.preprocess.side)
        high = at_frame(logits.to(self.device), side)
        masks = (high > 0).float() if prompted else torch.sigmoid(high)
        with self._precision():
            made = memory.made(self.unconditioned(embedding.tensors), masks, presence.to(self.device))
        return made.float()

    def conditioned(self, embedding: Embedding, recalled: Sequence[Recalled]) -> Tensor:
        """The frame's features as each of P objects sees them, [P, C, h, w]; [1, C, h, w] where none remembers."""
        memory = self._memory()
        plain = embedding.tensors["image"]
        kinds: dict[tuple[tuple[int, ...], int], list[int]] = {}
        for index, own in enumerate(recalled):
            kinds.setdefault((tuple(slot for _, slot in own.features), len(own.pointers)), []).append(index)
        if list(kinds) == [((), 0)]:
            return plain
        image = self.unconditioned(embedding.tensors)
        out: list[Tensor] = [plain[0]] * len(recalled)
        for (slots, count), rows in kinds.items():
            if not slots and not count:
                continue
            step = TOGETHER if self.device.type == "cpu" else len(rows)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                with self._precision():
                    seen = self._read(memory, image, [recalled[row] for row in part], slots)
                for row, one in zip(part, seen.float(), strict=True):
                    out[row] = one
        return torch.stack(out)

    def _read(
        self, memory: ObjectMemory, image: Tensor, recalled: Sequence[Recalled], slots: tuple[int, ...]
    ) -> Tensor:
        """Objects with memories in the same slots, [P, C, h, w]."""
        times = [[far / self._reach(own) for _, far in own.pointers] for own in recalled]
        remembered = memory.gathered(
            [[maps for maps, _ in own.features] for own in recalled],
            slots,
            [[pointer for pointer, _ in own.pointers] for own in recalled],
            torch.tensor(times, device=self.device).view(len(recalled), -1),
        )
        return memory.read(image, remembered)

    def _reach(self, recalled: Recalled) -> int:
        return max(1, self.pointer_slots if recalled.reach is None else recalled.reach)

    def _asked(self, tensors: Mapping[str, Tensor], image: Tensor, encoded: EncodedPrompts, several: bool) -> Answer:
        high_res = (tensors["high_res_0"], tensors["high_res_1"]) if "high_res_0" in tensors else None
        pe = self.prompt_encoder.dense_pe()
        return self.mask_decoder.answer(image, pe, encoded, high_res, CANDIDATES if several else SINGLE)

    def _video_prompts(self, prompts: Prompts | None, resize: Resize, count: int) -> tuple[EncodedPrompts, int]:
        """What the decoder reads of P objects, and how many points each has been given at most, corners included."""
        if prompts is None:
            return self.prompt_encoder(*self._nowhere(count)), 0
        if prompts.masks is not None:
            raise BadPrompt("track takes points, boxes and logits; drawn masks go to drawn")
        if prompts.low_res is not None:
            prompts = replace(prompts, low_res=prompts.low_res.clip(-LARGEST_LOGIT, LARGEST_LOGIT))
        points = 0 if prompts.boxes is None else 2
        if prompts.point_labels is not None:
            points += int((prompts.point_labels >= 0).sum(1).max(initial=0))
        if prompts.points is None and prompts.boxes is None:
            mask = self._mask_prompt(prompts, resize)
            return self.prompt_encoder(*self._nowhere(count), None, mask), points
        encoded: EncodedPrompts = self.encode_prompts(prompts, resize)  # type: ignore[assignment]
        return encoded, points

    def _nowhere(self, count: int) -> tuple[Tensor, Tensor]:
        """A padding point for each of P objects: how "nobody pointed" was said in training."""
        places = torch.zeros(count, 1, 2, device=self.device)
        return places, torch.full((count, 1), -1, device=self.device)

    def _at_frame(self, mask: Tensor, resize: Resize) -> Tensor:
        """A drawn mask, bool [H, W], in the model's frame, float [side, side] of 0 and 1."""
        frame, (height, width) = resize.padded, resize.resized
        unit = mask.float()[None, None]
        if unit.shape[2:] != (height, width):
            unit = (F.interpolate(unit, (height, width), mode="bilinear", antialias=True) >= 0.5).float()
        return F.pad(unit[0, 0], (0, frame[1] - width, 0, frame[0] - height))

    def _precision(self) -> torch.autocast:
        """Memories are made and read in the precision that images are encoded in."""
        half = self.compute_dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.compute_dtype, enabled=half)

    def _memory(self) -> ObjectMemory:
        if self.memory is None:
            raise BadSetting(
                "these weights hold the network for still images alone, without memory; following objects needs the "
                "weights of the video model"
            )
        return self.memory


def _presence(answer: Answer) -> Tensor:
    """[P] logits; a decoder that does not tell takes the object to be there."""
    return answer.scores.new_full((len(answer.scores),), SURE) if answer.presence is None else answer.presence
