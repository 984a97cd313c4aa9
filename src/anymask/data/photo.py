"""The pixels of a data set's pictures, in the orientation that their masks are drawn in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from anymask.errors import BadImage
from anymask.pixels.image import Image
from anymask.pixels.resize import HW

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".gif")
"""What is taken for a picture in a folder."""

GLANCED = 5000
"""Files that are looked at to recognise a layout."""


def rgb(path: Path, size: HW | None = None) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB of a file, upright as its EXIF says.

    size: (H, W) that its masks are made for. Where only the picture as it lies in the file has it, that is given: some
    tools draw before the camera's turn. Raises BadImage.
    """
    upright = Image.open(path).pixels()
    if size is not None and upright.shape[:2] != size and upright.shape[:2] == (size[1], size[0]):
        with Pillow.open(path) as picture:
            lying = np.asarray(picture.convert("RGB"), np.uint8)
        if lying.shape[:2] == size:
            return lying
    return upright


def size_of(path: Path) -> HW:
    """(H, W) of the picture as it lies in the file, from its head alone. Raises BadImage."""
    try:
        with Pillow.open(path) as picture:
            return picture.size[1], picture.size[0]
    except FileNotFoundError:
        raise BadImage(f"there is no file {path}") from None
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise BadImage(f"{path} is damaged or no picture: {error}") from None


def glance(folder: Path, wanted: Callable[[Path], bool]) -> bool:
    """Whether a wanted file is among the first thousands in a folder and the folders within.

    To recognise a layout a whole disk need not be searched. Folders that cannot be read are passed over.
    """
    looked = 0
    for place, _, names in os.walk(folder):
        for name in names:
            looked += 1
            if wanted(Path(place, name)):
                return True
            if looked == GLANCED:
                return False
    return False


def pictures(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """The picture files in a folder and the folders within, by name; hidden ones left out."""
    hidden = (".", "__MACOSX")
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in suffixes
        and not any(part.startswith(hidden) for part in file.relative_to(folder).parts)
    )
