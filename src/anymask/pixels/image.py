"""Image: one checked RGB picture, however it came in."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from anymask.errors import BadImage, BadSetting
from anymask.pixels import files
from anymask.pixels.levels import to_rgb
from anymask.pixels.resize import HW

MAX_PIXELS = 178_956_970
"""Pixels of the largest picture that is opened unasked: half a gigabyte as RGB, the limit that Pillow refuses at."""

_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://|^data:", re.IGNORECASE)


@dataclass(frozen=True, eq=False, repr=False)
class Image:
    """A picture as every model takes it: upright, RGB, 8 bits. Made by `Image.open`.

    size: (H, W) in pixels. source: the file it came from, None for pictures from memory.
    """

    size: HW
    source: str | None
    _pixels: NDArray[np.uint8] = field(repr=False)

    @classmethod
    def open(
        cls, source: ImageLike, *, image_format: Literal["RGB", "BGR"] = "RGB", max_pixels: int | None = None
    ) -> Image:
        """A picture from whatever people hold it in, read and checked now.

        source: path; encoded bytes or a binary file object; PIL image; numpy array [H, W], [H, W, 1], [H, W, 2],
            [H, W, 3] or [H, W, 4]; torch tensor (or any object with `detach`) [C, H, W] or [H, W]; Image, given back
            as it is.
        image_format: the channel order of arrays and tensors; "BGR" for what OpenCV read. Files know their own.
        max_pixels: refuse more pixels than this; by default ANYMASK_MAX_PIXELS or 178,956,970.

        Files and PIL images are turned upright by their EXIF orientation and transparency is laid on white; the alpha
        channel of an array is dropped. Of an animation the first frame counts. Floats in 0..1 become 0..255; 16-bit
        and other ranges are stretched from the picture's lowest to its highest value, see `levels.to_uint8`.
        Arrays are copied, so that changing them later does not change the picture.

        Raises BadImage with one sentence, whatever is wrong with the picture; BadSetting for the options.
        """
        if image_format not in ("RGB", "BGR"):
            raise BadSetting(f"image_format is 'RGB' or 'BGR', got {image_format!r}")
        limit = _limit(max_pixels)
        if isinstance(source, Image):
            _check_area(source.size, limit)
            return source
        name = None
        if isinstance(source, (str, os.PathLike)):
            name = _path(source)
            rgb = _read(name, limit)
        elif isinstance(source, (bytes, bytearray, memoryview)):
            rgb = files.decode(io.BytesIO(source), "the given bytes", limit)
        elif isinstance(source, Pillow.Image):
            rgb = _from_pillow(source, limit)
        elif hasattr(source, "read"):  # before tensors: Python's own files have a detach() too
            rgb = files.decode(_seekable(source), "the given file", limit)
        elif hasattr(source, "detach"):
            rgb = to_rgb(_channels_last(_numpy(source), limit), bgr=image_format == "BGR")
        elif isinstance(source, np.ndarray) or hasattr(source, "__array__"):
            array = _array(source)
            if array.ndim >= 2:
                _check_area((array.shape[0], array.shape[1]), limit)
            rgb = to_rgb(array, bgr=image_format == "BGR")
        else:
            raise BadImage(
                "an image is a path, bytes, a PIL image, a numpy array [H, W, 3] or a torch tensor [3, H, W], "
                f"got {type(source).__name__}"
            )
        # an embedding and a mask refer to these very pixels; nobody may change them afterwards
        rgb.flags.writeable = False
        return cls((rgb.shape[0], rgb.shape[1]), name, rgb)

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB, read-only; copy it to draw on it."""
        return self._pixels

    def to_pil(self) -> Pillow.Image:
        """A fresh Pillow image of mode RGB."""
        return Pillow.fromarray(self._pixels)

    @property
    def digest(self) -> str:
        """SHA-256 of size and pixels, 64 hex digits; equal pictures have equal digests, whatever file they came in."""
        known = self.__dict__.get("_digest")
        if known is None:
            hasher = hashlib.sha256(f"{self.size[0]}x{self.size[1]}:".encode())
            hasher.update(np.ascontiguousarray(self._pixels).data)
            known = hasher.hexdigest()
            object.__setattr__(self, "_digest", known)  # two threads at once write the same text
        return str(known)

    def __repr__(self) -> str:
        height, width = self.size
        return f"Image({width} x {height} px{'' if self.source is None else f', {self.source!r}'})"


ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | Pillow.Image | NDArray[Any] | Image | Any"
"""What `Image.open` takes; torch tensors and file objects are recognised by their methods."""


def _limit(max_pixels: int | None) -> int:
    if max_pixels is not None:
        if isinstance(max_pixels, bool) or not isinstance(max_pixels, (int, np.integer)) or max_pixels < 1:
            raise BadSetting(f"max_pixels is a whole number of at least 1, got {max_pixels!r}")
        return int(max_pixels)
    text = os.environ.get("ANYMASK_MAX_PIXELS", "").replace("_", "").replace(",", "")
    if not text:
        return MAX_PIXELS
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise BadSetting(f"ANYMASK_MAX_PIXELS must be a whole number of pixels, got {text[:40]!r}")
    return int(text)


def _check_area(size: HW, limit: int) -> None:
    if size[0] * size[1] > limit:
        raise BadImage(
            f"the image of {size[1]:,} x {size[0]:,} pixels is larger than the limit of {limit:,}; raise it with "
            "max_pixels= or the environment variable ANYMASK_MAX_PIXELS, or cut the image into tiles"
        )


def _path(source: str | os.PathLike[str]) -> str:
    text = os.fspath(source)
    if not isinstance(text, str):
        text = os.fsdecode(text)
    if isinstance(source, str) and _ADDRESS.match(text):
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise BadImage(f"anymask reads files, not addresses; download {shown} first and pass the file or its bytes")
    if not text:
        raise BadImage("the path of the image is empty")
    return text


def _read(name: str, limit: int) -> NDArray[np.uint8]:
    shown = name if len(name) <= 200 else "..." + name[-197:]
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise BadImage(f"{shown} is a folder, not a picture")
        if not stat.S_ISREG(mode):
            # reading a pipe or a device may never end
            raise BadImage(f"{shown} is not a regular file")
        with path.open("rb") as file:
            return files.decode(file, shown, limit)
    except FileNotFoundError:
        raise BadImage(f"there is no file {shown}") from None
    except PermissionError:
        raise BadImage(f"{shown} may not be read by this user") from None
    except BadImage:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        # a NUL in the name, a name too long, a home folder that cannot be found
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadImage(f"{shown!r} cannot be opened: {reason}") from None


def _from_pillow(picture: Pillow.Image, limit: int) -> NDArray[np.uint8]:
    _check_area((picture.size[1], picture.size[0]), limit)
    try:
        return files.pixels(picture, "the PIL image")
    except BadImage:
        raise
    except Exception as error:  # a lazily opened file fails only now, in any of a decoder's ways
        raise BadImage(f"the PIL image cannot be read: {' '.join(str(error).split())[:200]}") from error


def _array(source: Any) -> NDArray[Any]:
    """A numpy array of an array or of any object that offers to become one."""
    try:
        return np.asarray(source)
    except Exception as error:  # a foreign object's __array__ may raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadImage(f"the {type(source).__name__} cannot be read as an array: {reason}") from error


def _numpy(tensor: Any) -> NDArray[Any]:
    """The numbers of a torch tensor, which may lie on another device, carry gradients or be bfloat16."""
    try:
        plain = tensor.detach().cpu()
        try:
            return np.asarray(plain.numpy())
        except TypeError:
            return np.asarray(plain.float().numpy())  # numpy has no bfloat16
    except Exception as error:  # meta, sparse, quantised tensors: each has its own refusal
        raise BadImage(f"the tensor cannot be read as an image: {' '.join(str(error).split())[:200]}") from error


def _channels_last(array: NDArray[Any], limit: int) -> NDArray[Any]:
    if array.ndim == 2:
        _check_area((array.shape[0], array.shape[1]), limit)
        return array
    if array.ndim != 3 or array.shape[0] not in (1, 2, 3, 4):
        hint = ""
        if array.ndim == 4:
            hint = "; give one image at a time"
        elif array.ndim == 3 and array.shape[2] in (1, 3, 4):
            hint = "; this looks like channels last: use tensor.permute(2, 0, 1), or pass it as a numpy array"
        raise BadImage(f"an image tensor must be [C, H, W] with 1 to 4 channels or [H, W], got {array.shape}{hint}")
    _check_area((array.shape[1], array.shape[2]), limit)
    return np.transpose(array, (1, 2, 0))


def _seekable(source: Any) -> Any:
    try:
        if source.seekable():
            return source
    except Exception:  # not everything with read() has the rest of a file's methods
        pass
    try:
        data = source.read()
    except Exception as error:
        raise BadImage(f"the given file cannot be read: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(data, (bytes, bytearray)):
        raise BadImage(f"the given file gives {type(data).__name__} instead of bytes; open it with mode 'rb'")
    return io.BytesIO(data)
