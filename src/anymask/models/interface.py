"""What every model of the family answers to: encode once, decode for each prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from torch import Tensor
from torch.nn import functional as F

from anymask.errors import BadSetting, EmbeddingMismatch
from anymask.pixels.resize import Resize

if TYPE_CHECKING:
    from anymask.masks.masks import Masks
    from anymask.models.card import Card
    from anymask.pixels.image import Image
    from anymask.prompts.prompts import Prompts


Multimask: TypeAlias = bool | Literal["both"] | None
"""Which answers are asked for: three candidates (True), the single-mask token's (False), by the paper's rule (None:
three where the prompt is ambiguous, see `Prompts.ambiguous`), or the single one and, after it, the three ("both")."""

UNWANTED = -1024.0
"""The logits of a mask that nobody wants, see `PromptModel.decode`."""


@dataclass(frozen=True)
class Embedding:
    """What an encoder made of B images; a value, free to be kept, sent and reused.

    tensors: name -> [B, ...]; "image" [B, C, h, w] always, further names are the member's own business.
    resize: B maps from original pixels to the model's frame.
    weights: digest of the weights that made it; decode() refuses another model's embedding.
    """

    tensors: Mapping[str, Tensor]
    resize: tuple[Resize, ...]
    weights: str = ""

    def __len__(self) -> int:
        return len(self.resize)

    def __getitem__(self, index: int) -> Embedding:
        """The embedding of one image, still with a batch axis of 1."""
        index = range(len(self))[index]
        tensors = {name: tensor[index : index + 1] for name, tensor in self.tensors.items()}
        return replace(self, tensors=tensors, resize=(self.resize[index],))

    @property
    def nbytes(self) -> int:
        """Memory that the tensors take, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


@dataclass(frozen=True)
class Decoded:
    """Masks as the network answers them, for P prompts with M candidates each.

    logits: [P, M, h, w] low-resolution, above 0 is foreground, over the padded frame; all UNWANTED where the score was
        not above the `min_score` that was asked for.
    scores: [P, M], predicted IoU.
    resize: the map of the image they lie on.
    """

    logits: Tensor
    scores: Tensor
    resize: Resize

    def only(self, answers: slice) -> Decoded:
        """The same with some of the M answers."""
        return replace(self, logits=self.logits[:, answers], scores=self.scores[:, answers])

    def upscaled(self, rows: slice | None = None) -> Tensor:
        """Logits in the original image's size, float32 [P, M, H, W].

        Low-res to the frame bilinearly, padding cut off, then to the original size, as the official code does; in one
        step where `Resize.direct` says so.
        """
        frame = (self.logits if rows is None else self.logits[rows]).float()
        if not self.resize.direct:
            frame = F.interpolate(frame, self.resize.padded, mode="bilinear", align_corners=False)
            frame = frame[..., : self.resize.resized[0], : self.resize.resized[1]]
        return F.interpolate(frame, self.resize.original, mode="bilinear", align_corners=False)

    def masks(self, *, best: bool = False, threshold: float = 0.0, image: Image | None = None) -> Masks:
        """The answer as `Masks`: rows by object, within an object best score first; ids are object indices.

        best: keep only the best-scored candidate of each object.
        """
        import numpy as np

        from anymask.masks.masks import Masks
        from anymask.masks.rle import encode

        scores = self.scores.detach().float().cpu().numpy()
        logits = self.logits.detach().float().cpu().numpy()
        order = np.argsort(-scores, axis=1, kind="stable")
        if best:
            order = order[:, :1]
        rle = []
        for index, ranks in enumerate(order):
            # one object at a time: 1,000 dense masks of a 12-megapixel photo are 12 GB
            dense = (self.upscaled(slice(index, index + 1))[0] > threshold).cpu().numpy()
            rle.extend(encode(dense[ranks]))
        rows = np.arange(len(order))[:, None]
        return Masks(
            self.resize.original,
            rle,
            scores=scores[rows, order].reshape(-1),
            ids=np.repeat(np.arange(len(order)), order.shape[1]),
            logits=logits[rows, order].reshape(-1, *logits.shape[-2:]),
            image=image,
        )


@runtime_checkable
class Model(Protocol):
    """Anything that turns images into embeddings."""

    card: Card
    weights: str
    """Digest of the loaded weights, "random" until some are loaded."""

    def encode(self, images: Sequence[Image]) -> Embedding: ...


@runtime_checkable
class PromptModel(Model, Protocol):
    """A model that answers points, boxes and masks."""

    def decode(
        self,
        embedding: Embedding,
        prompts: Prompts,
        *,
        multimask: Multimask = None,
        min_score: float | None = None,
    ) -> Decoded:
        """Masks for P prompts on ONE image.

        multimask: see `Multimask`.
        min_score: answers whose predicted IoU is not above it need no mask: their logits are all UNWANTED, their
        scores as ever. None wants every mask.
        """
        ...


def only_one(embedding: Embedding, weights: str) -> Embedding:
    """The embedding itself when it holds one image, as decode takes it, and was made with these weights.

    Raises BadSetting, EmbeddingMismatch.
    """
    if len(embedding) != 1:
        raise BadSetting(f"decode takes the embedding of one image, got {len(embedding)}; use embedding[i]")
    if embedding.weights != weights:
        raise EmbeddingMismatch(
            f"this embedding was made with weights {embedding.weights[:20]!r}, the model holds {weights[:20]!r}; "
            "encode the image again with this model"
        )
    return embedding
