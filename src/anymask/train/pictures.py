"""What the averaged weights answer to the same prompts, looked at again and again while they are trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor

from anymask.masks.masks import Masks
from anymask.masks.picture import overlay
from anymask.masks.sheet import Cell, contact_sheet
from anymask.records import atomic
from anymask.train.rounds import Promptable
from anymask.train.sampler import Batch

if TYPE_CHECKING:
    from anymask.train.loop import Trainer

FOLDER = "pictures"
EXAMPLES = 4
OBJECTS = 2
"""Boxes and clicks shown on each example, so many of each at most."""


class Watch:
    """Draws `<out>/pictures/<step>.jpg`: examples with their truth, the answers to boxes, and the answers to clicks."""

    def __init__(self, trainer: Trainer, task: Promptable) -> None:
        self.trainer, self.task = trainer, task
        sampler = trainer.batches.sampler
        # numbers beyond the run's own are never trained on, their photos may be
        first = sampler.settings.steps * sampler.settings.images
        self.batch = sampler.batch(sampler.settings.steps - 1, range(first, first + EXAMPLES))

    def __call__(self, step: int) -> None:
        """Draw the answers after so many steps."""
        with averaged(self.trainer), torch.no_grad():
            boxed, clicked = answers(self.task, self.batch)
        if not self.trainer.accelerator.is_main_process:
            return
        sheet = contact_sheet(list(_cells(self.batch, boxed, clicked)), columns=3)
        file = self.trainer.out / FOLDER / f"{step:08d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(file, _jpeg(sheet))
        if self.trainer.journal is not None:
            self.trainer.journal.picture("answers", np.asarray(sheet), step)


@contextmanager
def averaged(trainer: Trainer) -> Iterator[None]:
    """The moving average in the place of the parameters."""
    kept = {name: parameter.detach().clone() for name, parameter in trainer.named.items()}
    try:
        with torch.no_grad():
            for name, parameter in trainer.named.items():
                parameter.copy_(trainer.average[name])
        trainer.spread.changed()
        yield
    finally:
        with torch.no_grad():
            for name, parameter in trainer.named.items():
                parameter.copy_(kept[name])
        trainer.spread.changed()


def answers(task: Promptable, batch: Batch) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks at the frame's size, bool [B, M/2, S, S]: of the boxes, and the best-scored ones of the clicks."""
    first = task.answered(batch)
    best = 1 + first.click_scores[:, 1:].argmax(1)
    chosen = torch.take_along_dim(first.clicked, best[:, None, None], 1)[:, 0]
    return tuple(_at_frame(task.answers.dense(one), batch) for one in (first.boxed[:, 0], chosen))  # type: ignore[return-value]


def _at_frame(logits: Tensor, batch: Batch) -> NDArray[np.bool_]:
    side = batch.images.shape[1]
    grown = torch.nn.functional.interpolate(logits[:, None].float(), (side, side), mode="bilinear")[:, 0] > 0
    return grown.cpu().numpy().reshape(len(batch.images), -1, side, side)


def _cells(batch: Batch, boxed: NDArray[np.bool_], clicked: NDArray[np.bool_]) -> Iterator[Cell]:
    side = batch.images.shape[1]
    half = batch.boxes.shape[1]
    for row, image in enumerate(batch.images):
        count = min(half, OBJECTS)
        truth = np.stack([cv2.resize(t.astype(np.uint8), (side, side)) > 0 for t in batch.targets[row]])
        shown = [*range(count), *range(half, half + count)]
        yield Cell(overlay(Masks.from_dense(truth[shown]), image), "truth", f"example {batch.numbers[row]}")
        pairs = (("from boxes", boxed, truth[:count]), ("from clicks", clicked, truth[half : half + count]))
        for name, found, true in pairs:
            masks = found[row, :count]
            boxes = batch.boxes[row, :count] if found is boxed else None
            points = batch.clicks[row, :count] if found is clicked else None
            quality = ", ".join(f"{_iou(one, other):.2f}" for one, other in zip(masks, true, strict=True))
            yield Cell(overlay(Masks.from_dense(masks), image, boxes=boxes, points=points), name, f"IoU {quality}")


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _jpeg(picture: Pillow.Image) -> bytes:
    from io import BytesIO

    content = BytesIO()
    picture.save(content, "JPEG", quality=88)
    return content.getvalue()
