"""Folders of SA-1B: sa_*.jpg with sa_*.json beside, in one folder or in folders of a folder."""

from __future__ import annotations

import os
from pathlib import Path

from anymask.data import photo
from anymask.data.layout import Layout
from anymask.data.paired import Found, Pair, PairedSet
from anymask.errors import BadImage, BadSetting
from anymask.records import sa1b
from anymask.records.record import Record


def masks(pair: Pair[Path]) -> Found:
    """The masks of a picture's JSON. Raises BadSetting, BadImage."""
    try:
        return found(sa1b.read(pair.truth))
    except OSError as error:
        raise BadImage(f"{pair.truth} cannot be read: {error.strerror or error}") from None


def found(record: Record) -> Found:
    """The masks of a record that have pixels; labels only where one has a label."""
    kept = record.masks[record.masks.areas() > 0]
    named = any(label is not None for label in kept.labels)
    return Found(record.image.size, tuple(kept.rle), tuple(label or "" for label in kept.labels) if named else ())


def pairs(folder: Path) -> list[Pair[Path]]:
    """The pictures in a folder, not those of folders within, that have a JSON of the same name, in order of names."""
    jsons, pictures = set(), {}
    with os.scandir(folder) as entries:
        # one look at a folder of 11,000 pictures instead of one a picture
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            if suffix == ".json":
                jsons.add(stem)
            elif suffix.lower() in photo.SUFFIXES and not stem.startswith("."):
                pictures[stem] = entry.name
    return [
        Pair(stem, folder / pictures[stem], folder / f"{stem}.json") for stem in sorted(jsons.intersection(pictures))
    ]


def _all(path: Path) -> list[Pair[Path]]:
    own = pairs(path)
    if own:
        return own
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    return [
        Pair(f"{folder.name}/{pair.name}", pair.picture, pair.truth) for folder in folders for pair in pairs(folder)
    ]


def _recognises(path: Path) -> bool:
    if not path.is_dir():
        return False
    folders = [path, *sorted(folder for folder in path.iterdir() if folder.is_dir())[:3]]
    for first in (pairs(folder)[:1] for folder in folders):
        if first:
            # labelme and others also leave a JSON beside each picture
            with first[0].truth.open("rb") as file:
                head = file.read(1 << 16)
            return b'"annotations"' in head or b'"image_id"' in head
    return False


def _open(path: Path) -> list[PairedSet[Path]]:
    if not path.is_dir():
        raise BadSetting(f"{path} is no folder; expected {LAYOUT.looks}")
    every = _all(path)
    if not every:
        raise BadSetting(f"{path} holds no picture with a JSON of its name; expected {LAYOUT.looks}")
    return [PairedSet(path.resolve().name, every, masks)]


LAYOUT = Layout("sa1b", "sa_*.jpg with sa_*.json beside, in one folder or in folders of a folder", _recognises, _open)
