"""Hundreds of masks over one picture: every pixel shows the smallest mask it lies in, and neighbours differ in colour.

A label map is painted once and coloured through a table, so the time hardly depends on the number of masks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from anymask.errors import BadSetting
from anymask.masks.colours import PALETTE, RGB, distances, palette
from anymask.masks.masks import Masks
from anymask.masks.picture import canvas_of, line_width
from anymask.masks.strips import Strips
from anymask.pixels.image import ImageLike

COLOURS = 21
"""Of the palette: its three first rounds."""

APART = 28.0
"""A difference of colours that is enough: they look nothing alike under a translucent fill (CIE 1976, in Lab)."""


def mosaic(
    masks: Masks, image: ImageLike | None = None, *, opacity: float = 0.5, side: int | None = None
) -> Pillow.Image:
    """The picture with all masks in it, a PIL image, RGB.

    image: left out, the masks' own picture; without one, a neutral ground. opacity: of the fill, 0..1. side: the longer
    side is made no longer than so many pixels, with lines as thin as such a picture wants; left out, it keeps its size.
    Smaller masks lie over larger ones. A mask keeps its colour away from that of every mask it touches, as people with
    normal and with reduced colour vision see it. Raises BadSetting.
    """
    if not 0 <= opacity <= 1:
        raise BadSetting(f"opacity is 0 to 1, got {opacity}")
    if side is not None and side < 1:
        raise BadSetting(f"a picture's side is at least 1 px, got {side}")
    canvas = canvas_of(masks, image)
    labels = label_map(masks)
    table = np.zeros((len(masks) + 1, 3), np.uint8)
    table[1:] = np.array(colours(labels, len(masks)), np.uint8).reshape(-1, 3)
    wide = max(1, round(line_width(masks.size)))
    if side is not None and side < max(masks.size):
        canvas, labels, wide = *reduced(canvas, labels, side), 1
    height, width = labels.shape
    step = max(64, (1 << 21) // width)
    for top in range(0, height, step):
        # a band at a time, with what its outlines need of the next ones
        low, high = max(0, top - wide - 1), min(height, top + step + wide + 1)
        band = painted(canvas[low:high].copy(), labels[low:high], table, opacity, wide)
        canvas[top : top + step] = band[top - low : top - low + step]
    return Pillow.fromarray(canvas)


def reduced(
    canvas: NDArray[np.uint8], labels: NDArray[np.int32], side: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Picture [H, W, 3] and label map [H, W], smaller, their longer side `side` px at most."""
    height, width = labels.shape
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.uint8)
    return picture, np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.int32)


def label_map(masks: Masks) -> NDArray[np.int32]:
    """int32 [H, W]: row + 1 of the smallest mask over each pixel, 0 where there is none."""
    labels = np.zeros(masks.size, np.int32)
    for row in np.argsort(-masks.areas(), kind="stable").tolist():
        strips = Strips.of(masks.rle[row])
        x0, y0, x1, y1 = strips.box()
        if x1 > x0:
            labels[y0:y1, x0:x1][strips.dense(x0, y0, x1, y1)] = row + 1
    return labels


def colours(labels: NDArray[np.int32], count: int) -> list[RGB]:
    """A colour for each of `count` masks of a label map, such that those side by side are easy to tell apart.

    The one with the least choice left goes first (Brelaz, "New methods to color the vertices of a graph", 1979) and
    takes a colour that the kind of vision that finds it hardest still tells from its neighbours': one of the plain
    palette where one will do, the least used among equals. Then those that came off badly choose again.
    """
    shades = palette(COLOURS)
    apart = distances(shades)
    beside = neighbours(labels) - 1
    around: list[list[int]] = [[] for _ in range(count)]
    for first, second in beside.tolist():
        around[first].append(second)
        around[second].append(first)
    degree = np.array([len(others) for others in around])
    room = np.full((count, COLOURS), np.inf)
    chosen, used = np.full(count, -1), np.zeros(COLOURS, np.int64)
    for _ in range(count):
        left = np.flatnonzero(chosen < 0)
        row = int(left[np.lexsort((-degree[left], np.minimum(room[left], 2 * APART).sum(1)))[0]])
        good = np.flatnonzero(room[row] >= min(room[row].max(), APART) * 0.95)
        chosen[row] = good[np.lexsort((used[good], good // len(PALETTE)))[0]]
        used[chosen[row]] += 1
        for other in around[row]:
            room[other] = np.minimum(room[other], apart[chosen[row]])
    for row in [row for row in range(count) if around[row]] * 3:
        room[row] = apart[chosen[around[row]]].min(0)
        if room[row, chosen[row]] < min(room[row].max(), APART * 0.95):
            chosen[row] = room[row].argmax()
    return [shades[place] for place in chosen.tolist()]


def neighbours(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pairs of labels that lie side by side or two pixels apart, [K, 2], the smaller first."""
    found, pitch = [], int(labels.max(initial=0)) + 1
    for first, second in (
        (labels[:, :-1], labels[:, 1:]),
        (labels[:-1], labels[1:]),
        (labels[:, :-2], labels[:, 2:]),
        (labels[:-2], labels[2:]),
    ):
        differ = (first != second) & (first > 0) & (second > 0)
        one, other = first[differ].astype(np.int64), second[differ]
        # a pair as one number: unique rows take many times as long
        found.append(np.unique(np.minimum(one, other) * pitch + np.maximum(one, other)))
    pairs = np.unique(np.concatenate(found))
    return np.stack([pairs // pitch, pairs % pitch], 1)


def painted(
    pixels: NDArray[np.uint8], labels: NDArray[np.int32], table: NDArray[np.uint8], opacity: float, wide: int
) -> NDArray[np.uint8]:
    """A band of the picture with its masks: a tint, a line of full colour inside each edge, a white hairline on it.

    pixels: changed in place.
    """
    tint = table[labels]
    inside = labels > 0
    filled = cv2.addWeighted(pixels, 1 - opacity, tint, opacity, 0)
    cv2.copyTo(filled, inside.view(np.uint8), pixels)
    cv2.copyTo(tint, (edge(labels, wide) & inside).view(np.uint8), pixels)
    hair = np.nonzero(edge(labels, 0))
    pixels[hair] = pixels[hair] // 4 + 191
    return pixels


def edge(labels: NDArray[np.int32], reach: int) -> NDArray[np.bool_]:
    """Where another label lies within `reach` pixels; 0 gives the pixels left of and above an edge."""
    changed = np.zeros(labels.shape, np.uint8)
    changed[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    changed[:-1] |= labels[:-1] != labels[1:]
    if reach == 0:
        return changed.view(np.bool_)
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(changed, ball), np.uint8).view(np.bool_)
