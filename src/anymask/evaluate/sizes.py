"""Mask quality by mask size: one click and the true box, in COCO's size classes and over the share of the photo.

Source: COCO's size classes; the split by size as in Segment Anything, tables 4 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from anymask.evaluate.box import boxed
from anymask.evaluate.overlap import boundary_iou
from anymask.evaluate.photos import mask_units
from anymask.evaluate.points import spots
from anymask.evaluate.protocol import Choice, Line, Outcome, Plot, Protocol, Row, Table, Unit, decimal, mean_of_sets
from anymask.evaluate.talk import in_parts, ritm_click, talk, with_areas

if TYPE_CHECKING:
    from anymask.models.interface import PromptModel

CLASSES = {
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, float("inf")),
    "all": (0.0, float("inf")),
}
"""Pixels of the true mask, the upper bound left out."""
COLUMNS = {
    "box": "box mIoU",
    "box_boundary": "box mBIoU",
    "click": "1 click mIoU",
    "click_boundary": "1 click mBIoU",
    "oracle": "best of 3",
}
BINS = 12


@dataclass(frozen=True)
class Sizes(Protocol):
    """One centre click and the tight box of each true mask."""

    name: ClassVar[str] = "sizes"

    def units(self, data: Path, choice: Choice) -> list[Unit]:
        return mask_units(data, choice)

    def measure(self, model: PromptModel | None, unit: Unit, rng: np.random.Generator) -> Line:
        assert model is not None
        photo = unit.read()
        rows: list[Row] = []
        for embedding, part in in_parts(model, photo):
            (turn,) = talk(model, embedding, part, spots(part, "centre", rng), most=1, ask=ritm_click)
            bands = boundary_iou(turn.answers, part)
            for place, row in enumerate(boxed(model, embedding, part)):
                made = {"box": row["iou"], "box_boundary": row["biou"]}
                made |= {"click": float(turn.found[place]), "click_boundary": float(bands[place])}
                rows.append(made | {"oracle": float(turn.oracle[place])})
        return with_areas(photo, rows)

    def outcome(self, title: str, lines: Mapping[str, Sequence[Line]]) -> Outcome:
        rows = {name: [row for line in found for row in line["rows"]] for name, found in lines.items()}
        sets = {name: _by_class(found) for name, found in rows.items()}
        mean = mean_of_sets(sets)
        every = [row for found in rows.values() for row in found]
        counts = {name: sum(low <= row["area"] < high for row in every) for name, (low, high) in CLASSES.items()}
        shown = tuple(
            (name, (str(counts[name]), *(decimal(mean[f"{key} {name}"]) for key in COLUMNS))) for name in CLASSES
        )
        columns = ("size", "masks", *COLUMNS.values())
        table = Table(f"{title}: by COCO's size classes, mean over {len(sets)} sets", columns, shown, footer=1)
        return Outcome(sets, mean, table, (_curve(every),), more={"masks_by_size": counts})


def _by_class(rows: Sequence[Row]) -> Row:
    found: Row = {}
    for name, (low, high) in CLASSES.items():
        some = [row for row in rows if low <= row["area"] < high]
        for key in COLUMNS:
            found[f"{key} {name}"] = float(np.mean([row[key] for row in some])) if some else float("nan")
    return found


def _curve(rows: Sequence[Row]) -> Plot:
    """Quality over the side of a square as large as the mask, in bins with equal numbers of masks."""
    ordered = sorted(rows, key=lambda row: row["area"])
    bins = [part for part in np.array_split(np.arange(len(ordered)), min(BINS, len(ordered))) if len(part)]
    sides = [float(np.sqrt(np.median([ordered[place]["area"] for place in part]))) for part in bins]
    series = {
        title: (sides, [float(np.mean([ordered[place][key] for place in part])) for part in bins])
        for key, title in COLUMNS.items()
    }
    return Plot("Quality by size, all masks", "square root of the mask's area, pixels", "IoU", series, log_x=True)
