"""How masks show themselves in notebooks."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

from PIL import Image as Pillow

from anymask.masks.picture import overlay

if TYPE_CHECKING:
    from anymask.masks.masks import Masks

LARGEST = 900
"""Longest side in pixels of a picture in a notebook, which stores what it shows."""

TILES = 12
"""How many single masks are shown below the picture."""


def png(masks: Masks) -> bytes:
    """The best mask of each object over the picture, as PNG no larger than a notebook needs."""
    return _encoded(overlay(masks.best()), LARGEST, "PNG")


def html(masks: Masks) -> str:
    """The same as HTML, with score and area, and a small picture for each candidate where there are several."""
    parts = [_figure(overlay(masks.best()), LARGEST, "masks over the picture"), f"<div>{escape(repr(masks))}</div>"]
    if len(masks) > 1:
        tiles = []
        pixels = masks.size[0] * masks.size[1]
        for row, (mask, area) in enumerate(zip(masks[:TILES], masks.areas().tolist(), strict=False)):
            label = f"{mask.labels[0]} " if mask.labels[0] else ""
            caption = f"{row}: {label}score {mask.scores[0]:.2f}, {area / pixels:.1%}"
            picture = _figure(overlay(mask, dim=0.5), 180, f"mask {row}")
            tiles.append(f'<div style="margin:4px;font-size:85%">{picture}<div>{escape(caption)}</div></div>')
        if len(masks) > TILES:
            tiles.append(f'<div style="margin:4px">and {len(masks) - TILES} more</div>')
        parts.append(f'<div style="display:flex;flex-wrap:wrap">{"".join(tiles)}</div>')
    return f"<div>{''.join(parts)}</div>"


def _figure(picture: Pillow.Image, largest: int, alt: str) -> str:
    data = base64.b64encode(_encoded(picture, largest, "JPEG")).decode("ascii")
    return f'<img alt="{alt}" style="max-width:100%" src="data:image/jpeg;base64,{data}">'


def _encoded(picture: Pillow.Image, largest: int, kind: str) -> bytes:
    scale = min(1.0, largest / max(picture.size))
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Pillow.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, kind, **({"quality": 88} if kind == "JPEG" else {}))
    return out.getvalue()
