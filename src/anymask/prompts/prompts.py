"""What was pointed at in one image: points, boxes and masks for P objects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadPrompt
from anymask.pixels.resize import HW

PointsLike = Any
"""[x, y], [[x, y], ...] or [[[x, y], ...], ...]: one point, the points of one object, or of P objects."""

MAX_OBJECTS = 100_000
MAX_POINTS = 10_000
MAX_NUMBERS = 20_000_000
"""Coordinates in one call; ragged points are padded, so that one long row lengthens all."""
MAX_LOGITS = 1 << 28
MAX_DRAWN = 1 << 31
"""Numbers of mask prompts in one call, as logits and as drawn masks: one and two gigabytes."""
FARTHEST = 1e9
"""Pixels; beyond this, coordinates would lose their places behind the point and at last become infinite in float32."""


@dataclass(frozen=True)
class Prompts:
    """Prompts for P objects on one image, in pixels of the original image.

    points: float32 [P, K, 2], (x, y).
    point_labels: int64 [P, K]; 1 inside, 0 outside, -1 padding.
    boxes: float32 [P, 4], XYXY.
    low_res: float32 [P, h, w], logits of an earlier answer.
    masks: bool [P, H, W], drawn masks in the image's size.
    """

    points: NDArray[np.float32] | None = None
    point_labels: NDArray[np.int64] | None = None
    boxes: NDArray[np.float32] | None = None
    low_res: NDArray[np.float32] | None = None
    masks: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.points is None and self.boxes is None and self.low_res is None and self.masks is None:
            raise BadPrompt("give at least one prompt: points, boxes or a mask")
        if (self.points is None) != (self.point_labels is None):
            raise BadPrompt("points and their labels come together; use Prompts.of(points=...) to get labels filled in")
        if self.points is not None and self.point_labels is not None:
            shape, labels = self.points.shape, self.point_labels.shape
            if len(shape) != 3 or shape[-1] != 2 or labels != shape[:2]:
                raise BadPrompt(f"points must be [P, K, 2] and labels [P, K], got {shape} and {labels}")
        if self.boxes is not None and (self.boxes.ndim != 2 or self.boxes.shape[1] != 4):
            raise BadPrompt(f"boxes must be [P, 4] XYXY in pixels, got {self.boxes.shape}")
        for name, value in (("low_res", self.low_res), ("masks", self.masks)):
            if value is not None and value.ndim != 3:
                raise BadPrompt(f"{name} must be [P, h, w], got {value.shape}")
        if self.low_res is not None and self.masks is not None:
            raise BadPrompt("give either low-resolution logits or masks in the image's size, not both")
        counts = {name: len(value) for name, value in self._columns().items()}
        if len(set(counts.values())) != 1:
            raise BadPrompt(
                f"points, boxes and masks must be for the same number of objects, got {counts}; "
                "nest points as [[[x, y], ...], ...] for several objects"
            )

    def _columns(self) -> dict[str, NDArray[Any]]:
        columns = {"points": self.points, "boxes": self.boxes, "low_res": self.low_res, "masks": self.masks}
        return {name: value for name, value in columns.items() if value is not None}

    def __len__(self) -> int:
        """The number of objects P."""
        return len(next(iter(self._columns().values())))

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> Prompts:
        """The prompts of some objects."""

        def cut(value: NDArray[Any] | None) -> Any:
            return None if value is None else value[rows]

        return Prompts(cut(self.points), cut(self.point_labels), cut(self.boxes), cut(self.low_res), cut(self.masks))

    @property
    def ambiguous(self) -> bool:
        """Whether an answer of three candidates is called for: one point an object and nothing else.

        Source: Segment Anything, section 3 and appendix A: more than one prompt is rarely ambiguous.
        """
        alone = self.boxes is None and self.low_res is None and self.masks is None
        return alone and self.point_labels is not None and bool((self.point_labels >= 0).sum(1).max(initial=0) <= 1)

    def groups(self) -> list[tuple[NDArray[np.intp], Prompts]]:
        """(object indices, their prompts) by number of points, without padding.

        Padding tokens change an answer slightly; grouped, each object is answered as if it were asked alone.
        """
        if self.points is None or self.point_labels is None:
            return [(np.arange(len(self)), self)]
        used = self.point_labels >= 0
        counts = np.where(used.any(1), used.shape[1] - np.argmax(used[:, ::-1], 1), 0)
        groups = []
        for count in np.unique(counts):
            rows = np.flatnonzero(counts == count)
            part, keep = self[rows], max(int(count), 1)
            assert part.points is not None and part.point_labels is not None
            part = replace(part, points=part.points[:, :keep], point_labels=part.point_labels[:, :keep])
            groups.append((rows, part))
        return groups

    @classmethod
    def of(
        cls,
        points: PointsLike = None,
        labels: Any = None,
        boxes: Any = None,
        mask: Any = None,
        *,
        size: HW | None = None,
    ) -> Prompts:
        """Prompts from what people pass: one object or many, lists or arrays.

        points: [x, y]; [[x, y], ...] for one object; [[[x, y], ...], ...] for several, of any lengths (ragged).
        labels: same nesting without the last axis; 1 inside, 0 outside; left out, all points are inside.
        boxes: [x0, y0, x1, y1] or [P, 4], XYXY pixels.
        mask: [H, W] or [P, H, W]; bool or 0/1 (or 0/255) integers of the image's size are a drawn mask, floats are
            low-resolution logits of an earlier answer (`Masks.logits`).
        size: (H, W) of the image; given, coordinates outside of it are refused.
        Raises BadPrompt with the shape or the range that was expected.
        """
        point_array, label_array = _points(points, labels)
        box_array = _boxes(boxes)
        low_res, masks = _mask(mask, size)
        if size is not None:
            _inside(point_array, label_array, box_array, size)
        prompts = cls(point_array, label_array, box_array, low_res, masks)
        if len(prompts) > MAX_OBJECTS:
            raise BadPrompt(f"{len(prompts):,} objects in one call is more than {MAX_OBJECTS:,}; split the call")
        return prompts


def _numbers(value: Any, what: str) -> NDArray[np.float64]:
    """A float64 array of finite real numbers, or BadPrompt."""
    try:
        raw = np.asarray(value)
        if raw.dtype.kind not in "fiub":
            raise TypeError(f"dtype {raw.dtype}")
        array = raw if raw.size > MAX_NUMBERS else raw.astype(np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise BadPrompt(f"{what} must be numbers in a regular array or nested list: {error}") from None
    _few(array.size, MAX_NUMBERS, what)
    if not np.isfinite(array).all():
        raise BadPrompt(f"{what} must be finite, got NaN or infinity")
    if array.size and np.abs(array).max() > FARTHEST:
        raise BadPrompt(f"{what} must be pixels, got {array.flat[np.abs(array).argmax()]:g}")
    return array


def _few(count: int, limit: int, what: str) -> None:
    # before anything is copied: a view of a single number can claim any size
    if count > limit:
        raise BadPrompt(f"{what} of {count:,} numbers are more than {limit:,}; split the call")


def _depth(value: Any) -> int:
    """How deep a possibly ragged nesting of lists goes, following first elements."""
    depth = 0
    while isinstance(value, (list, tuple)) and depth < 4:
        depth += 1
        if not value:
            break
        value = value[0]
    return depth + int(getattr(value, "ndim", 0))


def _points(points: Any, labels: Any) -> tuple[NDArray[np.float32] | None, NDArray[np.int64] | None]:
    if points is None:
        if labels is not None:
            raise BadPrompt("labels were given without points")
        return None, None
    depth = _depth(points)
    if depth not in (1, 2, 3):
        raise BadPrompt("points must be [x, y], [[x, y], ...] or one such list for each object")
    if depth == 1:
        points, labels = [points], labels if labels is None or _depth(labels) else [labels]
    if depth < 3:
        points, labels = [points], None if labels is None else [labels]
    if labels is not None and (_depth(labels) != 2 or len(labels) != len(points)):
        raise BadPrompt(f"labels must be nested like the points: one for each point of each of {len(points)} objects")
    if len(points) > MAX_OBJECTS:
        raise BadPrompt(f"{len(points):,} objects in one call is more than {MAX_OBJECTS:,}; split the call")
    rows = [_numbers(row, "points") for row in points]
    rows = [row.reshape(0, 2) if row.shape == (0,) else row for row in rows]
    if not rows or any(row.ndim != 2 or row.shape[1] != 2 for row in rows):
        shapes = [row.shape for row in rows[:3]]
        raise BadPrompt(f"each object's points must be [K, 2] as (x, y), got {shapes}")
    longest = max(len(row) for row in rows)
    if longest == 0 or longest > MAX_POINTS:
        raise BadPrompt(f"an object takes 1 to {MAX_POINTS:,} points, got {longest:,}")
    _few(2 * len(rows) * longest, MAX_NUMBERS, "points, padded to the longest object's,")
    point_array = np.zeros((len(rows), longest, 2), np.float32)
    label_array = np.full((len(rows), longest), -1, np.int64)
    for index, row in enumerate(rows):
        point_array[index, : len(row)] = row
        label_array[index, : len(row)] = 1 if labels is None else _labels(labels[index], len(row))
    return point_array, label_array


def _labels(labels: Any, count: int) -> NDArray[np.int64]:
    values = _numbers(labels, "labels")
    if values.shape != (count,):
        raise BadPrompt(f"there must be one label for each point: {count} points, labels of shape {values.shape}")
    if not np.isin(values, (-1, 0, 1)).all():
        wrong = values[~np.isin(values, (-1, 0, 1))][0]
        raise BadPrompt(f"labels are 1 (inside), 0 (outside) or -1 (padding), got {wrong:g}")
    return values.astype(np.int64)


def _boxes(boxes: Any) -> NDArray[np.float32] | None:
    if boxes is None:
        return None
    array = _numbers(boxes, "boxes")
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 4 or len(array) == 0:
        raise BadPrompt(f"boxes must be [x0, y0, x1, y1] or [P, 4] in pixels, got shape {array.shape}")
    if (array[:, 2:] <= array[:, :2]).any():
        bad = array[(array[:, 2:] <= array[:, :2]).any(1)][0].tolist()
        raise BadPrompt(f"boxes are XYXY with x1 > x0 and y1 > y0, got {bad}; is it XYWH?")
    return array.astype(np.float32)


def _mask(mask: Any, size: HW | None) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
    if mask is None:
        return None, None
    try:
        array = np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise BadPrompt(f"a mask must be a regular array: {error}") from None
    if array.ndim == 2:
        array = array[None]
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 3 or 0 in array.shape:
        raise BadPrompt(f"a mask must be [H, W] or [P, H, W], got shape {array.shape}")
    _few(array.size, MAX_LOGITS if array.dtype.kind == "f" else MAX_DRAWN, "a mask prompt")
    if array.dtype.kind in "biu":
        if size is not None and array.shape[1:] != tuple(size):
            raise BadPrompt(f"a drawn mask must have the image's size {tuple(size)}, got {array.shape[1:]}")
        if array.dtype.kind != "b":
            top = int(array.max())
            if int(array.min()) < 0 or top not in (0, 1, 255) or not np.isin(array, (0, top)).all():
                raise BadPrompt("a drawn mask must be boolean, 0/1 or 0/255; split a label map into one mask an object")
        return None, array.astype(bool)
    if array.dtype.kind != "f":
        raise BadPrompt(f"a mask must be boolean, 0/1 integers or float logits, got {array.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused as infinite
        # a copy: the logits of Masks are read-only, and torch warns about arrays that it must not write to
        logits = np.array(array, np.float32, order="C")
    if not np.isfinite(logits).all():
        raise BadPrompt("mask logits must be finite, got NaN or infinity")
    return logits, None


def _inside(
    points: NDArray[np.float32] | None,
    labels: NDArray[np.int64] | None,
    boxes: NDArray[np.float32] | None,
    size: HW,
) -> None:
    height, width = size
    limit = np.array([width, height])
    if points is not None and labels is not None:
        bad = ((points < 0) | (points > limit)).any(-1) & (labels >= 0)
        if bad.any():
            x, y = points[bad][0]
            raise BadPrompt(
                f"the point ({x:g}, {y:g}) lies outside the image: x is 0 to {width}, y is 0 to {height} "
                "(points are x, y)"
            )
    if boxes is not None:
        overlap = np.minimum(boxes[:, 2:], limit) > np.maximum(boxes[:, :2], 0)
        if not overlap.all():
            bad_box = boxes[~overlap.all(1)][0].tolist()
            raise BadPrompt(f"the box {bad_box} does not touch the image: x is 0 to {width}, y is 0 to {height}")
