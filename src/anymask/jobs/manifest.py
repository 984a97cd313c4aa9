"""Manifest: which images are done, kept so that a kill at any moment loses nothing and lists nothing twice.

There is no appending on an object store, so the manifest is a set of small files, segments, each written whole. A
segment belongs to one writer (its name holds a random token), which rewrites it with one more line for every image and
begins a new one when it is full. The rules, and what a kill between any two steps leaves:

1. The list of images (`Index`) is written before any work: title and place in the order never change afterwards.
   Killed before: no work is lost, the next run makes the list. Files of images are named by title only.
2. An image's files are written, each whole, with bytes that depend on image and settings alone.
   Killed between or within them: the image is not listed, so the next run makes it again and writes the same bytes over
   those that are there. An unfinished file never has a result's name (`places`).
3. The segment with the image's line is written after all its files. Killed before: as in 2. Killed after: the image is
   done and all its files are there. A segment is replaced whole, so no line is ever torn and none is lost.
4. **An image is done if and only if a segment lists it**; a run gives out only images that are not listed, each to one
   worker at a time, and a second run on the same place is refused. So no image is listed twice; where it is listed as
   failed and later, on request, done, done counts. (Were two machines to do the same image after all, both write the
   same bytes and the readers below still count it once.)
5. Files of the whole data set and `manifest.jsonl` are made at the end from what is listed, in the order of the list.
   Killed meanwhile: nothing is lost; the next run finds no image to do and makes them again, the same bytes.

A line that cannot be read, which only a failing disc can leave, counts for nothing: its image is made again.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from anymask.errors import BadSetting
from anymask.jobs.places import OWN, Place

SEGMENTS = f"{OWN}/manifest"
INDEX = f"{OWN}/images.jsonl"
LISTING = "manifest.jsonl"
"""The manifest for readers: a line for each image in the order of the list, written at the end of a run."""

FULL = 256
"""Lines of a segment: it is rewritten for each, so it stays small."""


@dataclass(frozen=True)
class Entry:
    """What became of an image.

    title: its name in the run. failed: why it could not be done, or None. files: what was written for it.
    facts: what is the same on every run (size, number of masks). cost: what is not (seconds).
    """

    title: str
    failed: str | None = None
    files: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """As a line of a segment; ASCII, since a title may hold bytes that are no UTF-8."""
        found: dict[str, Any] = {"title": self.title}
        if self.failed is not None:
            found["failed"] = self.failed
        found.update({"files": list(self.files), "facts": dict(self.facts), "cost": dict(self.cost)})
        return json.dumps(found)

    @classmethod
    def read(cls, line: str) -> Entry | None:
        """The entry of a line, None for one that is damaged."""
        try:
            found = json.loads(line)
            title, failed, files = found["title"], found.get("failed"), found["files"]
            if not isinstance(title, str) or not (failed is None or isinstance(failed, str)):
                return None
            return cls(title, failed, tuple(map(str, files)), dict(found["facts"]), dict(found["cost"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


class Segments:
    """One writer's part of the manifest.

    token: no other writer's, ever; `token()` makes one. every: lines to gather before they are written; 1 writes each
    at once. On a store where each write has a price, more may be gathered; a kill then has so many images made again.
    """

    def __init__(self, place: Place, token: str, every: int = 1) -> None:
        self.place, self.token, self.every = place, token, every
        self._lines: list[str] = []
        self._unwritten = self._full = 0

    def add(self, entry: Entry) -> None:
        """Lists an image; raises NotWritten. Call it after all the image's files are written."""
        self._lines.append(entry.line())
        self._unwritten += 1
        if self._unwritten >= self.every or len(self._lines) >= FULL:
            self.flush()

    def flush(self) -> None:
        """Writes what is gathered."""
        if self._unwritten:
            path = f"{SEGMENTS}/{self.token}-{self._full}.jsonl"
            self.place.write(path, ("\n".join(self._lines) + "\n").encode("ascii"))
            self._unwritten = 0
        if len(self._lines) >= FULL:
            self._lines, self._full = [], self._full + 1


def token() -> str:
    """A name for a writer."""
    return secrets.token_hex(8)


def listed(place: Place, token: str = "") -> dict[str, Entry]:
    """What became of each image, by title; done counts before failed. token: only what that writer listed."""
    found: dict[str, Entry] = {}
    for path in place.list(SEGMENTS):
        if not path.startswith(f"{SEGMENTS}/{token}") or not path.endswith(".jsonl"):
            continue
        for line in place.read(path).decode("utf-8", "replace").splitlines():
            entry = Entry.read(line)
            if entry is not None and (entry.title not in found or entry.failed is None):
                found[entry.title] = entry
    return found


@dataclass(frozen=True)
class Item:
    """An image of a job. title: its unique name. source: what the user named. at: the same from anywhere (absolute)."""

    title: str
    source: str
    at: str


def read_index(place: Place) -> list[Item]:
    """The job's images in their order; none for a new place. Raises BadSetting for a damaged list."""
    try:
        text = place.read(INDEX).decode("ascii", "replace")
    except FileNotFoundError:
        return []
    found = []
    try:
        for line in text.splitlines():
            row = json.loads(line)
            found.append(Item(row["title"], row["source"], row["at"]))
    except (ValueError, KeyError, TypeError):
        raise BadSetting(f"{place}/{INDEX} is damaged; take another -o, or --overwrite to start anew") from None
    return found


def write_index(place: Place, items: Iterable[Item]) -> None:
    """Writes the list of images."""
    rows = ({"title": one.title, "source": one.source, "at": one.at} for one in items)
    place.write(INDEX, ((json.dumps(row) + "\n").encode("ascii") for row in rows))


def extended(known: list[Item], wanted: Iterable[Item], reserved: Iterable[str] = ()) -> list[Item]:
    """The list with new images at its end, known ones as they were; a title that is taken gets a number.

    reserved: titles that the job needs for itself. Titles differ also where upper and lower case are the same.
    """
    items, places = list(known), {one.at for one in known}
    taken = {one.title.casefold() for one in known} | {name.casefold() for name in reserved}
    for one in wanted:
        if one.at in places:
            continue
        title, number = one.title, 2
        while title.casefold() in taken:
            title, number = f"{one.title}-{number}", number + 1
        taken.add(title.casefold())
        places.add(one.at)
        items.append(Item(title, one.source, one.at))
    return items


def listing(items: Iterable[Item], entries: Mapping[str, Entry]) -> Iterator[bytes]:
    """The lines of LISTING: what is the same on every run."""
    for item in items:
        entry = entries.get(item.title)
        if entry is None:
            continue
        row: dict[str, Any] = {"title": item.title, "image": item.source, **entry.facts}
        row.update({"files": list(entry.files)} if entry.failed is None else {"failed": entry.failed})
        yield (json.dumps(row) + "\n").encode("ascii")
