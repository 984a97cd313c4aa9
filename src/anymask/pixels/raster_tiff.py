"""Plain and pyramidal TIFF by windows, read by tifffile: microscopy, pathology, scans."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.errors import AnymaskError, BadImage, MissingExtra
from anymask.extras import need
from anymask.pixels.levels import Stretch
from anymask.pixels.raster import SAMPLE, Raster, chosen, file_name, reason, rgb, stretch_of
from anymask.pixels.window import Window

CACHE = 256 * 2**20
"""Bytes of decoded segments that are kept: a row of tiles of a wide image is read several times."""

ROWS = 256
"""Rows that are read at once where they lie in the file as they are."""


class PlainTiff(Raster):
    """A TIFF file without georeference; see `Raster.open`.

    Of a pyramid the full resolution counts, of several pictures the first one. Channels that are pages of their own, as
    microscopes store them, are bands. As in `Image.open`, transparency is laid on white.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes, bands: Sequence[int] | None = None) -> None:
        tifffile = need("tifffile", extra="tiff", to="read a TIFF by parts")
        self._name = "the TIFF" if isinstance(source, bytes) else file_name(source)
        self.source = None if isinstance(source, bytes) else self._name
        try:
            opened = io.BytesIO(source) if isinstance(source, bytes) else os.path.expanduser(self._name)
            self._file = tifffile.TiffFile(opened)
        except Exception as error:
            raise BadImage(f"{self._name} cannot be read as a TIFF: {reason(error)}") from None
        try:
            self._open(bands)
        except AnymaskError:
            self.close()
            raise
        except Exception as error:  # a damaged file fails in any of tifffile's ways
            self.close()
            raise BadImage(f"{self._name} is damaged: {reason(error)}") from None

    def _open(self, bands: Sequence[int] | None) -> None:
        if not self._file.series:
            raise BadImage(f"{self._name} holds no image")
        full = self._file.series[0].levels[0]
        self._key = key = full.keyframe
        self.size = (int(key.imagelength), int(key.imagewidth))
        samples = int(key.samplesperpixel)
        sides = {axis: int(side) for axis, side in zip(full.axes, full.shape, strict=True) if side > 1 or axis in "YX"}
        split = set(sides) == {"C", "Y", "X"} and len(full.pages) == sides["C"] and samples == 1
        self._pages = list(full.pages) if split else [full.pages[0]]
        self._planar = samples > 1 and int(key.planarconfig) == 2
        # strips that lie one after the other undecoded, often a single one as large as the image
        self._plain = not key.is_tiled and all(page.is_memmappable for page in self._pages)
        self._palette = self._colours()
        self._premultiplied: bool | None = None
        if bands is not None:
            self._bands = chosen(bands, max(samples, len(self._pages)), self._name)
        elif samples == 4 and key.dtype == np.uint8 and key.extrasamples and int(key.extrasamples[0]) in (1, 2):
            self._bands, self._premultiplied = [1, 2, 3, 4], int(key.extrasamples[0]) == 1
        else:
            self._bands = chosen(None, samples - len(key.extrasamples) or 1, self._name)
        self._kept: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._stretch = Stretch("same") if key.dtype == np.uint8 else self._overview()

    def read(self, window: Window) -> NDArray[np.uint8]:
        """uint8 [h, w, 3] RGB of a window inside the image. Raises BadImage, MissingExtra."""
        values = self._values(self._inside(window))
        if self._palette is not None:
            return self._palette[values[:, :, 0]]
        if self._premultiplied is not None:
            return _on_white(values, self._premultiplied)
        levels = rgb(values, None, self._stretch)
        return np.asarray(255 - levels) if self._key.photometric.name == "MINISWHITE" else levels

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def _colours(self) -> NDArray[np.uint8] | None:
        name = getattr(self._key.photometric, "name", str(self._key.photometric))
        if name in ("SEPARATED", "CIELAB", "ICCLAB", "ITULAB"):
            raise BadImage(f"{self._name} is in {name} colours; convert it to RGB first")
        if name != "PALETTE" or self._key.colormap is None or self._key.dtype.kind != "u":
            return None
        return np.ascontiguousarray((np.asarray(self._key.colormap) >> 8).astype(np.uint8).T)

    def _overview(self) -> Stretch:
        """The rule for values that are not 8-bit yet, from a thinned-out copy of the image."""
        height, width = self.size
        step = max(1, -(-max(self.size) // SAMPLE))
        rows = []
        for top in range(0, height, 1024):
            band = self._values(Window(0, top, width, min(top + 1024, height)))
            # a copy: a view would keep the whole band
            rows.append(band[(-top) % step :: step, ::step].copy())
        return stretch_of(np.concatenate(rows), None)

    def _values(self, window: Window) -> NDArray[Any]:
        """Raw values [h, w, bands]."""
        height, width = window.size
        out = np.zeros((height, width, len(self._bands)), self._key.dtype)
        if self._palette is not None or (len(self._pages) == 1 and not self._planar):
            self._fill(out, window, 0, 0, [band - 1 for band in self._bands])
            return out
        for place, band in enumerate(self._bands):
            page, plane = (0, band - 1) if self._planar else (band - 1, 0)
            self._fill(out[:, :, place : place + 1], window, page, plane, [0])
        return out

    def _fill(self, out: NDArray[Any], window: Window, page: int, plane: int, samples: list[int]) -> None:
        """Copies the samples of one plane of one page into `out` [h, w, samples]."""
        key = self._key
        height, width = self.size
        high, wide = (key.tilelength, key.tilewidth) if key.is_tiled else (min(key.rowsperstrip, height), width)
        if self._plain:
            high = min(ROWS, height)
        across, down = -(-width // wide), -(-height // high)
        for row in range(window.y0 // high, (window.y1 - 1) // high + 1):
            for column in range(window.x0 // wide, (window.x1 - 1) // wide + 1):
                segment: NDArray[Any] | None
                if self._plain:
                    segment = self._rows(page, plane, row * high, min((row + 1) * high, height))
                else:
                    segment = self._segment(page, (plane * down + row) * across + column)
                if segment is None:
                    continue  # a hole in a sparse file
                top, left = row * high, column * wide
                y0, x0 = max(window.y0, top), max(window.x0, left)
                y1 = min(window.y1, top + segment.shape[0])
                x1 = min(window.x1, left + segment.shape[1])
                if y1 > y0 and x1 > x0:
                    part = segment[y0 - top : y1 - top, x0 - left : x1 - left]
                    out[y0 - window.y0 : y1 - window.y0, x0 - window.x0 : x1 - window.x0] = part[:, :, samples]

    def _rows(self, page: int, plane: int, y0: int, y1: int) -> NDArray[Any]:
        """Some rows of a plane that nothing was done to [h, w, samples]."""
        width, key = self.size[1], self._key
        samples = 1 if self._planar else int(key.samplesperpixel)
        row = width * samples * key.dtype.itemsize
        file = self._file.filehandle
        file.seek(int(self._pages[page].dataoffsets[0]) + (plane * self.size[0] + y0) * row)
        data = file.read((y1 - y0) * row)
        if len(data) != (y1 - y0) * row:
            raise BadImage(f"{self._name} is damaged: it ends before the image does")
        return np.frombuffer(data, key.dtype.newbyteorder(self._file.byteorder)).reshape(y1 - y0, width, samples)

    def _segment(self, page: int, index: int) -> NDArray[Any] | None:
        """One decoded tile or strip [h, w, samples]; the last ones used are kept."""
        known = self._kept.get((page, index))
        if known is not None:
            self._kept.move_to_end((page, index))
            return known
        where = self._pages[page]
        try:
            length = where.databytecounts[index]
            if not length:
                return None
            file = self._file.filehandle
            file.seek(where.dataoffsets[index])
            # before anything else is asked of the page, which may read from the file itself
            data = file.read(length)
            decoded = self._key.decode(data, index, jpegtables=self._key.jpegtables)[0]
        except Exception as error:
            if "imagecodecs" in str(error):
                raise MissingExtra(
                    f"To read {self._name} anymask needs imagecodecs: pip install 'anymask[tiff]'"
                ) from None
            raise BadImage(f"{self._name} is damaged: {reason(error)}") from None
        if decoded is None:
            return None
        segment: NDArray[Any] = decoded[0]
        self._kept[page, index] = segment
        self._bytes += segment.nbytes
        while self._bytes > CACHE and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return segment


def _on_white(values: NDArray[np.uint8], premultiplied: bool) -> NDArray[np.uint8]:
    """uint8 [h, w, 3] of RGBA [h, w, 4] before white."""
    colours, alpha = values[:, :, :3].astype(np.uint16), values[:, :, 3:].astype(np.uint16)
    if not premultiplied:
        colours = (colours * alpha + 127) // 255
    return np.minimum(colours + 255 - alpha, 255).astype(np.uint8)
