"""GeoTIFF label map: each pixel holds the number of a mask, in the image's own coordinate reference system."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from anymask.extras import need
from anymask.records import atomic
from anymask.records.geo import place
from anymask.records.labelmap import BLOCK, DEEP, bands
from anymask.records.record import Record


def as_bytes(record: Record) -> bytes:
    """The file: one band, tiled and compressed, 0 for no mask, which is also its no-data value, and row + 1 for a mask.

    Where masks overlap the smallest shows: a part on its whole. uint16, or uint32 for more than 65,535 masks.
    Painted band by band: memory does not grow with the image's height. Raises MissingExtra without rasterio.
    """
    rasterio = need("rasterio", extra="geo", to="write a GeoTIFF")
    geo = place(record)
    height, width = record.image.size
    kind = "uint16" if len(record.masks) < DEEP else "uint32"
    options = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": kind,
        "nodata": 0,
        "compress": "deflate",
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "bigtiff": "if_safer",
    }
    if geo is not None:
        options["transform"] = rasterio.Affine(*geo.transform)
        options["crs"] = geo.crs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.io.MemoryFile() as memory:
            with memory.open(**options) as file:
                file.update_tags(anymask="label map: 0 is no mask, 1 the first")
                for top, labels in bands(record.masks, np.dtype(kind)):
                    file.write(labels, 1, window=((top, top + len(labels)), (0, width)))
            return bytes(memory.read())


def write(record: Record, path: str | os.PathLike[str]) -> Path:
    """Writes the file, whole or not at all."""
    return atomic.write(path, as_bytes(record))


class GeoTiff:
    """The format of folder runs: TITLE.tif for each image."""

    name = "geotiff"

    def files(self, record: Record, title: str) -> dict[str, bytes]:
        """The files of one image, by relative path."""
        return {f"{title}.tif": as_bytes(record)}

    def finish(self, titles: Iterable[str], read: Callable[[str], bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Nothing: the data set has no files of its own."""
        return iter(())
