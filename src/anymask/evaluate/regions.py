"""Object proposals without a network: the merged regions of selective search, the classical method to be beaten.

Fine regions (Felzenszwalb and Huttenlocher 2004) in several colour spaces are merged pair by pair, the most similar
neighbours first, in several ways of being similar; every region that is ever there is a proposal.
Source: Uijlings et al., "Selective Search for Object Recognition" (2013). Stronger than the paper in two points, both
after Arbelaez et al., "Multiscale Combinatorial Grouping" (2014): weak boundaries are one of the ways to be similar,
and a regression on a region's looks ranks it instead of a random number. scikit-image segments; the rest is here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadImage, BadSetting
from anymask.extras import need
from anymask.masks.rle import RLE, encode_one

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIDE = 640
"""A photo with a longer side is segmented at this one, and its masks are enlarged."""

SEGMENTS = (("lab", 50.0), ("lab", 150.0), ("hsv", 100.0))
"""Colour space and scale (k, for values of 0 to 255) of each fine segmentation."""

WAYS = ((1, 1, 1, 1, 0), (0, 1, 1, 1, 0), (0, 0, 0.2, 0.2, 1))
"""Weights of colour, texture, size, fill and boundary in each merging of each segmentation."""

MERIT = (0.042, 0.138, -0.457, 1.099)
"""What each of `Tree.looks` adds to the IoU that a region is expected to have with the true mask it fits best.

Least squares on 51 training photos, none of val; benchmarks/regions_merit.py finds them again.
"""

SAME = 0.8
"""Two masks of a larger IoU are one proposal."""


@dataclass(frozen=True)
class Leaves:
    """The N fine regions of one segmentation and what is measured of them.

    labels: int64 [H, W], 0 .. N-1. areas: [N]. boxes: [N, 4] XYXY, exclusive. colour, texture: [N, bins], each sums to
    1. pairs: int64 [E, 2], neighbours. borders: [E, 2], pixels along what they share, and edge strength summed there.
    rims: [N], pixels on the frame of the photo.
    """

    labels: Ints
    areas: Floats
    boxes: Ints
    colour: Floats
    texture: Floats
    pairs: Ints
    borders: Floats
    rims: Floats


@dataclass(frozen=True)
class Tree:
    """All R = 2N - 1 regions of one merging, leaves first, then in the order of their making; the last is the photo.

    ranks: int32 [H, W], leaves numbered so that region r is ranks first[r] .. last[r] - 1. areas: [R]. boxes: [R, 4]
    XYXY, exclusive. outer: [R, 2], border with other regions: pixels, and edge strength summed along it. rims: [R],
    pixels on the frame of the photo.
    """

    ranks: NDArray[np.int32]
    first: Ints
    last: Ints
    areas: Floats
    boxes: Ints
    outer: Floats
    rims: Floats

    def mask(self, region: int) -> NDArray[np.bool_]:
        """The pixels of a region within its box, bool [h, w]."""
        x0, y0, x1, y1 = self.boxes[region]
        part = self.ranks[y0:y1, x0:x1]
        found: NDArray[np.bool_] = (part >= self.first[region]) & (part < self.last[region])
        return found

    def looks(self) -> Floats:
        """float64 [R, 4]: log share of the photo, edge strength along the border, frame in the border, roundness."""
        size = np.log(self.areas / self.ranks.size)
        strength = self.outer[:, 1] / np.maximum(self.outer[:, 0], 1)
        around = np.maximum(self.outer[:, 0] + self.rims, 1)
        return np.stack([size, strength, self.rims / around, np.sqrt(self.areas) / around], 1)


def regions(pixels: NDArray[np.uint8], limit: int = 1000) -> tuple[list[RLE], NDArray[np.float32]]:
    """At most `limit` proposals of objects in a photo, the best first, no two of them nearly the same.

    pixels: uint8 [H, W, 3] RGB. Returns masks and what they are ranked by, float32 [N], falling: the IoU to be expected
    up to a constant. The same photo gives the same answer.
    Raises MissingExtra, BadImage if pixels are none, BadSetting if limit < 1.
    """
    if limit < 1:
        raise BadSetting(f"a limit of proposals must be at least 1, got {limit}")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise BadImage(f"pixels must be uint8 [H, W, 3] RGB, got {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    masks, merit = [], []
    for tree, region, value in _distinct(list(trees(pixels)), limit):
        x0, y0, x1, y1 = tree.boxes[region]
        mask = np.zeros(tree.ranks.shape, np.uint8)
        mask[y0:y1, x0:x1] = tree.mask(region)
        if scale < 1:
            mask = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
        masks.append(encode_one(mask.view(np.bool_)))
        merit.append(value)
    return masks, np.array(merit, np.float32)


def trees(pixels: NDArray[np.uint8]) -> Iterator[Tree]:
    """Each segmentation of a photo, uint8 [H, W, 3] RGB, merged in each way. Raises MissingExtra."""
    segmentation = need("skimage.segmentation", extra="evaluate", to="merge regions into proposals")
    lab = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB), np.uint8)
    hsv = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL), np.uint8)
    edges = _edges(lab)
    least = max(20, lab.shape[0] * lab.shape[1] // 8000)
    for space, scale in SEGMENTS:
        values = lab if space == "lab" else hsv
        labels = segmentation.felzenszwalb(values, scale=scale, sigma=0.8, min_size=least).astype(np.int64)
        leaves = measure(labels, values, edges)
        for way in WAYS:
            yield merge(leaves, way)


def _edges(lab: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Strength of the edge at each pixel, float32 [H, W]: the steepest of the three channels of 0..1."""
    smooth = cv2.GaussianBlur(lab, (0, 0), 1.0).astype(np.float32) / 255
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.sqrt(across**2 + down**2).max(2)


def measure(labels: Ints, values: NDArray[np.uint8], edges: NDArray[np.float32]) -> Leaves:
    """What the merging needs of fine regions.

    labels: int64 [H, W], 0 .. N-1, each in use. values: uint8 [H, W, 3], any colour space. edges: float32 [H, W].
    """
    count, flat = int(labels.max()) + 1, labels.ravel()
    areas = np.bincount(flat, minlength=count).astype(np.float64)
    boxes = np.empty((count, 4), np.int64)
    boxes[:, :2], boxes[:, 2:] = max(labels.shape), 0
    y, x = np.indices(labels.shape)
    for side, place in ((0, x.ravel()), (1, y.ravel())):
        np.minimum.at(boxes[:, side], flat, place)
        np.maximum.at(boxes[:, side + 2], flat, place + 1)
    colour = _histogram(flat, [(values[..., c].astype(np.int64) * 25) >> 8 for c in range(3)], 25, count)
    texture = _histogram(flat, list(_slopes(values)), 10, count)
    pairs, borders = _neighbours(labels, edges, count)
    frame = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    rims = np.bincount(frame, minlength=count).astype(np.float64)
    return Leaves(labels, areas, boxes, colour, texture, pairs, borders, rims)


def _slopes(values: NDArray[np.uint8]) -> Iterator[Ints]:
    """Gaussian derivatives of each channel in eight directions, in ten steps, as int64 [H, W]."""
    for channel in range(3):
        smooth = cv2.GaussianBlur(values[..., channel].astype(np.float32), (0, 0), 1.0)
        across, down = cv2.Scharr(smooth, cv2.CV_32F, 1, 0) / 16, cv2.Scharr(smooth, cv2.CV_32F, 0, 1) / 16
        for angle in np.arange(8) * (np.pi / 4):
            yield np.clip((np.cos(angle) * across + np.sin(angle) * down) / 4, 0, 9).astype(np.int64)


def _histogram(flat: Ints, channels: list[Ints], bins: int, count: int) -> Floats:
    """float64 [count, channels * bins], each row sums to 1. flat: region of each pixel; channels: bin of each pixel."""
    found = [np.bincount(flat * bins + c.ravel(), minlength=count * bins).reshape(count, bins) for c in channels]
    joined = np.concatenate(found, 1).astype(np.float64)
    return joined / joined.sum(1, keepdims=True)


def _neighbours(labels: Ints, edges: NDArray[np.float32], count: int) -> tuple[Ints, Floats]:
    """Pairs of regions that share a pixel's side, int64 [E, 2], and their borders, see Leaves."""
    keys, strengths = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        one, two, strength = labels[here], labels[there], np.maximum(edges[here], edges[there])
        apart = one != two
        one, two = one[apart], two[apart]
        keys.append(np.minimum(one, two) * count + np.maximum(one, two))
        strengths.append(strength[apart])
    pairs, row = np.unique(np.concatenate(keys), return_inverse=True)
    lengths = np.bincount(row, minlength=len(pairs))
    sums = np.bincount(row, np.concatenate(strengths), len(pairs))
    return np.stack([pairs // count, pairs % count], 1), np.stack([lengths, sums], 1).astype(np.float64)


def merge(leaves: Leaves, way: tuple[float, ...]) -> Tree:
    """Merge the two most similar neighbours until one region is left. way: see WAYS."""
    count, canvas = len(leaves.areas), float(leaves.labels.size)
    more = ((0, count - 1), (0, 0))
    areas, rims = np.pad(leaves.areas, more[0]), np.pad(leaves.rims, more[0])
    boxes, outer = np.pad(leaves.boxes, more), np.zeros((2 * count - 1, 2))
    colour, texture = np.pad(leaves.colour, more), np.pad(leaves.texture, more)
    near: list[dict[int, Floats]] = [{} for _ in range(2 * count - 1)]
    for (a, b), border in zip(leaves.pairs.tolist(), leaves.borders, strict=True):
        near[a][b] = near[b][a] = border
        outer[a] += border
        outer[b] += border

    def similar(a: Ints | int, b: Ints, border: Floats) -> Floats:
        """How alike regions [K] (or one) are to their neighbours b [K]; border: [K, 2]."""
        size = areas[a] + areas[b]
        low = np.minimum(boxes[a][..., :2], boxes[b][:, :2])
        high = np.maximum(boxes[a][..., 2:], boxes[b][:, 2:])
        result = way[2] * (1 - size / canvas) + way[3] * (1 - ((high - low).prod(1) - size) / canvas)
        if way[0]:
            result += way[0] * np.minimum(colour[a], colour[b]).sum(1)
        if way[1]:
            result += way[1] * np.minimum(texture[a], texture[b]).sum(1)
        return result - way[4] * border[:, 1] / border[:, 0]

    values = similar(leaves.pairs[:, 0], leaves.pairs[:, 1], leaves.borders)
    heap = [(-value, a, b) for value, (a, b) in zip(values.tolist(), leaves.pairs.tolist(), strict=True)]
    heapq.heapify(heap)
    gone = [False] * (2 * count - 1)
    parts: list[tuple[int, int]] = []
    while heap:
        _, a, b = heapq.heappop(heap)
        if gone[a] or gone[b]:
            # a pair of which one was merged meanwhile; its successor has a place in the heap of its own
            continue
        made = count + len(parts)
        parts.append((a, b))
        gone[a] = gone[b] = True
        areas[made], rims[made] = areas[a] + areas[b], rims[a] + rims[b]
        boxes[made, :2], boxes[made, 2:] = (
            np.minimum(boxes[a, :2], boxes[b, :2]),
            np.maximum(boxes[a, 2:], boxes[b, 2:]),
        )
        outer[made] = outer[a] + outer[b] - 2 * near[a][b]
        for kind in (colour, texture):
            kind[made] = (kind[a] * areas[a] + kind[b] * areas[b]) / areas[made]
        around = near[made]
        for part in (a, b):
            for other, border in near[part].items():
                if not gone[other]:
                    del near[other][part]
                    around[other] = around[other] + border if other in around else border
        if around:
            others = np.fromiter(around, np.int64, len(around))
            values = similar(made, others, np.array(list(around.values())))
            for other, value in zip(others.tolist(), values.tolist(), strict=True):
                near[other][made] = around[other]
                heapq.heappush(heap, (-value, other, made))
    ranks, first, last = _in_order(count, parts)
    return Tree(ranks[leaves.labels], first, last, areas, boxes, outer, rims)


def _in_order(count: int, parts: list[tuple[int, int]]) -> tuple[NDArray[np.int32], Ints, Ints]:
    """Leaves numbered depth first: the rank of each leaf, int32 [N], and the first and last rank of each region."""
    sizes = [1] * count
    for a, b in parts:
        sizes.append(sizes[a] + sizes[b])
    first = [0] * len(sizes)
    for region in range(len(sizes) - 1, count - 1, -1):
        a, b = parts[region - count]
        first[a], first[b] = first[region], first[region] + sizes[a]
    start = np.array(first, np.int64)
    return start[:count].astype(np.int32), start, start + np.array(sizes, np.int64)


def _distinct(found: list[Tree], limit: int) -> Iterator[tuple[Tree, int, float]]:
    """(tree, region, merit) of the best regions, best first, without those that nearly equal one before them."""
    tree_of = np.concatenate([np.full(len(tree.areas), number) for number, tree in enumerate(found)])
    region_of = np.concatenate([np.arange(len(tree.areas)) for tree in found])
    merits = np.concatenate([tree.looks() @ np.array(MERIT) for tree in found])
    areas = np.concatenate([tree.areas for tree in found])
    boxes = np.concatenate([tree.boxes for tree in found])
    kept = np.zeros(min(limit, len(merits)), np.int64)
    masks: list[NDArray[np.bool_]] = []
    for row in np.argsort(-merits, kind="stable").tolist():
        earlier = kept[: len(masks)]
        sides = np.minimum(boxes[earlier, 2:], boxes[row, 2:]) - np.maximum(boxes[earlier, :2], boxes[row, :2])
        # what two masks share is no more than either of them, nor than what their boxes share
        most = np.minimum(np.minimum(areas[earlier], areas[row]), np.maximum(sides, 0).prod(1))
        bound = most / (areas[earlier] + areas[row] - most)
        near = np.flatnonzero(bound > SAME)
        mask = found[tree_of[row]].mask(region_of[row])
        if any(
            _iou(mask, boxes[row], masks[other], boxes[kept[other]], areas[row] + areas[kept[other]]) > SAME
            for other in near[np.argsort(-bound[near], kind="stable")].tolist()
        ):
            continue
        kept[len(masks)] = row
        masks.append(mask)
        yield found[tree_of[row]], int(region_of[row]), float(merits[row])
        if len(masks) == limit:
            return


def _iou(one: NDArray[np.bool_], box: Ints, two: NDArray[np.bool_], other: Ints, areas: float) -> float:
    """IoU of two masks that are given within their boxes. areas: the sum of both."""
    x0, y0 = np.maximum(box[:2], other[:2])
    x1, y1 = np.minimum(box[2:], other[2:])
    first = one[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]]
    second = two[y0 - other[1] : y1 - other[1], x0 - other[0] : x1 - other[0]]
    shared = int(np.count_nonzero(first & second))
    return shared / (areas - shared)
