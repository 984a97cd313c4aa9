"""This project's own protocol: how well a model answers a box, and one to five simulated clicks.

Source: shared/TRAINING.md section 5; interactive segmentation's usual rule for the next click (innermost pixel of the
larger error). Figures are comparable only if every detail is the same, so nothing here is an option but the number of
masks, and whether what needs no network is measured as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.evaluate.baselines import ellipse, grabcut
from anymask.evaluate.overlap import Bools, iou
from anymask.evaluate.photos import mask_units
from anymask.evaluate.protocol import Choice, Line, Outcome, Plot, Protocol, Unit, by_set, mean_of_sets
from anymask.models.interface import Decoded, Embedding, PromptModel
from anymask.prompts.prompts import Prompts
from anymask.prompts.simulate import innermost, next_click, tight_box

if TYPE_CHECKING:
    from anymask.pixels.image import Image

SMALLEST = 100
"""Masks with fewer pixels are left out."""
CLICKS = 5
LOGIT_LIMIT = 20.0
OBJECTS_AT_ONCE = 8
MEASURES = ("box", "click_top", "click_oracle", "clicks_2", "clicks_3", "clicks_4", "clicks_5", "box_score_error")
"""IoU for a box, one click (top-scored, best of three), two to five clicks; |predicted - true IoU| of the box."""
BASELINES = ("ellipse", "grabcut")
COLUMNS = {
    "box": "box",
    "click_top": "1 click",
    "click_oracle": "best of 3",
    "clicks_3": "3 clicks",
    "clicks_5": "5 clicks",
    "box_score_error": "score error",
}


@dataclass(frozen=True)
class Clicks(Protocol):
    """baselines: measure ellipse and GrabCut from the same boxes."""

    name: ClassVar[str] = "clicks"
    baselines: bool = False

    def units(self, data: Path, choice: Choice) -> list[Unit]:
        units = mask_units(data, choice, smallest=SMALLEST, thin_out=False)
        if not units:
            raise BadSetting(f"{data} has no mask of at least {SMALLEST} pixels")
        return units

    def measure(self, model: PromptModel | None, unit: Unit, rng: np.random.Generator) -> Line:
        assert model is not None
        photo = unit.read()
        pixels, masks = photo.pixels(), photo.truths()
        found = measure_photo(model, pixels, masks)
        if self.baselines:
            found = np.hstack([found, measure_baselines(pixels, masks)])
        return {"rows": found.tolist()}

    def outcome(self, title: str, lines: Mapping[str, Sequence[Line]]) -> Outcome:
        names = MEASURES + (BASELINES if self.baselines else ())
        tables = {name: np.concatenate([np.array(line["rows"]) for line in found]) for name, found in lines.items()}
        sets = {name: dict(zip(names, table.mean(0).tolist(), strict=True)) for name, table in tables.items()}
        mean = mean_of_sets(sets)
        counts = {name: len(table) for name, table in tables.items()}
        columns = COLUMNS | {name: name for name in BASELINES if self.baselines}
        notes, more = [], {"above_baselines": None}
        if self.baselines:
            above = sum(row["box"] > max(row[name] for name in BASELINES) for row in sets.values())
            notes.append(f"box above ellipse and GrabCut in {above} of {len(sets)} sets")
            more["above_baselines"] = above
        curve = [mean["click_top"], *(mean[f"clicks_{count}"] for count in range(2, CLICKS + 1))]
        series = {
            "most confident mask": (list(range(1, CLICKS + 1)), curve),
            "best of three": ([1], [mean["click_oracle"]]),
        }
        plot = Plot("IoU by clicks, mean over sets", "clicks", "mIoU", series)
        table = by_set(f"{title}: IoU by set (mean over masks)", sets, mean, columns, counts)
        return Outcome(sets, mean, table, (plot,), tuple(notes), more)


def measure_baselines(pixels: NDArray[np.uint8], masks: Bools) -> NDArray[np.float64]:
    """IoU of ellipse and GrabCut from the tight box of each mask, [N, 2]."""
    rows = []
    for mask in masks:
        box = tight_box(mask)
        answers = np.stack([ellipse(mask.shape, box), grabcut(pixels, box)])
        rows.append(iou(answers, mask[None]))
    return np.stack(rows)


def measure_photo(model: PromptModel, pixels: NDArray[np.uint8], masks: Bools) -> NDArray[np.float64]:
    """MEASURES of each mask, [N, 8], through the public encode and decode.

    pixels: uint8 [H, W, 3] RGB; masks: bool [N, H, W], none empty.
    """
    from anymask.pixels.image import Image

    image: Image = Image.open(pixels)
    with torch.inference_mode():
        embedding = model.encode([image])
        parts = [masks[i : i + OBJECTS_AT_ONCE] for i in range(0, len(masks), OBJECTS_AT_ONCE)]
        return np.concatenate([_measure(model, embedding, part) for part in parts])


def _measure(model: PromptModel, embedding: Embedding, truths: Bools) -> NDArray[np.float64]:
    boxes = np.array([tight_box(mask) for mask in truths], np.float32)
    decoded = model.decode(embedding, Prompts(boxes=boxes), multimask=False)
    box = iou(_masks(decoded)[:, 0], truths)
    error = np.abs(decoded.scores[:, 0].float().cpu().numpy() - box)

    points = np.array([[innermost(mask)[:2]] for mask in truths], np.float32)
    labels = np.ones((len(truths), 1), np.int64)
    decoded = model.decode(embedding, Prompts(points, labels), multimask=True)
    candidates = _masks(decoded)
    each = iou(candidates, truths[:, None])
    rows = np.arange(len(truths))
    top = decoded.scores.float().cpu().numpy().argmax(1)
    logits, answers = decoded.logits.float().cpu().numpy()[rows, top], candidates[rows, top]
    later = []
    for _ in range(CLICKS - 1):
        clicks = [next_click(answer, truth) for answer, truth in zip(answers, truths, strict=True)]
        # a perfect answer needs no click; it gets its first one again, so that the batch stays whole
        xy = [[c.x, c.y] if c else points[i, 0].tolist() for i, c in enumerate(clicks)]
        points = np.concatenate([points, np.array(xy, np.float32)[:, None]], 1)
        labels = np.concatenate([labels, np.array([[1 if c is None else int(c.inside)] for c in clicks])], 1)
        low_res = logits.clip(-LOGIT_LIMIT, LOGIT_LIMIT)
        decoded = model.decode(embedding, Prompts(points, labels, low_res=low_res), multimask=False)
        logits, answers = decoded.logits.float().cpu().numpy()[:, 0], _masks(decoded)[:, 0]
        later.append(iou(answers, truths))
    return np.column_stack([box, each[rows, top], each.max(1), *later, error])


def _masks(decoded: Decoded) -> Bools:
    """bool [P, M, H, W] at the original size."""
    answers: Bools = (decoded.upscaled() > 0).cpu().numpy()
    return answers
