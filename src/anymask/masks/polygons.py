"""Outlines of masks along pixel edges, with holes, and back to pixels.

Coordinates are (x, y) of pixel corners: the pixel in column 3, row 5 covers 3..4 by 5..6. Filling the outlines of a
mask by the even-odd rule gives back that mask exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.pixels.resize import HW


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected part of a mask.

    exterior: int32 [K, 2] (x, y), clockwise as seen on the screen, not repeating its first point.
    holes: int32 [K, 2] each, the other way round.
    Rings never cross or pass a point twice; two of them may share single points.
    """

    exterior: NDArray[np.int32]
    holes: tuple[NDArray[np.int32], ...] = ()

    @property
    def rings(self) -> tuple[NDArray[np.int32], ...]:
        """The exterior, then the holes."""
        return (self.exterior, *self.holes)

    @property
    def area(self) -> float:
        """Square pixels, holes taken out."""
        return float(sum(ring_area(ring) for ring in self.rings))


def outlines(mask: NDArray[np.bool_], *, simplify: float = 0.0) -> list[Polygon]:
    """The parts of a mask, top to bottom; pixels that touch only at a corner are parts of their own.

    mask: bool [H, W]. simplify: how far, in pixels, an outline may leave the pixel edges to need fewer points; 0 keeps
    every corner. Raises BadSetting if it is negative.

    Every corner of the outline ends one horizontal and one vertical edge, so along each grid line corners pair up to
    edges, and following edges in turn gives the rings. Only corners are ever looked at one by one.
    """
    simplify = tolerance(simplify)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    crop = np.ascontiguousarray(mask[top : rows[-1] + 1, left : columns[-1] + 1], np.uint8)

    def connected(places: list[tuple[int, int]]) -> list[int]:
        labels = cv2.connectedComponents(crop, connectivity=4, ltype=cv2.CV_32S)[1]
        return [int(labels[place]) for place in places]

    return assembled(Corners.of(np.pad(crop, 1)), connected, (left, top), simplify)


def tolerance(simplify: float) -> float:
    """How far outlines may leave the pixels' edges, checked. Raises BadSetting."""
    if not simplify >= 0 or simplify == np.inf:
        raise BadSetting(f"simplify is a distance in pixels, 0 or more, got {simplify}")
    return simplify


def assembled(
    corners: Corners,
    connected: Callable[[list[tuple[int, int]]], list[int]],
    shift: tuple[int, int],
    simplify: float,
) -> list[Polygon]:
    """The polygons that corners make. shift: (x, y) to be added to them. simplify: see `outlines`.

    connected: the number of the connected part that each of some pixels (row, column) belongs to.
    """
    rings = corners.rings()
    parts: list[list[Any]] = []
    part_of: dict[int, int] = {}
    numbers = connected([ring.pixel for ring in rings]) if len(rings) > 1 else [0]
    for number, ring in zip(numbers, rings, strict=True):
        if ring.shell:
            part_of[number] = len(parts)
            parts.append([ring.points, []])
        parts[part_of[number]][1].extend(ring.holes if ring.shell else [ring.points, *ring.holes])
    found = []
    for shell, holes in parts:
        shell, *holes = (_simplified(ring + np.array(shift, np.int32), simplify) for ring in (shell, *holes))
        found.append(Polygon(shell, tuple(hole for hole in holes if len(hole) > 2)))
    return found


def fill(polygons: Iterable[Polygon | Sequence[Any]], size: HW) -> NDArray[np.bool_]:
    """bool [H, W]: pixels whose centre lies inside an odd number of rings; the union over polygons.

    polygons: Polygon, or a sequence of rings [K, 2] (x, y) in pixels, the first the exterior. Parts may lie outside of
    the image. The inverse of `outlines` where nothing was simplified.
    """
    height, width = size
    if height < 1 or width < 1:
        raise BadSetting(f"a mask must have at least one pixel, got {size}")
    filled = np.zeros((height, width), np.bool_)
    for polygon in polygons:
        rings = polygon.rings if isinstance(polygon, Polygon) else polygon
        starts, ends = [], []
        for ring in rings:
            corners = _ring(ring)
            starts.append(corners)
            ends.append(np.roll(corners, -1, 0))
        if starts:
            _toggle(np.concatenate(starts), np.concatenate(ends), filled)
    return filled


def ring_area(ring: NDArray[Any]) -> float:
    """Signed area in square pixels of a ring [K, 2]: positive when it runs clockwise on the screen."""
    x, y = np.asarray(ring, np.float64).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


@dataclass(frozen=True)
class _Ring:
    """points: int32 [K, 2] in the crop. shell: outer or inner. pixel: (row, column) of a pixel of its part.

    holes: further inner rings, cut off where the ring met itself.
    """

    points: NDArray[np.int32]
    shell: bool
    pixel: tuple[int, int]
    holes: tuple[NDArray[np.int32], ...]


@dataclass(frozen=True)
class Corners:
    """The C corners of an outline in reading order, each ending one horizontal edge and one vertical edge.

    Where two pixels touch by a corner only there are two corners at one place, one for each pixel.
    x, y: [C]. right: [C] whether its horizontal edge leads right. down: [C] whether its vertical edge leads down.
    leads: [C] whether walking along its horizontal edge, away from it, has the foreground on the right hand.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    right: NDArray[np.bool_]
    down: NDArray[np.bool_]
    leads: NDArray[np.bool_]

    @classmethod
    def of(cls, padded: NDArray[np.uint8]) -> Corners:
        """padded: uint8 [h + 2, w + 2] of 0 and 1, a border of 0 around."""
        beside = padded[:, 1:] ^ padded[:, :-1]
        crossed = beside[:-1] & beside[1:]
        crossed &= padded[:-1, :-1] ^ padded[1:, :-1]
        beside = beside[:-1] ^ beside[1:]
        beside |= crossed
        places = np.flatnonzero(beside.reshape(-1).view(np.bool_))
        crossed_here = crossed.reshape(-1)[places].view(np.bool_)
        # where two pixels touch, the corner whose edge leads left comes first: it ends the edge before
        second = np.zeros(len(places) + int(crossed_here.sum()), np.bool_)
        twice = np.repeat(np.arange(len(places)), 1 + crossed_here)
        second[1:] = twice[1:] == twice[:-1]
        y, x = np.divmod(places[twice], beside.shape[1])
        double = crossed_here[twice]
        upper_left, upper_right = padded[y, x] > 0, padded[y, x + 1] > 0
        lower_left, lower_right = padded[y + 1, x] > 0, padded[y + 1, x + 1] > 0
        return cls.between(x, y, (upper_left, upper_right, lower_left, lower_right), double, second)

    @classmethod
    def between(
        cls,
        x: NDArray[np.int64],
        y: NDArray[np.int64],
        around: tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]],
        double: NDArray[np.bool_],
        second: NDArray[np.bool_],
    ) -> Corners:
        """Corners at places [C] in reading order, by the four pixels around each: upper left, upper right, lower two.

        double: whether there are two corners at that place, and second: whether this is the second of them.
        """
        upper_left, upper_right, lower_left, lower_right = around
        right = np.where(double, second, upper_right != lower_right)
        down = np.where(double, second == upper_left, lower_left != lower_right)
        return cls(x, y, right, down, np.where(right, lower_right, upper_left))

    def rings(self) -> list[_Ring]:
        """The closed lines through the corners, in the order of their topmost edges, leftmost first."""
        count = len(self.x)
        # reading order pairs horizontal neighbours as they stand: corner 2e and 2e + 1 are the ends of edge e
        order = np.lexsort((self.down, self.y, self.x))
        partner = np.empty(count, np.int64)
        partner[order[0::2]] = order[1::2]
        partner[order[1::2]] = order[0::2]
        start = np.arange(0, count, 2) + ~self.leads[0::2]
        end = start ^ 1
        following = (partner[end] >> 1).tolist()
        seen = bytearray(len(following))
        walk: list[int] = []
        firsts: list[int] = []
        for edge in range(len(following)):
            if seen[edge]:
                continue
            firsts.append(len(walk))
            while not seen[edge]:
                seen[edge] = 1
                walk.append(edge)
                edge = following[edge]
        edges = np.array(walk, np.int64)
        corners = np.stack([start[edges], end[edges]], 1).reshape(-1)
        points = np.stack([self.x[corners], self.y[corners]], 1).astype(np.int32)
        bounds = np.array([*firsts, len(walk)], np.int64)
        meets_itself = self._self_touching(edges, bounds)
        found = []
        for index, first in enumerate(firsts):
            ring = points[2 * first : 2 * int(bounds[index + 1])]
            corner = int(start[walk[first]])
            # a ring starts with its topmost edge, leftmost of those: walked to the right it is an outer ring
            shell = bool(self.right[corner])
            x, y = int(ring[0, 0]), int(ring[0, 1])
            pixel = (y, x) if shell else (y - 1, x - 1)
            holes: tuple[NDArray[np.int32], ...] = ()
            if index in meets_itself:
                ring, holes = _apart(ring, shell)
            found.append(_Ring(ring, shell, pixel, holes))
        return found

    def _self_touching(self, edges: NDArray[np.int64], bounds: NDArray[np.int64]) -> set[int]:
        """Which rings pass a point twice."""
        same = np.flatnonzero((self.x[1:] == self.x[:-1]) & (self.y[1:] == self.y[:-1]))
        if not len(same):
            return set()
        ring_of = np.empty(len(edges), np.int64)
        ring_of[edges] = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        first, second = ring_of[same >> 1], ring_of[(same + 1) >> 1]
        return set(first[first == second].tolist())


def _apart(ring: NDArray[np.int32], shell: bool) -> tuple[NDArray[np.int32], tuple[NDArray[np.int32], ...]]:
    """A ring that meets itself, cut there into rings that do not: (the first, further inner rings)."""
    place: dict[tuple[int, int], int] = {}
    path: list[tuple[int, int]] = []
    loops = []
    for x, y in ring.tolist():
        point = (x, y)
        at = place.get(point)
        if at is None:
            place[point] = len(path)
            path.append(point)
            continue
        loops.append(np.array(path[at:], np.int32))
        for passed in path[at + 1 :]:
            del place[passed]
        del path[at + 1 :]
    loops.append(np.array(path, np.int32))
    if shell:
        # exactly one loop goes round the whole part; the others go round pockets that are open at a corner only
        outer = max(range(len(loops)), key=lambda index: ring_area(loops[index]))
        return loops[outer], tuple(loop for index, loop in enumerate(loops) if index != outer)
    return loops[0], tuple(loops[1:])


def _simplified(ring: NDArray[np.int32], tolerance: float) -> NDArray[np.int32]:
    if tolerance == 0:
        return ring
    fewer = cv2.approxPolyDP(ring[:, None], tolerance, True).reshape(-1, 2)
    if len(fewer) > 2 and ring_area(fewer) * ring_area(ring) > 0:
        return np.asarray(fewer, np.int32)
    # a part must not vanish, a hole may
    return ring if ring_area(ring) > 0 else ring[:0]


def _ring(ring: Any) -> NDArray[np.float64]:
    try:
        corners = np.asarray(ring, np.float64)
    except (TypeError, ValueError):
        raise BadSetting("a ring of a polygon must be [K, 2] numbers (x, y)") from None
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise BadSetting(f"a ring of a polygon must be [K, 2] (x, y) with at least 3 corners, got {corners.shape}")
    if not np.isfinite(corners).all() or np.abs(corners).max() > 1e9:
        raise BadSetting("a polygon's corners must be finite and less than 1e9 px away")
    return corners


def _toggle(start: NDArray[np.float64], end: NDArray[np.float64], filled: NDArray[np.bool_]) -> None:
    """Adds to `filled` what lies within the edges start -> end, both [E, 2], by the even-odd rule at pixel centres."""
    height, width = filled.shape
    swap = start[:, 1] > end[:, 1]
    low, high = np.where(swap[:, None], end, start), np.where(swap[:, None], start, end)
    # rows whose centre y + 0.5 lies in [low, high): half open, so that a corner on a centre line counts once
    first = np.clip(np.ceil(low[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(high[:, 1] - 0.5), 0, height).astype(np.int64)
    keep = last > first
    if not keep.any():
        return
    low, high, first, last = low[keep], high[keep], first[keep], last[keep]
    lengths = last - first
    edge = np.repeat(np.arange(len(lengths)), lengths)
    row = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[edge]
    slope = (high[:, 0] - low[:, 0]) / (high[:, 1] - low[:, 1])
    x = low[edge, 0] + (row + 0.5 - low[edge, 1]) * slope[edge]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    top, bottom = int(row.min()), int(row.max()) + 1
    left = int(column.min())
    toggles = np.zeros((bottom - top, width - left + 1), np.uint8)
    np.bitwise_xor.at(toggles, (row - top, column - left), np.uint8(1))
    inside = np.bitwise_xor.accumulate(toggles[:, :-1], axis=1).view(np.bool_)
    filled[top:bottom, left:] |= inside
