"""One training step: encode, a first prompt, corrections, and the gradients of all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anymask.models.promptable import PromptableModel
from anymask.nn.dense_prompts import FINE_SIGMA, MIDDLE_SIGMA, DensePromptEncoder, Place
from anymask.prompts.simulate import Click, innermost, next_click
from anymask.train.decoder import blocked, decode_blocked, unblocked
from anymask.train.losses import ambiguous_loss, candidate_losses, single_loss
from anymask.train.sampler import Batch

LATER = 0.7
"""Weight of each correction round's loss."""
LOGIT_LIMIT = 20.0
"""Earlier logits are clamped to this before they are fed back."""
SCORE_WEIGHT = 2.0
"""Of the predicted IoU's squared error, beside dice's weight of one."""
SINGLE_WEIGHT = 0.2


class Step:
    """Puts the gradients of a batch on a model's parameters.

    model: with a `LiteEncoder`-like image encoder (backbone and neck) and a `DensePromptEncoder`.
    compiled: whether torch.compile fuses decoder, neck and losses (minutes once a size, then twice as fast).
    """

    def __init__(self, model: PromptableModel, *, compiled: bool = True, dtype: torch.dtype = torch.bfloat16) -> None:
        self.model = model
        self.dtype = dtype
        self.compiled = compiled
        wrap: Callable[..., Any] = torch.compile(dynamic=False) if compiled else lambda f: f
        self._neck = wrap(self._neck_plain)
        self._decode = wrap(self._decode_plain)
        self._first_loss = wrap(_first_loss)
        self._later_loss = wrap(_later_loss)

    @property
    def prompt_encoder(self) -> DensePromptEncoder:
        """The model's prompt encoder, which draws prompts as maps."""
        encoder = self.model.prompt_encoder
        assert isinstance(encoder, DensePromptEncoder)
        return encoder

    def __call__(
        self, batch: Batch, corrections: int, focal_weight: float, rng: np.random.Generator
    ) -> dict[str, float]:
        """Add the batch's gradients; the mean loss and the mean IoU of box, best-of-three, and last round."""
        model, encoder = self.model, self.prompt_encoder
        images, masks = batch.targets.shape[:2]
        half = masks // 2
        height, width = encoder.grid
        frames = torch.from_numpy(batch.images).permute(0, 3, 1, 2).float()
        frames = model.preprocess.mean_std(frames).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=self.dtype, enabled=self.dtype != torch.float32):
            outputs = self._neck(model.image_encoder.backbone(frames))  # type: ignore[operator]
        leaves = tuple(output.detach().requires_grad_() for output in outputs)

        truth = batch.targets.reshape(images, 2, half, *batch.targets.shape[2:]).swapaxes(0, 1)
        truth = truth.reshape(2 * images * half, *batch.targets.shape[2:])
        target = blocked(torch.from_numpy(truth[:, None].view(np.uint8)), height, width)[..., 0]
        boxes = torch.from_numpy(batch.boxes).flatten(0, 1)
        points = torch.from_numpy(batch.clicks).flatten(0, 1)[:, None]
        weight = torch.tensor(focal_weight)

        clicks: list[list[Click]] = []
        earlier: Tensor | None = None
        report: dict[str, float] = {}
        total = 0.0
        for round_index in range(corrections + 1):
            sparse, maps = self._prompts(boxes, points, clicks)
            if self.compiled and clicks:
                # one graph for any number of clicks
                torch._dynamo.mark_dynamic(sparse, 1, min=3, max=12)
            pixels, kernels, scores = self._decode(self._positions(), leaves, sparse, maps, earlier)
            if round_index == 0:
                loss, earlier, box_iou, click_iou = self._first_loss(pixels, kernels, scores, target, weight)
                report |= {"box": float(box_iou), "click": float(click_iou)}
            else:
                loss, earlier, last_iou = self._later_loss(pixels, kernels, scores, target, weight)
                report["last"] = float(last_iou)
                loss = loss * LATER
            loss.backward()
            total += float(loss.detach())
            if round_index < corrections:
                clicks.append(_corrections(unblocked(earlier[..., None], height, width)[:, 0], truth, rng))
        torch.autograd.backward(outputs, [leaf.grad for leaf in leaves])
        return report | {"loss": total}

    def _neck_plain(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Backbone maps to the embedding and the high-resolution features, blocked, middle before fine."""
        named = self.model.image_encoder.neck(maps)  # type: ignore[operator]
        image = named["image"]
        height, width = image.shape[-2:]
        cells = image.flatten(2).transpose(1, 2)
        middle, fine = blocked(named["high_res_1"], height, width), blocked(named["high_res_0"], height, width)
        return tuple(x.to(self.dtype).contiguous() for x in (cells, middle, fine))  # type: ignore[return-value]

    def _decode_plain(
        self, pe: Tensor, features: tuple[Tensor, Tensor, Tensor], sparse: Tensor, maps: Any, earlier: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        return decode_blocked(self.model.mask_decoder, self.prompt_encoder, pe, features, sparse, maps, earlier)

    def _positions(self) -> Tensor:
        with torch.no_grad():
            return self.prompt_encoder.dense_pe()[0].flatten(1).t().to(self.dtype)

    def _prompts(
        self, boxes: Tensor, points: Tensor, clicks: list[list[Click]]
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Tokens and drawn maps of all prompts, boxes first; both kinds have the same number of tokens."""
        encoder = self.prompt_encoder
        split = len(boxes)
        labels = torch.ones(len(points), 1, dtype=torch.long)
        added_points = added_labels = None
        if clicks:
            # model pixels at twice the grid of the answers
            xy = torch.tensor(
                [[[2 * c.x + 0.5, 2 * c.y + 0.5] for c in column] for column in zip(*clicks, strict=True)]
            )
            inside = torch.tensor([[int(c.inside) for c in column] for column in zip(*clicks, strict=True)])
            added_points, added_labels = xy[:split], inside[:split]
            points, labels = torch.cat([points, xy[split:]], 1), torch.cat([labels, inside[split:]], 1)
        corners = encoder._boxes(boxes)
        if added_points is not None and added_labels is not None:
            corners = torch.cat([encoder._points(added_points, added_labels, pad=False), corners], 1)
        sparse = torch.cat([corners, encoder._points(points, labels, pad=True)])
        with torch.no_grad():
            size, like = encoder.input_size, points.new_zeros(1)
            boxed = Place.of(added_points, added_labels, boxes, size, split, like)
            clicked = Place.of(points, labels, None, size, len(points), like)
            drawn = [self._maps(place) for place in (boxed, clicked)]
            maps = tuple(torch.cat(pair) for pair in zip(*drawn, strict=True))
        return sparse, maps  # type: ignore[return-value]

    def _maps(self, place: Place) -> tuple[Tensor, Tensor, Tensor]:
        height, width = self.prompt_encoder.grid
        coarse = place.coarse(height, width).to(self.dtype).flatten(2).transpose(1, 2)
        middle = blocked(place.fine(2 * height, 2 * width, MIDDLE_SIGMA).to(self.dtype), height, width)
        fine = blocked(place.fine(4 * height, 4 * width, FINE_SIGMA).to(self.dtype), height, width)
        return coarse, middle, fine


def _first_loss(
    pixels: Tensor, kernels: Tensor, scores: Tensor, target: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss of boxes (first half) and clicks, logits to feed back, mean IoU of boxes and of the best of three."""
    half = len(pixels) // 2
    boxed = kernels[:half, :1] @ pixels[:half].transpose(1, 2)
    clicked = kernels[half:] @ pixels[half:].transpose(1, 2)
    box_losses = candidate_losses(boxed, scores[:half, :1], target[:half])
    click_losses = candidate_losses(clicked, scores[half:], target[half:])
    loss = single_loss(box_losses, weight, SCORE_WEIGHT).sum()
    loss = loss + ambiguous_loss(click_losses, weight, SCORE_WEIGHT, SINGLE_WEIGHT).sum()
    with torch.no_grad():
        top = 1 + scores[half:, 1:].argmax(1)
        chosen = torch.take_along_dim(clicked, top[:, None, None], 1)[:, 0]
        earlier = torch.cat([boxed[:, 0], chosen]).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    return loss / len(pixels), earlier.detach(), box_losses.iou.mean(), click_losses.iou[:, 1:].max(1).values.mean()


def _later_loss(
    pixels: Tensor, kernels: Tensor, scores: Tensor, target: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss after a correction, the logits to feed back, the mean IoU."""
    logits = kernels[:, :1] @ pixels.transpose(1, 2)
    losses = candidate_losses(logits, scores[:, :1], target)
    loss = single_loss(losses, weight, SCORE_WEIGHT).mean()
    return loss, logits[:, 0].detach().clamp(-LOGIT_LIMIT, LOGIT_LIMIT), losses.iou.mean()


def _corrections(logits: Tensor, truth: NDArray[np.bool_], rng: np.random.Generator) -> list[Click]:
    """The next click for each prompt; a perfect answer gets its truth's innermost pixel."""
    answers = (logits > 0).numpy()
    clicks = []
    for answer, mask in zip(answers, truth, strict=True):
        click = next_click(answer, mask, rng)
        clicks.append(Click(*innermost(mask)[:2], True) if click is None else click)
    return clicks
