"""The bits in which Label Studio keeps a brush stroke.

The mask is repeated over four channels (RGBA, 0 or 255), flattened row by row, and packed: 32 bits of length, 5 bits of
word size less one, four times 4 bits of run sizes less one, then for each run a 1, 2 bits that name its size, the run's
length less one in so many bits, and the value. (Label Studio's reader is rle-pack of thi.ng/umbrella.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting

CHANNELS = 4
WORD = 8
SIZES = (3, 4, 8, 16)
"""Bits that a run's length may take."""


def brush_rle(mask: NDArray[np.bool_]) -> list[int]:
    """A mask, bool [H, W], as the bytes of `value.rle` in a brush label."""
    flat = np.ascontiguousarray(mask, np.bool_).reshape(-1)
    length = len(flat) * CHANNELS
    bits = [_bits(length, 32), _bits(WORD - 1, 5), *(_bits(size - 1, 4) for size in SIZES)]
    for inside, run in _runs(flat):
        value = _bits(255 if inside else 0, WORD)
        left = run * CHANNELS
        while left:
            part = min(left, 1 << SIZES[-1])
            name = next(index for index, size in enumerate(SIZES) if part <= 1 << size)
            bits += ["1", _bits(name, 2), _bits(part - 1, SIZES[name]), value]
            left -= part
    text = "".join(bits)
    return np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0")).tolist()


def read_brush_rle(rle: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask, bool [H, W], in the bytes that Label Studio keeps; what is more than half opaque is inside.

    Raises BadSetting where they are no such bytes, or of a picture of another size.
    """
    height, width = size
    try:
        text = np.unpackbits(np.asarray(rle, np.uint8)).astype(np.uint8)
        flat = _unpacked((text + ord("0")).tobytes().decode(), height * width * CHANNELS)
    except (ValueError, OverflowError, TypeError) as error:
        raise BadSetting(f"this is no brush label of a picture of {width} x {height} pixels: {error}") from None
    return flat.reshape(height, width, CHANNELS)[..., -1] > 127


def _unpacked(text: str, wanted: int) -> NDArray[np.uint8]:
    place = 0

    def read(size: int) -> int:
        nonlocal place
        place += size
        if place > len(text):
            raise ValueError("the bits end too early")
        return int(text[place - size : place], 2)

    length, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    if length != wanted:
        raise ValueError(f"it holds {length} values instead of {wanted}")
    if word != WORD:
        raise ValueError(f"its values have {word} bits")
    out = np.empty(length, np.uint8)
    done = 0
    while done < length:
        same = read(1)
        end = done + 1 + read(sizes[read(2)])
        if end > length:
            raise ValueError("a run goes beyond its end")
        if same:
            out[done:end] = read(word)
        else:
            for index in range(done, end):
                out[index] = read(word)
        done = end
    return out


def _runs(flat: NDArray[np.bool_]) -> Iterator[tuple[bool, int]]:
    if not len(flat):
        return
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = [0, *edges.tolist(), len(flat)]
    for start, end in pairwise(starts):
        yield bool(flat[start]), end - start


def _bits(value: int, size: int) -> str:
    return format(value, f"0{size}b")
