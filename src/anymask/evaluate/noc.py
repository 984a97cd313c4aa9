"""Number of clicks: how many it takes until the mask is good.

Source: the convention of interactive segmentation as in RITM (Sofiiuk et al., 2021): at most 20 clicks, each deepest
inside the larger error, an object that never gets there counts 20; NoC@85 is the mean number until IoU 0.85.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from anymask.errors import BadSetting
from anymask.evaluate.photos import mask_units
from anymask.evaluate.points import spots
from anymask.evaluate.protocol import Choice, Line, Outcome, Plot, Protocol, Row, Unit, by_set, mean_of_sets
from anymask.evaluate.talk import in_parts, ritm_click, talk

if TYPE_CHECKING:
    from anymask.models.interface import PromptModel


@dataclass(frozen=True)
class Noc(Protocol):
    """targets: IoU in percent. most: clicks at most."""

    name: ClassVar[str] = "noc"
    targets: tuple[int, ...] = (85, 90)
    most: int = 20

    def __post_init__(self) -> None:
        if not self.targets or not all(1 <= target <= 100 for target in self.targets):
            raise BadSetting(f"targets are IoUs in percent, 1 to 100, got {self.targets}")
        if self.most < 1:
            raise BadSetting(f"most is a number of clicks from 1 on, got {self.most}")

    def units(self, data: Path, choice: Choice) -> list[Unit]:
        return mask_units(data, choice)

    def measure(self, model: PromptModel | None, unit: Unit, rng: np.random.Generator) -> Line:
        assert model is not None
        curves: list[list[float]] = []
        for embedding, part in in_parts(model, unit.read()):
            first, enough = spots(part, "centre", rng), max(self.targets) / 100
            here: list[list[float]] = [[] for _ in part]
            for turn in talk(model, embedding, part, first, most=self.most, enough=enough, ask=ritm_click):
                for row, found in zip(turn.rows, turn.found, strict=True):
                    here[row].append(float(found))
            curves += here
        return {"curves": curves}

    def outcome(self, title: str, lines: Mapping[str, Sequence[Line]]) -> Outcome:
        sets = {name: self.row([curve for line in found for curve in line["curves"]]) for name, found in lines.items()}
        mean = mean_of_sets(sets)
        counts = {name: sum(len(line["curves"]) for line in found) for name, found in lines.items()}
        columns = {f"NoC@{target}": f"NoC@{target}" for target in self.targets}
        columns |= {f"failures@{target}": f"not {target} % in {self.most}" for target in self.targets}
        every = [curve for found in lines.values() for line in found for curve in line["curves"]]
        steps = list(range(1, self.most + 1))
        series = {}
        for target in self.targets:
            results = [self.clicks(curve, target) for curve in every]
            shares = [float(np.mean([good and clicks <= step for clicks, good in results])) for step in steps]
            series[f"IoU {target} %"] = (steps, shares)
        plot = Plot("Objects that are good enough, all sets", "clicks", "share of objects", series)
        table = by_set(f"{title}: number of clicks by set", sets, mean, columns, counts, places=2)
        return Outcome(sets, mean, table, (plot,))

    def clicks(self, curve: Sequence[float], target: int) -> tuple[int, bool]:
        """(clicks until IoU `target` percent, whether it was reached at all) of one object's IoUs by click."""
        for number, found in enumerate(curve, 1):
            if found >= target / 100:
                return number, True
        return self.most, False

    def row(self, curves: Sequence[Sequence[float]]) -> Row:
        """Mean number of clicks and number of failures over the objects of a set."""
        found: Row = {}
        for target in self.targets:
            results = [self.clicks(curve, target) for curve in curves]
            found[f"NoC@{target}"] = float(np.mean([clicks for clicks, _ in results]))
            found[f"failures@{target}"] = float(sum(not reached for _, reached in results))
        return found
