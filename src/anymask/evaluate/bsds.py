"""The BSDS boundary benchmark: how well edge maps agree with contours that people drew.

An edge pixel is right where a person's contour pixel lies near it, each contour pixel serving one edge pixel at most.
Source: Arbelaez et al., "Contour Detection and Hierarchical Image Segmentation" (2011), sections 3 and 6; Martin et
al. (2004). As in the official program as many pixels as possible are matched, at the least total distance; the official
search is randomised, this one is exact, and they agree to about 0.001 of F.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anymask.data.encodings import bsds500_people
from anymask.errors import BadSetting
from anymask.evaluate.overlap import Bools
from anymask.extras import need

THRESHOLDS = 99
TOLERANCE = 0.0075
"""How far apart matched pixels may be, as a share of the image's diagonal."""

ALONE = 100
"""What leaving a pixel unmatched costs, in units of the tolerance: more pixels matched goes before nearer ones."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Pixels at each threshold, int64 [T] each: contour pixels that are matched, contour pixels of all people, edge
    pixels that are matched to anyone's contour, edge pixels."""

    recalled: Ints
    contour: Ints
    right: Ints
    edge: Ints


@dataclass(frozen=True)
class Scores:
    """ods, ois: F at the best threshold of all images, of each image. ap: average precision. r50: recall at precision
    one half. recall, precision: float64 [T]. threshold: that of ods."""

    ods: float
    ois: float
    ap: float
    r50: float
    threshold: float
    recall: Floats
    precision: Floats


def thresholds(count: int = THRESHOLDS) -> Floats:
    """Evenly spread within 0..1, both ends left out: float64 [count]."""
    return np.arange(1, count + 1) / (count + 1)


def image_counts(
    edges: NDArray[np.floating], contours: Sequence[Bools], count: int = THRESHOLDS, tolerance: float = TOLERANCE
) -> Counts:
    """What one image adds to the benchmark.

    edges: [H, W] in 0..1. contours: what each person drew, bool [H, W]. count: thresholds.
    Raises BadSetting where sizes differ.
    """
    need("skimage.morphology", extra="evaluate", to="score edges")
    from skimage.morphology import thin

    if not contours or any(one.shape != edges.shape for one in contours):
        raise BadSetting(f"an edge map of {edges.shape} needs contours of its size")
    reach = tolerance * math.hypot(*edges.shape)
    people = [Contour(one, reach) for one in contours]
    drawn = sum(person.pixels for person in people)
    table = np.zeros((4, count), np.int64)
    before: Bools | None = None
    for place, level in enumerate(thresholds(count)):
        kept = edges >= level
        if before is not None and (kept == before).all():
            # few distinct values, or none left: nothing to match anew
            table[:, place] = table[:, place - 1]
            continue
        before = kept
        ys, xs = np.nonzero(thin(kept))
        right = np.zeros(len(ys), np.bool_)
        recalled = 0
        for person in people:
            met = person.match(ys, xs)
            recalled += int(np.count_nonzero(met))
            right |= met
        table[:, place] = recalled, drawn, np.count_nonzero(right), len(ys)
    return Counts(*table)


class Contour:
    """One person's contour, ready to be matched. reach: pixels, up to which two pixels may be matched."""

    def __init__(self, contour: Bools, reach: float) -> None:
        self.pixels = int(np.count_nonzero(contour))
        margin = math.floor(reach)
        steps = np.arange(-margin, margin + 1)
        y, x = (part.ravel() for part in np.meshgrid(steps, steps, indexing="ij"))
        near = y * y + x * x <= reach * reach
        self._margin = margin
        numbers = np.full((contour.shape[0] + 2 * margin, contour.shape[1] + 2 * margin), -1, np.int32)
        inner = numbers[margin : margin + contour.shape[0], margin : margin + contour.shape[1]]
        inner[contour] = np.arange(self.pixels)
        self._width = numbers.shape[1]
        self._numbers = numbers.ravel()
        self._steps = y[near] * self._width + x[near]
        # a sparse matrix takes 0 for nothing there; a constant more for all changes no choice
        self._costs = 1 + np.hypot(y[near], x[near])
        self._alone = 1 + ALONE * max(reach, 1)

    def match(self, ys: Ints, xs: Ints) -> Bools:
        """Which of the pixels (ys, xs) are matched, bool [N], when as many as possible are, at least distance."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import min_weight_full_bipartite_matching

        found = np.zeros(len(ys), np.bool_)
        centre = (ys + self._margin) * self._width + xs + self._margin
        # each pixel's neighbourhood at once; what has nobody near it need not be matched
        candidates = self._numbers[centre[:, None] + self._steps[None]]
        there = candidates >= 0
        degree = there.sum(1)
        rows = np.flatnonzero(degree)
        if len(rows) == 0:
            return found
        # each pixel may also stay alone, at a price that no other choice has
        own = np.arange(len(rows))
        costs = np.concatenate([np.broadcast_to(self._costs, there.shape)[there], np.full(len(rows), self._alone)])
        columns = np.concatenate([candidates[there], self.pixels + own])
        places = (np.concatenate([np.repeat(own, degree[rows]), own]), columns)
        graph = csr_matrix((costs, places), (len(rows), self.pixels + len(rows)))
        matched, partner = min_weight_full_bipartite_matching(graph)
        found[rows[matched]] = partner < self.pixels
        return found


def scores(images: Sequence[Counts]) -> Scores:
    """The benchmark's figures over images. Raises BadSetting where there are none."""
    if not images:
        raise BadSetting("there is no image to score edges on")
    levels = thresholds(len(images[0].edge))
    tables = np.array([[one.recalled, one.contour, one.right, one.edge] for one in images])  # [images, 4, T]
    recall, precision = _rates(tables.sum(0))
    _, ods, threshold = _best(levels, recall, precision)
    each = np.array([f_measure(*_rates(table)).argmax() for table in tables])
    ois = f_measure(*_rates(tables[np.arange(len(tables)), :, each].sum(0)))
    return Scores(
        ods, float(ois), _average_precision(recall, precision), _r50(recall, precision), threshold, recall, precision
    )


def best_of_image(counts: Counts) -> tuple[float, float, float, float]:
    """(threshold, recall, precision, F) at the best threshold of one image."""
    table = np.array([counts.recalled, counts.contour, counts.right, counts.edge])
    recall, precision = _rates(table)
    (r, p), f, threshold = _best(thresholds(len(counts.edge)), recall, precision)
    return threshold, r, p, f


def f_measure(recall: Floats, precision: Floats) -> Floats:
    """The harmonic mean, 0 where both are 0."""
    return np.asarray(2 * recall * precision / np.where(recall + precision == 0, 1, recall + precision))


def _rates(table: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """(recall, precision) of counts [4, ...]."""
    recalled, contour, right, edge = table
    return recalled / np.maximum(contour, 1), right / np.maximum(edge, 1)


def _best(levels: Floats, recall: Floats, precision: Floats) -> tuple[tuple[float, float], float, float]:
    """((recall, precision), F, threshold) of the best F, also between two thresholds, linearly, as officially done."""
    share = np.linspace(0, 1, 101)[:, None]

    def between(values: Floats) -> Floats:
        return np.concatenate([values[:1], (values[:-1] * (1 - share) + values[1:] * share).T.ravel()])

    many = [between(values) for values in (recall, precision, levels)]
    f = f_measure(many[0], many[1])
    best = int(f.argmax())
    return (float(many[0][best]), float(many[1][best])), float(f[best]), float(many[2][best])


def _average_precision(recall: Floats, precision: Floats) -> float:
    """The area under precision over recall, in steps of 0.01; 0 where no recall was measured so far out."""
    known, last = _distinct(recall)
    if len(known) < 2:
        return 0.0
    return float(np.interp(np.arange(101) / 100, known, precision[last], left=0, right=0).sum() / 100)


def _r50(recall: Floats, precision: Floats) -> float:
    """Recall where precision is one half; where it is never so low, at the lowest precision."""
    known, last = _distinct(precision)
    return float(np.interp(max(float(known[0]), 0.5), known, recall[last]))


def _distinct(values: Floats) -> tuple[Floats, Ints]:
    """Sorted distinct values, and where each occurs last."""
    known, first = np.unique(values[::-1], return_index=True)
    return known, len(values) - 1 - first


@dataclass(frozen=True)
class Bsds:
    """A BSDS500 folder: data/images/<part>/*.jpg and data/groundTruth/<part>/*.mat, wherever under it they are."""

    images: Path
    truth: Path

    @classmethod
    def at(cls, folder: Path, part: str = "test") -> Bsds:
        """Raises BadSetting where there is no such folder."""
        for root in (folder, folder / "data", folder / "BSDS500" / "data", folder / "BSR" / "BSDS500" / "data"):
            if (root / "images" / part).is_dir() and (root / "groundTruth" / part).is_dir():
                return cls(root / "images" / part, root / "groundTruth" / part)
        raise BadSetting(f"{folder} holds no BSDS500: data/images/{part}/*.jpg and data/groundTruth/{part}/*.mat")

    def names(self) -> list[str]:
        """Names of the images that people drew contours of, sorted by number."""
        found = {path.stem for path in self.images.glob("*.jpg")} & {path.stem for path in self.truth.glob("*.mat")}
        return sorted(found, key=lambda name: (len(name), name))

    def contours(self, name: str) -> list[Bools]:
        """What each person drew, bool [H, W] each. Raises as `data.encodings.bsds500_people`."""
        return [boundaries for _, boundaries in bsds500_people(self.truth / f"{name}.mat")]
