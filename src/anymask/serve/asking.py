"""What the backends of other tools need of the server: masks for something pointed at in the bytes of a picture."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from anymask.masks.masks import Masks


@dataclass(frozen=True)
class Pointing:
    """One object. points: (x, y) pixels of the picture. labels: 1 inside, 0 outside. box: XYXY pixels."""

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None


Ask = Callable[[bytes, Pointing], Awaitable[Masks]]
"""The masks of one object, best first. Raises the errors of a session: BadImage, BadPrompt."""
