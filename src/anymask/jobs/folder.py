"""A job on this machine: images of any number into one folder, by worker processes, gone on with after any kill.

    report = run(items, "out", JobSettings(format="coco"), recipe)

What a kill leaves and why nothing is lost is written in `manifest`; how workers end with their coordinator in `worker`.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anymask.errors import BadSetting, NotWritten
from anymask.jobs import manifest
from anymask.jobs import settings as saved
from anymask.jobs.alone import alone_in
from anymask.jobs.manifest import Entry, Item, Segments
from anymask.jobs.places import OWN, LocalFolder, Place, pieces
from anymask.jobs.pool import Pool
from anymask.jobs.settings import JobSettings, Shares
from anymask.jobs.work import Recipe
from anymask.jobs.worker import Post, Settled

DATASET = f"{OWN}/dataset.json"
"""Names of the files that belong to the whole data set, for starting anew."""

ORPHANS_S = 60.0
"""How long a run waits for the workers of a killed one; they end within moments."""

RESERVED = (saved.FILE.partition(".")[0], manifest.LISTING.partition(".")[0])

Tell = Callable[[Settled, int, int], None]
"""Called for each image with what became of it, images settled so far and in all, those of earlier runs included."""

RecipeFor = Callable[[int, Shares], Recipe]
"""The recipe of worker n, so that workers can be given different devices."""


@dataclass
class Report:
    """How a run went.

    entries: what became of each image of the list, those of earlier runs included, in the order of the list.
    fresh: images that this run did. seconds: that it took. stopped: the signal that ended it early, or None.
    """

    entries: list[Entry] = field(default_factory=list)
    total: int = 0
    fresh: int = 0
    seconds: float = 0.0
    stopped: int | None = None

    @property
    def done(self) -> list[Entry]:
        """The images that have their files."""
        return [one for one in self.entries if one.failed is None]

    @property
    def failed(self) -> list[Entry]:
        """The images that could not be done."""
        return [one for one in self.entries if one.failed is not None]


def run(
    items: Sequence[Item],
    out: str | os.PathLike[str],
    settings: JobSettings,
    recipe: RecipeFor,
    shares: Shares,
    *,
    workers: int = 1,
    retry_failed: bool = False,
    overwrite: bool = False,
    tell: Tell | None = None,
) -> Report:
    """Does the images of a folder's job that are not done yet, then writes the files of the whole data set.

    items: images with wanted titles; those that the folder knows keep the title they have there.
    settings: what the results depend on; a folder made with others is refused. recipe, shares: for the workers; of a
    job that is gone on with the shares are those it was begun with. retry_failed: also what failed before.
    overwrite: removes an earlier job's files and starts anew.

    SIGINT and SIGTERM end it soon and cleanly, see `Report.stopped`. Raises BadSetting, NotWritten, and what a recipe
    raises. Uses processes that are spawned: a script that calls it needs the `if __name__ == "__main__":` line.
    """
    begun = time.perf_counter()
    place = LocalFolder(out)
    if workers < 1:
        raise BadSetting(f"there is no work without workers; got {workers}")
    if place.root.exists() and not place.root.is_dir():
        raise BadSetting(f"{out} is a file; results need a folder")
    _apart(items, place.root)
    with alone_in(place), _signals() as caught:
        _tidied(place)
        if overwrite:
            clear(place)
        shares = _agreed(place, settings, shares)
        index = manifest.extended(manifest.read_index(place), items, RESERVED)
        manifest.write_index(place, index)
        entries = manifest.listed(place)
        pending = list(_pending(place, index, items, entries, retry_failed))
        gone = {one.title for one in pending}
        entries = {title: one for title, one in entries.items() if title not in gone}
        total = len(entries) + len(pending)
        fresh = 0
        if pending:
            own = Segments(place, manifest.token())

            def post(number: int) -> Post:
                lock = str(place.path(f"{OWN}/worker-{manifest.token()}.lock"))
                return Post(recipe(number, shares), place, shares.threads, manifest.token(), lock=lock)

            try:
                with Pool(post, min(workers, len(pending))) as pool:
                    for settled in pool.settled(pending, lambda: bool(caught)):
                        if not settled.listed:
                            own.add(settled.entry)
                        entries[settled.entry.title] = settled.entry
                        fresh += 1
                        if tell is not None:
                            tell(settled, len(entries), total)
                    if not caught:
                        pool.finish()
            finally:
                # workers that were stopped in their work left files without a name
                _tidied(place)
        if not caught:
            titles = [one.title for one in index if one.title in entries and entries[one.title].failed is None]
            complete(place, settings.format, titles, lambda: bool(caught))
        if not caught:
            place.write(manifest.LISTING, manifest.listing(index, entries))
    ordered = [entries[one.title] for one in index if one.title in entries]
    return Report(ordered, total, fresh, time.perf_counter() - begun, caught[0] if caught else None)


def complete(
    place: Place, form: str, titles: Sequence[str], stop: Callable[[], bool] = lambda: False, *, note: bool = True
) -> list[str]:
    """Writes the files of the whole data set, of the images `titles` in that order; their names. Raises NotWritten.

    stop: asked now and then whether to leave it. note: keep the names, for starting anew.
    """
    from anymask.records.formats import format_named

    names: list[str] = []
    for name, content in format_named(form).finish(titles, _reading(place)):
        names.append(name)
        # noted first: a file is never there without being known
        if note:
            place.write(DATASET, json.dumps(names).encode("ascii"))
        try:
            place.write(name, _until(pieces(content), stop))
        except _Interrupted:
            break
    return names


def clear(place: Place) -> None:
    """Removes what an earlier job left, and nothing else; a kill meanwhile leaves a job that can be cleared again."""
    from anymask.jobs.report import FILE as PAGE
    from anymask.jobs.report import SHEET

    with suppress(FileNotFoundError, ValueError):
        for name in json.loads(place.read(DATASET)):
            place.remove(name)
    for entry in manifest.listed(place).values():
        for name in entry.files:
            place.remove(name)
    for name in (manifest.LISTING, DATASET, PAGE, SHEET, *place.list(manifest.SEGMENTS), manifest.INDEX, saved.FILE):
        place.remove(name)


def _agreed(place: Place, settings: JobSettings, shares: Shares) -> Shares:
    """The shares to work with, after the settings were found to be those of the folder."""
    from anymask.records.record import anymask_version

    before = saved.read(place)
    if before is None:
        saved.write(place, settings, shares, anymask_version())
        return shares
    differs = saved.difference(before[0], settings)
    if differs:
        raise BadSetting(
            f"{place} was begun with other settings: {differs}; give the same, or another -o, "
            "or --overwrite to start anew"
        )
    return before[1]


def _pending(
    place: Place, index: Iterable[Item], items: Iterable[Item], entries: dict[str, Entry], retry_failed: bool
) -> Iterator[Item]:
    """The images to do now: of those asked for, what is not listed, or lost a file since, or is to be tried again."""
    asked = {one.at for one in items}
    for item in index:
        entry = entries.get(item.title)
        if item.at not in asked:
            continue
        if (
            entry is None
            or (entry.failed is not None and retry_failed)
            or (entry.failed is None and not all(map(place.exists, entry.files)))
        ):
            yield item


def _apart(items: Iterable[Item], root: Path) -> None:
    """Raises BadSetting when results would lie among the pictures, where they might replace one."""
    target = os.path.realpath(root)
    for folder in {os.path.dirname(one.at) for one in items}:
        if os.path.realpath(folder) == target:
            raise BadSetting(f"{root} holds the pictures themselves; give another folder for the results with -o")


def _tidied(place: LocalFolder) -> None:
    """Waits until no worker of an earlier run is left, then removes what was left unfinished."""
    from filelock import FileLock, Timeout

    for path in place.list(OWN):
        name = path.rpartition("/")[2]
        if not name.startswith("worker-"):
            continue
        lock = FileLock(place.path(path))
        try:
            lock.acquire(timeout=ORPHANS_S)
        except Timeout:
            raise NotWritten(f"a worker of an earlier run is still at work in {place}; end it first") from None
        lock.release()
        place.remove(path)
    place.sweep()


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Signals that ask for an end, as they come; a second one is left to its usual effect."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before: dict[signal.Signals, Any] = {}

    def note(number: int, _: object) -> None:
        caught.append(number)
        for one, handler in before.items():
            signal.signal(one, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Interrupted(Exception):
    """A signal came while a file of the data set was written."""


def _until(content: Iterable[bytes], stop: Callable[[], bool]) -> Iterator[bytes]:
    for piece in content:
        if stop():
            raise _Interrupted
        yield piece


def _reading(place: Place) -> Callable[[str], bytes]:
    """`place.read`, with a sentence for a file that somebody took away meanwhile."""

    def read(path: str) -> bytes:
        try:
            return place.read(path)
        except FileNotFoundError:
            raise NotWritten(f"{place}/{path} is gone; give the same command again to have it made anew") from None

    return read
