"""The numbers in which CVAT keeps a mask: runs over its box row by row, starting with zeros, then the box.

The box is x1, y1, x2, y2 with the last column and row included.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting


def cvat_points(mask: NDArray[np.bool_]) -> list[int]:
    """A mask, bool [H, W], as `points` of a CVAT shape of type "mask". Raises BadSetting for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise BadSetting("an empty mask has no place among CVAT's shapes; leave it out")
    y1, y2, x1, x2 = (int(value) for value in (rows[0], rows[-1], columns[0], columns[-1]))
    flat = mask[y1 : y2 + 1, x1 : x2 + 1].reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges.tolist(), len(flat)]).tolist()
    return [*([0] if flat[0] else []), *runs, x1, y1, x2, y2]


def read_cvat_points(points: Sequence[float], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask, bool [H, W], of such numbers. Raises BadSetting where they do not fit the picture or each other."""
    numbers = np.asarray(points, np.float64)
    if numbers.ndim != 1 or len(numbers) < 5 or not np.isfinite(numbers).all() or (numbers % 1).any():
        raise BadSetting("a CVAT mask is a list of whole numbers: runs, then x1, y1, x2, y2")
    *runs, x1, y1, x2, y2 = numbers.astype(np.int64).tolist()
    height, width = size
    if not (0 <= x1 <= x2 < width and 0 <= y1 <= y2 < height) or min(runs) < 0:
        raise BadSetting(f"this CVAT mask does not lie in a picture of {width} x {height} pixels")
    if sum(runs) != (x2 + 1 - x1) * (y2 + 1 - y1):
        raise BadSetting("the runs of this CVAT mask do not fill its box")
    mask = np.zeros(size, np.bool_)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask[y1 : y2 + 1, x1 : x2 + 1] = flat.reshape(y2 + 1 - y1, x2 + 1 - x1)
    return mask
