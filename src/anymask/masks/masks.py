"""Masks: N masks on one canvas, with aligned columns, kept as run lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import EllipsisType, MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.extras import need
from anymask.masks import rle as coding
from anymask.masks.columns import NAMES, Details, canvas, completed, picked, stacked
from anymask.masks.outlined import outlined
from anymask.masks.polygons import Polygon
from anymask.masks.rle import RLE
from anymask.pixels.image import Image, ImageLike
from anymask.pixels.resize import HW

if TYPE_CHECKING:
    from PIL import Image as Pillow


MANY = 12
"""More masks than these are drawn as a mosaic."""


class Masks(Sequence["Masks"]):
    """N masks of one image and what is known of each; a value that never changes.

    size: (H, W) of the image in pixels. rle: N masks as run lengths, the only pixels kept.
    scores: float32 [N], predicted IoU 0..1 (1 when none was given). labels: N names or None.
    parents: int64 [N], row of the enclosing mask, -1 for none. ids: int64 [N], which object a row belongs to: the
    candidates of one ambiguous prompt share an id. logits: float32 [N, h, w] low-resolution answer of the network, fed
    back as `mask=`, or None. image: the picture, for `overlay` and `cutouts`, or None. details: further columns by
    name, [N, ...] each; everything mode gives stability_score [N], point_coords [N, 2] (x, y) and crop_box [N, 4] XYWH.

    A row is a Masks of length 1: `masks[0].areas()`, `for mask in masks`. Arrays are read-only; `replace` makes a copy
    with other columns. Raises BadSetting when columns do not fit together.
    """

    __slots__ = ("details", "ids", "image", "labels", "logits", "parents", "rle", "scores", "size")

    size: HW
    rle: tuple[RLE, ...]
    scores: NDArray[np.float32]
    labels: tuple[str | None, ...]
    parents: NDArray[np.int64]
    ids: NDArray[np.int64]
    logits: NDArray[np.float32] | None
    image: Image | None
    details: Details

    def __init__(
        self,
        size: HW,
        rle: Sequence[RLE],
        scores: Any = None,
        labels: Sequence[str | None] | None = None,
        parents: Any = None,
        ids: Any = None,
        logits: Any = None,
        image: Image | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        size = canvas(size)
        if isinstance(rle, dict) or not isinstance(rle, Sequence):
            raise BadSetting(f"rle is a list of run-length encoded masks, got {type(rle).__name__}")
        columns = completed(size, len(rle), scores, labels, parents, ids, logits, image, details)
        self._set(size, tuple(coding.checked(one, size) for one in rle), *columns.values())

    def _set(self, *columns: Any) -> None:
        for name, value in zip(_FIELDS, columns, strict=True):
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            elif isinstance(value, dict):
                value = MappingProxyType(value)
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Masks never change; use masks.replace({name}=...) for a copy")

    def __reduce__(self) -> tuple[Any, ...]:
        columns = (getattr(self, name) for name in _FIELDS)
        # a read-only view of a dict cannot be pickled
        return _restored, tuple(dict(value) if isinstance(value, MappingProxyType) else value for value in columns)

    @classmethod
    def from_dense(cls, dense: Any, **columns: Any) -> Masks:
        """Masks from bool (or 0/1, 0/255 integer) [N, H, W] or [H, W]; further columns as in the constructor."""
        if hasattr(dense, "detach"):
            dense = dense.detach().cpu().numpy()
        array = np.asarray(dense)
        if array.ndim == 2:
            array = array[None]
        if array.ndim != 3 or 0 in array.shape[1:]:
            raise BadSetting(f"dense masks must be [N, H, W], got {array.shape}")
        if array.dtype.kind not in "biu":
            raise BadSetting(f"dense masks must be boolean, got {array.dtype}; compare with a threshold first: x > 0")
        if array.dtype.kind != "b":
            top = array.max(initial=0)
            if top not in (0, 1, 255) or not ((array == 0) | (array == top)).all():
                raise BadSetting("dense masks must be 0/1 or 0/255; split a label map into one mask an object")
        size = (int(array.shape[1]), int(array.shape[2]))
        return cls(size, [coding.encode_one(mask != 0) for mask in array], **columns)

    @classmethod
    def join(cls, parts: Sequence[Masks]) -> Masks:
        """The rows of several Masks of one size, in order; ids stay as they are.

        Logits are kept when every part has them in one shape, the image when all parts agree on it.
        """
        if not parts:
            raise BadSetting("there is nothing to join")
        sizes = {part.size for part in parts}
        if len(sizes) > 1:
            raise BadSetting(f"masks to join must share a size, got {sorted(sizes)}")
        offsets = np.cumsum([0, *(len(part) for part in parts)])
        parents = [np.where(part.parents >= 0, part.parents + at, -1) for part, at in zip(parts, offsets, strict=False)]
        logits = [part.logits for part in parts if part.logits is not None]
        joined = len(logits) == len(parts) and len({one.shape[1:] for one in logits}) == 1
        image = parts[0].image
        if any(part.image is not image for part in parts):
            image = None
        return _restored(
            parts[0].size,
            tuple(rle for part in parts for rle in part.rle),
            np.concatenate([part.scores for part in parts]),
            tuple(label for part in parts for label in part.labels),
            np.concatenate(parents),
            np.concatenate([part.ids for part in parts]),
            np.concatenate(logits) if joined else None,
            image,
            stacked([part.details for part in parts]),
        )

    def replace(self, **columns: Any) -> Masks:
        """A copy with other columns: `masks.replace(labels=["cat"], ids=[7])`."""
        unknown = set(columns) - set(NAMES)
        if unknown:
            raise BadSetting(f"columns that can be replaced are {', '.join(NAMES)}; got {sorted(unknown)}")
        fresh = completed(self.size, len(self), **columns)
        return _restored(
            self.size, self.rle, *(fresh[name] if name in columns else getattr(self, name) for name in NAMES)
        )

    # rows

    def __len__(self) -> int:
        return len(self.rle)

    def __iter__(self) -> Iterator[Masks]:
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, rows: int) -> Masks: ...
    @overload
    def __getitem__(self, rows: slice) -> Masks: ...
    @overload
    def __getitem__(self, rows: Any) -> Masks: ...
    def __getitem__(self, rows: Any) -> Masks:
        """Some rows: an int (also gives a Masks, of length 1), a slice, a bool array [N] or an array of row numbers.

        A row whose parent is left out gets the nearest ancestor that is kept.
        """
        chosen = self._rows(rows)
        labels, rle = self.labels, self.rle
        return _restored(
            self.size,
            tuple(rle[row] for row in chosen),
            self.scores[chosen],
            tuple(labels[row] for row in chosen),
            self._parents_within(chosen),
            self.ids[chosen],
            None if self.logits is None else self.logits[chosen],
            self.image,
            picked(self.details, chosen),
        )

    def where(self, keep: Any) -> Masks:
        """The rows for which `keep`, bool [N], is true: `masks.where(masks.scores > 0.8)`."""
        if np.asarray(keep).dtype != np.bool_:
            raise BadSetting("where() takes one True or False for each mask; for row numbers write masks[[0, 2]]")
        return self[np.asarray(keep)]

    def best(self) -> Masks:
        """The best-scored row of each object, objects in order of appearance."""
        _, first = np.unique(self.ids, return_index=True)
        rows = []
        for one in self.ids[np.sort(first)]:
            candidates = np.flatnonzero(self.ids == one)
            rows.append(candidates[np.argmax(self.scores[candidates])])
        return self[np.array(rows, np.int64)]

    def _rows(self, rows: Any) -> NDArray[np.int64]:
        count = len(self)
        if isinstance(rows, slice):
            return np.arange(count)[rows]
        if isinstance(rows, (EllipsisType, str, bytes, tuple)) or rows is None:
            raise BadSetting(f"masks are picked by a number, a slice or an array of one dimension, got {rows!r}")
        index = np.asarray(rows)
        if index.dtype == np.bool_:
            if index.shape != (count,):
                raise BadSetting(f"there must be one True or False for each of {count} masks, got shape {index.shape}")
            return np.flatnonzero(index)
        if index.size == 0 and index.ndim == 1:
            return np.zeros(0, np.int64)
        if index.dtype.kind not in "iu" or index.ndim > 1:
            raise BadSetting(f"masks are picked by whole numbers or True and False, got {index.dtype} {index.shape}")
        index = np.atleast_1d(index).astype(np.int64)
        if (index < -count).any() or (index >= count).any():
            # IndexError, because loops over sequences end on it
            raise IndexError(f"there are {count} masks, numbered from 0; got {rows}")
        return np.where(index < 0, index + count, index)

    def _parents_within(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        parents = np.full(len(rows), -1, np.int64)
        if (self.parents[rows] < 0).all():
            return parents
        place: dict[int, int] = {}
        for new, old in enumerate(rows.tolist()):
            place.setdefault(old, new)
        for new, old in enumerate(rows.tolist()):
            above = int(self.parents[old])
            while above >= 0 and above not in place:
                above = int(self.parents[above])
            parents[new] = place.get(above, -1)
        return parents

    # what they look like

    def dense(self) -> NDArray[np.bool_]:
        """bool [N, H, W], made now and not kept: N x H x W bytes."""
        if not len(self):
            return np.zeros((0, *self.size), np.bool_)
        return coding.decode(self.rle)

    def areas(self) -> NDArray[np.int64]:
        """Foreground pixels of each mask, int64 [N]."""
        return coding.area(self.rle)

    def boxes(self) -> NDArray[np.float32]:
        """Tight boxes, float32 [N, 4] XYXY px; x1 and y1 are exclusive, x1 - x0 is the width; zeros when empty."""
        return coding.boxes(self.rle)

    def polygons(self, *, simplify: float = 0.0) -> list[list[Polygon]]:
        """For each mask its parts, each an exterior with holes, (x, y) px along the pixel edges.

        simplify: how far, in pixels, outlines may leave those edges to need fewer points; 0 keeps the mask exactly.
        """
        return [outlined(rle, simplify=simplify) for rle in self.rle]

    def overlay(self, image: ImageLike | None = None, **options: Any) -> Pillow.Image:
        """The picture with the masks laid over it; see `masks.picture.overlay` for the options.

        image: left out, the picture that the masks were made of, or a neutral ground. Without options, more than MANY
        masks are drawn by `masks.mosaic`, which is made for hundreds.
        """
        if len(self) > MANY and not options:
            from anymask.masks.mosaic import mosaic

            return mosaic(self, image)
        from anymask.masks.picture import overlay

        return overlay(self, image, **options)

    def cutouts(self, image: ImageLike | None = None) -> list[Pillow.Image]:
        """For each mask its part of the picture, cropped to the box, everything else transparent (PIL, RGBA)."""
        from anymask.masks.picture import cutouts

        return cutouts(self, image)

    # for others

    def to_coco(
        self,
        image_id: int = 1,
        category_id: int = 1,
        first_id: int = 1,
        *,
        segmentation: Literal["rle", "polygon"] = "rle",
    ) -> list[dict[str, Any]]:
        """COCO annotations, ready for JSON: compressed RLE with text counts, XYWH boxes, area, score.

        segmentation: "polygon" writes outlines instead, for tools that read nothing else. COCO's polygons cannot hold
        holes: a mask with holes stays an RLE, so that no pixel is lost.
        """
        if segmentation not in ("rle", "polygon"):
            raise BadSetting(f"segmentation is 'rle' or 'polygon', got {segmentation!r}")
        found = []
        for row, (rle, box, area) in enumerate(
            zip(self.rle, self.boxes().tolist(), self.areas().tolist(), strict=True)
        ):
            shape: Any = {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
            if segmentation == "polygon":
                parts = outlined(rle)
                if parts and not any(part.holes for part in parts):
                    shape = [part.exterior.reshape(-1).tolist() for part in parts]
            found.append(
                {
                    "id": first_id + row,
                    "image_id": image_id,
                    "category_id": category_id,
                    "segmentation": shape,
                    "area": area,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "iscrowd": 0,
                    "score": round(float(self.scores[row]), 6),
                }
            )
        return found

    def to_supervision(self) -> Any:
        """A supervision.Detections: xyxy, dense mask, confidence; class_id numbers the labels (0 when there are none).

        data: "object_id" is `ids`, "class_name" the labels if any. Raises MissingExtra without supervision.
        """
        supervision = need("supervision", extra="supervision", to="hand masks to supervision")
        names = sorted({label for label in self.labels if label is not None})
        numbers = [names.index(label) + (None in self.labels) if label is not None else 0 for label in self.labels]
        data: dict[str, Any] = {"object_id": self.ids.copy()}
        if names:
            data["class_name"] = np.array([label or "" for label in self.labels])
        return supervision.Detections(
            xyxy=self.boxes(),
            mask=self.dense(),
            confidence=self.scores.copy(),
            class_id=np.array(numbers, np.int64).reshape(-1),
            data=data if len(self) else {},
        )

    def _repr_png_(self) -> bytes:
        from anymask.masks.notebook import png

        return png(self)

    def _repr_html_(self) -> str:
        from anymask.masks.notebook import html

        return html(self)

    def __repr__(self) -> str:
        height, width = self.size
        count = len(self)
        text = f"{count} mask{'' if count == 1 else 's'} on {width} x {height} px"
        if count:
            scores = ", ".join(f"{score:.2f}" for score in self.scores[:3])
            shares = ", ".join(f"{share:.1%}" for share in self.areas()[:3] / (height * width))
            more = ", ..." if count > 3 else ""
            text += f"; score {scores}{more}; area {shares}{more}"
        return f"Masks({text})"


_FIELDS = ("size", "rle", *NAMES)


def _restored(*columns: Any) -> Masks:
    """Masks from columns that were checked before."""
    masks = Masks.__new__(Masks)
    masks._set(*columns)
    return masks
