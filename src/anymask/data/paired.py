"""Sets whose pictures each have true masks of their own, in files beside them or in a row of an index."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from anymask.data import photo
from anymask.data.sample import Sample
from anymask.masks.rle import RLE
from anymask.pixels.resize import HW

Truth = TypeVar("Truth")


class Found(NamedTuple):
    """What the truth of one picture says. size: (H, W). labels: as many as masks, or none."""

    size: HW
    masks: tuple[RLE, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair(Generic[Truth]):
    """One picture. name: unique in its set. picture: its file. truth: what its masks are read from."""

    name: str
    picture: Path
    truth: Truth


class PairedSet(Generic[Truth]):
    """Pictures with a truth each, read when asked for. Safe to send to other processes where `masks` is.

    masks: the masks of a pair, empty ones left out; raises BadSetting or BadImage, which name the file.
    """

    def __init__(
        self, name: str, pairs: Sequence[Pair[Truth]], masks: Callable[[Pair[Truth]], Found], licence: str = ""
    ) -> None:
        self.name, self.licence, self.pairs, self.masks = name, licence, pairs, masks

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int, /) -> Sample:
        pair = self.pairs[range(len(self.pairs))[index]]
        found = self.masks(pair)
        read = functools.partial(photo.rgb, pair.picture, found.size)
        return Sample(pair.name, found.size, found.masks, found.labels, read)


def by_stem(pictures: Sequence[Path], *, cut: str = "") -> dict[str, Path]:
    """Pictures by the stem of their names. cut: an ending of the stem that is left out."""
    return {file.stem.removesuffix(cut): file for file in pictures}


def within(file: Path, folder: Path) -> str:
    """A picture's name in its set: its path below the folder, "/" as separator."""
    return file.relative_to(folder).as_posix()
