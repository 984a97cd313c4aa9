"""What is in a set: counts, sizes, labels, and what is broken in it, each with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from anymask.data.sample import Dataset, Sample, Stream
from anymask.errors import AnymaskError
from anymask.masks.rle import area

SMALL, LARGE = 32**2, 96**2
"""Pixels of a mask below which COCO calls it small, and from which on large."""


@dataclass(frozen=True)
class Problem:
    """A sample that cannot be used. name: or its number, where not even its name could be read."""

    name: str
    reason: str


@dataclass
class Summary:
    """What was seen of a set.

    images: in it; None for a stream, which does not know. seen: looked at. empty: without a mask. areas: px of each
    mask; shares: of its picture, 0..1. sides: (H, W) -> pictures. labels: -> masks.
    """

    name: str
    licence: str = ""
    images: int | None = None
    seen: int = 0
    empty: int = 0
    most: int = 0
    areas: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    sides: Counter[tuple[int, int]] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    @property
    def masks(self) -> int:
        return len(self.areas)

    def described(self) -> dict[str, Any]:
        """The figures as JSON can hold them."""
        areas, shares = np.array(self.areas), np.array(self.shares)
        known = self.masks > 0
        return {
            "set": self.name,
            "licence": self.licence,
            "images": self.images,
            "seen": self.seen,
            "without_masks": self.empty,
            "masks": self.masks,
            "masks_an_image": round(self.masks / self.seen, 2) if self.seen else 0.0,
            "most_in_one": self.most,
            "small": round(float((areas < SMALL).mean()), 4) if known else None,
            "medium": round(float(((areas >= SMALL) & (areas < LARGE)).mean()), 4) if known else None,
            "large": round(float((areas >= LARGE).mean()), 4) if known else None,
            "median_share": round(float(np.median(shares)), 6) if known else None,
            "sizes": {f"{width}x{height}": count for (height, width), count in self.sides.most_common(10)},
            "different_sizes": len(self.sides),
            "labels": dict(self.labels.most_common()),
            "problems": [{"name": one.name, "reason": one.reason} for one in self.problems],
        }


def summarise(
    data: Dataset | Stream,
    *,
    most: int | None = None,
    check: bool = False,
    tell: Callable[[int], None] | None = None,
) -> Summary:
    """What is in a set. Broken samples are listed and do not end it.

    most: samples looked at, spread evenly over a set, the first of a stream. check: also opens each picture and
    compares its size with that of its masks. tell: is called with the number of samples done.
    """
    found = Summary(data.name, data.licence, len(data) if isinstance(data, Dataset) else None)
    for number, (name, sample) in enumerate(_samples(data, most), 1):
        if isinstance(sample, Exception):
            found.problems.append(Problem(name, str(sample)))
        else:
            _add(found, sample)
            if check:
                _try(found, sample)
        if tell is not None:
            tell(number)
    return found


def spread(count: int, most: int | None) -> list[int]:
    """`most` of the numbers 0 to count - 1, evenly spread; all if there are no more."""
    if most is None or most >= count:
        return list(range(count))
    return [(2 * row + 1) * count // (2 * most) for row in range(most)]


def _samples(data: Dataset | Stream, most: int | None) -> Iterator[tuple[str, Sample | Exception]]:
    if isinstance(data, Dataset):
        for row in spread(len(data), most):
            try:
                sample = data[row]
                yield sample.name, sample
            except (AnymaskError, OSError) as error:
                yield f"sample {row}", error
        return
    # a stream that can pass over what is broken tells of it afterwards
    if hasattr(data, "broken") and hasattr(data, "problems"):
        setattr(data, "broken", "skip")  # noqa: B010
    before = len(getattr(data, "problems", ()))
    try:
        for sample in islice(iter(data), most):
            yield sample.name, sample
    except (AnymaskError, OSError) as error:
        yield "the stream", error
    for reason in getattr(data, "problems", ())[before:]:
        yield "a sample", BrokenSample(reason)


class BrokenSample(AnymaskError):
    """What a stream passed over."""


def _add(found: Summary, sample: Sample) -> None:
    found.seen += 1
    found.empty += not sample.masks
    found.most = max(found.most, len(sample.masks))
    found.sides[sample.size] += 1
    areas = area(sample.masks).tolist()
    found.areas += areas
    found.shares += [one / (sample.size[0] * sample.size[1]) for one in areas]
    found.labels.update(sample.labels)


def _try(found: Summary, sample: Sample) -> None:
    try:
        sample.pixels()
    except (AnymaskError, OSError) as error:
        found.problems.append(Problem(sample.name, str(error)))
