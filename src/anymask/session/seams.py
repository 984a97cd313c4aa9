"""Masks of overlapping tiles, put together to the objects of the whole image.

An object that a tile's edge cuts is seen by the neighbour too, and both saw the same of it where the tiles overlap. So
two masks of different tiles belong to one object when they agree inside the zone that both tiles saw. Objects are grown
from such pairs, the best first, under two rules that keep nested masks apart:

- Two masks of one tile that overlap each other (a car and its door) are never in one object, even if a third mask, of
  a tile that shows only the door's end, agrees with both; it then belongs to both objects.
- Two masks that clearly disagree where both tiles looked are never in one object, whatever lies between them.

Two masks of one tile that do not overlap may well be one object: the arms of a U whose bow another tile shows.
Everything is decided by pixels, scores and places; the order in which tiles arrive changes nothing.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import RLE
from anymask.masks.strips import Strips
from anymask.pixels.resize import HW
from anymask.pixels.window import Window

AGREE = 0.5
"""IoU in the shared zone from which two masks are one object, if neither agrees better with a rival."""

SHARED = 0.9
"""The same if one of them does: a mask that ends where a part ends belongs to the whole and to the part."""

RIVAL = 0.1
"""Masks of one tile that overlap by more than this share of the smaller one are rivals, not pieces of one object."""

CLASH, DIFFER = 0.2, 0.1
"""Masks of two tiles clash when they agree by less than CLASH and differ by more than DIFFER of the smaller one's area.
More would be stricter than the outlines of thin things are sure: a road of 8 px seen 1 px off agrees by 0.6."""

DUPLICATE = 0.7
"""IoU of two finished objects from which they are one, unless a tile saw both side by side."""


@dataclass(frozen=True, eq=False)
class Piece:
    """One mask of one tile.

    tile, row: where it comes from. strips: its pixels, counted from the tile's corner. cuts: how many of the tile's
    inner edges it touches. views: by the number of another tile, what of it lies in that tile.
    """

    tile: int
    row: int
    strips: Strips
    area: int
    score: float
    cuts: int
    views: dict[int, RLE] = field(repr=False)

    @property
    def key(self) -> tuple[int, int]:
        """Its place among all pieces."""
        return (self.tile, self.row)


@dataclass(frozen=True, eq=False)
class Object:
    """One object of the image: its pixels on the image, and the pieces that they are made of, the best first."""

    strips: Strips
    area: int
    score: float
    pieces: tuple[Piece, ...]


class Seams:
    """Takes the masks of each tile in any order, then gives the objects.

    size: (H, W) of the image. windows: the tiles.
    """

    def __init__(self, size: HW, windows: Sequence[Window]) -> None:
        self.size, self.windows = size, list(windows)
        self.zones = _zones(self.windows)
        self._pieces: dict[int, list[Piece]] = {}

    def add(self, tile: int, masks: Masks) -> None:
        """The masks of a tile, on the tile's own canvas; empty ones are left out. Raises BadSetting."""
        window = self.windows[tile]
        if masks.size != window.size:
            raise BadSetting(f"the masks of a tile must be {window.size} (H, W), got {masks.size}")
        found = []
        for row, rle in enumerate(masks.rle):
            strips = Strips.of(rle)
            area = strips.area()
            if not area:
                continue
            views = {}
            for other, zone in self.zones[tile].items():
                x0, y0 = zone.x0 - window.x0, zone.y0 - window.y0
                part = strips.within(x0, y0, zone.x1 - window.x0, zone.y1 - window.y0)
                if len(part.x):
                    views[other] = part.moved(-x0, -y0).rle(zone.size)
            found.append(Piece(tile, row, strips, area, float(masks.scores[row]), self._cuts(strips, window), views))
        self._pieces[tile] = found

    def objects(self) -> list[Object]:
        """The objects, best score first; among equals the larger, then the one further up, then left."""
        pieces = {tile: self._pieces[tile] for tile in sorted(self._pieces)}
        links = _Links(pieces, self.zones)
        groups = _groups([piece for mine in pieces.values() for piece in mine], links)
        found = [self._composed(group) for group in groups if not self._outdone(group)]
        return _distinct(found)

    def _cuts(self, strips: Strips, window: Window) -> int:
        """How many of the tile's edges inside the image the mask comes near to."""
        height, width = window.size
        # a mask is blown up from a coarse answer and may end a little before the edge that cuts it
        near = max(height, width) // 256
        x0, y0, x1, y1 = strips.box()
        inner = (window.x0 > 0, window.y0 > 0, window.x1 < self.size[1], window.y1 < self.size[0])
        close = (x0 <= near, y0 <= near, x1 >= width - near, y1 >= height - near)
        return sum(a and b for a, b in zip(inner, close, strict=True))

    def _outdone(self, group: list[Piece]) -> bool:
        """Whether this is something cut off that another tile saw with fewer cuts, and took for something else.

        A mask that ends where a tile does is hardly ever an object; kept are those that nobody saw better.
        """
        if len(group) > 1 or not group[0].cuts:
            return False
        piece, window = group[0], self.windows[group[0].tile]
        for other, view in piece.views.items():
            if other in self._pieces and int(coco.area(view)) == piece.area:
                better = self.windows[other]
                there = piece.strips.moved(window.x0 - better.x0, window.y0 - better.y0)
                if self._cuts(there, better) < piece.cuts:
                    return True
        return False

    def _composed(self, group: list[Piece]) -> Object:
        """The union of what tiles saw of an object, without tiles that only repeat what one with a better view saw."""
        sights: dict[int, list[Piece]] = defaultdict(list)
        for piece in group:
            sights[piece.tile].append(piece)
        kept: list[Piece] = []
        used: list[int] = []
        for tile in sorted(sights, key=lambda tile: _rank(sights[tile])):
            seen = [self.zones[tile][other] for other in used if other in self.zones[tile]]
            if not seen or any(self._beyond(piece, seen) for piece in sights[tile]):
                kept += sights[tile]
                used.append(tile)
        moved = [one.strips.moved(self.windows[one.tile].x0, self.windows[one.tile].y0) for one in kept]
        strips = Strips.union(moved)
        weights = np.array([one.area for one in kept], np.float64)
        score = float((weights * [one.score for one in kept]).sum() / weights.sum())
        kept.sort(key=lambda one: (-one.area, one.key))
        return Object(strips, strips.area(), score, tuple(kept))

    def _beyond(self, piece: Piece, seen: Iterable[Window]) -> bool:
        """Whether a piece has pixels outside of all these parts of its tile."""
        window = self.windows[piece.tile]
        parts = [
            piece.strips.within(zone.x0 - window.x0, zone.y0 - window.y0, zone.x1 - window.x0, zone.y1 - window.y0)
            for zone in seen
        ]
        return Strips.union(parts).area() < piece.area


def _rank(pieces: Sequence[Piece]) -> tuple[int, float, int, tuple[int, int]]:
    """The tile that cuts an object least comes first, then the one that is surest of it."""
    area = sum(one.area for one in pieces)
    score = sum(one.area * one.score for one in pieces) / area
    return (max(one.cuts for one in pieces), -score, -area, min(one.key for one in pieces))


class _Links:
    """Which pieces belong together, and which never do."""

    def __init__(self, pieces: dict[int, list[Piece]], zones: Sequence[dict[int, Window]]) -> None:
        self.pieces = pieces
        self.of: dict[Piece, list[tuple[float, Piece]]] = defaultdict(list)
        self._clashes: set[tuple[tuple[int, int], tuple[int, int]]] = set()
        self._rivals: dict[tuple[int, int, int], bool] = {}
        for tile, mine in pieces.items():
            for other in zones[tile]:
                if other > tile and other in pieces:
                    self._join(tile, other, mine, pieces[other])

    def compatible(self, first: Piece, second: Piece) -> bool:
        """Whether two pieces may be in one object."""
        if first.tile == second.tile:
            return not self._rival(first, second)
        return (min(first.key, second.key), max(first.key, second.key)) not in self._clashes

    def _rival(self, first: Piece, second: Piece) -> bool:
        if first is second:
            return False
        low, high = sorted((first.row, second.row))
        key = (first.tile, low, high)
        if key not in self._rivals:
            both = first.area + second.area - Strips.union([first.strips, second.strips]).area()
            self._rivals[key] = both > RIVAL * min(first.area, second.area)
        return self._rivals[key]

    def _join(self, tile: int, other: int, mine: list[Piece], theirs: list[Piece]) -> None:
        """Links and clashes between the pieces of two tiles."""
        mine = [one for one in mine if other in one.views]
        theirs = [one for one in theirs if tile in one.views]
        if not mine or not theirs:
            return
        a, b = [_View(one.views[other]) for one in mine], [_View(one.views[tile]) for one in theirs]
        iou = np.asarray(coco.iou([one.rle for one in a], [one.rle for one in b], [0] * len(b)), np.float64)
        agree = np.zeros(iou.shape)
        for i, j in zip(*np.nonzero(iou > 0), strict=True):
            agree[i, j] = max(float(iou[i, j]), _agreement(a[i], b[j]) if iou[i, j] < SHARED else 0.0)
        for i, j in zip(*np.nonzero(agree >= AGREE), strict=True):
            value = float(agree[i, j])
            if value < SHARED:
                better = [mine[k] for k in np.flatnonzero(agree[:, j] > value)]
                best = not any(self._rival(mine[i], one) for one in better)
                better = [theirs[k] for k in np.flatnonzero(agree[i] > value)]
                if not best or any(self._rival(theirs[j], one) for one in better):
                    continue
            self.of[mine[i]].append((value, theirs[j]))
            self.of[theirs[j]].append((value, mine[i]))
        areas_a, areas_b = np.array([one.area for one in a]), np.array([one.area for one in b])
        both = iou / (1 + iou) * (areas_a[:, None] + areas_b)
        least = np.minimum(np.array([one.area for one in mine])[:, None], np.array([one.area for one in theirs]))
        clash = (agree < CLASH) & (iou > 0) & (areas_a[:, None] + areas_b - 2 * both > DIFFER * least)
        self._clashes.update((mine[i].key, theirs[j].key) for i, j in zip(*np.nonzero(clash), strict=True))


@dataclass(frozen=True, eq=False)
class _View:
    """What of a mask lies in a zone."""

    rle: RLE

    @cached_property
    def area(self) -> int:
        return int(coco.area(self.rle))

    @cached_property
    def parts(self) -> _Parts:
        return _Parts.of(np.ascontiguousarray(coco.decode(self.rle)))


@dataclass(frozen=True, eq=False)
class _Parts:
    """The connected parts of a view. places: int32 [h, w], 0 or a part's number. areas: int64 [parts + 1].

    leaving: bool [parts + 1], whether a part reaches the border of the zone.
    """

    places: NDArray[np.int32]
    areas: NDArray[np.int64]
    leaving: NDArray[np.bool_]

    @classmethod
    def of(cls, dense: NDArray[np.uint8]) -> _Parts:
        count, numbers = cv2.connectedComponents(dense, connectivity=8, ltype=cv2.CV_32S)
        places = np.asarray(numbers, np.int32)
        leaving = np.zeros(count, np.bool_)
        for border in (places[0], places[-1], places[:, 0], places[:, -1]):
            leaving[border] = True
        leaving[0] = False
        areas = np.bincount(places.reshape(-1), minlength=count)
        areas[0] = 0
        return cls(places, areas, leaving)


def _agreement(a: _View, b: _View) -> float:
    """IoU of those connected parts of two views that meet each other and leave the zone.

    The other parts are connected with these only outside of the zone, if at all: one arm of a U agrees with the mask
    that shows both arms.
    """
    if len(a.parts.areas) == len(b.parts.areas) == 2:
        return 0.0  # nothing to leave out
    meet = np.flatnonzero((a.parts.places > 0) & (b.parts.places > 0))
    mine = np.unique(a.parts.places.reshape(-1)[meet])
    theirs = np.unique(b.parts.places.reshape(-1)[meet])
    if not (a.parts.leaving[mine].any() or b.parts.leaving[theirs].any()):
        return 0.0
    return float(len(meet) / (a.parts.areas[mine].sum() + b.parts.areas[theirs].sum() - len(meet)))


def _zones(windows: Sequence[Window]) -> list[dict[int, Window]]:
    """For each window what it shares with each other one, by their numbers."""
    found: list[dict[int, Window]] = [{} for _ in windows]
    edges = np.array([tuple(window) for window in windows], np.int64).reshape(-1, 4)
    for number, window in enumerate(windows):
        near = (edges[:, 0] < window.x1) & (edges[:, 2] > window.x0) & (edges[:, 1] < window.y1)
        for other in np.flatnonzero(near & (edges[:, 3] > window.y0)).tolist():
            zone = window.meet(windows[other])
            if other != number and zone is not None:
                found[number][other] = zone
    return found


def _groups(pieces: Sequence[Piece], links: _Links) -> list[list[Piece]]:
    """The pieces of each object; a piece may be in several objects, an object is never part of another."""
    grown: dict[frozenset[Piece], None] = {}
    used: set[Piece] = set()
    # the largest first: wholes join wholes, and their parts what is left
    for seed in sorted(pieces, key=lambda one: (-one.area, -one.score, one.key)):
        if seed not in used:
            group = frozenset(_grown(seed, links, used))
            grown[group] = None
            used.update(group)
    of: dict[Piece, list[frozenset[Piece]]] = defaultdict(list)
    for group in grown:
        for piece in group:
            of[piece].append(group)
    largest = [one for one in grown if not any(one < other for other in of[next(iter(one))])]
    return [sorted(one, key=lambda piece: piece.key) for one in largest]


def _grown(seed: Piece, links: _Links, used: set[Piece]) -> list[Piece]:
    """What belongs to one piece. used: pieces that are in other objects already, taken last among equals."""
    members = [seed]
    by_tile = defaultdict(list, {seed.tile: [seed]})
    inside = {seed}
    waiting: list[tuple[float, bool, int, float, tuple[int, int], Piece]] = []

    def note(piece: Piece) -> None:
        for value, other in links.of.get(piece, ()):
            heapq.heappush(waiting, (-round(value, 2), other in used, -other.area, -other.score, other.key, other))

    note(seed)
    while waiting:
        piece = heapq.heappop(waiting)[-1]
        if piece in inside:
            continue
        near = [one for tile in (piece.tile, *piece.views) for one in by_tile.get(tile, ())]
        if all(links.compatible(piece, one) for one in near):
            members.append(piece)
            by_tile[piece.tile].append(piece)
            inside.add(piece)
            note(piece)
    return members


def _distinct(found: list[Object]) -> list[Object]:
    """The objects without those that nearly equal a better one, in the order that `Seams.objects` promises."""
    order = sorted(found, key=lambda one: (-one.score, -one.area, one.strips.box()[1], one.strips.box()[0]))
    if not order:
        return []
    boxes = np.array([one.strips.box() for one in order], np.int64)
    areas = np.array([one.area for one in order], np.float64)
    by_left = np.argsort(boxes[:, 0], kind="stable")
    lefts = boxes[by_left, 0]
    widest = int((boxes[:, 2] - boxes[:, 0]).max())
    gone = np.zeros(len(order), np.bool_)
    for row, one in enumerate(order):
        if gone[row]:
            continue
        x0, y0, x1, y1 = boxes[row].tolist()
        a, b = np.searchsorted(lefts, [x0 - widest, x1])
        near = by_left[a:b]
        near = near[(near > row) & ~gone[near]]
        ratio = areas[near] / areas[row]
        near = near[
            (boxes[near, 2] > x0)
            & (boxes[near, 1] < y1)
            & (boxes[near, 3] > y0)
            & (ratio >= DUPLICATE)
            & (ratio <= 1 / DUPLICATE)
        ]
        for other in near.tolist():
            if _side_by_side(one, order[other]):
                continue
            union = Strips.union([one.strips, order[other].strips]).area()
            if one.area + order[other].area - union >= DUPLICATE * union:
                gone[other] = True
    return [one for row, one in enumerate(order) if not gone[row]]


def _side_by_side(first: Object, second: Object) -> bool:
    """Whether some tile saw both as different masks; its own suppression has kept them apart then."""
    mine: dict[int, set[Piece]] = defaultdict(set)
    for piece in first.pieces:
        mine[piece.tile].add(piece)
    theirs = {piece.tile for piece in second.pieces if piece.tile in mine}
    return any(not mine[tile].intersection(second.pieces) for tile in theirs)
