"""GeoJSON (RFC 7946): one feature a mask, in longitude and latitude, holes kept.

An image that lies nowhere on the earth gives the same file in pixels; the member "coordinates" says which.

    {"type": "FeatureCollection", "coordinates": "longitude and latitude, WGS 84", "crs_of_image": "EPSG:32616",
     "features": [{"type": "Feature", "geometry": {"type": "MultiPolygon", ...},
                   "properties": {"row", "id", "label", "score", "stability", "area_px", "area_m2", "parent"}}]}
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.pixels.georeference import Georeference
from anymask.records import atomic
from anymask.records.geo import closed, columns, place, shapes
from anymask.records.record import Record

PIXELS = "pixels of the image, x to the right and y down: it has no coordinate reference system"
DEGREES = "longitude and latitude, WGS 84"

DIGITS = 9
"""Decimals of degrees: a tenth of a millimetre."""

STRAIGHT = 128
"""Pixels after which an edge gets another corner: straight lines on a map are curves in longitude and latitude."""


def as_dict(record: Record) -> dict[str, Any]:
    """The feature collection. Raises BadImage where the image's coordinates have no longitude, MissingExtra."""
    geo = place(record)
    if geo is not None and geo.crs is None:
        geo = None  # a scale without a system: nobody knows where that is
    parts = shapes(record)
    rings = [ring.astype(np.float64) for polygons in parts for part in polygons for ring in part.rings]
    if geo is not None:
        rings = _lonlat([_dense(ring) for ring in rings], geo)
    place_of = iter(rings)
    told = columns(record, geo)
    features = []
    for row, polygons in enumerate(parts):
        coordinates = [
            [closed(next(place_of), clockwise=inner > 0).tolist() for inner in range(len(part.rings))]
            for part in polygons
        ]
        single = len(coordinates) == 1
        geometry = {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": coordinates[0] if single else coordinates,
        }
        properties = {name: values[row] for name, values in told.items()}
        # an empty mask is a feature without a place
        features.append({"type": "Feature", "geometry": geometry if coordinates else None, "properties": properties})
    found: dict[str, Any] = {"type": "FeatureCollection", "coordinates": DEGREES if geo is not None else PIXELS}
    if geo is not None:
        found["crs_of_image"] = f"EPSG:{geo.epsg}" if geo.epsg is not None else geo.crs
    height, width = record.image.size
    found["image"] = {"path": record.image.path, "height": height, "width": width}
    found["features"] = features
    return found


def as_text(record: Record) -> str:
    """The file, one feature a line."""
    data = as_dict(record)
    features = ",\n".join(json.dumps(feature) for feature in data.pop("features"))
    return json.dumps(data)[:-1] + ', "features": [\n' + features + "\n]}\n"


def write(record: Record, path: str | os.PathLike[str]) -> Path:
    """Writes the file, whole or not at all."""
    return atomic.write(path, as_text(record))


class GeoJson:
    """The format of folder runs: TITLE.geojson for each image."""

    name = "geojson"

    def files(self, record: Record, title: str) -> dict[str, bytes]:
        """The files of one image, by relative path."""
        return {f"{title}.geojson": as_text(record).encode("ascii")}

    def finish(self, titles: Iterable[str], read: Callable[[str], bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Nothing: the data set has no files of its own."""
        return iter(())


def _dense(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """A ring [K, 2] px with corners added on long edges."""
    step = np.roll(ring, -1, 0) - ring
    count = np.maximum(1, np.ceil(np.abs(step).max(1) / STRAIGHT)).astype(np.int64)
    if (count == 1).all():
        return ring
    edge = np.repeat(np.arange(len(ring)), count)
    part = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    return np.asarray(ring[edge] + step[edge] * (part / count[edge])[:, None], np.float64)


def _lonlat(rings: list[NDArray[np.float64]], geo: Georeference) -> list[NDArray[np.float64]]:
    """Rings in px to rings in degrees, all in one call: each call finds its way between the systems anew."""
    if not rings:
        return []
    placed = np.round(geo.lonlat(np.concatenate(rings)), DIGITS)
    return np.split(placed, np.cumsum([len(ring) for ring in rings])[:-1])
