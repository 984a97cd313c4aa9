"""GeoPackage: one layer "masks" with a multipolygon a mask, in the image's own coordinate reference system."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.extras import need
from anymask.masks.polygons import Polygon
from anymask.pixels.georeference import Georeference
from anymask.records import atomic
from anymask.records.geo import closed, columns, place, shapes
from anymask.records.record import Record

LAYER = "masks"

DATE = "OGR_CURRENT_DATE"
"""GDAL's setting for the date that it writes into a file."""

TYPES: dict[str, Any] = {
    "row": np.int64,
    "id": np.int64,
    "label": object,
    "score": np.float64,
    "stability": np.float64,
    "area_px": np.int64,
    "area_m2": np.float64,
    "parent": np.int64,
}


def as_bytes(record: Record) -> bytes:
    """The file. Columns as in `geo.columns`. Without a place on the earth, coordinates are pixels, y down.

    Raises MissingExtra without pyogrio (and, for images that lie on the earth, rasterio).
    """
    pyogrio = need("pyogrio.raw", extra="geo", to="write a GeoPackage")
    geo = place(record)
    told = columns(record, geo)
    out = io.BytesIO()
    settings = need("pyogrio", extra="geo", to="write a GeoPackage")
    known = "pixels, y down: the image has no coordinate reference system" if geo is None else "of the image"
    before = settings.get_gdal_config_option(DATE)
    # the file's own date: the record's, so that the same record gives the same bytes
    settings.set_gdal_config_options({DATE: _date(record.made_by.time)})
    with warnings.catch_warnings(), contextlib.ExitStack() as after:
        after.callback(settings.set_gdal_config_options, {DATE: before})
        # that a layer has no coordinate reference system is said in its description
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        pyogrio.write(
            out,
            np.array([_multipolygon(parts, geo) for parts in shapes(record)], object),
            [_column(values, TYPES[name]) for name, values in told.items()],
            list(told),
            field_mask=[np.array([value is None for value in values], np.bool_) for values in told.values()],
            layer=LAYER,
            driver="GPKG",
            geometry_type="MultiPolygon",
            crs=None if geo is None else geo.crs,
            layer_metadata={"DESCRIPTION": f"masks by anymask; coordinates {known}"},
        )
    return out.getvalue()


def _date(time: str) -> str:
    """A time in UTC as the format has it, 1970 where it is not known."""
    try:
        known = datetime.fromisoformat(time).astimezone(timezone.utc)
    except ValueError:
        known = datetime.fromtimestamp(0, timezone.utc)
    return known.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def write(record: Record, path: str | os.PathLike[str]) -> Path:
    """Writes the file, whole or not at all."""
    return atomic.write(path, as_bytes(record))


class GeoPackage:
    """The format of folder runs: TITLE.gpkg for each image."""

    name = "geopackage"

    def files(self, record: Record, title: str) -> dict[str, bytes]:
        """The files of one image, by relative path."""
        return {f"{title}.gpkg": as_bytes(record)}

    def finish(self, titles: Iterable[str], read: Callable[[str], bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Nothing: the data set has no files of its own."""
        return iter(())


def _column(values: Sequence[Any], kind: Any) -> NDArray[Any]:
    if kind is object:
        return np.array(values, object)
    return np.array([0 if value is None else value for value in values], kind)


def _multipolygon(parts: Sequence[Polygon], geo: Georeference | None) -> bytes:
    """Well-known binary, little endian: type 6, count, and for each part type 3 with its closed rings."""
    polygons = []
    for part in parts:
        rings = []
        for place_in, ring in enumerate(part.rings):
            points = ring.astype(np.float64) if geo is None else geo.at(ring)
            corners = closed(points, clockwise=place_in > 0)
            rings.append(struct.pack("<I", len(corners)) + corners.astype("<f8").tobytes())
        polygons.append(struct.pack("<BII", 1, 3, len(rings)) + b"".join(rings))
    return struct.pack("<BII", 1, 6, len(polygons)) + b"".join(polygons)
