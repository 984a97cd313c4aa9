"""A training step as the paper has it: a first prompt, the best of the candidates, corrections where it is wrong.

Source: Segment Anything, section 4 and appendix A ("Training algorithm"). One pass of the image encoder serves all
rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anymask.models.promptable import PromptableModel
from anymask.prompts.simulate import Click, innermost, next_click
from anymask.train.answers import Answers, Asked, First, answers_of
from anymask.train.losses import ambiguous_loss, candidate_losses, single_loss
from anymask.train.sampler import Batch, place_of
from anymask.train.settings import TrainSettings

LOGIT_LIMIT = 20.0
"""Earlier logits are clamped to this before they are fed back."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Promptable(nn.Module):
    """The loss of a batch for a promptable model; its forward pass is all that a distributed wrapper sees.

    answers: how the model is asked; the fastest way that suits it if left out.
    """

    def __init__(self, model: PromptableModel, settings: TrainSettings, answers: Answers | None = None) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.dtype = DTYPES[settings.precision]
        self.answers = answers or answers_of(model, compiled=settings.compiled, dtype=self.dtype)
        wrap: Callable[..., Any] = torch.compile(dynamic=False) if settings.compiled else lambda f: f
        self._first_loss = wrap(self._first_loss_plain)
        self._later_loss = wrap(self._later_loss_plain)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The mean loss over the prompts, and mean IoUs of boxes, best of three, and last round."""
        settings, answers, model = self.settings, self.answers, self.model
        device = model.device
        self.fit(batch)
        images, masks = batch.targets.shape[:2]
        half = masks // 2
        truth = batch.targets.reshape(images, 2, half, *batch.targets.shape[2:]).swapaxes(0, 1)
        truth = truth.reshape(images * masks, *batch.targets.shape[2:])
        target = answers.arranged(torch.from_numpy(truth.view(np.uint8)).to(device))
        frames = self.frames(torch.from_numpy(batch.images).to(device))
        with torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            features = answers.features(frames)
            asked = self._asked(batch)
            low, high = settings.focal
            weight = torch.tensor(low + (high - low) * batch.progress, device=device)
            first = answers.first(features, asked)
            total, earlier, box_iou, click_iou = self._first_loss(*first, target, weight)
            report = {"box": box_iou, "click": click_iou}
            for new_click in self._plan(batch):
                if new_click:
                    asked = self._clicked(asked, answers.dense(earlier), truth, batch)
                logits, scores = answers.later(features, asked, earlier)
                loss, earlier, report["last"] = self._later_loss(logits, scores, target, weight)
                total = total + settings.later * loss
        return total, {name: float(value) for name, value in report.items()} | {"loss": float(total.detach())}

    def answered(self, batch: Batch) -> First:
        """The answers to a batch's first prompts; for looking at, without corrections and loss."""
        self.fit(batch)
        frames = self.frames(torch.from_numpy(batch.images).to(self.model.device))
        return self.answers.first(self.answers.features(frames), self._asked(batch))

    def _asked(self, batch: Batch) -> Asked:
        """Boxes and lone clicks of a batch on the model's device."""
        device, count = self.model.device, batch.targets.shape[0] * batch.targets.shape[1]
        boxes = torch.from_numpy(batch.boxes).to(device).flatten(0, 1)
        clicks = torch.from_numpy(batch.clicks).to(device).flatten(0, 1)[:, None]
        more = torch.zeros(count, 0, 2, device=device)
        return Asked(boxes, clicks, more, more[..., 0].long(), len(batch.images))

    def fit(self, batch: Batch) -> None:
        """Set the model to the batch's frames."""
        side = batch.images.shape[1]
        if self.model.preprocess.side != side:
            self.model.set_side(side)  # type: ignore[operator]

    def frames(self, images: Tensor) -> Tensor:
        """uint8 [B, S, S, 3] to what the encoder reads, float32 [B, 3, S, S]."""
        x = images.permute(0, 3, 1, 2).float()
        preprocess = self.model.preprocess
        if preprocess.normalise == "min-max":
            low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
            return (x - low) / (high - low).clamp(min=1e-8)
        return preprocess.mean_std(x)

    def _plan(self, batch: Batch) -> list[bool]:
        """For each later round whether it has a new click; the same for every process."""
        rng = np.random.default_rng((self.settings.seed, batch.step, 1))
        shares = self.settings.rounds[0 if batch.progress < 1 / 3 else 1]
        plan = [True] * int(rng.choice(len(shares), p=shares))
        if self.settings.idle_rounds and plan:
            plan.insert(int(rng.integers(1, len(plan) + 1)), False)
            plan.append(False)
        return plan

    def _clicked(self, asked: Asked, answer: Tensor, truth: NDArray[np.bool_], batch: Batch) -> Asked:
        """The prompts with one more click each, where the answer is wrong."""
        said = (answer > 0).cpu().numpy()
        each = len(said) // len(batch.numbers) // 2
        count = asked.more.shape[1]
        # the clicks of an example depend on its number, not on which others share its batch
        draws = [np.random.default_rng((self.settings.seed, number, 2 + count)) for number in batch.numbers]
        clicks = []
        for row, (mask, true) in enumerate(zip(said, truth, strict=True)):
            rng = draws[row % (each * len(draws)) // each]
            click = next_click(mask, true, rng)
            # a perfect answer gets its truth's innermost pixel
            clicks.append(Click(*innermost(true)[:2], True) if click is None else click)
        places = [[place_of(click.x, click.y, batch.ratio)] for click in clicks]
        xy = torch.tensor(places, dtype=asked.more.dtype, device=asked.more.device)
        inside = torch.tensor([[int(click.inside)] for click in clicks], device=asked.more.device)
        return Asked(
            asked.boxes,
            asked.points,
            torch.cat([asked.more, xy], 1),
            torch.cat([asked.inside, inside], 1),
            asked.images,
        )

    def _first_loss_plain(
        self, boxed: Tensor, box_scores: Tensor, clicked: Tensor, click_scores: Tensor, target: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss of boxes and clicks, logits to feed back, mean IoU of boxes and of the best of three."""
        settings, half = self.settings, len(boxed)
        box_losses = candidate_losses(boxed, box_scores, target[:half])
        click_losses = candidate_losses(clicked, click_scores, target[half:])
        dice, score = settings.dice, settings.score
        of_boxes = single_loss(box_losses, focal=weight, dice=dice, score=score)
        of_clicks = ambiguous_loss(click_losses, focal=weight, dice=dice, score=score, single=settings.single)
        loss = (of_boxes.sum() + of_clicks.sum()) / (2 * half)
        with torch.no_grad():
            top = 1 + click_scores[:, 1:].argmax(1)
            chosen = torch.take_along_dim(clicked, top[:, None, None], 1)[:, 0]
            earlier = torch.cat([boxed[:, 0], chosen]).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        return loss, earlier.detach(), box_losses.iou.mean(), click_losses.iou[:, 1:].max(1).values.mean()

    def _later_loss_plain(
        self, logits: Tensor, scores: Tensor, target: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loss after a correction, the logits to feed back, the mean IoU."""
        settings = self.settings
        losses = candidate_losses(logits, scores, target)
        loss = single_loss(losses, focal=weight, dice=settings.dice, score=settings.score).mean()
        return loss, logits[:, 0].detach().clamp(-LOGIT_LIMIT, LOGIT_LIMIT), losses.iou.mean()
