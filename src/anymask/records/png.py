"""Masks as PNG files: binary ones, and cut-outs with alpha."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import decode_one, merge
from anymask.pixels.image import Image, ImageLike
from anymask.records import atomic


def write_mask(masks: Masks, path: str | os.PathLike[str]) -> Path:
    """Writes one black and white PNG in the image's size, white (255) inside any of the masks."""
    if len(masks):
        dense = decode_one(masks.rle[0] if len(masks) == 1 else merge(masks.rle))
    else:
        dense = np.zeros(masks.size, np.bool_)
    # eight bits, although one would do: some readers give 0 and 1 for the latter, some 0 and 255
    return atomic.write(path, _png(Pillow.fromarray(dense.view(np.uint8) * np.uint8(255))))


def write_cutout(masks: Masks, path: str | os.PathLike[str], image: ImageLike | None = None) -> Path:
    """Writes the picture inside a mask, cropped to its box, transparent around. `masks` must be one row."""
    if len(masks) != 1:
        raise BadSetting(f"a cut-out is made of one mask, got {len(masks)}")
    return atomic.write(path, _png(masks.cutouts(image)[0]))


def read_mask(path: str | os.PathLike[str]) -> Masks:
    """One mask from a picture of two tones, the brighter one inside; or what is opaque, where not all is.

    Raises BadImage when it cannot be read, BadSetting when it holds more than two tones and so is no mask.
    """
    levels = Image.open(os.fspath(path)).pixels().max(axis=2)
    alpha = _alpha(path)
    if alpha is not None and alpha.shape == levels.shape and alpha.min() < 255:
        levels = alpha
    tones = np.unique(levels)
    if len(tones) <= 2 and tones[0] <= 32:
        # 0 and 1, as label maps have it, are as good as 0 and 255
        return Masks.from_dense(levels > (tones[0] if len(tones) == 2 else 0))
    if ((tones > 32) & (tones < 223)).any():
        raise BadSetting(f"{path} holds {len(tones)} shades; a mask is black outside and white inside")
    return Masks.from_dense(levels > 127)


def _alpha(path: str | os.PathLike[str]) -> NDArray[np.uint8] | None:
    """uint8 [H, W] opacity, of a file that was opened before; None without."""
    with Pillow.open(path) as picture:
        if not picture.has_transparency_data:
            return None
        return np.asarray(picture.convert("RGBA").getchannel("A"), np.uint8)


def _png(picture: Pillow.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
