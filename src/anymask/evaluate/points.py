"""The point protocol of the papers: one click, and up to nine.

Source: Segment Anything, section 7.1 and appendix D.1: the first click at the maximum of the distance transform, or
anywhere in the mask; each next one deepest inside the larger error; the most confident mask is scored, the best of
three ("oracle") is told beside it. Boundary IoU as in HQ-SAM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from anymask.errors import BadSetting
from anymask.evaluate.overlap import Bools, boundary_iou
from anymask.evaluate.photos import mask_units
from anymask.evaluate.protocol import Choice, Line, Outcome, Plot, Protocol, Row, Unit, by_set, mean_of_sets
from anymask.evaluate.talk import Spots, in_parts, talk, with_areas
from anymask.prompts.simulate import anywhere, innermost, next_click

if TYPE_CHECKING:
    from anymask.models.interface import Embedding, PromptModel


@dataclass(frozen=True)
class Points(Protocol):
    """first: where the first click goes. clicks: after how many the answer is scored."""

    name: ClassVar[str] = "points"
    first: Literal["centre", "random"] = "centre"
    clicks: tuple[int, ...] = (1, 2, 3, 5, 9)

    def __post_init__(self) -> None:
        if not self.clicks or min(self.clicks) < 1 or sorted(set(self.clicks)) != list(self.clicks):
            raise BadSetting(f"clicks are whole numbers from 1 on, in order, got {self.clicks}")

    def units(self, data: Path, choice: Choice) -> list[Unit]:
        return mask_units(data, choice)

    def measure(self, model: PromptModel | None, unit: Unit, rng: np.random.Generator) -> Line:
        assert model is not None
        photo = unit.read()
        rows: list[Row] = []
        for embedding, part in in_parts(model, photo):
            rows += self._asked(model, embedding, part, spots(part, self.first, rng))
        return with_areas(photo, rows)

    def _asked(self, model: PromptModel, embedding: Embedding, truths: Bools, first: Spots) -> list[Row]:
        rows: list[Row] = [{} for _ in truths]
        for turn in talk(model, embedding, truths, first, most=max(self.clicks), ask=_next):
            bands = boundary_iou(turn.answers, truths[turn.rows]) if turn.number in self.clicks else None
            for place, row in enumerate(turn.rows):
                found = rows[row]
                if turn.number == 1:
                    found["oracle@1"] = float(turn.oracle[place])
                    found["score_error"] = abs(float(turn.scores[place] - turn.found[place]))
                if bands is not None:
                    found[f"iou@{turn.number}"] = float(turn.found[place])
                    found[f"biou@{turn.number}"] = float(bands[place])
        for found in rows:
            # a perfect answer is not asked again and stays as it is
            for number in self.clicks:
                found.setdefault(f"iou@{number}", 1.0)
                found.setdefault(f"biou@{number}", 1.0)
        return rows

    def outcome(self, title: str, lines: Mapping[str, Sequence[Line]]) -> Outcome:
        sets = {name: means(found, self.measures()) for name, found in lines.items()}
        mean = mean_of_sets(sets)
        counts = {name: sum(len(line["rows"]) for line in found) for name, found in lines.items()}
        columns = {f"iou@{number}": f"{number} click{'s' * (number > 1)}" for number in self.clicks}
        columns |= {"oracle@1": "best of 3"} | {f"biou@{number}": f"mBIoU {number}" for number in self.clicks}
        series = {
            "mIoU, most confident mask": (self.clicks, [mean[f"iou@{number}"] for number in self.clicks]),
            "mBIoU": (self.clicks, [mean[f"biou@{number}"] for number in self.clicks]),
            "mIoU, best of three": ((1,), [mean["oracle@1"]]),
        }
        plot = Plot(f"IoU by clicks, first {self.first}, mean over sets", "clicks", "IoU", series)
        table = by_set(f"{title}: IoU by set (mean over masks), first click {self.first}", sets, mean, columns, counts)
        return Outcome(sets, mean, table, (plot,))

    def measures(self) -> list[str]:
        """Names of what is measured of each mask."""
        return [f"{kind}@{number}" for kind in ("iou", "biou") for number in self.clicks] + ["oracle@1", "score_error"]


def spots(truths: Bools, where: Literal["centre", "random"], rng: np.random.Generator) -> Spots:
    """The first click on each mask, int64 [P, 2] (x, y): the first of its innermost pixels, or any."""
    if where == "random":
        return np.array([anywhere(mask, rng) for mask in truths], np.int64)
    return np.array([innermost(mask)[:2] for mask in truths], np.int64)


def means(lines: Sequence[Line], names: Sequence[str]) -> Row:
    """The mean over all masks of a set, measure by measure."""
    rows = [row for line in lines for row in line["rows"]]
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def _next(answer: Bools, truth: Bools, clicked: Spots) -> tuple[int, int, bool] | None:
    click = next_click(answer, truth)
    return None if click is None else (click.x, click.y, click.inside)
