"""YOLO segmentation sets, by their data.yaml: a set for each of train, val and test."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from anymask.data import photo, sa1b
from anymask.data.layout import Layout
from anymask.data.paired import Found, Pair, PairedSet
from anymask.errors import BadImage, BadSetting
from anymask.extras import need
from anymask.records import yolo

NAMES = ("data.yaml", "data.yml", "dataset.yaml")


def masks(pair: Pair[Path], names: Mapping[int, str]) -> Found:
    """The masks of a picture's lines. Raises BadSetting, BadImage."""
    try:
        return sa1b.found(yolo.read_one(pair.picture, pair.truth, names))
    except OSError as error:
        raise BadImage(f"{pair.picture} cannot be read: {error.strerror or error}") from None


def _file(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix in (".yaml", ".yml") else None
    return next((path / name for name in NAMES if (path / name).is_file()), None)


def _pictures(root: Path, beside: Path, named: str) -> list[Path]:
    """The pictures of a folder that a split names, or of a list of files.

    Exports of Roboflow name "../train/images" although the folder lies beside the file, and data sets moved from
    elsewhere keep a "path" that is not there; ultralytics looks beside the file then, and so is done here.
    """
    tries = [root / named, beside / named, beside / named.removeprefix("../")]
    at = next((place for place in tries if place.exists()), None)
    if at is None:
        raise BadSetting(f"{beside} names {named}, which is not there; expected {tries[0]}")
    if at.is_dir():
        return photo.pictures(at)
    lines = [line.strip() for line in at.read_text("utf-8").splitlines() if line.strip()]
    return [at.parent / line for line in lines]


def _open(path: Path) -> list[PairedSet[Path]]:
    file = _file(path)
    if file is None:
        raise BadSetting(f"{path} is no data.yaml and holds none; expected {LAYOUT.looks}")
    root, names, splits = yolo.described(file)
    found, missing = [], []
    for split, folders in splits.items():
        try:
            files = [one for folder in folders for one in _pictures(root, file.parent, folder)]
        except BadSetting as error:
            # a split that was not unpacked does no harm to the others
            missing.append(error)
            continue
        pairs = [Pair(_name(one, file.parent, root), one, yolo.labels_of(one)) for one in dict.fromkeys(files)]
        if pairs:
            found.append(PairedSet(split, pairs, functools.partial(masks, names=names), _licence(file)))
    if not found:
        raise missing[0] if missing else BadSetting(f"{file} names no folder with pictures")
    return found


def _name(picture: Path, *roots: Path) -> str:
    """Its path below the first root that it lies in."""
    inside = (picture.relative_to(root) for root in roots if root in picture.parents)
    return next(inside, picture).as_posix()


def _licence(file: Path) -> str:
    """What Roboflow's exports say of it."""
    said = need("yaml", extra="yolo", to="read YOLO's data.yaml").safe_load(file.read_text("utf-8"))
    inner = said.get("roboflow") if isinstance(said.get("roboflow"), dict) else {}
    return str(inner.get("license") or said.get("license") or said.get("licence") or "")


LAYOUT = Layout(
    "yolo",
    "data.yaml that names folders images/..., with outlines in labels/....txt",
    lambda path: _file(path) is not None,
    _open,
)
