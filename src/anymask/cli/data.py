"""`anymask data`: what is in data sets, with pictures of some samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anymask.data.sample import Dataset, Sample, Stream
    from anymask.data.summary import Problem, Summary
    from anymask.masks.sheet import Cell

NAMED = 20
"""Broken samples that are named on the terminal, of each set."""

SHOWN = 6
"""Labels that are named."""

FEW = 4
"""Sets whose labels and licence are told in full."""

CELLS = 12
"""Pictures of a report, where there are no more sets than that."""

TINY = 200
"""Pixels of a side below which a picture is enlarged, so that its masks can be told apart."""


def data(
    path: Annotated[
        str | None,
        typer.Argument(help="Folder, file, shards, or scenes:count=100 and so on; left out, all layouts are listed."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Layout or name of a data set; recognised if left out.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Picture of samples with their masks (PNG).")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Open every picture too, and tell all that is broken.")
    ] = False,
    most: Annotated[int | None, typer.Option(help="Samples to look at in each set; all if left out.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a set; repeat for several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each set instead of a table.")] = False,
    write: Annotated[
        Path | None, typer.Option(help="Folder to write the sets to as COCO, with PNG pictures; --most limits them.")
    ] = None,
) -> None:
    """What is in data sets: images, masks, sizes, labels, licence, and broken files with the reason.

    scenes:count=4000,size=512,seed=7,themes=cells+heap instead of a path are generated scenes; each setting may be left
    out. With --write they get amodal.json too, the whole masks of things that others hide.

    Example: anymask data photos/ --check -o report.png
    Example: anymask data scenes:count=500 --write made
    """
    from anymask.data.open import open_data
    from anymask.data.summary import summarise
    from anymask.errors import BadSetting

    if path is None:
        _layouts()
        return
    if most is not None and most < 1:
        raise BadSetting(f"at least one sample is to be looked at, got {most}")
    sets = open_data(path, kind)
    if only:
        unknown = sorted(set(only) - {one.name for one in sets})
        if unknown:
            raise BadSetting(f"sets are {', '.join(one.name for one in sets)}; got {', '.join(unknown)}")
        sets = [one for one in sets if one.name in only]
    places: list[Path] = []
    lost: list[Problem] = []
    if write is not None:
        places, lost = _written(sets, write, most)
        sets, most = [one for place in places for one in open_data(place)], None
    found = []
    for one in sets:
        with _progress(one, most) as tell:
            found.append(summarise(one, most=most, check=check, tell=tell))
        if as_json:
            typer.echo(json.dumps(found[-1].described()))
    if not as_json:
        _table(found)
    _problems(found)
    _tell("not written", lost)
    if write is not None and not as_json:
        typer.echo(f"Written to {', '.join(map(str, places))}")
    if out is not None:
        _sheet(sets, out)
        if not as_json:
            typer.echo(f"Written to {out}")
    if lost or any(one.problems for one in found):
        raise typer.Exit(1)


def _layouts() -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from anymask.data.named import NAMED as SETS
    from anymask.data.open import LAYOUTS

    for title, rows in (
        ("layout", [(one.name, one.looks) for one in LAYOUTS]),
        ("data set", [(name, f"{one.title}: {one.expects}") for name, one in SETS.items()]),
    ):
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column(f"{title} (--kind)", no_wrap=True)
        table.add_column("expected in the folder", overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        _console().print(table)


def _table(found: Sequence[Summary]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from anymask.cli.show import plain

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("set", overflow="fold", min_width=8)
    for title in ("images", "masks", "an image", "most", "median size", "small", "medium", "large", "broken"):
        table.add_column(title, justify="right", no_wrap=True)
    # of many sets a line each; of few all that fits
    many: dict[str, Any] = {"no_wrap": True, "overflow": "ellipsis"} if len(found) > FEW else {"overflow": "fold"}
    table.add_column("labels", ratio=2, **many)
    table.add_column("licence", ratio=2, **many)
    for one in found:
        said = one.described()
        images = f"{said['seen']:,}" if one.images in (None, one.seen) else f"{one.seen:,} of {one.images:,}"
        parts = ["" if said[key] is None else f"{said[key]:.0%}" for key in ("small", "medium", "large")]
        share = "" if said["median_share"] is None else f"{said['median_share']:.2%}"
        table.add_row(
            Text(plain(one.name)),
            images,
            f"{one.masks:,}",
            f"{said['masks_an_image']:.1f}",
            f"{one.most:,}",
            share,
            *parts,
            str(len(one.problems)) if one.problems else "",
            Text(plain(_labels(one))),
            Text(plain(one.licence)),
        )
    _console().print(table)
    _console().print(
        "size: of the picture, median; small below 32 x 32 px, large from 96 x 96 on (COCO)", highlight=False
    )


def _labels(one: Summary) -> str:
    if not one.labels:
        return ""
    text = ", ".join(f"{label} {count:,}" for label, count in one.labels.most_common(SHOWN))
    return text + (f" and {len(one.labels) - SHOWN} more" if len(one.labels) > SHOWN else "")


def _problems(found: Sequence[Summary]) -> None:
    for one in found:
        _tell(one.name, one.problems)


def _tell(of: str, problems: Sequence[Problem]) -> None:
    from anymask.cli.show import plain

    for problem in problems[:NAMED]:
        # most reasons name the file themselves
        name = "" if problem.name in problem.reason else f"{problem.name}: "
        typer.echo(plain(f"anymask: {of}: {name}{problem.reason}"), err=True)
    if len(problems) > NAMED:
        typer.echo(f"anymask: {of}: and {len(problems) - NAMED} more; --json lists them all", err=True)


def _written(sets: Sequence[Dataset | Stream], folder: Path, most: int | None) -> tuple[list[Path], list[Problem]]:
    """The folders that the sets are in now, and what could not be written."""
    from anymask.data.write import write_set

    places: list[Path] = []
    lost: list[Problem] = []
    for one in sets:
        with _progress(one, most) as tell:
            place, problems = write_set(one, folder, most=most, tell=tell)
        places.append(place)
        lost += problems
    return places, lost


def _sheet(sets: Sequence[Dataset | Stream], out: Path) -> None:
    """Samples of all sets on one page."""
    from anymask.errors import BadSetting
    from anymask.masks.sheet import contact_sheet

    each = max(1, CELLS // len(sets))
    cells = [
        cell
        for one in sets
        for cell in (_cell(one.name if len(sets) > 1 else "", sample) for sample in _some(one, each))
        if cell is not None
    ]
    if not cells:
        raise BadSetting("there is no sample whose picture can be drawn")
    out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(cells).save(out)


def _some(one: Dataset | Stream, count: int) -> list[Sample]:
    """Samples with masks, evenly spread; of a stream its first."""
    from itertools import islice

    from anymask.data.sample import Dataset
    from anymask.data.summary import spread
    from anymask.errors import AnymaskError

    if not isinstance(one, Dataset):
        return [sample for sample in islice(iter(one), 10 * count) if sample.masks][:count]
    found: list[Sample] = []
    # slices of volumes are often empty, and neighbours alike: more are tried than are wanted, in mixed order
    for row in sorted(spread(len(one), 8 * count), key=lambda row: (row * 7919) % 1009):
        if len(found) == count:
            break
        try:
            sample = one[row]
        except (AnymaskError, OSError):
            continue
        if sample.masks:
            found.append(sample)
    return sorted(found, key=lambda sample: sample.name)


def _cell(of: str, sample: Sample) -> Cell | None:
    import numpy as np

    from anymask.errors import AnymaskError
    from anymask.masks.masks import Masks
    from anymask.masks.rle import decode
    from anymask.masks.sheet import SIDE, Cell

    try:
        pixels = sample.pixels()
    except (AnymaskError, OSError):
        return None
    height, width = sample.size
    masks = Masks(sample.size, list(sample.masks))
    times = SIDE // max(height, width) if max(height, width) < TINY else 1
    if times > 1:
        pixels = np.repeat(np.repeat(pixels, times, 0), times, 1)
        masks = Masks.from_dense(np.repeat(np.repeat(decode(list(masks.rle)), times, 1), times, 2))
    count = f"{len(sample.masks)} mask{'' if len(sample.masks) == 1 else 's'}, {width} x {height}"
    return Cell(masks.overlay(pixels), f"{of}: {sample.name}" if of else sample.name, count)


def _progress(one: Dataset | Stream, most: int | None) -> Any:
    """A bar on the terminal; yields what to call with the number of samples done."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import Progress

    from anymask.data.sample import Dataset

    @contextmanager
    def bar() -> Any:
        console = Console(stderr=True)
        if not console.is_terminal:
            yield None
            return
        total = min(len(one), most or len(one)) if isinstance(one, Dataset) else most
        with Progress(console=console, transient=True) as shown:
            task = shown.add_task(one.name, total=total)
            yield lambda done: shown.update(task, completed=done)

    return bar()


def _console() -> Any:
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=160)
