"""What a model answers to the prompts of a training step, with gradients, for every member of the family.

`PlainAnswers` goes through the model's own modules. `BlockedAnswers` is the same arithmetic in another order
(`train/decoder.py`), several times faster on a CPU, for models that draw their prompts as maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from anymask.models.promptable import PromptableModel
from anymask.nn.dense_prompts import FINE_SIGMA, MIDDLE_SIGMA, DensePromptEncoder, Place
from anymask.nn.mask_decoder import ALL, SINGLE
from anymask.train.decoder import blocked, decode_blocked, unblocked


@dataclass(frozen=True)
class Asked:
    """The prompts of B images with M masks each, P = B * M / 2 boxes and as many clicks; image by image.

    boxes: [P, 4] XYXY. points: [P, 1, 2], (x, y). Both in model pixels, points counted from pixel centres.
    more: clicks that followed, [2P, K, 2] (those of the boxes first), K from 0; inside: [2P, K], 1 or 0.
    images: B.
    """

    boxes: Tensor
    points: Tensor
    more: Tensor
    inside: Tensor
    images: int


class First(NamedTuple):
    """Answers to first prompts, N pixels each in the order of `Answers.arranged`.

    boxed: logits [P, 1, N] of the boxes, box_scores [P, 1]; clicked: [P, 4, N], single-mask token first, click_scores.
    """

    boxed: Tensor
    box_scores: Tensor
    clicked: Tensor
    click_scores: Tensor


class Answers(Protocol):
    """A model as training sees it."""

    def features(self, frames: Tensor) -> Any:
        """Frames, float [B, 3, S, S] normalised, to what `first` and `later` read."""

    def first(self, features: Any, asked: Asked) -> First:
        """The answers to boxes and lone clicks."""

    def later(self, features: Any, asked: Asked, earlier: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [2P, 1, N] and scores [2P, 1] of the single-mask token; earlier: logits [2P, N] of the last round."""

    def arranged(self, targets: Tensor) -> Tensor:
        """Masks [Q, h, w] in the pixel order of the answers, [Q, N]."""

    def dense(self, pixels: Tensor) -> Tensor:
        """The inverse, [Q, N] to [Q, h, w]."""


class PlainAnswers(Answers):
    """Through the model's own prompt encoder and mask decoder."""

    def __init__(self, model: PromptableModel) -> None:
        self.model = model

    def features(self, frames: Tensor) -> dict[str, Tensor]:
        out = self.model.image_encoder(frames)
        tensors = {"image": out} if isinstance(out, Tensor) else out
        return {name: tensor.float() for name, tensor in tensors.items()}

    def first(self, features: dict[str, Tensor], asked: Asked) -> First:
        points = (asked.points, torch.ones_like(asked.points[..., 0], dtype=torch.long))
        boxed = self._each(features, (None, None, asked.boxes, None), asked.images, SINGLE)
        clicked = self._each(features, (*points, None, None), asked.images, ALL)
        return First(*boxed, *clicked)

    def later(self, features: dict[str, Tensor], asked: Asked, earlier: Tensor) -> tuple[Tensor, Tensor]:
        half = len(asked.boxes)
        masks = self.dense(earlier)[:, None]
        boxed = self._each(
            features, (asked.more[:half], asked.inside[:half], asked.boxes, masks[:half]), asked.images, SINGLE
        )
        points = torch.cat([asked.points, asked.more[half:]], 1)
        labels = torch.cat([torch.ones_like(asked.points[..., 0], dtype=torch.long), asked.inside[half:]], 1)
        clicked = self._each(features, (points, labels, None, masks[half:]), asked.images, SINGLE)
        return torch.cat([boxed[0], clicked[0]]), torch.cat([boxed[1], clicked[1]])

    def _each(
        self, features: dict[str, Tensor], prompts: Sequence[Tensor | None], images: int, answers: slice
    ) -> tuple[Tensor, Tensor]:
        """One image after the other, as the decoder reads one embedding; logits [P, M, N] and scores [P, M]."""
        model = self.model
        pe = model.prompt_encoder.dense_pe()
        logits, scores = [], []
        split = [[None] * images if x is None else x.chunk(images) for x in prompts]
        for index in range(images):
            points, labels, boxes, masks = (column[index] for column in split)
            if points is not None and points.shape[1] == 0:
                points = labels = None
            one = {name: tensor[index : index + 1] for name, tensor in features.items()}
            high_res = (one["high_res_0"], one["high_res_1"]) if "high_res_0" in one else None
            encoded = model.prompt_encoder(points, labels, boxes, masks)
            answer, score = model.mask_decoder(one["image"], pe, encoded, high_res, answers=answers)
            logits.append(answer.flatten(2))
            scores.append(score)
        return torch.cat(logits), torch.cat(scores)

    def arranged(self, targets: Tensor) -> Tensor:
        return targets.flatten(1)

    def dense(self, pixels: Tensor) -> Tensor:
        return pixels.unflatten(1, self.model.prompt_encoder.mask_size)


class BlockedAnswers(Answers):
    """In blocked order, in `dtype`.

    model: with a backbone and a neck as image encoder, and a `DensePromptEncoder`.
    compiled: whether torch.compile fuses decoder and neck (minutes once a size, then twice as fast).
    """

    def __init__(self, model: PromptableModel, *, compiled: bool, dtype: torch.dtype) -> None:
        # convolutions in bfloat16 are two to three times as fast with the channels innermost
        model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model
        self.dtype, self.compiled = dtype, compiled
        wrap: Callable[..., Any] = torch.compile(dynamic=False) if compiled else lambda f: f
        self._neck = wrap(self._neck_plain)
        self._first = wrap(self._first_plain)
        self._later = wrap(self._later_plain)

    @property
    def _encoder(self) -> DensePromptEncoder:
        encoder = self.model.prompt_encoder
        assert isinstance(encoder, DensePromptEncoder)
        return encoder

    def features(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        frames = frames.contiguous(memory_format=torch.channels_last)
        found: tuple[Tensor, Tensor, Tensor] = self._neck(self.model.image_encoder.backbone(frames))  # type: ignore[operator]
        return found

    def first(self, features: tuple[Tensor, Tensor, Tensor], asked: Asked) -> First:
        sparse, maps = self._prompts(asked)
        return First(*self._first(self._positions(), features, sparse, maps))

    def later(self, features: tuple[Tensor, Tensor, Tensor], asked: Asked, earlier: Tensor) -> tuple[Tensor, Tensor]:
        sparse, maps = self._prompts(asked)
        if self.compiled:
            # one graph for any number of clicks
            torch._dynamo.mark_dynamic(sparse, 1, min=2, max=32)
        found: tuple[Tensor, Tensor] = self._later(self._positions(), features, sparse, maps, earlier)
        return found

    def arranged(self, targets: Tensor) -> Tensor:
        return blocked(targets[:, None], *self._encoder.grid)[..., 0]

    def dense(self, pixels: Tensor) -> Tensor:
        return unblocked(pixels[..., None], *self._encoder.grid)[:, 0]

    def _neck_plain(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Backbone maps to the embedding and the high-resolution features, blocked, middle before fine."""
        named = self.model.image_encoder.neck(maps)  # type: ignore[operator]
        image = named["image"]
        height, width = image.shape[-2:]
        cells = image.flatten(2).transpose(1, 2)
        middle, fine = blocked(named["high_res_1"], height, width), blocked(named["high_res_0"], height, width)
        return tuple(x.to(self.dtype).contiguous() for x in (cells, middle, fine))  # type: ignore[return-value]

    def _first_plain(self, pe: Tensor, features: Any, sparse: Tensor, maps: Any) -> tuple[Tensor, ...]:
        pixels, kernels, scores = self._decoded(pe, features, sparse, maps, None)
        half = len(pixels) // 2
        boxed = kernels[:half, :1] @ pixels[:half].transpose(1, 2)
        clicked = kernels[half:] @ pixels[half:].transpose(1, 2)
        return boxed, scores[:half, :1], clicked, scores[half:]

    def _later_plain(
        self, pe: Tensor, features: Any, sparse: Tensor, maps: Any, earlier: Tensor
    ) -> tuple[Tensor, Tensor]:
        pixels, kernels, scores = self._decoded(pe, features, sparse, maps, earlier)
        return kernels[:, :1] @ pixels.transpose(1, 2), scores[:, :1]

    def _decoded(
        self, pe: Tensor, features: Any, sparse: Tensor, maps: Any, earlier: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        # its precision is written out; autocast would only cast again
        with torch.autocast(pe.device.type, enabled=False):
            return decode_blocked(self.model.mask_decoder, self._encoder, pe, features, sparse, maps, earlier)

    def _positions(self) -> Tensor:
        with torch.no_grad(), torch.autocast(self.model.device.type, enabled=False):
            return self._encoder.dense_pe()[0].flatten(1).t().to(self.dtype)

    def _prompts(self, asked: Asked) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Tokens and drawn maps of all prompts, boxes first; both kinds have the same number of tokens."""
        encoder, half = self._encoder, len(asked.boxes)
        with torch.autocast(asked.boxes.device.type, enabled=False):
            labels = torch.ones_like(asked.points[..., 0], dtype=torch.long)
            points = torch.cat([asked.points, asked.more[half:]], 1)
            labels = torch.cat([labels, asked.inside[half:]], 1)
            corners = encoder._boxes(asked.boxes)
            more: tuple[Tensor | None, Tensor | None] = (None, None)
            if asked.more.shape[1]:
                more = asked.more[:half], asked.inside[:half]
                corners = torch.cat([encoder._points(asked.more[:half], asked.inside[:half], pad=False), corners], 1)
            sparse = torch.cat([corners, encoder._points(points, labels, pad=True)])
            with torch.no_grad():
                size, like = encoder.input_size, asked.points.new_zeros(1)
                boxed = Place.of(more[0], more[1], asked.boxes, size, half, like)
                clicked = Place.of(points, labels, None, size, len(points), like)
                drawn = [self._maps(place) for place in (boxed, clicked)]
                maps = tuple(torch.cat(pair) for pair in zip(*drawn, strict=True))
        return sparse, maps  # type: ignore[return-value]

    def _maps(self, place: Place) -> tuple[Tensor, Tensor, Tensor]:
        height, width = self._encoder.grid
        coarse = place.coarse(height, width).to(self.dtype).flatten(2).transpose(1, 2)
        middle = blocked(place.fine(2 * height, 2 * width, MIDDLE_SIGMA).to(self.dtype), height, width)
        fine = blocked(place.fine(4 * height, 4 * width, FINE_SIGMA).to(self.dtype), height, width)
        return coarse, middle, fine


def answers_of(model: PromptableModel, *, compiled: bool, dtype: torch.dtype) -> Answers:
    """The way through a model that suits it."""
    split = hasattr(model.image_encoder, "backbone") and hasattr(model.image_encoder, "neck")
    if split and isinstance(model.prompt_encoder, DensePromptEncoder):
        return BlockedAnswers(model, compiled=compiled, dtype=dtype)
    return PlainAnswers(model)
