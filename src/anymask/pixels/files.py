"""Picture files, decoded by Pillow: every kind that people have, and a sentence for every kind that fails."""

from __future__ import annotations

import struct
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags
from PIL import Image as Pillow

from anymask.errors import BadImage
from anymask.pixels.levels import to_rgb

REFUSED = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"})
"""Formats that Pillow knows and we do not open: EPS starts Ghostscript, WMF needs Windows, the rest never decode."""

_UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}

# what people pass by mistake: (offset, first bytes, what it is)
_TELLS = (
    (0, b"%PDF", "a PDF document; save the page as PNG first"),
    (0, b"%!PS", "a PostScript document; save it as PNG first"),
    (0, b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (0, b"\x1f\x8b", "a gzip archive; unpack it first"),
    (0, b"\x93NUMPY", "a NumPy file; pass np.load(...) instead"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the picture itself; run git lfs pull"),
    (128, b"DICM", "a DICOM file; pass its pixel array instead"),
    (4, b"ftypheic", "a HEIC photo; convert it to JPEG, or install and register pillow-heif"),
    (4, b"ftypheix", "a HEIC photo; convert it to JPEG, or install and register pillow-heif"),
    (4, b"ftypmif1", "a HEIF photo; convert it to JPEG, or install and register pillow-heif"),
    (4, b"ftyp", "a video or another media container; extract a frame first"),
    (0, b"RIFF", "a video or sound file; extract a frame first"),
)


def decode(file: IO[bytes], name: str, max_pixels: int) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB of a picture file, upright.

    file: binary and seekable. name: how messages call it. Raises BadImage; no other error of a decoder gets through.
    """
    try:
        file.seek(0)
        head = file.read(512)
    except Exception as error:  # a foreign object's read() may raise anything
        raise BadImage(f"{name} cannot be read: {_reason(error)}") from error
    if not isinstance(head, bytes):
        raise BadImage(f"{name} gives {type(head).__name__} instead of bytes; open the file with mode 'rb'")
    if not head:
        raise BadImage(f"{name} is empty")
    try:
        picture = _identified(file, head)
        if picture is None:
            raise BadImage(f"{name} is {_told(head)}")
        _small_enough(picture.size, name, max_pixels)
        return pixels(picture, name)
    except BadImage:
        raise
    except MemoryError:
        raise BadImage(f"{name} is too large for the memory of this machine") from None
    except Exception as error:  # decoders raise some fifteen types, from struct.error to ZeroDivisionError
        raise BadImage(f"{name} is damaged and cannot be decoded: {_reason(error)}") from error


def pixels(picture: Pillow.Image, name: str) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB of a Pillow image, turned upright as its EXIF says.

    Transparency is laid on white, as viewers show it; the colours of invisible pixels are an accident of the editor.
    16-bit and float pictures are scaled by `levels.to_uint8`; an animation gives the frame that it stands at.
    """
    if 0 in picture.size:
        raise BadImage(f"{name} has no pixels: {picture.size[0]} x {picture.size[1]}")
    picture.load()
    turn = _UPRIGHT.get(_orientation(picture))
    if turn is not None:
        picture = picture.transpose(turn)
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return to_rgb(np.asarray(picture))
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        return _on_white(picture if picture.mode == "RGBA" else picture.convert("RGBA"))
    if picture.mode == "LAB":
        raise BadImage(f"{name} is in Lab colours; convert it to RGB first")
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"), np.uint8)


def _on_white(picture: Pillow.Image) -> NDArray[np.uint8]:
    ground = Pillow.new("RGBA", picture.size, (255, 255, 255, 255))
    ground.alpha_composite(picture)
    return np.array(ground.convert("RGB"), np.uint8)


def _identified(file: IO[bytes], head: bytes) -> Pillow.Image | None:
    """The picture with its size known and its pixels not yet decoded, or None when no decoder knows the file.

    Pillow.open() is not used: its bomb check reads a global limit that other libraries change, warns below it, and
    cannot be raised for one call without changing it for every thread.
    """
    tried: set[str] = set()
    for register in (Pillow.preinit, Pillow.init):  # the common formats first, all of them only when those fail
        register()
        for kind in [kind for kind in Pillow.ID if kind not in tried and kind not in REFUSED]:
            tried.add(kind)
            factory, accept = Pillow.OPEN[kind]
            try:
                answer = True if accept is None else accept(head[:16])
                if not answer or isinstance(answer, str):
                    continue  # a text says why this format is switched off here
                file.seek(0)
                return factory(file, "")
            except (SyntaxError, IndexError, TypeError, KeyError, struct.error):
                continue  # "not mine after all", in Pillow's manner of speaking
    return None


def _small_enough(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise BadImage(
            f"{name} unpacks to {width:,} x {height:,} pixels, more than the limit of {max_pixels:,}; if you trust it, "
            f"raise the limit with max_pixels= or the environment variable ANYMASK_MAX_PIXELS"
        )


def _orientation(picture: Pillow.Image) -> int:
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF must not cost the picture
        return 1
    return value if isinstance(value, int) else 1


def _told(head: bytes) -> str:
    for offset, start, what in _TELLS:
        if head[offset : offset + len(start)] == start:
            return what
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        return "an SVG drawing; save it as PNG first"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, not a picture; the download may have failed"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head) and "\ufffd" not in head[:-3].decode("utf-8", "replace"):
        return "a text file, not a picture"
    return "not a picture in a format that anymask reads (JPEG, PNG, TIFF, WebP, GIF, BMP, ...)"


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text[:200] if text else type(error).__name__
