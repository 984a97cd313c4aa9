"""Window: a rectangle of a large image, and how an image is covered by overlapping ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from anymask.errors import BadSetting
from anymask.pixels.resize import HW


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle in pixels, x1 and y1 exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def size(self) -> HW:
        """(H, W)."""
        return (self.y1 - self.y0, self.x1 - self.x0)

    def meet(self, other: Window) -> Window | None:
        """What both cover, None when that is nothing."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        x1, y1 = min(self.x1, other.x1), min(self.y1, other.y1)
        return Window(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def __iter__(self) -> Iterator[int]:
        return iter((self.x0, self.y0, self.x1, self.y1))


def tiles(size: HW, side: int, overlap: int) -> list[Window]:
    """Windows of side x side px that cover an image (H, W), row by row; neighbours share at least `overlap` px.

    All are of one size, so that every part of the image is seen at the same scale whatever the image's extent: the last
    of a row or column is moved back to end with the image, and shares more. An image smaller than a tile is one window.
    Raises BadSetting unless 0 <= overlap <= side / 2.
    """
    height, width = size
    for name, value in (("tile", side), ("overlap", overlap)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadSetting(f"{name} is a whole number of pixels, got {value!r:.40}")
    if side < 16:
        raise BadSetting(f"a tile is at least 16 px wide, got {side}")
    if not 0 <= overlap <= side // 2:
        raise BadSetting(f"tiles of {side} px can overlap by 0 to {side // 2} px, got {overlap}")
    return [
        Window(x, y, min(x + side, width), min(y + side, height))
        for y in _starts(height, side, overlap)
        for x in _starts(width, side, overlap)
    ]


def _starts(length: int, side: int, overlap: int) -> list[int]:
    if length <= side:
        return [0]
    return [*range(0, length - side, side - overlap), length - side]
