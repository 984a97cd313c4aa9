"""The box protocol: how well the true box of a mask brings the mask back.

Source: Segment Anything, section 7; boundary IoU as in HQ-SAM, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from anymask.evaluate.overlap import boundary_iou, iou
from anymask.evaluate.photos import mask_units
from anymask.evaluate.points import means
from anymask.evaluate.protocol import Choice, Line, Outcome, Plot, Protocol, Row, Unit, by_set, mean_of_sets
from anymask.evaluate.talk import full_size, in_parts, with_areas
from anymask.prompts.prompts import Prompts
from anymask.prompts.simulate import tight_box

if TYPE_CHECKING:
    from anymask.evaluate.overlap import Bools
    from anymask.models.interface import Embedding, PromptModel

COLUMNS = {"iou": "mIoU", "biou": "mBIoU", "score_error": "score error"}


@dataclass(frozen=True)
class Box(Protocol):
    """The tight box of each true mask; one mask is asked for."""

    name: ClassVar[str] = "box"

    def units(self, data: Path, choice: Choice) -> list[Unit]:
        return mask_units(data, choice)

    def measure(self, model: PromptModel | None, unit: Unit, rng: np.random.Generator) -> Line:
        assert model is not None
        photo = unit.read()
        return with_areas(photo, [row for asked, part in in_parts(model, photo) for row in boxed(model, asked, part)])

    def outcome(self, title: str, lines: Mapping[str, Sequence[Line]]) -> Outcome:
        sets = {name: means(found, list(COLUMNS)) for name, found in lines.items()}
        mean = mean_of_sets(sets)
        counts = {name: sum(len(line["rows"]) for line in found) for name, found in lines.items()}
        names = list(sets)
        series = {COLUMNS[key]: (names, [sets[name][key] for name in names]) for key in ("iou", "biou")}
        plot = Plot("From the true box, by set", "set", "IoU", series, kind="bars")
        table = by_set(f"{title}: from the true box, by set (mean over masks)", sets, mean, COLUMNS, counts)
        return Outcome(sets, mean, table, (plot,))


def boxed(model: PromptModel, embedding: Embedding, truths: Bools) -> list[Row]:
    """IoU, boundary IoU and the error of the predicted IoU for the tight box of each mask, bool [P, H, W]."""
    boxes = np.array([tight_box(mask) for mask in truths], np.float32)
    decoded = model.decode(embedding, Prompts(boxes=boxes), multimask=False)
    answers = full_size(decoded)[:, 0]
    found, bands = iou(answers, truths), boundary_iou(answers, truths)
    errors = np.abs(decoded.scores[:, 0].float().cpu().numpy() - found)
    return [
        {"iou": float(a), "biou": float(b), "score_error": float(c)}
        for a, b, c in zip(found, bands, errors, strict=True)
    ]
