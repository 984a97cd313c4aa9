"""A promptable model: image encoder, prompt encoder and mask decoder behind encode() and decode()."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.errors import BadPrompt, BadSetting
from anymask.models.interface import UNWANTED, Decoded, Embedding, Multimask, only_one
from anymask.models.preprocess import Preprocess
from anymask.nn.mask_decoder import ALL, CANDIDATES, SINGLE, MaskDecoder, Wanted
from anymask.nn.prompt_encoder import EncodedPrompts, PromptEncoder

if TYPE_CHECKING:
    from anymask.models.card import Card
    from anymask.nn.dense_prompts import UndrawnPrompts
    from anymask.pixels.image import Image
    from anymask.pixels.resize import Resize
    from anymask.prompts.prompts import Prompts

DRAWN_LOGIT = 10.0
"""A drawn mask becomes logits of +-10, as SAM 2 does with masks that a person gives."""


class PromptableModel(nn.Module):
    """SAM and every member that shares its shape.

    image_encoder: [B, 3, side, side] -> [B, C, h, w], or a dict with "image" and optionally "high_res_0"
        [B, C/8, 4h, 4w] and "high_res_1" [B, C/4, 2h, 2w].
    Gradients flow wherever the caller lets them; nothing here turns them off.
    """

    card: Card
    high_res = False
    """Whether an embedding holds high-resolution features."""
    _digest: str
    _marked: int | None = None

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        preprocess: Preprocess,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.preprocess = preprocess
        self.compute_dtype = torch.float32
        self.weights = f"random-{uuid4().hex}"

    @property
    def weights(self) -> str:
        """Digest of the weights; a new one is made up whenever parameters have changed since it was set.

        Without that, an embedding made before a training step would be taken for one of the trained model.
        """
        versions = self._versions()
        if versions != self._marked:
            self._digest, self._marked = f"changed-{uuid4().hex}", versions
        return self._digest

    @weights.setter
    def weights(self, digest: str) -> None:
        self._digest, self._marked = digest, self._versions()

    def _versions(self) -> int:
        """A count that grows with every in-place change of a parameter or buffer."""
        tensors = itertools.chain(self.parameters(), self.buffers())
        return sum(tensor._version for tensor in tensors if not tensor.is_inference())

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def use(self, dtype: torch.dtype) -> PromptableModel:
        """Encode in this precision from now on; the light decoder stays in float32, where it costs little."""
        if dtype not in (torch.float32, torch.bfloat16, torch.float16):
            raise BadSetting(f"dtype must be float32, bfloat16 or float16, got {dtype}")
        if dtype == torch.float16 and self.device.type == "cpu":
            raise BadSetting("float16 has no fast arithmetic on a CPU; use bfloat16 there")
        self.compute_dtype = dtype
        return self

    def encode(self, images: Sequence[Image]) -> Embedding:
        """Images to their embeddings, B at once."""
        if len(images) == 0:
            raise BadSetting("encode needs at least one image")
        frames, maps = self.preprocess(images)
        return Embedding(self.encode_frames(frames), maps, self.weights)

    def encode_frames(self, frames: Tensor) -> dict[str, Tensor]:
        """Preprocessed frames, float [B, 3, side, side], to the named tensors of an embedding, float32."""
        frames = frames.to(self.device)
        half = self.compute_dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.compute_dtype, enabled=half):
            out = self.image_encoder(frames)
        tensors = {"image": out} if isinstance(out, Tensor) else out
        return {name: tensor.float() for name, tensor in tensors.items()}

    def decode(
        self,
        embedding: Embedding,
        prompts: Prompts,
        *,
        multimask: Multimask = None,
        min_score: float | None = None,
    ) -> Decoded:
        """Masks for P prompts on one image; see `PromptModel.decode`."""
        embedding = only_one(embedding, self.weights)
        resize = embedding.resize[0]
        encoded = self.encode_prompts(prompts, resize)
        logits, scores = self.decode_tokens(embedding.tensors, encoded, asked_of(prompts, multimask), min_score)
        return Decoded(logits, scores, resize)

    def encode_prompts(self, prompts: Prompts, resize: Resize) -> EncodedPrompts | UndrawnPrompts:
        """Prompts in original pixels to what the decoder reads."""
        device = self.device

        def tensor(value: object) -> Tensor:
            return torch.as_tensor(value, device=device)

        points = labels = boxes = None
        if prompts.points is not None:
            points, labels = tensor(resize.points(prompts.points)), tensor(prompts.point_labels)
        if prompts.boxes is not None:
            boxes = tensor(resize.boxes(prompts.boxes))
        return self.prompt_encoder.undrawn(points, labels, boxes, self._mask_prompt(prompts, resize))

    def _mask_prompt(self, prompts: Prompts, resize: Resize) -> Tensor | None:
        return mask_prompt(prompts, resize, self.prompt_encoder.mask_size, self.device)

    def decode_tokens(
        self,
        tensors: Mapping[str, Tensor],
        encoded: EncodedPrompts | UndrawnPrompts,
        answers: slice,
        min_score: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embedding tensors of one image and encoded prompts to logits [P, M, 4h, 4w] and scores [P, M].

        answers: of the mask tokens, see `asked_of`. min_score: see `PromptModel.decode`.
        """
        high_res = (tensors["high_res_0"], tensors["high_res_1"]) if "high_res_0" in tensors else None
        answer: tuple[Tensor, Tensor] = self.mask_decoder(
            tensors["image"],
            self.prompt_encoder.dense_pe(),
            encoded,
            high_res,
            answers=answers,
            wanted=None if min_score is None else Wanted(min_score, UNWANTED),
        )
        return answer


def asked_of(prompts: Prompts, multimask: Multimask) -> slice:
    """The mask tokens that are asked: `SINGLE`, `CANDIDATES` or, for both in one pass, `ALL`."""
    if multimask == "both":
        return ALL
    return CANDIDATES if (prompts.ambiguous if multimask is None else multimask) else SINGLE


def mask_prompt(prompts: Prompts, resize: Resize, size: tuple[int, int], device: torch.device) -> Tensor | None:
    """Low-resolution logits [P, 1, 4h, 4w] = `size`, from either kind of mask prompt; None where there is none.

    Raises BadPrompt for another size.
    """
    if prompts.low_res is not None:
        if prompts.low_res.shape[1:] != size:
            raise BadPrompt(
                f"mask logits must be [P, {size[0]}, {size[1]}] for this model, got {prompts.low_res.shape}; "
                "pass the `logits` of an earlier answer, or a boolean mask in the image's size"
            )
        return torch.as_tensor(prompts.low_res, device=device)[:, None]
    if prompts.masks is None:
        return None
    if prompts.masks.shape[1:] != resize.original:
        raise BadPrompt(f"a drawn mask must have the image's size {resize.original}, got {prompts.masks.shape[1:]}")
    ratio = size[0] / resize.padded[0], size[1] / resize.padded[1]
    inner = tuple(max(1, round(side * r)) for side, r in zip(resize.resized, ratio, strict=True))
    drawn = torch.as_tensor(prompts.masks, device=device)
    low = torch.full((len(drawn), 1, *size), -DRAWN_LOGIT, device=device)
    for index in range(len(drawn)):
        # one at a time: many drawn masks of a large photo are gigabytes as floats
        unit = F.interpolate(drawn[None, None, index].float(), inner, mode="bilinear", antialias=True)
        low[index, 0, : inner[0], : inner[1]] = (2 * unit[0, 0] - 1) * DRAWN_LOGIT
    return low
