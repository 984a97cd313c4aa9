"""What a person sees of `anymask video`: progress on stderr; a table or a line of JSON on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import typer

from anymask.cli.show import LINE_S, console_of, plain, waiting

if TYPE_CHECKING:
    from anymask.cli.video_run import Run


class Show:
    """What a person sees: progress on stderr, a table or a line of JSON on stdout."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet

    def waiting(self, what: str) -> AbstractContextManager[Any]:
        """Says what is waited for, as long as a block lasts."""
        return waiting(what, quiet=self.quiet)

    @contextmanager
    def progress(self) -> Iterator[Callable[[int, int, int], None]]:
        """Yields what to call with (frames done, in all, objects in sight)."""
        console = console_of(stderr=True)
        if self.quiet or not console.is_terminal:
            yield _Lines(self.quiet)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        options: dict[str, Any] = {"speed_estimate_period": 120, "redirect_stdout": sys.stdout.isatty()}
        with Progress(*columns, console=console, transient=True, **options) as bar:
            task = bar.add_task("", total=None)
            last, begun = 0.0, time.monotonic()

            def tell(done: int, total: int, objects: int) -> None:
                nonlocal last, begun
                now = time.monotonic()
                if now - last < 0.1 and done < total:
                    return
                last = now
                each = done / max(now - begun, 1e-9)
                said = f"{objects} in sight, {each:.1f} frames a second" if objects else "looking backward"
                bar.update(task, completed=done, total=total, description=said)

            yield tell

    def done(self, run: Run) -> None:
        """What came of it: where each object was seen, and the files."""
        if self.quiet:
            return
        count = run.job.clip.count
        rows = []
        for one in run.script.objects:
            frames, total = run.seen.get(one, (0, 0.0))
            rows.append({"id": one, "name": run.script.names.get(one, ""), "frames": frames,
                         "score": round(total / frames, 3) if frames else 0.0})  # fmt: skip
        if self.as_json:
            said = {
                "clip": run.source,
                "frames": count,
                "objects": rows,
                "files": [str(run.out / one) for one in run.files],
            }
            typer.echo(json.dumps(said | {"seconds": round(run.seconds, 1)}))
            return
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in ("object", "name", "seen on", "score"):
            table.add_column(name, justify="left" if name == "name" else "right")
        for row in rows:
            table.add_row(
                str(row["id"]), plain(str(row["name"])), f"{row['frames']:,} of {count:,}", f"{row['score']:.3f}"
            )
        console = console_of()
        console.print(table)
        took = f" in {run.seconds:.0f} s, {count / run.seconds:.1f} frames a second" if run.seconds else ", done before"
        text = f"{count:,} frames{took}\nWritten to {run.out}: {', '.join(run.files)}"
        console.print(plain(text), markup=False, highlight=False, soft_wrap=True)


class _Lines:
    """Progress where no bar can be drawn: a line now and then."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.begun = self.last = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, total: int, objects: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done - 1
        if self.quiet or now - self.last < LINE_S:
            return
        self.last = now
        left = round((now - self.begun) / max(done - self.first, 1) * (total - done))
        typer.echo(f"{done:,} of {total:,} frames, {left // 60} min {left % 60} s left", err=True)
