"""What a person sees of everything mode: progress on stderr; tables, trees or JSON lines on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anymask.jobs.folder import Report, Tell
    from anymask.jobs.manifest import Item
    from anymask.jobs.worker import Settled

NAMED = 20
"""Failed pictures that are named on the terminal; all of them are in the manifest."""

LINE_S = 30.0
"""Seconds between lines of progress where there is no terminal."""

BRANCHES = 400
"""Masks that a tree prints."""


class Show:
    """One command's conversation. problems: what is told at the end, a sentence each."""

    def __init__(self, *, as_json: bool, quiet: bool, tree: bool) -> None:
        self.as_json, self.quiet, self.tree = as_json, quiet, tree
        self.problems: list[str] = []

    def waiting(self, what: str) -> AbstractContextManager[Any]:
        """A sign of life while one thing is waited for."""
        return waiting(what, quiet=self.quiet)

    @contextmanager
    def prompts(self) -> Iterator[Callable[[int, int], None] | None]:
        """A bar within one picture; yields what to call with (parts done, in all)."""
        console = console_of(stderr=True)
        if self.quiet or not console.is_terminal:
            yield None
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        with Progress(
            BarColumn(), TextColumn("looking"), TimeRemainingColumn(), console=console, transient=True
        ) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    @contextmanager
    def progress(self) -> Iterator[Tell]:
        """A bar over a folder with the time left, or a line now and then; yields what `jobs.folder.run` calls."""
        console = console_of(stderr=True)
        if self.quiet or not console.is_terminal:
            yield _Lines(self)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        # a picture may take a minute: the speed is that of the last quarter of an hour
        options: dict[str, Any] = {"speed_estimate_period": 900, "redirect_stdout": sys.stdout.isatty()}
        with Progress(*columns, console=console, transient=True, **options) as bar:
            task = bar.add_task("loading the model", total=None)
            masks = failed = 0

            def tell(settled: Settled, done: int, total: int) -> None:
                nonlocal masks, failed
                masks += settled.entry.facts.get("masks", 0)
                failed += settled.entry.failed is not None
                if not bar.tasks[0].total:
                    # what earlier runs did tells nothing of this one's speed
                    bar.reset(task, total=total, completed=done - 1)
                said = f"{masks:,} masks" + (f", {failed} failed" if failed else "")
                bar.update(task, completed=done, total=total, description=said)
                self.settled(settled)

            yield tell

    def settled(self, settled: Settled) -> None:
        """What became of one picture of a folder."""
        if self.quiet:
            return
        if self.as_json:
            typer.echo(json.dumps(_line(settled)))
        elif self.tree and settled.entry.failed is None:
            self._tree(settled)

    def picture(self, item: Item, settled: Settled, out: Path, more: list[str]) -> None:
        """The one picture that was asked for. more: files besides its own."""
        entry = settled.entry
        if entry.failed is not None:
            self.problems.append(entry.failed)
        elif self.as_json and not self.quiet:
            typer.echo(json.dumps(_line(settled)))
        elif not self.quiet:
            if self.tree:
                self._tree(settled)
            console = console_of()
            console.print(_table([(item.source, entry.facts, entry.cost)]))
            names = ", ".join([*entry.files, *more])
            console.print(
                f"Written to {plain(str(out))}: {plain(names)}", markup=False, highlight=False, soft_wrap=True
            )

    def report(self, report: Report, out: Path, pages: list[str]) -> None:
        """A folder, when its run is through or was stopped. pages: files to look at first."""
        failed = report.failed
        self.problems.extend(one.failed or "" for one in failed[:NAMED])
        if len(failed) > NAMED:
            self.problems.append(f"and {len(failed) - NAMED} more, all of them in {out}/manifest.jsonl")
        if failed:
            self.problems.append(
                f"{len(report.done)} done, {len(failed)} not; mend them and give the same command with --retry-failed"
            )
        if report.stopped is not None:
            settled = len(report.entries)
            self.problems.append(f"stopped with {settled} of {report.total} done; the same command goes on from here")
        if self.quiet or self.as_json:
            return
        masks = sum(one.facts.get("masks", 0) for one in report.done)
        text = f"{_count(len(report.done), 'picture')}, {_count(masks, 'mask')}"
        if report.fresh:
            text += f", {_span(report.seconds)}"
            if report.fresh > 1:
                text += f" ({round(report.fresh * 3600 / report.seconds, -1):,.0f} pictures an hour)"
        earlier = len(report.entries) - report.fresh
        if earlier:
            text += f", {earlier:,} of them settled before"
        text += f"\nWritten to {plain(str(out))}" + (f", look at {' and '.join(pages)}" if pages else "")
        console_of().print(text, markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        """Tells the problems."""
        for problem in self.problems:
            typer.echo(plain(f"anymask: {problem}"), err=True)

    def _tree(self, settled: Settled) -> None:
        import numpy as np
        from rich.text import Text
        from rich.tree import Tree

        from anymask.masks.tree import branches

        show = settled.show
        parents, areas, scores, boxes = (show[name] for name in ("parents", "areas", "scores", "boxes"))
        facts = settled.entry.facts
        pixels = facts["height"] * facts["width"]
        root = Tree(Text(plain(f"{settled.entry.title}  {_count(len(parents), 'mask')}")))
        left = BRANCHES
        waiting = deque((branch, root) for branch in branches(np.array(parents, np.int64), areas))
        # level by level: where it is cut off, wholes are shown rather than parts of parts
        while waiting and left:
            branch, above = waiting.popleft()
            row, left = branch.row, left - 1
            box = ",".join(map(str, boxes[row]))
            below = above.add(Text(f"{row + 1}  {areas[row] / pixels:.1%}  {scores[row]:.2f}  {box}"))
            waiting.extend((part, below) for part in branch.parts)
        if waiting:
            root.add(Text(f"and {len(parents) - BRANCHES} more"))
        console_of().print(root)


class _Lines:
    """Progress where no bar can be drawn: a line now and then."""

    def __init__(self, show: Show) -> None:
        self.show, self.masks, self.fresh = show, 0, 0
        self.begun = self.last = time.monotonic()

    def __call__(self, settled: Settled, done: int, total: int) -> None:
        self.show.settled(settled)
        self.fresh += 1
        self.masks += settled.entry.facts.get("masks", 0)
        now = time.monotonic()
        if self.show.quiet or now - self.last < LINE_S:
            return
        self.last = now
        left = (now - self.begun) / self.fresh * (total - done)
        typer.echo(f"{done:,} of {total:,} pictures, {self.masks:,} masks, {_span(left)} left", err=True)


def _table(rows: list[tuple[str, Any, Any]]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("image", overflow="fold")
    for name in ("size", "masks", "whole", "parts", "subparts", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, facts, cost in rows:
        size, levels = f"{facts['width']} x {facts['height']}", facts["levels"]
        counts = (facts["masks"], sum(levels[:1]), sum(levels[1:2]), sum(levels[2:]))
        table.add_row(Text(plain(name)), size, *map(str, counts), f"{cost['seconds']:.1f}")
    return table


def _line(settled: Settled) -> dict[str, Any]:
    entry = settled.entry
    if entry.failed is not None:
        return {"title": entry.title, "failed": entry.failed}
    return {"title": entry.title, **entry.facts, "files": list(entry.files), **entry.cost, **settled.show}


def waiting(what: str, *, quiet: bool) -> AbstractContextManager[Any]:
    """Says on a terminal what is waited for, as long as a block lasts."""
    console = console_of(stderr=True)
    return nullcontext() if quiet or not console.is_terminal else console.status(what)  # type: ignore[no-any-return]


def console_of(*, stderr: bool = False) -> Any:
    """rich's console, wide where nobody looks at it."""
    from rich.console import Console

    console = Console(stderr=stderr)
    # into a file or a pipe a table may be as wide as its paths
    return console if console.is_terminal else Console(stderr=stderr, width=160)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plain(name: str) -> str:
    """A text that a terminal can show: file names may hold control characters and bytes that are no UTF-8."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in name)
