"""Pictures with PNG label maps beside them: numbers of instances, indices of classes, or black and white masks.

    images/NAME.jpg   labels/NAME.png        the folder of maps may also be called masks, annotations, instances, gt
    JPEGImages/NAME.jpg   SegmentationObject/NAME.png       PASCAL VOC

What the numbers mean is not written in a PNG. Black and white maps and such of more than 8 bits are clear; for others
`kind` must say whether a number is an object ("png-instances") or a class whose pieces are objects ("png-classes").
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.data import photo
from anymask.data.layout import Layout
from anymask.data.paired import Found, Pair, PairedSet, within
from anymask.errors import BadImage, BadSetting
from anymask.masks.rle import RLE, between, of_lengths
from anymask.records import labelmap

VOID = 255
"""The number that 8-bit maps give to pixels that belong to nobody known."""

PHOTOS = ("images", "image", "imgs", "img", "im", "JPEGImages", "photos", "data")
MAPS = ("labels", "label", "masks", "mask", "annotations", "instances", "gt", "gts", "SegmentationObject", "targets")
"""Folders that pictures and maps are looked for in, in this order."""

LOOKED_AT = 16
"""Maps that are opened to tell what kind they are."""


@dataclass(frozen=True)
class NumberMap:
    """Masks of a map of numbers.

    pieces: each connected piece of a number is a mask of its own, pixels that touch by a corner only being connected.
    ignore: numbers that are no mask, besides 0. least: numbers below are no mask; Cityscapes' instances begin at 1000.
    names: of numbers, after they were divided by `divisor`, for labels; without, masks have none. named: numbers that
    have no name are no mask.
    bright: the map is black and white, and what is brighter than half is one number: JPEG leaves shades between.
    """

    pieces: bool = False
    ignore: tuple[int, ...] = (VOID,)
    least: int = 1
    names: Mapping[int, str] = field(default_factory=dict)
    divisor: int = 1
    named: bool = False
    bright: bool = False
    read: Callable[[Path], NDArray[np.int64]] = labelmap.levels

    def __call__(self, pair: Pair[Path]) -> Found:
        """Raises BadSetting, BadImage."""
        try:
            numbers = self.read(pair.truth)
        except OSError as error:
            raise BadImage(f"{pair.truth} cannot be read: {error.strerror or error}") from None
        return self.found(numbers)

    def found(self, numbers: NDArray[Any]) -> Found:
        """The masks of numbers [H, W], ascending."""
        size = (int(numbers.shape[0]), int(numbers.shape[1]))
        if self.bright:
            numbers = (numbers > (127 if numbers.max(initial=0) > 1 else 0)).astype(np.int64)
        wanted = [number for number in np.unique(numbers).tolist() if self._wanted(number)]
        if not self.pieces:
            coded = runs(numbers)
            found = [(number, coded[number]) for number in wanted]
        else:
            found = [(number, piece) for number in wanted for piece in cut(numbers == number)]
        labels = [self.names.get(number // self.divisor, str(number // self.divisor)) for number, _ in found]
        return Found(size, tuple(rle for _, rle in found), tuple(labels) if self.names else ())

    def _wanted(self, number: int) -> bool:
        if number < self.least or (number in self.ignore and not self.bright):
            return False
        return not self.named or number // self.divisor in self.names


def runs(numbers: NDArray[Any]) -> dict[int, RLE]:
    """The mask of each number of a map [H, W] but 0, in one pass over it however many there are."""
    height, width = numbers.shape
    flat = np.ascontiguousarray(numbers.T).reshape(-1)
    first = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    last = np.append(first[1:], flat.size)
    owner = flat[first]
    order = np.argsort(owner, kind="stable")
    owner, ends = owner[order], np.stack([first[order], last[order]], 1)
    starts = np.concatenate([[0], np.flatnonzero(owner[1:] != owner[:-1]) + 1, [len(owner)]]).tolist()
    found = {}
    for begin, end in itertools.pairwise(starts):
        if owner[begin] != 0:
            found[int(owner[begin])] = of_lengths(
                between(ends[begin:end].reshape(-1), (height, width)), (height, width)
            )
    return found


def cut(mask: NDArray[np.bool_]) -> list[RLE]:
    """The connected pieces of a mask, bool [H, W], top to bottom; corners connect."""
    numbers = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)[1]
    return [piece for _, piece in sorted(runs(numbers).items())]


INSTANCES = NumberMap(ignore=())
OBJECTS = NumberMap()
CLASSES = NumberMap(pieces=True)
BINARY = NumberMap(bright=True)


def map_set(
    name: str, pictures: Path, maps: Path, masks: Callable[[Pair[Path]], Found], *, cut: str = "", add: str = ""
) -> PairedSet[Path]:
    """The pictures under a folder that have a map of the same name under another.

    cut: ending that a picture's stem has and its map's has not. add: ending that a map's stem has besides. Raises
    BadSetting where none has.
    """
    truths: dict[str, Path] = {}
    for file in photo.pictures(maps):
        if file.stem.endswith(add):
            truths[within(file.with_name(file.stem.removesuffix(add)), maps)] = file
    pairs = []
    for file in photo.pictures(pictures):
        if not file.stem.endswith(cut):
            continue
        key = within(file.with_name(file.stem.removesuffix(cut)), pictures)
        truth = truths.get(key)
        if truth is not None and truth != file:
            pairs.append(Pair(within(file, pictures), file, truth))
    if not pairs:
        raise BadSetting(f"no picture in {pictures} has a map of its name in {maps}")
    return PairedSet(name, pairs, masks)


def folders(path: Path) -> list[tuple[str, Path, Path]]:
    """(name, pictures, maps) of each set under a folder: its own, or those of folders within."""
    if not path.is_dir():
        return []
    for root in ([path], sorted(one for one in path.iterdir() if one.is_dir())):
        found = []
        for folder in root:
            pictures = [folder / name for name in PHOTOS if (folder / name).is_dir()]
            maps = [folder / name for name in MAPS if (folder / name).is_dir()]
            maps = [one for one in maps if next(one.rglob("*.png"), None) is not None]
            if pictures and maps:
                found.append((folder.resolve().name, pictures[0], maps[0]))
        if found:
            return found
    return []


def told(maps: Sequence[Path]) -> NumberMap | None:
    """What the numbers of some maps mean, where that is clear: black and white, or too many numbers for classes."""
    values = [np.unique(labelmap.levels(file)) for file in maps]
    if all(len(one) <= 2 and (one[0] == 0 or len(one) == 1) and one[-1] in (0, 1, 255) for one in values):
        return BINARY
    if any(one[-1] > VOID for one in values):
        return INSTANCES
    return None


def _open(path: Path, masks: NumberMap | None) -> list[PairedSet[Path]]:
    sets = folders(path)
    if not sets:
        raise BadSetting(f"{path} holds no pictures with label maps; expected {LAYOUT.looks}")
    found = []
    for name, pictures, maps in sets:
        # VOC's folder tells what its numbers are
        rule = masks or (OBJECTS if maps.name == "SegmentationObject" else None)
        one = map_set(name, pictures, maps, rule or OBJECTS)
        if rule is None:
            chosen = [one.pairs[row].truth for row in _spread(len(one), LOOKED_AT)]
            rule = told(chosen)
            if rule is None:
                raise BadSetting(
                    f"the maps in {maps} may hold objects or classes: give kind='png-instances' if each number is an "
                    "object, kind='png-classes' if each connected piece of a number is"
                )
            one.masks = rule
        found.append(one)
    return found


def _spread(count: int, most: int) -> list[int]:
    return sorted({row * count // most for row in range(most)}) if count > most else list(range(count))


_LOOKS = "images/NAME.jpg with labels/NAME.png (or masks/, annotations/, gt/, SegmentationObject/)"

LAYOUT = Layout("png", _LOOKS, lambda path: bool(folders(path)), lambda path: _open(path, None))
AS_INSTANCES = Layout(
    "png-instances", "the same, each number an object", lambda path: False, lambda path: _open(path, OBJECTS)
)
AS_CLASSES = Layout(
    "png-classes", "the same, each connected piece of a number an object", lambda path: False,
    lambda path: _open(path, CLASSES),
)  # fmt: skip
