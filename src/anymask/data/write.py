"""Any data as COCO sets: its pictures as PNG, its masks as run lengths, exactly as they were read.

FOLDER/SET/annotations.json      masks that are seen; "parent" is the annotation that one is a part of
FOLDER/SET/amodal.json           of generated scenes: the same annotations as far as the things reach
FOLDER/SET/images/*.png
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

from PIL import Image as Pillow

from anymask.data.photo import SUFFIXES
from anymask.data.sample import Dataset, Sample, Stream
from anymask.data.summary import Problem, spread
from anymask.errors import AnymaskError, BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import RLE
from anymask.records import atomic
from anymask.records.coco import Coco
from anymask.records.record import ImageRef, Record

VISIBLE, AMODAL = "annotations.json", "amodal.json"


@runtime_checkable
class Layered(Protocol):
    """A data set that knows more of its samples: whole masks, and what is a part of what."""

    def amodal(self, index: int, /) -> Sequence[RLE]: ...
    def parents(self, index: int, /) -> Any: ...


def write_set(
    one: Dataset | Stream, folder: Path, *, most: int | None = None, tell: Callable[[int], None] | None = None
) -> tuple[Path, list[Problem]]:
    """Write a set as a folder of `folder`. Returns that folder, and the samples that could not be read.

    most: samples, spread evenly over the set, the first of a stream. tell: is called with the number of samples done.
    The JSON files are written last, each whole or not at all. Raises BadSetting where a set of that name is there
    already or nothing could be read, OSError where it cannot be written.
    """
    place = folder / _safe(one.name)
    if (place / VISIBLE).exists():
        raise BadSetting(f"{place} holds a data set already; choose another folder")
    form = Coco(one.licence)
    files: dict[str, dict[str, bytes]] = {VISIBLE: {}}
    if isinstance(one, Layered):
        files[AMODAL] = {}
    titles: list[str] = []
    taken: set[str] = set()
    problems: list[Problem] = []
    for done, (row, name, sample) in enumerate(_samples(one, most), 1):
        try:
            if isinstance(sample, Exception):
                raise sample
            file = _file(sample.name, taken)
            target = place / "images" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(sample.pixels()).save(target, compress_level=4)
            columns: dict[str, Any] = {"labels": sample.labels or None}
            if isinstance(one, Layered) and row is not None:
                columns["parents"] = one.parents(row)
                files[AMODAL] |= form.files(_record(file, sample, one.amodal(row), columns), file)
            files[VISIBLE] |= form.files(_record(file, sample, sample.masks, columns), file)
            titles.append(file)
        except (AnymaskError, OSError) as error:
            if isinstance(error, OSError) and not isinstance(sample, OSError):
                # the disk is full or the folder may not be written: no fault of the sample
                raise
            problems.append(Problem(name, str(error)))
        if tell is not None:
            tell(done)
    if not titles:
        raise BadSetting(f"no sample of {one.name} could be read: {problems[0].reason if problems else 'it is empty'}")
    # the file that makes it a set comes last
    for name, parts in reversed(files.items()):
        for _, pieces in form.finish(titles, parts.__getitem__):
            atomic.write(place / name, b"".join(pieces))
    return place, problems


def _record(file: str, sample: Sample, masks: Sequence[RLE], columns: dict[str, Any]) -> Record:
    return Record(ImageRef(file, sample.size), Masks(sample.size, list(masks), **columns))


def _samples(one: Dataset | Stream, most: int | None) -> Iterator[tuple[int | None, str, Sample | Exception]]:
    """(row, name, sample or what is wrong with it); a stream has no rows, and ends where it is broken."""
    if isinstance(one, Dataset):
        for row in spread(len(one), most):
            try:
                sample = one[row]
                yield row, sample.name, sample
            except (AnymaskError, OSError) as error:
                yield row, f"sample {row}", error
        return
    try:
        for sample in islice(iter(one), most):
            yield None, sample.name, sample
    except (AnymaskError, OSError) as error:
        yield None, "the stream", error


def _safe(name: str) -> str:
    """A name that no file system refuses, and that leads to no other folder."""
    kept = re.sub(r'[\x00-\x1f<>:"|?*\\\\/]', "_", name).strip(" .")
    return kept or "_"


def _file(name: str, taken: set[str]) -> str:
    """Where a sample's picture goes within images/, unlike all before, also where upper and lower case are the same."""
    parts = [_safe(part) for part in PurePosixPath(name).parts if part not in ("/", "..")] or ["_"]
    stem = parts[-1]
    if stem.lower().endswith(SUFFIXES):
        stem = stem[: stem.rindex(".")]
    for last in (f"{stem}.png", f"{parts[-1]}.png", *(f"{stem}-{number}.png" for number in range(2, 1_000_000))):
        file = "/".join((*parts[:-1], last))
        if file.casefold() not in taken:
            taken.add(file.casefold())
            return file
    raise BadSetting(f"too many samples are called {name}")
