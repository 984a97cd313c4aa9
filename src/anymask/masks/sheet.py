"""Contact sheet: many pictures with their masks on one page, each with its name and a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from anymask.errors import BadSetting

SIDE = 320
"""Pixels of a cell's picture, its longer side."""
GAP = 16
TEXT = 17
GROUND = (250, 250, 251)
INK = (28, 29, 33)
FAINT = (112, 116, 124)


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet. picture: any size, RGB. title: its name. note: what stands beneath, such as a count."""

    picture: Pillow.Image
    title: str
    note: str = ""


def contact_sheet(cells: Sequence[Cell], *, columns: int | None = None, side: int = SIDE) -> Pillow.Image:
    """One page with all cells, left to right and down, a PIL image, RGB.

    columns: left out, as many as make the page about as wide as high. side: pixels of a cell. Raises BadSetting.
    """
    if not cells:
        raise BadSetting("a contact sheet needs at least one picture")
    if side < 32 or (columns is not None and columns < 1):
        raise BadSetting(f"a sheet has at least 1 column and cells of at least 32 px, got {columns} and {side}")
    columns = min(len(cells), columns or max(1, round((len(cells) * 1.3) ** 0.5)))
    lines = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    scales = [[_size(cell.picture, side) for cell in line] for line in lines]
    heights = [max(high for _, high in line) for line in scales]
    under = 3 * TEXT + GAP // 2
    page = Pillow.new("RGB", (columns * (side + GAP) + GAP, sum(heights) + len(lines) * (under + GAP) + GAP), GROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(TEXT)
    y = GAP
    for line, high in zip(lines, heights, strict=True):
        for place, cell in enumerate(line):
            x = GAP + place * (side + GAP)
            thumbnail = small(cell.picture, side)
            # all stand on their names, like prints in a drawer
            page.paste(thumbnail, (x, y + high - thumbnail.height))
            for row, (text, ink) in enumerate(((cell.title, INK), (cell.note, FAINT))):
                shown = _shortened(text, font, side)
                draw.text((x, y + high + 6 + row * (TEXT + 5)), shown, fill=ink, font=font)
        y += high + under + GAP
    return page


def _size(picture: Pillow.Image, side: int) -> tuple[int, int]:
    """(W, H) of the small picture, at most."""
    scale = min(1.0, side / max(picture.size))
    return math.ceil(picture.width * scale), math.ceil(picture.height * scale)


def small(picture: Pillow.Image, side: int) -> Pillow.Image:
    """The picture, its longer side at most `side` px."""
    copy = picture.convert("RGB")
    copy.thumbnail((side, side), Pillow.Resampling.LANCZOS, reducing_gap=3)
    return copy


def _shortened(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """The text, its middle left out where it is too wide: the end of a file's name tells as much as its beginning."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if font.getlength(text) <= width:
        return text
    keep = len(text)
    while keep > 2 and font.getlength(text[: keep // 2] + "..." + text[-(keep - keep // 2) :]) > width:
        keep -= 1
    return text[: keep // 2] + "..." + text[-(keep - keep // 2) :]
