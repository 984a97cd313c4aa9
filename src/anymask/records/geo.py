"""What the geographic formats share: where an image lies, and what is told of each of its masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.masks.outlined import outlined
from anymask.masks.polygons import Polygon
from anymask.pixels.georeference import Georeference
from anymask.pixels.raster import georeferenced
from anymask.records.record import Record


def place(record: Record) -> Georeference | None:
    """Where a record's image lies on the earth: as the record says, or as its file does if it is still there.

    None for images that lie nowhere. Raises MissingExtra when the file says so and rasterio is not installed.
    """
    if record.image.geo is not None or record.image.path is None:
        return record.image.geo
    return Georeference.of(record.image.path) if georeferenced(record.image.path) else None


def shapes(record: Record) -> list[list[Polygon]]:
    """The parts of each mask, in pixels; a mask of a few thousand pixels costs the same on any canvas."""
    return [outlined(rle) for rle in record.masks.rle]


def columns(record: Record, geo: Georeference | None) -> dict[str, list[Any]]:
    """What is told of each mask, by name, N values each; None where a value is not known.

    id: its object. label. score: predicted IoU. stability: 0..1. area_px: pixels. area_m2: square metres where the
    coordinate reference system is projected, see `Georeference.pixel_area`. parent: row of the mask it lies in, from 0,
    or None. row: its own.
    """
    masks = record.masks
    count = len(masks)
    areas = masks.areas()
    pixel = geo.pixel_area if geo is not None else None
    stability = masks.details.get("stability_score")
    return {
        "row": list(range(count)),
        "id": masks.ids.tolist(),
        "label": list(masks.labels),
        "score": np.round(masks.scores.astype(np.float64), 6).tolist(),
        "stability": [None] * count if stability is None else np.round(stability.astype(np.float64), 6).tolist(),
        "area_px": areas.tolist(),
        "area_m2": [None] * count if pixel is None else np.round(areas * pixel, 6).tolist(),
        "parent": [None if parent < 0 else int(parent) for parent in masks.parents],
    }


def closed(ring: NDArray[np.float64], *, clockwise: bool) -> NDArray[np.float64]:
    """A ring [K, 2] that ends where it began [K + 1, 2] and runs as asked, y pointing up."""
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    if (float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) < 0) != clockwise:
        ring = ring[::-1]
    return np.concatenate([ring, ring[:1]])
