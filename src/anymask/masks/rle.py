"""Run-length encoded masks in COCO's compressed form: encode, decode, compare.

Comparing, merging and decoding are pycocotools'; encoding is ours, since turning a mask into columns for pycocotools
costs three times as much as finding its edges in rows.

An RLE is {"size": [H, W], "counts": bytes}: runs of 0 and 1 in turn, starting with 0, down the columns.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from anymask.errors import BadSetting
from anymask.pixels.resize import HW


class RLE(TypedDict):
    """One mask. size: [H, W] in pixels. counts: compressed runs, ASCII."""

    size: list[int]
    counts: bytes


def encode(dense: NDArray[np.bool_]) -> list[RLE]:
    """N masks from bool [N, H, W]."""
    if dense.ndim != 3:
        raise BadSetting(f"masks to encode must be [N, H, W], got {dense.shape}")
    return [encode_one(mask) for mask in dense]


def encode_one(mask: NDArray[np.bool_]) -> RLE:
    """One mask from bool [H, W]."""
    if mask.size == 0:
        raise BadSetting(f"a mask must have at least one pixel, got {mask.shape}")
    size = (mask.shape[0], mask.shape[1])
    return of_lengths(between(edges(mask), size), size)


AT_ONCE = 1 << 21
"""Pixels compared in one step: few enough to stay in a core's cache, enough that the steps' own cost does not count."""

GROUP = 64
"""Pixels that are passed over together where nothing changes."""


class _Room(threading.local):
    """Working memory of each thread: fresh memory costs more than the comparison."""

    def __init__(self) -> None:
        self.changed = np.empty(AT_ONCE, np.uint8)
        self.words = np.empty(AT_ONCE // 8, np.bool_)


_room = _Room()


def edges(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where the runs of one mask, bool [H, W], begin and end (exclusive), counting pixels down the columns: int64 [2R].

    Each row is compared with the one above it as it lies in memory; only the few places found are turned into columns.
    """
    height, width = mask.shape
    rows = np.ascontiguousarray(mask).view(np.uint8)
    flat = rows.reshape(-1)
    found = [np.flatnonzero(rows[0]) * height, (np.flatnonzero(rows[-1]) + 1) * height] if mask.size else []
    for start in range(width, flat.size, AT_ONCE):
        stop = min(start + AT_ONCE, flat.size)
        length = -(-(stop - start) // GROUP) * GROUP
        changed, words = _room.changed[:length], _room.words[: length // 8]
        np.bitwise_xor(flat[start:stop], flat[start - width : stop - width], out=changed[: stop - start])
        changed[stop - start :] = 0
        np.not_equal(changed.view(np.uint64), 0, out=words)
        groups = np.flatnonzero(words.view(np.uint64) != 0)
        at = np.flatnonzero(changed.reshape(-1, GROUP)[groups].view(np.bool_))
        pixels = groups[at // GROUP] * GROUP + at % GROUP + start
        y = pixels // width
        found.append((pixels - y * width) * height + y)
    if not found:
        return np.zeros(0, np.int64)
    places = np.concatenate(found)
    places.sort()
    # a run that reaches the bottom goes on at the top of the next column
    joined = places[1:-1:2] == places[2::2]
    if joined.any():
        keep = np.ones(len(places), np.bool_)
        keep[1:-1:2] = keep[2::2] = ~joined
        places = places[keep]
    return places


def between(edges: NDArray[np.int64], size: HW) -> NDArray[np.int64]:
    """The lengths of a mask's runs, int64 [R], background first, from where they begin and end on a canvas (H, W)."""
    total = size[0] * size[1]
    counts = np.diff(edges, prepend=0, append=total)
    # no run follows a mask that reaches the last pixel
    return counts[:-1] if len(edges) and edges[-1] == total else counts


def decode(rles: Sequence[RLE]) -> NDArray[np.bool_]:
    """bool [N, H, W] from N masks of one size; at least one."""
    if not rles:
        raise BadSetting("there is no mask to decode")
    height, width = rles[0]["size"]
    dense = np.empty((len(rles), height, width), np.bool_)
    for row, rle in enumerate(rles):
        if list(rle["size"]) != [height, width]:
            raise BadSetting(f"masks of one call must share a size, got {rle['size']} and {[height, width]}")
        dense[row] = decode_one(rle)
    return dense


def decode_one(rle: RLE) -> NDArray[np.bool_]:
    """bool [H, W] of one mask."""
    height, width = rle["size"]
    columns = coco.decode([rle])[:, :, 0].T
    return cv2.transpose(np.ascontiguousarray(columns)).reshape(height, width).view(np.bool_)


def area(rles: Sequence[RLE]) -> NDArray[np.int64]:
    """Foreground pixels of each mask, int64 [N]."""
    # pycocotools stores their number in a byte that it never reads, and NumPy 2 objects to more than 255
    parts = [coco.area(list(rles[start : start + 255])) for start in range(0, len(rles), 255)]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


def boxes(rles: Sequence[RLE]) -> NDArray[np.float32]:
    """Tight XYXY boxes in pixels, float32 [N, 4], x1 and y1 exclusive; all zeros for an empty mask."""
    if not rles:
        return np.zeros((0, 4), np.float32)
    found = np.asarray(coco.toBbox(list(rles)), np.float64).reshape(-1, 4)
    found[:, 2:] += found[:, :2]
    found[area(rles) == 0] = 0
    return found.astype(np.float32)


def iou(first: Sequence[RLE], second: Sequence[RLE]) -> NDArray[np.float64]:
    """Intersection over union of every pair, float64 [N, M]; two empty masks have 0."""
    _one_size([*first, *second])
    if not first or not second:
        return np.zeros((len(first), len(second)))
    found = np.asarray(coco.iou(list(first), list(second), [0] * len(second)), np.float64)
    return np.nan_to_num(found.reshape(len(first), len(second)))


def merge(rles: Sequence[RLE], *, intersect: bool = False) -> RLE:
    """The union of masks of one size, or their intersection."""
    if not rles:
        raise BadSetting("there is no mask to merge")
    _one_size(rles)
    found = coco.merge(list(rles), intersect)
    return {"size": list(rles[0]["size"]), "counts": bytes(found["counts"])}


def _one_size(rles: Sequence[RLE]) -> None:
    sizes = {tuple(rle["size"]) for rle in rles}
    if len(sizes) > 1:
        raise BadSetting(f"masks must share a size, got {sorted(sizes)}")


def checked(value: Any, size: HW | None = None) -> RLE:
    """An RLE from whatever claims to be one; counts may be bytes, text, or an uncompressed list of runs.

    size: (H, W) that it must have. Raises BadSetting: the C code behind pycocotools writes past its buffers when runs
    and size disagree, so nothing from outside reaches it unchecked.
    """
    if not isinstance(value, Mapping) or "size" not in value or "counts" not in value:
        raise BadSetting(f"a mask in RLE is {{'size': [H, W], 'counts': ...}}, got {_shown(value)}")
    try:
        height, width = (int(side) for side in value["size"])
    except (TypeError, ValueError, OverflowError):
        raise BadSetting(f"an RLE's size is [H, W], got {_shown(value['size'])}") from None
    if height < 1 or width < 1 or height * width >= 2**32:
        raise BadSetting(f"an RLE's size must be 1 to 4,294,967,295 pixels, got {[height, width]}")
    if size is not None and (height, width) != tuple(size):
        raise BadSetting(f"the mask is {height} x {width} (H x W), the image {size[0]} x {size[1]}")
    counts = value["counts"]
    if isinstance(counts, str):
        try:
            counts = counts.encode("ascii")
        except UnicodeEncodeError:
            raise BadSetting("an RLE's counts must be ASCII") from None
    if isinstance(counts, bytes):
        runs = _runs(counts)
    elif isinstance(counts, (list, tuple, np.ndarray)):
        try:
            runs = np.asarray(counts, np.int64).reshape(-1)
        except (TypeError, ValueError, OverflowError):
            raise BadSetting("an RLE's runs must be whole numbers") from None
    else:
        raise BadSetting(f"an RLE's counts are bytes, text or a list of runs, got {type(counts).__name__}")
    if (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise BadSetting(f"an RLE's runs must add up to its {height} x {width} pixels; it is damaged or not an RLE")
    if not isinstance(counts, bytes):
        found = coco.frPyObjects({"size": [height, width], "counts": [int(run) for run in runs]}, height, width)
        counts = bytes(found["counts"])
    return {"size": [height, width], "counts": counts}


def lengths(rle: RLE) -> NDArray[np.int64]:
    """The lengths of a mask's runs, int64 [R], background first. Raises BadSetting for damaged counts."""
    return _runs(rle["counts"])


def of_lengths(runs: NDArray[np.int64], size: HW) -> RLE:
    """A mask from the lengths of its runs, int64 [R], background first; they must add up to the canvas (H, W).

    The inverse of `lengths`, written over arrays: pycocotools takes a Python list of numbers instead.
    """
    height, width = size
    values = np.array(runs, np.int64)
    if height < 1 or width < 1 or height * width >= 2**32 or (values < 0).any() or values.sum() != height * width:
        raise BadSetting(f"runs must add up to the {height} x {width} pixels of their canvas")
    values[3:] -= runs[1:-2]
    # five bits a character, lowest first, as many as the sign needs: see `_runs`
    bits = np.where(values < 0, ~values, values)
    groups = np.ones(len(values), np.int64)
    for place in range(1, 8):
        groups += bits >> (5 * place - 1) > 0
    group = np.arange(groups.sum()) - np.repeat(np.cumsum(groups) - groups, groups)
    more = group + 1 < np.repeat(groups, groups)
    codes = (np.repeat(values, groups) >> (5 * group) & 31) + 32 * more + 48
    return {"size": [height, width], "counts": codes.astype(np.uint8).tobytes()}


def _runs(counts: bytes) -> NDArray[np.int64]:
    """int64 [R] run lengths of compressed counts.

    Each number is written in groups of 5 bits, lowest first, as characters from code 48 on; bit 32 says that another
    group follows, bit 16 of the last group is the sign. From the fourth number on it is the difference to the number
    two before. Source: the COCO API's description of its format.
    """
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if len(codes) == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise BadSetting("an RLE's counts hold characters that no encoder writes; it is damaged")
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    if (last - first).max() > 7:
        raise BadSetting("an RLE's counts hold a number beyond 40 bits; it is damaged")
    place = np.arange(len(codes)) - np.repeat(first, last - first + 1)
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    values -= np.where(codes[last] & 16, np.int64(1) << (5 * (last - first + 1)), 0)
    # differences to the number two before: two interleaved running sums, the first number stands alone
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
