"""`anymask train`: train or fine-tune a model, stopped and taken up at will."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anymask.train.loop import Counters


def train(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; a state in it is taken up.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Photos with masks in any layout 'anymask data' knows; repeatable.")
    ] = None,
    clips: Annotated[
        list[Path] | None,
        typer.Option(
            help="Filmed clips with masks (DAVIS, YouTube-VOS, MOSE, SA-V), for the method memory; repeatable."
        ),
    ] = None,
    filmed: Annotated[float | None, typer.Option(help="Share of filmed clips where others are made of photos.")] = None,
    model: Annotated[str | None, typer.Option(help="Which model; the recipe's if left out.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights to start from; the model's own if left out.")] = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="tune: fine-tuning. inside: the model inside, from ImageNet. video-inside: its memory for clips. "
            "video-tune: fine-tuning that. sam: the paper's."
        ),
    ] = "tune",
    method: Annotated[
        str | None,
        typer.Option(
            help="decoder, lora (encoder by low-rank additions), full, scratch, memory (on clips); else the recipe's."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the run.")] = None,
    images: Annotated[int | None, typer.Option(help="Images a step, over all processes.")] = None,
    at_once: Annotated[int | None, typer.Option(help="Images a process takes at once; fewer accumulate.")] = None,
    masks: Annotated[int | None, typer.Option(help="Masks of each image, an even number.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate at the top.")] = None,
    lora_rank: Annotated[int | None, typer.Option(help="Of the low-rank additions.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    compiled: Annotated[
        bool | None, typer.Option(help="Fuse with torch.compile (needs a C++ compiler; twice as fast).")
    ] = None,
    loaders: Annotated[
        int | None, typer.Option(help="Processes that draw batches ahead, for each process; 4 on a GPU if left out.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of examples and prompts.")] = None,
    processes: Annotated[int, typer.Option(help="On this machine; torchrun and accelerate launch set their own.")] = 1,
    sharded: Annotated[
        bool, typer.Option(help="Each process keeps a shard of the weights (FSDP), for models too large for a GPU.")
    ] = False,
    kind: Annotated[str | None, typer.Option(help="Layout of the data; recognised if left out.")] = None,
    hours: Annotated[float | None, typer.Option(help="Stop after so much running; the same command goes on.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded photos; inside the run's if left out.")] = None,
    pictures_every: Annotated[int, typer.Option(help="Steps between pictures of what it answers; 0 for none.")] = 100,
    licence: Annotated[str, typer.Option(help="Licences of the data, kept in the written file.")] = "",
    half: Annotated[bool, typer.Option(help="Write a whole model in float16.")] = False,
) -> None:
    """Train a model on photos with masks. The result in --out is model.safetensors, or adapter.safetensors (a few MB)
    for the methods decoder and lora; every command takes either as --weights. Beside it: report.html with curves and
    pictures, log.jsonl, and a tensorboard folder where that is installed.

    Example: anymask train --data my/photos --out runs/mine --method lora --steps 500
    """
    from anymask.train.run import Job
    from anymask.train.run import train as run
    from anymask.train.settings import RECIPES
    from anymask.train.settings import recipe as settings_of

    asked: dict[str, Any] = {
        "filmed": filmed,
        "method": method,
        "steps": steps,
        "images": images,
        "at_once": at_once,
        "masks": masks,
        "rate": rate,
        "lora_rank": lora_rank,
        "precision": precision,
        "compiled": compiled,
        "loaders": loaders,
        "seed": seed,
    }
    settings = settings_of(recipe, **{name: value for name, value in asked.items() if value is not None})
    job = Job(
        model or RECIPES[recipe].model,
        tuple(data or ()),
        out,
        settings,
        weights,
        hours,
        cache=cache,
        kind=kind,
        licence=licence,
        half=half,
        pictures_every=pictures_every,
        sharded=sharded,
        clips=tuple(clips or ()),
    )
    progress = Progress()
    written = run(job, processes=processes, tell=progress, reading=progress.reading)
    if written is None:
        typer.echo(f"stopped before the end; the same command goes on from the state in {out}", err=True)
    else:
        typer.echo(f"{written}  (use it: anymask segment PHOTO --weights {written})")


class Progress:
    """A bar with the time left on a terminal, else a line now and then; sent to the main process."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._reads = ""

    def __getstate__(self) -> dict[str, Any]:
        # another process draws a bar of its own
        if self._bar is not None:
            self._bar.stop()
        return {"_bar": None, "_reads": ""}

    def reading(self, name: str, done: int, total: int | None) -> None:
        """How far the decoding of a set's photos is."""
        first, self._reads = name != self._reads, name
        if not sys.stderr.isatty():
            if first:
                print(f"reading {name}" + (f", {total} photos" if total else ""), file=sys.stderr, flush=True)
            return
        if first:
            self._opened("reading {task.description} {task.completed:.0f}", name, total)
        self._bar.update(self._bar.task_ids[0], completed=done)

    def _opened(self, text: str, name: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        if self._bar is not None:
            self._bar.stop()
        left = TimeRemainingColumn() if self._reads else TextColumn("{task.fields[note]}")
        # on a narrow terminal the means are cut, not the step
        step = TextColumn(text, table_column=Column(no_wrap=True, min_width=12))
        self._bar = Bar(step, BarColumn(bar_width=16), left, console=Console(stderr=True))
        self._bar.add_task(name, total=total, note="")
        self._bar.start()

    def __call__(self, counters: Counters, left: float) -> None:
        means = " ".join(f"{name} {value:.3f}" for name, value in counters.means.items())
        total = counters.step + counters.left
        if not sys.stderr.isatty():
            share = counters.step / total
            line = f"{share:6.1%} step {counters.step} images {counters.images} {means} left {left / 60:.0f} min"
            print(line, file=sys.stderr, flush=True)
            return
        if self._bar is None or self._reads:
            self._reads = ""
            self._opened("step {task.completed:.0f}", "train", total)
        note = f"{left / 60:.0f} min left  {means}"
        self._bar.update(self._bar.task_ids[0], completed=counters.step, note=note)
