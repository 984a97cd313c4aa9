"""Raster: an image of any size behind one small interface, of which parts are read when they are needed."""

from __future__ import annotations

import io
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from anymask.errors import BadImage, BadSetting
from anymask.pixels.georeference import Georeference
from anymask.pixels.image import Image, ImageLike
from anymask.pixels.levels import Stretch
from anymask.pixels.resize import HW
from anymask.pixels.window import Window

SAMPLE = 2048
"""Pixels along the long side of the overview that decides how values are stretched to 8 bits."""

GEO_TAGS = (33550, 33922, 34264, 34735)
"""TIFF tags that only georeferenced files have: pixel scale, tie points, transformation, geographic keys."""


class Raster(ABC):
    """An image whose windows are read as uint8 RGB; close it, or use it in a `with` block.

    size: (H, W) px. source: the file it is read from, or None. geo: where it lies on the earth, or None.
    """

    size: HW
    source: str | None = None
    geo: Georeference | None = None

    @staticmethod
    def open(source: ImageLike | Raster, *, bands: Sequence[int] | None = None) -> Raster:
        """A raster from a path or from anything that `Image.open` takes.

        TIFF files are read by windows: georeferenced ones and JPEG 2000 through rasterio (extra geo), others through
        tifffile (extra tiff). Without tifffile, and for all other formats, the image is held in memory, where its
        limit of pixels applies.
        bands: one (grey) or three band numbers, from 1; by default the first three, or the first where there are fewer
        or where channels are pages of their own.

        16-bit and float values are stretched as `levels.Stretch` says, once for the whole image, from an overview of
        at most SAMPLE pixels a side: windows agree where they overlap. Pixels without data are black.
        Raises BadImage, BadSetting, MissingExtra.
        """
        if isinstance(source, Raster):
            return source
        if bands is not None and (
            len(bands) not in (1, 3) or any(not isinstance(one, int) or one < 1 for one in bands)
        ):
            raise BadSetting(f"bands are one or three numbers from 1, such as (4, 3, 2), got {bands!r:.40}")
        if isinstance(source, (str, os.PathLike, bytes)):
            kind = _kind(source)
            if kind == "geo":
                from anymask.pixels.raster_geotiff import GeoTiff

                return GeoTiff(source, bands)
            if kind == "tiff" and (bands is not None or _installed("tifffile")):
                from anymask.pixels.raster_tiff import PlainTiff

                return PlainTiff(source, bands)
        if bands is not None:
            raise BadSetting("bands are chosen in TIFF files; for other images pass an array of the wanted channels")
        return InMemory(Image.open(source))

    @abstractmethod
    def read(self, window: Window) -> NDArray[np.uint8]:
        """uint8 [h, w, 3] RGB of a window inside the image. Raises BadImage."""

    def valid(self, window: Window) -> NDArray[np.bool_] | None:
        """bool [h, w]: which pixels of a window hold data; None when all do."""
        return None

    def close(self) -> None:  # noqa: B027 - an image in memory has nothing to let go of
        """Lets go of the file."""

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        height, width = self.size
        return f"{type(self).__name__}({width} x {height} px{'' if self.source is None else f', {self.source!r}'})"

    def _inside(self, window: Window) -> Window:
        if Window(0, 0, self.size[1], self.size[0]).meet(window) != window:
            raise BadSetting(f"the window {tuple(window)} (XYXY) lies outside of {self!r}")
        return window


class InMemory(Raster):
    """An ordinary image as a raster."""

    def __init__(self, image: Image) -> None:
        self.image, self.size, self.source = image, image.size, image.source

    def read(self, window: Window) -> NDArray[np.uint8]:
        """uint8 [h, w, 3] RGB of a window inside the image, read-only."""
        x0, y0, x1, y1 = self._inside(window)
        return self.image.pixels()[y0:y1, x0:x1]


def rgb(values: NDArray[Any], valid: NDArray[np.bool_] | None, stretch: Stretch) -> NDArray[np.uint8]:
    """uint8 [h, w, 3] of raw values [h, w, 1 or 3]; black where there is no data."""
    if valid is not None:
        # before the arithmetic: no data is often NaN or the lowest number there is
        values = np.where(valid[:, :, None], values, values.dtype.type(0))
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=stretch.low, posinf=stretch.high, neginf=stretch.low)
    levels = stretch(values)
    if valid is not None:
        levels = np.where(valid[:, :, None], levels, np.uint8(0))
    return np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else np.ascontiguousarray(levels)


def stretch_of(values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Stretch:
    """The rule for an image of which `values` [h, w, C] is an overview; places without data do not count."""
    sample = values if valid is None else values[valid]
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    return Stretch.of(sample) if sample.size else Stretch("range", 0, 1)


def chosen(bands: Sequence[int] | None, count: int, name: str) -> list[int]:
    """The band numbers to read of `count` picture bands: `bands` as asked, or the first three, or the first."""
    if bands is None:
        return [1, 2, 3] if count >= 3 else [1]
    if max(bands) > count:
        raise BadSetting(f"{name} has {count} bands, numbered from 1; got {tuple(bands)}")
    return list(bands)


def georeferenced(source: str | os.PathLike[str]) -> bool:
    """Whether a file is there and is a TIFF that says where it lies on the earth; needs no extra."""
    return _kind(source) == "geo"


def _kind(source: str | os.PathLike[str] | bytes) -> str:
    """ "geo", "tiff" or "image", by the file's first bytes; errors are left to who opens it."""
    try:
        if isinstance(source, bytes):
            return _kind_of(io.BytesIO(source))
        path = Path(source).expanduser()
        if not path.is_file():
            return "image"
        with path.open("rb") as file:
            return _kind_of(file)
    except (OSError, ValueError, RuntimeError):
        return "image"


def _kind_of(file: IO[bytes]) -> str:
    head = file.read(12)
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        jpeg2000 = head[4:8] == b"jP  " or head[:4] == b"\xff\x4f\xff\x51"
        return "geo" if jpeg2000 and _installed("rasterio") else "image"
    try:
        file.seek(0)
        # the header of a BigTIFF is twice as long
        directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if b"+" in head[2:4] else 8))
        file.seek(directory.next)
        directory.load(file)
        if any(tag in directory for tag in GEO_TAGS):
            return "geo"
        colours, packing, turned = (directory.get(tag, 1) for tag in (262, 259, 274))
        bits = directory.get(258, 1)
        deep = (bits if isinstance(bits, int) else min(bits)) >= 8
        # what Pillow converts and tifffile hands over as it is stored: printer's colours, single bits, turned scans
        plain = colours in (0, 1, 2, 3) or (colours == 6 and packing == 7)
        return "tiff" if plain and deep and turned == 1 else "image"
    except Exception:  # damaged in any of Pillow's ways; the decoder will say so in a sentence
        return "image"


def _installed(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    return find_spec(module) is not None


def reason(error: Exception) -> str:
    """A decoder's message on one line."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


def file_name(source: str | os.PathLike[str]) -> str:
    """The path as text, for messages and for `Raster.source`. Raises BadImage for an empty one."""
    text = os.fsdecode(source)
    if not text:
        raise BadImage("the path of the image is empty")
    return text
