"""A whole mask as one closed line, for formats that know nothing else: holes and parts joined by cuts without width.

Corners are pixels, not pixel edges: the line runs through the mask's outermost pixels, as OpenCV's contours do. Who
fills it by OpenCV's fillPoly, whose fill includes the line, sees each pixel of the mask, and its holes. Between parts
that do not touch the cut is a line one pixel wide, which such a fill adds: that is the price of one line.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.masks.rle import RLE
from anymask.masks.strips import Strips

Points = NDArray[np.int64]
"""[K, 2] (x, y) px."""


def ring(rle: RLE) -> Points:
    """The line, int64 [K, 2] (column, row) of pixels, at least 3 corners; [0, 2] for an empty mask.

    Its first corner is not repeated at the end. Exact for masks in one piece, where pixels that touch by a corner are
    one piece.
    """
    strips = Strips.of(rle)
    x0, y0, x1, y1 = strips.box()
    if x1 == x0:
        return np.zeros((0, 2), np.int64)
    inside = strips.dense(x0, y0, x1, y1).view(np.uint8)
    contours, tree = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    traced = [contour.reshape(-1, 2).astype(np.int64) for contour in contours]
    above = tree[0, :, 3].tolist()
    holes: dict[int, list[Points]] = {}
    for place, parent in enumerate(above):
        if parent >= 0:
            holes.setdefault(parent, []).append(traced[place])
    parts = [
        _straightened(_with_holes(traced[place], holes.get(place, []), inside))
        for place, parent in enumerate(above)
        if parent < 0
    ]
    # from top to bottom, whatever order OpenCV finds them in
    parts.sort(key=lambda part: (int(part[:, 1].min()), int(part[:, 0].min())))
    whole = _joined(parts)
    if len(whole) < 3:
        # readers want three corners; a repeated one changes nothing
        whole = np.concatenate([whole, np.repeat(whole[-1:], 3 - len(whole), 0)])
    return whole + np.array([x0, y0])


def filled(corners: Points, size: tuple[int, int]) -> NDArray[np.bool_]:
    """bool [H, W]: what a reader sees that fills the line by OpenCV. corners: int [K, 2] px."""
    dense = np.zeros(size, np.uint8)
    if len(corners):
        cv2.fillPoly(dense, [np.ascontiguousarray(corners, np.int32)], 1)
    return dense.view(np.bool_)


def _with_holes(exterior: Points, holes: list[Points], inside: NDArray[np.uint8]) -> Points:
    """One line round a part and its holes.

    From the leftmost pixel of a hole's border a cut runs to the left, inside of the part, until it meets a border
    that reaches further left: the exterior, or a hole that was cut out before.
    """
    if not holes:
        return exterior
    turned = []
    for hole in holes:
        first = int(np.lexsort((hole[:, 1], hole[:, 0]))[0])
        turned.append(np.roll(hole, -first, 0))
    waiting: dict[tuple[int, int], list[Points]] = {}
    for hole in sorted(turned, key=lambda one: (int(one[0, 0]), int(one[0, 1]))):
        x, y = hole[0].tolist()
        outside = np.flatnonzero(inside[y, :x] == 0)
        waiting.setdefault((int(outside[-1]) + 1 if len(outside) else 0, y), []).append(hole)
    # a walk along the exterior that turns off into each hole where its cut begins, and back: a stack of lines
    walked: list[tuple[int, int]] = []
    stack: list[tuple[list[list[int]], int]] = [(exterior.tolist(), 0)]
    while stack:
        line, place = stack.pop()
        while place < len(line):
            point = (line[place][0], line[place][1])
            walked.append(point)
            place += 1
            turn = waiting.get(point)
            if turn:
                hole = turn.pop()
                if not turn:
                    del waiting[point]
                # after the hole the walk is at this point again: it may have another
                stack.append((line, place - 1))
                # closed, so that the cut is walked both ways along the same pixels
                line, place = [*hole.tolist(), hole[0].tolist()], 0
    return np.array(walked, np.int64)


def _straightened(line: Points) -> Points:
    """Without repeated points and without those where the line goes straight on."""
    line = line[(line != np.roll(line, 1, 0)).any(1)] if len(line) > 1 else line
    if len(line) < 3:
        return line
    into, out = line - np.roll(line, 1, 0), np.roll(line, -1, 0) - line
    straight = (into[:, 0] * out[:, 1] == into[:, 1] * out[:, 0]) & ((into * out).sum(1) > 0)
    return line[~straight]


def _joined(parts: list[Points]) -> Points:
    """The parts' lines as one, each joined where it comes nearest to those before it."""
    whole = parts[0]
    for part in parts[1:]:
        here, there = _nearest(whole, part)
        turned = np.roll(part, -there, 0)
        whole = np.concatenate([whole[: here + 1], turned, turned[:1], whole[here:]])
    return whole


def _nearest(first: Points, second: Points) -> tuple[int, int]:
    """Which corner of each line is nearest to the other's."""
    best = (np.inf, 0, 0)
    (x0, y0), (x1, y1) = first.T.astype(np.float32), second.T.astype(np.float32)
    # in pieces, so that two long lines do not fill the memory
    for start in range(0, len(first), 256):
        piece = slice(start, start + 256)
        apart = (x0[piece, None] - x1) ** 2
        apart += (y0[piece, None] - y1) ** 2
        at = int(apart.argmin())
        row, column = divmod(at, len(second))
        if apart[row, column] < best[0]:
            best = (float(apart[row, column]), start + row, column)
    return best[1], best[2]
