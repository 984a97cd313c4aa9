"""What a model that follows objects through a clip answers to.

Networks hold no state: whoever drives them (`anymask.track`) keeps the memories, chooses which of them an object is
reminded of, and hands them in. Source of the terms: SAM 2 (arXiv 2408.00714), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from anymask.models.interface import Embedding, PromptModel
from anymask.pixels.resize import Resize

if TYPE_CHECKING:
    from anymask.prompts.prompts import Prompts


@dataclass(frozen=True)
class Memory:
    """What is kept of one object on one frame.

    frame: its number. features: [Cm, h, w] of the memory encoder. pointer: [C], the object pointer.
    presence: logit of the object's being there at all. score: predicted IoU of the mask, 0..1.
    prompted: whether a person said something about the object on this frame (SAM 2: a conditioning frame).
    """

    frame: int
    features: Tensor
    pointer: Tensor
    presence: float
    score: float
    prompted: bool

    @property
    def nbytes(self) -> int:
        """Memory that the tensors take, in bytes."""
        return self.features.nbytes + self.pointer.nbytes


@dataclass(frozen=True)
class Recalled:
    """What one object is reminded of, in the order in which the network reads it.

    features: (features [Cm, h, w], slot), slot 0 for a prompted frame, else 1 for the frame just before, 2 for the one
        before that and so on. pointers: (pointer [C], distance in frames, signed in the direction of tracking).
    reach: frames that the longest distance stands for; None is the model's `pointer_slots`. SAM 2 takes
        min(pointer_slots, frames of the clip - 1), so that short clips have a time of their own.
    Empty where the object has no memory yet. Tensors may be of any precision and device.
    """

    features: tuple[tuple[Tensor, int], ...] = ()
    pointers: tuple[tuple[Tensor, int], ...] = ()
    reach: int | None = None


@dataclass(frozen=True)
class Tracked:
    """Answers for P objects on one frame, M candidates each.

    logits: [P, M, h, w] low-resolution, above 0 is foreground; all UNWANTED where the object is not there.
    scores: [P, M], predicted IoU. pointers: [P, M, C]. presence: [P] logits, above 0 the object is there.
    best: int64 [P], the candidate that the model itself would take.
    """

    logits: Tensor
    scores: Tensor
    pointers: Tensor
    presence: Tensor
    best: Tensor
    resize: Resize


@runtime_checkable
class VideoModel(PromptModel, Protocol):
    """A model that answers prompts on a frame in the light of earlier frames."""

    slots: int
    """Memories an object is reminded of, those of prompted frames not counted."""
    pointer_slots: int
    """Object pointers likewise; frames 1 to this before the current one have them (SAM 2: 15)."""

    def track(
        self,
        embedding: Embedding,
        recalled: Sequence[Recalled],
        prompts: Prompts | None = None,
        *,
        multimask: bool | None = None,
    ) -> Tracked:
        """Answers for P = len(recalled) objects on one frame, together as far as their memories are alike.

        prompts: of all P objects (points and boxes in original pixels, low-res logits), or None on a frame about which
        nobody said anything. multimask: three candidates instead of one; None is the model's own rule (SAM 2: three for
        no point or one, where a box counts as two). Raises BadPrompt, BadSetting, EmbeddingMismatch.
        """
        ...

    def drawn(self, embedding: Embedding, prompts: Prompts) -> Tracked:
        """Masks that a person drew (`prompts.masks`), taken as the answer themselves (M = 1), with their pointers."""
        ...

    def memorise(self, embedding: Embedding, logits: Tensor, presence: Tensor, *, prompted: bool) -> Tensor:
        """Answers [P, h, w] with presence [P] to memory features [P, Cm, h', w'].

        prompted: a person pointed at the object on this frame: its mask is made of zeros and ones first (SAM 2's
        video predictor does).
        """
        ...
