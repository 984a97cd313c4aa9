"""Which mask lies in which: whole, part and subpart as a containment tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from anymask.masks.masks import Masks

INSIDE = 0.9
"""A mask lies in another when so much of its area does; outlines of parts seldom keep to that of the whole."""

LARGER = 1.2
"""By how much the other must be larger; two sights of one object are no parent and child."""

AT_ONCE = 8
"""Candidates compared in one call: mostly one of the smallest is the parent already."""


def parents(masks: Masks) -> NDArray[np.int64]:
    """The row of the smallest mask that each mask lies in, -1 for none: int64 [N].

    A parent is larger than its child, so the result is a forest. Of two equally large parents the earlier row counts.
    Empty masks lie nowhere. Boxes decide for most pairs; run lengths are compared for the rest.
    """
    found = np.full(len(masks), -1, np.int64)
    if len(masks) < 2:
        return found
    areas, boxes = masks.areas(), masks.boxes().astype(np.float64)
    order = np.argsort(areas, kind="stable")
    for row in range(len(masks)):
        area = areas[row]
        if area == 0:
            continue
        larger = order[np.searchsorted(areas[order], LARGER * area) :]
        width = np.minimum(boxes[row, 2], boxes[larger, 2]) - np.maximum(boxes[row, 0], boxes[larger, 0])
        height = np.minimum(boxes[row, 3], boxes[larger, 3]) - np.maximum(boxes[row, 1], boxes[larger, 1])
        # no more of a mask can lie in another than in the common part of both boxes
        possible = larger[np.maximum(width, 0) * np.maximum(height, 0) >= INSIDE * area]
        found[row] = _first(masks, row, possible)
    return found


def _first(masks: Masks, row: int, candidates: NDArray[np.int64]) -> int:
    """The first candidate that a mask lies in, or -1."""
    for start in range(0, len(candidates), AT_ONCE):
        some = candidates[start : start + AT_ONCE]
        # against a crowd, COCO's code divides the common area by that of the mask alone
        shares = coco.iou([masks.rle[row]], [masks.rle[other] for other in some], [1] * len(some))[0]
        inside = np.flatnonzero(np.asarray(shares) >= INSIDE)
        if len(inside):
            return int(some[inside[0]])
    return -1


def levels(parents: NDArray[np.int64]) -> NDArray[np.int64]:
    """How deep each row lies, 0 for a whole: int64 [N]. parents: rows or -1, without circles."""
    depth = np.zeros(len(parents), np.int64)
    above = np.asarray(parents, np.int64).copy()
    while (above >= 0).any():
        inside = above >= 0
        depth += inside
        above[inside] = parents[above[inside]]
    return depth


@dataclass(frozen=True)
class Branch:
    """A mask and those that lie directly in it, largest first."""

    row: int
    parts: tuple[Branch, ...]


def branches(parents: NDArray[np.int64], areas: Sequence[int] | NDArray[np.int64]) -> tuple[Branch, ...]:
    """The trees of a forest, largest first. parents: rows or -1; areas: pixels of each mask."""
    below: dict[int, list[int]] = {}
    for row in np.argsort(-np.asarray(areas), kind="stable").tolist():
        below.setdefault(int(parents[row]), []).append(row)
    built: dict[int, Branch] = {}
    depth = levels(np.asarray(parents, np.int64))
    for row in np.argsort(-depth, kind="stable").tolist():
        built[row] = Branch(row, tuple(built[part] for part in below.get(row, [])))
    return tuple(built[row] for row in below.get(-1, []))
