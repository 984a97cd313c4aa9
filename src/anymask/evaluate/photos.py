"""Which photos and masks of some data take part: evenly spread, or drawn by photo where there are very many."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anymask.data.open import open_data
from anymask.data.sample import Dataset, Sample, Stream
from anymask.errors import BadSetting
from anymask.evaluate.protocol import Choice, Unit
from anymask.masks.rle import RLE, area, decode

MANY = 15_000
"""Masks of a set; of more, photos are drawn until there are about ENOUGH. Source: Segment Anything, appendix D.1."""
ENOUGH = 10_000


@dataclass(frozen=True)
class Photo:
    """A photo and those of its true masks that take part. rows: their places among the sample's masks."""

    sample: Sample
    rows: tuple[int, ...]

    @property
    def masks(self) -> list[RLE]:
        return [self.sample.masks[row] for row in self.rows]

    @property
    def labels(self) -> list[str]:
        """What each mask shows, "" where the data does not say."""
        return [self.sample.labels[row] if self.sample.labels else "" for row in self.rows]

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB."""
        return self.sample.pixels()

    def truths(self) -> NDArray[np.bool_]:
        """bool [N, H, W]"""
        return decode(self.masks) if self.rows else np.zeros((0, *self.sample.size), np.bool_)


@dataclass(frozen=True)
class _Listed:
    """What is remembered of a sample between listing and measuring it."""

    name: str
    masks: list[int]
    digests: list[str]
    sample: Callable[[], Sample]


def sets_of(data: Path, choice: Choice) -> list[Dataset | Stream]:
    """The sets under `data`, or those that are named. Raises BadSetting where a name is unknown."""
    found = open_data(data, choice.kind)
    only = choice.only
    names = [one.name for one in found]
    unknown = sorted(set(only) - set(names))
    if unknown:
        raise BadSetting(f"{data} has no set {', '.join(unknown)}; it has {', '.join(names)}")
    return [one for one in found if not only or one.name in only]


def mask_units(data: Path, choice: Choice, *, smallest: int = 1, thin_out: bool = True) -> list[Unit]:
    """Units of photos with the masks that take part, at most `choice.cap` of a set, evenly spread in file order.

    smallest: masks with fewer pixels are left out. thin_out: of a set of more than MANY masks and without a cap, draw
    photos until there are about ENOUGH.
    """
    units: list[Unit] = []
    for found in sets_of(data, choice):
        listed = _listed(found, smallest, choice.cap)
        pairs = [(one, row) for one in listed for row in range(len(one.masks))]
        if choice.cap is not None and len(pairs) > choice.cap:
            pairs = [pairs[int((q + 0.5) * len(pairs) / choice.cap)] for q in range(choice.cap)]
        elif choice.cap is None and thin_out and len(pairs) > MANY:
            pairs = _drawn(listed, choice.seed)
        chosen: dict[str, tuple[_Listed, list[int]]] = {}
        for one, row in pairs:
            chosen.setdefault(one.name, (one, []))[1].append(row)
        units += [_unit(found.name, one, rows) for one, rows in chosen.values()]
    return units


def photo_units(data: Path, choice: Choice, *, smallest: int = 1, empty: bool = False) -> list[Unit]:
    """Units of photos with all their masks, at most `choice.cap` photos of a set, evenly spread in file order.

    empty: also those without a mask.
    """
    units: list[Unit] = []
    for found in sets_of(data, choice):
        listed = [one for one in _listed(found, smallest, None) if one.masks or empty]
        if choice.cap is not None and choice.cap < len(listed):
            listed = [listed[int(place)] for place in np.linspace(0, len(listed) - 1, choice.cap)]
        units += [_unit(found.name, one, list(range(len(one.masks)))) for one in listed]
    return units


def _unit(dataset: str, one: _Listed, rows: list[int]) -> Unit:
    places = tuple(one.masks[row] for row in rows)
    digest = hashlib.sha256("\n".join(one.digests[row] for row in rows).encode()).hexdigest()
    return Unit(dataset, one.name, len(rows), digest, lambda: Photo(one.sample(), places))


def _listed(found: Dataset | Stream, smallest: int, cap: int | None) -> list[_Listed]:
    """Every sample with its masks that are large enough; of a stream, the first samples with enough masks."""
    rows, masks = [], 0
    for sample, again in _samples(found):
        areas = area(sample.masks)
        large = [int(row) for row in np.flatnonzero(areas >= max(smallest, 1))]
        digests = [hashlib.sha256(sample.masks[row]["counts"]).hexdigest() for row in large]
        rows.append(_Listed(sample.name, large, digests, again))
        masks += len(large)
        if isinstance(found, Stream) and not isinstance(found, Dataset) and masks >= (cap or ENOUGH):
            # a stream may never end
            break
    return rows


def _samples(found: Dataset | Stream) -> Iterator[tuple[Sample, Callable[[], Sample]]]:
    """Each sample, and how to get it again."""
    if isinstance(found, Dataset):
        for index in range(len(found)):
            yield found[index], lambda index=index: found[index]  # type: ignore[misc]
    else:
        for sample in found:
            yield sample, lambda sample=sample: sample  # type: ignore[misc]


def _drawn(listed: list[_Listed], seed: int) -> list[tuple[_Listed, int]]:
    """(sample, row) of the masks of photos drawn at random, in file order."""
    taken, masks = [], 0
    for place in np.random.default_rng(seed).permutation(len(listed)):
        if masks >= ENOUGH:
            break
        taken.append(int(place))
        masks += len(listed[place].masks)
    return [(listed[place], row) for place in sorted(taken) for row in range(len(listed[place].masks))]
