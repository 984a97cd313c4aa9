"""Prompts from the text that people type on a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anymask.errors import BadPrompt
from anymask.pixels.resize import HW
from anymask.prompts.prompts import Prompts

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True)
class Typed:
    """What was typed, before an image is known.

    points: ((x, y), ...) px. labels: 1 inside, 0 outside, one a point. boxes: ((x0, y0, x1, y1), ...) px.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()

    @classmethod
    def of(cls, points: Sequence[str] = (), boxes: Sequence[str] = ()) -> Typed:
        """From "X,Y" (inside) or "X,Y,LABEL" for each point and "X0,Y0,X1,Y1" for each box.

        All of them describe one object, except that several boxes without points are one object each.
        Raises BadPrompt, which repeats the text that it could not read.
        """
        read = [point(text) for text in points]
        corners = tuple(box(text) for text in boxes)
        if read and len(corners) > 1:
            raise BadPrompt(
                "points together with several boxes do not say which belongs to which; give one box with its points, "
                "or several boxes alone"
            )
        return cls(tuple((x, y) for x, y, _ in read), tuple(label for _, _, label in read), corners)

    def __bool__(self) -> bool:
        return bool(self.points or self.boxes)

    def prompts(self, size: HW, mask: Any = None) -> Prompts:
        """The prompts on an image of (H, W); mask: as `Prompts.of` takes it. Raises BadPrompt where they do not fit."""
        boxes = self.boxes if self.boxes else None
        if self.points:
            return Prompts.of(list(self.points), list(self.labels), boxes, mask, size=size)
        return Prompts.of(boxes=boxes, mask=mask, size=size)


def point(text: str) -> tuple[float, float, int]:
    """(x, y, label) from "X,Y" or "X,Y,LABEL"; the label is 1 (inside, the default) or 0 (outside)."""
    parts = _parts(text)
    if len(parts) not in (2, 3):
        raise BadPrompt(f"a point is X,Y or X,Y,0 for a point outside, got {_shown(text)}")
    if len(parts) == 3 and parts[2] not in ("0", "1"):
        raise BadPrompt(f"a point's third part is 1 (inside) or 0 (outside), got {_shown(text)}")
    x, y = _numbers(parts[:2], text, "a point is X,Y in pixels")
    return x, y, int(parts[2]) if len(parts) == 3 else 1


def box(text: str) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) from "X0,Y0,X1,Y1", the upper left and the lower right corner."""
    parts = _parts(text)
    if len(parts) != 4:
        raise BadPrompt(f"a box is X0,Y0,X1,Y1, upper left and lower right corner, got {_shown(text)}")
    x0, y0, x1, y1 = _numbers(parts, text, "a box is X0,Y0,X1,Y1 in pixels")
    return x0, y0, x1, y1


def _parts(text: str) -> list[str]:
    # "(120, 80)" is what people copy out of other programs
    return [part.strip() for part in text.strip().strip("()[]").split(",")]


def _numbers(parts: Sequence[str], text: str, what: str) -> list[float]:
    if not all(_NUMBER.fullmatch(part) for part in parts):
        raise BadPrompt(f"{what}, got {_shown(text)}")
    return [float(part) for part in parts]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
