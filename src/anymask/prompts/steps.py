"""Clicks on one object, step by step, with undo: the same for a model that is here and one that is far away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from anymask.errors import BadPrompt, BadSetting
from anymask.masks.masks import Masks
from anymask.pixels.resize import HW

Points = tuple[tuple[float, ...], ...]
"""(x, y) pixels of the original image, in the order they were clicked."""


@dataclass(frozen=True)
class Step:
    """A point in the life of a session: what was pointed at, and the answers to it.

    name: what a server calls these answers, to build on them.
    """

    points: Points = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, ...] | None = None
    candidates: Masks | None = None
    chosen: int = 0
    note: str = ""
    name: str | None = None


class Steps(ABC):
    """One mask, built step by step. Whoever answers fills in `size` and `_answer`."""

    _steps: list[Step]

    @property
    @abstractmethod
    def size(self) -> HW:
        """(H, W) of the image in pixels."""

    @abstractmethod
    def _answer(self, points: Points, labels: tuple[int, ...], box: tuple[float, ...] | None) -> Step:
        """The next step: candidates for all clicks so far, best first; `mask` is what stood before the last one."""

    @property
    def candidates(self) -> Masks:
        """The alternatives of the last step, best first; row 0 of a first click is not always what was meant."""
        return self._now.candidates if self._now.candidates is not None else Masks(self.size, [])

    @property
    def mask(self) -> Masks:
        """The mask as it stands: one row, or none before the first prompt."""
        candidates = self.candidates
        return candidates[[self._now.chosen]] if len(candidates) else candidates

    @property
    def note(self) -> str:
        """Empty, or a sentence when the last step could not do what it was asked to."""
        return self._now.note

    @property
    def steps(self) -> int:
        """How many steps `undo` can take back."""
        return len(self._steps) - 1

    def click(self, x: float, y: float, inside: bool = True) -> Masks:
        """Adds a click, at (x, y) in pixels, that belongs to the object (inside) or does not.

        The logits of the mask as it stands are fed back. The answer agrees with at least as many clicks as the mask
        before it did; where no new candidate does, the mask is kept and `note` says so.
        """
        if not isinstance(inside, (bool, int, np.bool_)) or inside not in (0, 1):
            raise BadPrompt(f"inside is True or False, got {inside!r:.40}")
        now = self._now
        points, labels = (*now.points, _floats(x, y)), (*now.labels, int(inside))
        if not any(labels) and now.box is None:
            raise BadPrompt("the first click must be inside the object; a click outside takes away from a mask")
        return self._ask(points, labels, now.box)

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Masks:
        """Sets the box around the object, XYXY in pixels; it replaces an earlier one, clicks stay."""
        return self._ask(self._now.points, self._now.labels, _floats(x0, y0, x1, y1))

    def choose(self, index: int) -> Masks:
        """Takes another of the `candidates`; later clicks refine that one. Can be undone."""
        count = len(self.candidates)
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < count:
            raise BadSetting(f"there are {count} candidates, numbered from 0; got {index!r:.40}")
        self._steps.append(replace(self._now, chosen=int(index), note=""))
        return self.mask

    def undo(self) -> Masks:
        """Takes the last step back; does nothing at the start."""
        if len(self._steps) > 1:
            self._steps.pop()
        return self.mask

    def reset(self) -> None:
        """Back to no prompts at all."""
        self._steps = [Step()]

    @property
    def _now(self) -> Step:
        return self._steps[-1]

    def _ask(self, points: Points, labels: tuple[int, ...], box: tuple[float, ...] | None) -> Masks:
        # first the answer: whoever gives it may replace the steps before
        step = self._answer(points, labels, box)
        self._steps.append(step)
        return self.mask


def _floats(*values: float) -> tuple[float, ...]:
    """Coordinates as plain floats, or BadPrompt."""
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        raise BadPrompt(f"coordinates are numbers in pixels, got {values!r:.80}") from None
