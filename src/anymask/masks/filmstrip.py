"""A strip of frames with their masks, and beneath them when each object is to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from anymask.errors import BadSetting
from anymask.masks.colours import RGB, colour
from anymask.masks.masks import Masks
from anymask.masks.picture import DARK, GREEN, RED, WHITE
from anymask.pixels.image import Image

SHOTS = 5
WIDTH = 1600
"""Pixels of a whole strip: what a README shows, twice over for dense screens."""
GAP, EDGE = 12, 20
ROUND = 10
LANE, BETWEEN = 10, 12
LANES = 12
"""Objects that have a bar; of more, the last place says how many."""
TEXT = 19
MARK = 11
"""Pixels of a click's radius."""
FINE = 4
"""Shapes are drawn so many times larger and made small, for smooth edges."""
GROUND: RGB = (252, 252, 253)
INK: RGB = (40, 42, 48)
FAINT: RGB = (120, 124, 132)
TRACK: RGB = (229, 231, 235)


@dataclass(frozen=True)
class Shot:
    """One frame of a strip. masks: a row for each object in one order. marks: (x, y, label) px that were clicked."""

    image: Image
    masks: Masks
    frame: int
    marks: Sequence[tuple[float, float, int]] = field(default=())


def chosen(count: int, shots: int = SHOTS) -> list[int]:
    """Numbers of frames, evenly spread over a clip of so many, the first and the last among them."""
    if count < 1 or shots < 1:
        raise BadSetting(f"a strip has at least one frame, got {shots} of {count}")
    return sorted({round(place) for place in np.linspace(0, count - 1, min(shots, count))})


def film_strip(
    shots: Sequence[Shot],
    seen: NDArray[np.bool_],
    *,
    names: Sequence[str] = (),
    rate: float | None = None,
    width: int = WIDTH,
) -> Pillow.Image:
    """A PIL image, RGB: frames from left to right, their times, and a bar an object that is coloured where it is seen.

    seen: bool [O, T], whether each of O objects is to be seen on each of T frames. names: of the objects, "" for none.
    rate: frames a second; without, frames are numbered. width: pixels of the strip. Raises BadSetting.
    """
    if not shots:
        raise BadSetting("a strip needs at least one frame")
    if seen.ndim != 2 or any(len(shot.masks) != len(seen) for shot in shots):
        raise BadSetting(f"each frame needs a mask of each of the {len(seen)} objects, empty where it is absent")
    if any(not 0 <= shot.frame < seen.shape[1] for shot in shots):
        raise BadSetting(f"frames are 0 to {seen.shape[1] - 1}, got {[shot.frame for shot in shots]}")
    pictures = [_drawn(shot) for shot in shots]
    inner = width - 2 * EDGE - GAP * (len(shots) - 1)
    # one height for all: the widths follow
    high = round(inner / sum(one.width / one.height for one in pictures))
    font, small = ImageFont.load_default(TEXT), ImageFont.load_default(TEXT - 3)
    label = max((font.getlength(name) for name in names), default=0)
    lanes = EDGE + high + EDGE
    shown = seen if len(seen) <= LANES else seen[: LANES - 1]
    page = Pillow.new("RGB", (width, lanes + min(len(seen), LANES) * (LANE + BETWEEN) - BETWEEN + EDGE), GROUND)
    draw = ImageDraw.Draw(page)
    end = f"{seen.shape[1] / rate:.1f} s" if rate else f"{seen.shape[1]} frames"
    left = EDGE + (round(label) + 14 if label else 0)
    right = width - EDGE - round(small.getlength(end)) - 12
    scale = (right - left) / seen.shape[1]
    x = EDGE
    for shot, picture in zip(shots, pictures, strict=True):
        wide = round(high * picture.width / picture.height)
        tile = picture.resize((wide, high), Pillow.Resampling.LANCZOS)
        for mark_x, mark_y, inside in shot.marks:
            _mark(tile, mark_x * wide / picture.width, mark_y * high / picture.height, bool(inside))
        _chip(tile, f"{shot.frame / rate:.1f} s" if rate else f"frame {shot.frame}", small)
        page.paste(tile, (x, EDGE), _rounded((wide, high), ROUND))
        x += wide + GAP
    for row, there in enumerate(shown):
        y = lanes + row * (LANE + BETWEEN)
        if row < len(names) and names[row]:
            draw.text((EDGE, y + LANE / 2), names[row], INK, small, anchor="lm")
        _bar(page, (left, y, right, y + LANE), TRACK)
        for start, stop in _runs(there):
            _bar(page, (round(left + start * scale), y, round(left + stop * scale), y + LANE), colour(row))
    if len(shown) < len(seen):
        y = lanes + len(shown) * (LANE + BETWEEN)
        draw.text((left, y + LANE / 2), f"and {len(seen) - len(shown)} more", FAINT, small, anchor="lm")
    draw.text((width - EDGE, lanes + LANE / 2), end, FAINT, small, anchor="rm")
    return page


def _drawn(shot: Shot) -> Pillow.Image:
    return shot.masks.overlay(shot.image, opacity=0.5)


def _mark(tile: Pillow.Image, x: float, y: float, inside: bool) -> None:
    """A click as overlays show it, but as large on any picture: it is what one looks for."""
    side = 2 * MARK * FINE + FINE
    large = Pillow.new("RGBA", (side, side))
    draw = ImageDraw.Draw(large)
    middle, radius = side / 2, MARK * FINE
    for share, tint in ((1.0, DARK), (0.93, WHITE), (0.72, GREEN if inside else RED)):
        draw.ellipse(
            [middle - radius * share, middle - radius * share, middle + radius * share, middle + radius * share], tint
        )
    arm, half = radius * 0.42, radius * 0.11
    draw.rectangle([middle - arm, middle - half, middle + arm, middle + half], WHITE)
    if inside:
        draw.rectangle([middle - half, middle - arm, middle + half, middle + arm], WHITE)
    sign = large.resize((side // FINE, side // FINE), Pillow.Resampling.LANCZOS)
    tile.paste(sign, (round(x - sign.width / 2), round(y - sign.height / 2)), sign)


def _chip(tile: Pillow.Image, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> None:
    """A text on a dark ground in the lower left corner."""
    size = (round(font.getlength(text)) + 16, TEXT + 6)
    at = (8, tile.height - size[1] - 8)
    ground = tile.crop((*at, at[0] + size[0], at[1] + size[1]))
    tile.paste(Pillow.blend(ground, Pillow.new("RGB", size, DARK), 0.72), at, _rounded(size, size[1] // 2))
    ImageDraw.Draw(tile).text((at[0] + size[0] / 2, at[1] + size[1] / 2), text, WHITE, font, anchor="mm")


def _rounded(size: tuple[int, int], radius: int) -> Pillow.Image:
    """A mask of (W, H) whose corners are round."""
    large = Pillow.new("L", (size[0] * FINE, size[1] * FINE), 0)
    ImageDraw.Draw(large).rounded_rectangle((0, 0, large.width - 1, large.height - 1), radius * FINE, 255)
    return large.resize(size, Pillow.Resampling.LANCZOS)


def _bar(page: Pillow.Image, box: tuple[int, int, int, int], tint: RGB) -> None:
    x0, y0, x1, y1 = box
    size = (max(x1 - x0, 3), y1 - y0)
    page.paste(Pillow.new("RGB", size, tint), (x0, y0), _rounded(size, min(size) // 2))


def _runs(there: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, behind the last) of each stretch of frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
