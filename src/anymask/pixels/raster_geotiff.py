"""GeoTIFF and JPEG 2000 by windows, read by rasterio (GDAL)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadImage
from anymask.extras import need
from anymask.pixels.georeference import Georeference, driver, driver_of
from anymask.pixels.raster import SAMPLE, Raster, chosen, file_name, reason, rgb, stretch_of
from anymask.pixels.window import Window

CACHE = 128 * 2**20
"""Bytes of decoded blocks that GDAL may keep; its own default is a share of the machine's memory."""


class GeoTiff(Raster):
    """A georeferenced raster file; see `Raster.open`."""

    def __init__(self, source: str | os.PathLike[str] | bytes, bands: Sequence[int] | None = None) -> None:
        self._rasterio = need("rasterio", extra="geo", to="read a GeoTIFF")
        need("rasterio.io", extra="geo", to="read a GeoTIFF")
        self._name = "the GeoTIFF" if isinstance(source, bytes) else file_name(source)
        self.source = None if isinstance(source, bytes) else self._name
        self._memory: Any = None
        try:
            with self._quietly():
                if isinstance(source, bytes):
                    self._memory = self._rasterio.io.MemoryFile(source)
                    self._file = self._memory.open(driver=driver(source[:4]))
                else:
                    path = os.path.abspath(os.path.expanduser(self._name))
                    self._file = self._rasterio.open(path, driver=driver_of(path))
        except Exception as error:
            raise BadImage(f"{self._name} cannot be read as a GeoTIFF: {reason(error)}") from None
        try:
            self.size = (int(self._file.height), int(self._file.width))
            self.geo = Georeference.of_dataset(self._file)
            self._bands, self._palette = self._chosen(bands)
            self._all_valid = all(flags == [self._rasterio.enums.MaskFlags.all_valid] for flags in self._mask_flags())
            share = max(1.0, max(self.size) / SAMPLE)
            shape = (max(1, round(self.size[0] / share)), max(1, round(self.size[1] / share)))
            if self._file.dtypes[self._bands[0] - 1] == "uint8":
                # nothing to decide, so no overview to read
                self._stretch = stretch_of(np.zeros((1, 1, 1), np.uint8), None)
            else:
                self._stretch = stretch_of(self._values(None, shape), self._valid(None, shape))
        except BaseException:
            self.close()
            raise

    def read(self, window: Window) -> NDArray[np.uint8]:
        """uint8 [h, w, 3] RGB of a window inside the image. Raises BadImage."""
        self._inside(window)
        values, valid = self._values(window), self._valid(window)
        if self._palette is not None:
            values = self._palette[values[:, :, 0]]
        return rgb(values, valid, self._stretch)

    def valid(self, window: Window) -> NDArray[np.bool_] | None:
        """bool [h, w]: which pixels hold data, by the file's no-data value, mask or alpha band; None when all do."""
        return self._valid(self._inside(window))

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()
        if self._memory is not None:
            self._memory.close()

    def _chosen(self, bands: Sequence[int] | None) -> tuple[list[int], NDArray[np.uint8] | None]:
        """The numbers of the bands to read, and a palette uint8 [256, 3] to look their values up in."""
        colours = self._rasterio.enums.ColorInterp
        meaning = self._file.colorinterp
        picture = [band for band in self._file.indexes if meaning[band - 1] != colours.alpha] or [1]
        if bands is None:
            numbers = [picture[place - 1] for place in chosen(None, len(picture), self._name)]
        else:
            numbers = chosen(bands, len(meaning), self._name)
        if len(numbers) == 1 and meaning[numbers[0] - 1] == colours.palette:
            palette = np.zeros((256, 3), np.uint8)
            for value, colour in self._file.colormap(numbers[0]).items():
                if 0 <= value < 256:
                    palette[value] = colour[:3]
            if self._file.dtypes[numbers[0] - 1] == "uint8":
                return numbers, palette
        return numbers, None

    def _mask_flags(self) -> list[Any]:
        return [self._file.mask_flag_enums[band - 1] for band in self._bands]

    def _values(self, window: Window | None, shape: tuple[int, int] | None = None) -> NDArray[Any]:
        """Raw values [h, w, bands] of a window, or of the whole file made as small as `shape`."""
        out = None if shape is None else (len(self._bands), *shape)
        try:
            with self._quietly():
                found = self._file.read(self._bands, window=_spans(window), out_shape=out)
        except Exception as error:
            raise BadImage(f"{self._name} is damaged: {reason(error)}") from None
        return np.ascontiguousarray(np.moveaxis(found, 0, -1))

    def _valid(self, window: Window | None, shape: tuple[int, int] | None = None) -> NDArray[np.bool_] | None:
        if self._all_valid:
            return None
        try:
            with self._quietly():
                found = self._file.dataset_mask(window=_spans(window), out_shape=shape) > 0
        except Exception as error:
            raise BadImage(f"{self._name} is damaged: {reason(error)}") from None
        return None if found.all() else np.asarray(found, np.bool_)

    def _quietly(self) -> Any:
        return _Quiet(self._rasterio)


class _Quiet:
    """Around calls of rasterio: its cache bounded, and no warning for a file without a place on the earth, nor for one
    that marks its empty pixels in two ways.
    """

    def __init__(self, rasterio: Any) -> None:
        self._caught = warnings.catch_warnings()
        self._rasterio = rasterio
        self._env = rasterio.Env(GDAL_CACHEMAX=CACHE)

    def __enter__(self) -> None:
        self._caught.__enter__()
        for kind in (self._rasterio.errors.NotGeoreferencedWarning, self._rasterio.errors.NodataShadowWarning):
            warnings.simplefilter("ignore", kind)
        self._env.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._env.__exit__(*error)
        self._caught.__exit__(*error)


def _spans(window: Window | None) -> tuple[tuple[int, int], tuple[int, int]] | None:
    return None if window is None else ((window.y0, window.y1), (window.x0, window.x1))
