"""What every reader of data gives: photos with true masks, their pixels read when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadImage
from anymask.masks.rle import RLE
from anymask.pixels.resize import HW


@dataclass(frozen=True)
class Sample:
    """One photo and its true masks.

    name: unique within its dataset, "/" as separator. size: (H, W) pixels. masks: of that size; crowds are left out.
    labels: what each mask shows, as many as masks, or empty where the data does not say.
    """

    name: str
    size: HW
    masks: tuple[RLE, ...]
    labels: tuple[str, ...] = ()
    read: Callable[[], NDArray[np.uint8]] = field(repr=False, compare=False, default=lambda: np.zeros((0, 0, 3), "u1"))

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB. Raises BadImage where the file cannot be read, or is not of the size that was told."""
        found = self.read()
        if found.shape != (*self.size, 3):
            raise BadImage(f"{self.name} is {found.shape[0]} x {found.shape[1]}, its masks are made for {self.size}")
        return found


@runtime_checkable
class Dataset(Protocol):
    """Photos that can be asked for by number.

    name: of the set, as tables show it. licence: as the data states it, "" where it does not.
    """

    @property
    def name(self) -> str: ...
    @property
    def licence(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


@runtime_checkable
class Stream(Protocol):
    """Photos that come one after another, of unknown number: tar shards, buckets, generators."""

    @property
    def name(self) -> str: ...
    @property
    def licence(self) -> str: ...
    def __iter__(self) -> Iterator[Sample]: ...
