"""What a run writes down as it goes: a line of JSON now and then, and the same for TensorBoard if it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anymask.train.loop import Counters

LOG = "log.jsonl"
BOARD = "tensorboard"


class Journal:
    """The log of a run in the folder `out`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._board: Any = None

    def cut(self, step: int) -> None:
        """Forget what was written after a step: a run taken up from there writes it again."""
        lines = [line for line in read(self.out) if line["step"] <= step]
        unfinished = self.out / f"{LOG}.tmp"
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in lines))
        os.replace(unfinished, self.out / LOG)

    def write(self, counters: Counters, more: dict[str, float]) -> None:
        """Add where the run is; means become columns of their own."""
        row = asdict(counters)
        row |= row.pop("means") | more | {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / LOG).open("a") as log:
            log.write(json.dumps(row) + "\n")
        board = self._opened(counters.step)
        if board is not None:
            for name, value in (counters.means | more).items():
                board.add_scalar(name, value, counters.step)
            board.flush()

    def picture(self, name: str, pixels: Any, step: int) -> None:
        """Show uint8 [H, W, 3] on the board."""
        board = self._opened(step)
        if board is not None:
            board.add_image(name, pixels, step, dataformats="HWC")
            board.flush()

    def _opened(self, step: int) -> Any:
        if self._board is None and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.out / BOARD), purge_step=step)  # type: ignore[no-untyped-call]
        return self._board


def read(out: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; a last line that was cut off by a kill is left out."""
    if not (out / LOG).is_file():
        return []
    lines = []
    for text in (out / LOG).read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines
