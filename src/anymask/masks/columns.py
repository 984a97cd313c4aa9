"""The columns of Masks, checked before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.pixels.image import Image
from anymask.pixels.resize import HW

NAMES = ("scores", "labels", "parents", "ids", "logits", "image", "details")
"""Every column besides the run lengths themselves; see `Masks`."""

Details = Mapping[str, NDArray[Any]]
"""Further aligned columns by name, [N, ...] each; `Masks.details`."""


def completed(
    size: HW,
    count: int,
    scores: Any = None,
    labels: Sequence[str | None] | None = None,
    parents: Any = None,
    ids: Any = None,
    logits: Any = None,
    image: Image | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The columns by name, in the order of NAMES, checked and with defaults filled in. Raises BadSetting."""
    if image is not None and (not isinstance(image, Image) or image.size != size):
        raise BadSetting(f"the image of these masks must be an anymask Image of size {size}, got {image!r}")
    return {
        "scores": np.ones(count, np.float32) if scores is None else _column(scores, "scores", np.float32, count),
        "labels": _labels(labels, count),
        "parents": np.full(count, -1, np.int64) if parents is None else _parents(parents, count),
        "ids": np.arange(count) if ids is None else _column(ids, "ids", np.int64, count),
        "logits": None if logits is None else _logits(logits, count),
        "image": image,
        "details": _details(details, count),
    }


def canvas(size: Any) -> HW:
    """(H, W) as whole numbers of at least 1, or BadSetting."""
    try:
        height, width = size
        if int(height) != height or int(width) != width or height < 1 or width < 1:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise BadSetting(f"the size of masks is (H, W) in whole pixels, got {size!r}") from None
    return (int(height), int(width))


def _column(values: Any, name: str, dtype: type[np.generic], count: int) -> NDArray[Any]:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        raw = np.asarray(values)
        column = np.array(raw, dtype)  # a copy: the caller may go on using its own
    except (TypeError, ValueError, OverflowError):
        raise BadSetting(f"{name} must be numbers, one for each mask") from None
    if column.shape != (count,):
        raise BadSetting(f"{name} must be [{count}], one for each mask, got {column.shape}")
    if raw.dtype.kind not in "biuf" and count:
        raise BadSetting(f"{name} must be numbers, got {raw.dtype}")
    if dtype is np.int64 and not np.array_equal(column, raw):
        raise BadSetting(f"{name} must be whole numbers")
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        raise BadSetting(f"{name} must be finite, got NaN or infinity")
    return column


def _labels(labels: Sequence[str | None] | None, count: int) -> tuple[str | None, ...]:
    if labels is None:
        return (None,) * count
    if isinstance(labels, str):
        raise BadSetting(f"labels is a list, one name or None for each mask, got the text {labels!r}")
    names = tuple(labels)
    if len(names) != count or any(name is not None and not isinstance(name, str) for name in names):
        raise BadSetting(f"labels must be {count} names or None, one for each mask, got {len(names)}")
    return tuple(None if name is None else str(name) for name in names)


def _parents(values: Any, count: int) -> NDArray[np.int64]:
    parents = _column(values, "parents", np.int64, count)
    if (parents < -1).any() or (parents >= count).any():
        raise BadSetting(f"parents are rows 0 to {count - 1} or -1 for none, got {parents.min()} to {parents.max()}")
    above = parents.copy()
    for _ in range(count):
        if (above < 0).all():
            return parents
        above = np.where(above < 0, -1, parents[above])
    if (above >= 0).any():
        raise BadSetting("parents run in a circle: a mask cannot lie inside itself")
    return parents


def _logits(values: Any, count: int) -> NDArray[np.float32]:
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    try:
        logits = np.array(values, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise BadSetting("logits must be a regular array [N, h, w] of numbers") from None
    if logits.ndim != 3 or len(logits) != count:
        raise BadSetting(f"logits must be [{count}, h, w], one plane for each mask, got {logits.shape}")
    return logits


def _details(details: Mapping[str, Any] | None, count: int) -> Details:
    if details is None:
        return MappingProxyType({})
    if not isinstance(details, Mapping):
        raise BadSetting(f"details are columns by name, got {type(details).__name__}")
    found = {}
    for name, values in details.items():
        column = np.array(values)
        if not isinstance(name, str) or column.ndim < 1 or len(column) != count or column.dtype.kind not in "biuf":
            raise BadSetting(f"the column {name!r:.40} must be numbers [{count}, ...], one row for each mask")
        found[name] = column
    return _frozen(found)


def _frozen(columns: dict[str, NDArray[Any]]) -> Details:
    for column in columns.values():
        column.flags.writeable = False
    return MappingProxyType(columns)


def picked(details: Details, rows: NDArray[np.int64]) -> Details:
    """Some rows of every column."""
    return _frozen({name: column[rows] for name, column in details.items()})


def stacked(parts: Sequence[Details]) -> Details:
    """The columns that all parts have, one part after the other; those that do not fit together are left out."""
    if not parts:
        return MappingProxyType({})
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    fitting = [name for name in shared if len({part[name].shape[1:] for part in parts}) == 1]
    return _frozen({name: np.concatenate([part[name] for part in parts]) for name in fitting})
