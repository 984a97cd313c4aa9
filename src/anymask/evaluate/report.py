"""The figures of a run, with everything that is needed to make them again."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anymask.evaluate.protocol import Outcome, Row
from anymask.records import atomic


@dataclass(frozen=True)
class Report:
    """about: protocol, settings, model, weights, data, versions. seconds: of measuring, over all sessions of the run.

    images, masks: set -> how many took part. counted: what masks and images are called. shown: what more to look at.
    """

    about: dict[str, Any]
    seconds: float
    images: dict[str, int]
    masks: dict[str, int]
    outcome: Outcome
    counted: tuple[str, str] = ("masks", "photos")
    shown: str = ""

    @property
    def sets(self) -> dict[str, Row]:
        """Set -> measure -> value."""
        return self.outcome.sets

    @property
    def mean(self) -> Row:
        """Measure -> plain mean over the sets."""
        return self.outcome.mean

    def document(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        counts = {"seconds": self.seconds, "images": self.images, "masks": self.masks}
        plots = [asdict(plot) for plot in self.outcome.plots]
        found = self.about | counts | {"sets": self.sets, "mean": self.mean} | self.outcome.more | {"plots": plots}
        plain: dict[str, Any] = _plain(found)
        return plain

    def write(self, path: Path) -> None:
        """Save as JSON, all or nothing."""
        atomic.write(path, json.dumps(self.document(), indent=1, allow_nan=False) + "\n")

    def show(self) -> None:
        """Print the table and what is to be said of it."""
        from rich.console import Console
        from rich.table import Table

        made = self.outcome.table
        table = Table(title=made.title)
        table.add_column(made.columns[0], no_wrap=True, min_width=max((len(name) for name, _ in made.rows), default=0))
        for title in made.columns[1:]:
            table.add_column(title, justify="right")
        for number, (name, cells) in enumerate(made.rows):
            if made.footer and number == len(made.rows) - made.footer:
                table.add_section()
            table.add_row(name, *cells)
        # a set's name cut short says nothing, so a narrow terminal wraps lines instead
        console = Console(width=max(130, Console().width))
        console.print(table)
        for note in self.outcome.notes:
            console.print(note, highlight=False)
        weights = self.about.get("weights") or ""
        console.print(
            f"{sum(self.masks.values())} {self.counted[0]} in {sum(self.images.values())} {self.counted[1]}, "
            f"{self.seconds:.0f} s" + (f"; weights {weights[:12]}" if weights else ""),
            highlight=False,
        )
        if self.shown:
            console.print(self.shown, highlight=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    # NaN is no JSON
    return None if isinstance(value, float) and not math.isfinite(value) else value
