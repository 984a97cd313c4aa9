"""A small picture with things to click."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image


@lru_cache
def picture() -> np.ndarray:
    """uint8 [120, 160, 3]: a light disc and a dark box on a shaded ground."""
    y, x = np.mgrid[:120, :160]
    pixels = np.stack([90 + x // 4, 110 + y // 4, 70 + (x + y) // 8], 2)
    pixels[(x - 60) ** 2 + (y - 50) ** 2 < 30**2] = (235, 225, 190)
    pixels[80:112, 100:150] = (30, 35, 60)
    return pixels.astype(np.uint8)


@lru_cache
def png() -> bytes:
    """The same as a file."""
    out = io.BytesIO()
    Image.fromarray(picture()).save(out, "PNG")
    return out.getvalue()
