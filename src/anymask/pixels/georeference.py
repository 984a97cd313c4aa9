"""Georeference: where the pixels of an image lie on the earth."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadImage
from anymask.extras import need

LONGITUDE_LATITUDE = "OGC:CRS84"
"""WGS 84 as GeoJSON has it, longitude first; EPSG:4326 names the same coordinates in the other order."""


@dataclass(frozen=True)
class Georeference:
    """The map from pixels to a coordinate reference system.

    transform: (a, b, c, d, e, f); the pixel corner (column, row) lies at x = a * column + b * row + c and
    y = d * column + e * row + f. crs: the system as WKT, or "EPSG:32616"; None where the file names none.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str | None = None

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Georeference | None:
        """What a GeoTIFF says of itself; None where it says nothing. Raises BadImage, MissingExtra."""
        rasterio = need("rasterio", extra="geo", to="read where an image lies on the earth")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            try:
                full = os.path.abspath(os.fsdecode(path))
                with rasterio.open(full, driver=driver_of(full)) as file:
                    return cls.of_dataset(file)
            except (OSError, rasterio.errors.RasterioError) as error:
                raise BadImage(f"{path} cannot be read as a GeoTIFF: {error}") from None

    @classmethod
    def of_dataset(cls, file: Any) -> Georeference | None:
        """The same of an open rasterio dataset."""
        crs = file.crs.to_wkt() if file.crs else None
        a, b, c, d, e, f = tuple(file.transform)[:6]
        if crs is None and (a, b, c, d, e, f) == (1, 0, 0, 0, 1, 0):
            return None
        return cls((a, b, c, d, e, f), crs)

    def at(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """(x, y) px [..., 2] to (x, y) in the coordinate reference system [..., 2]."""
        a, b, c, d, e, f = self.transform
        x, y = np.moveaxis(np.asarray(points, np.float64), -1, 0)
        return np.stack([a * x + b * y + c, d * x + e * y + f], -1)

    def lonlat(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """(x, y) px [K, 2] to (longitude, latitude) in degrees, WGS 84 [K, 2].

        Raises BadImage without a coordinate reference system or where it has no such coordinates, MissingExtra.
        """
        warp = need("rasterio.warp", extra="geo", to="give longitude and latitude")
        placed = self.at(points)
        if not len(placed):
            return placed
        try:
            x, y = warp.transform(self._known(), LONGITUDE_LATITUDE, placed[:, 0], placed[:, 1])
        except Exception as error:  # PROJ's errors come as several types, among them ones of rasterio's private module
            raise BadImage(f"the image's coordinates cannot be brought to longitude and latitude: {error}") from None
        found = np.stack([x, y], -1).astype(np.float64)
        if not np.isfinite(found).all():
            raise BadImage("parts of the image lie where their coordinate reference system has no longitude")
        return found

    @property
    def pixel_area(self) -> float | None:
        """Square metres that a pixel covers in the plane of a projected system; None for others.

        It is the map's area, as GIS tools give it: true in UTM to a tenth of a percent, far too large in Web Mercator
        away from the equator.
        """
        if self.crs is None:
            return None
        crs = self._known()
        if not crs.is_projected:
            return None
        a, b, _, d, e, _ = self.transform
        return float(abs(a * e - b * d) * crs.linear_units_factor[1] ** 2)

    @property
    def epsg(self) -> int | None:
        """The system's number in the EPSG register, None if it has none."""
        if self.crs is None:
            return None
        found = self._known().to_epsg()
        return None if found is None else int(found)

    def _known(self) -> Any:
        rasterio = need("rasterio", extra="geo", to="work with coordinate reference systems")
        if self.crs is None:
            raise BadImage("the image names no coordinate reference system, so that its pixels have no longitude")
        try:
            return rasterio.crs.CRS.from_user_input(self.crs)
        except rasterio.errors.CRSError as error:
            raise BadImage(f"the image's coordinate reference system is not understood: {error}") from None


def driver_of(path: str) -> str:
    """GDAL's driver for a file; see `driver`. Raises OSError."""
    with open(path, "rb") as file:
        return driver(file.read(4))


def driver(head: bytes) -> str:
    """GDAL's driver for a file's first bytes: no other is let near it, as some fetch whatever a file names."""
    return "GTiff" if head[:2] in (b"II", b"MM") else "JP2OpenJPEG"
