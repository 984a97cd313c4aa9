"""`anymask train`: train a model on COCO folders, stopped and taken up at will."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anymask.train.loop import Counters


def train(
    data: Annotated[list[Path], typer.Option(help="Folder of <set>/annotations.json with <set>/images/; repeatable.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; a state in it is taken up.")],
    model: Annotated[str, typer.Option(help="Which model.")] = "anymask-lite",
    hours: Annotated[float | None, typer.Option(help="Length of the cycle in hours of running time.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the cycle in steps, instead of hours.")] = None,
    workers: Annotated[int, typer.Option(help="Processes, one core each.")] = 1,
    rate: Annotated[float, typer.Option(help="Learning rate at the top of the cycle.")] = 1e-3,
    new_cycle: Annotated[bool, typer.Option(help="Raise the rate again: a new cycle from the run's weights.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded photos; inside the run's if left out.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of batches and prompts.")] = 0,
    compiled: Annotated[
        bool, typer.Option(help="Fuse with torch.compile (needs a C++ compiler; twice as fast).")
    ] = True,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Write the averaged weights here at the end.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licences of the data, kept in the exported file.")] = "",
) -> None:
    """Train the model inside (or go on with it): weights, optimiser and counters are saved every five minutes.

    Example: anymask train --data shared/data/instances/train --out runs/lite --hours 6 --workers 2
    --export anymask-lite.safetensors
    """
    from anymask.train.export import export
    from anymask.train.loop import STATE
    from anymask.train.run import train as run
    from anymask.train.settings import TrainSettings

    settings = TrainSettings(hours=hours, steps=steps, workers=workers, rate=rate, seed=seed, compiled=compiled)
    run(model, data, out, settings, cache=cache, new_cycle=new_cycle, tell=Progress())
    if export_to is not None:
        export(out / STATE, export_to, model=model, data=", ".join(sorted(p.name for p in data)), licence=licence)


class Progress:
    """A bar with the time left on a terminal, else a line now and then; sent to the process of worker 0."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, counters: Counters, left: float) -> None:
        means = " ".join(f"{name} {value:.3f}" for name, value in counters.averages.items())
        if not sys.stderr.isatty():
            share = f"{counters.progress:6.1%}"
            print(f"{share} step {counters.step} images {counters.images} {means} left {left / 60:.0f} min", flush=True)
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("step {task.fields[step]}"), BarColumn(), TextColumn("{task.fields[note]}"))
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._bar.add_task("train", total=1.0, step=0, note="")
            self._bar.start()
        note = f"{left / 60:.0f} min left  {means}"
        self._bar.update(self._bar.task_ids[0], completed=counters.progress, step=counters.step, note=note)
