"""Clicks that build on each other, as a pure function: what to ask the model, and which of its answers to take.

`Session` asks its own model; the server asks for many people at once. Both decide here, so that a click means the same
on one's own machine and far away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anymask.masks.masks import Masks
from anymask.masks.rle import RLE, iou, lengths
from anymask.models.interface import Multimask
from anymask.prompts.prompts import Prompts
from anymask.prompts.steps import Points

SAME = 0.98
"""Candidates of a higher IoU than this look the same to a person; one of them is offered."""


@dataclass(frozen=True)
class Question:
    """Something to ask the model about one object."""

    prompts: Prompts
    multimask: Multimask = None


@dataclass(frozen=True)
class Clicks:
    """All clicks on one object, and the mask that stood before the last of them.

    labels: 1 inside, 0 outside, one for each point. box: XYXY pixels. before: one row with its logits, or no row.
    """

    points: Points
    labels: tuple[int, ...]
    box: tuple[float, ...] | None
    before: Masks

    def questions(self) -> list[Question]:
        """What to ask the model, at least one question; see also `more`. Raises BadPrompt."""
        if not self._builds:
            return [Question(self._fresh)]
        points, labels = self.points or None, self.labels or None
        back = Prompts.of(points, labels, self.box, self.before.logits, size=self.before.size)
        # the single answer with feedback first (how the model was trained), then alternatives to choose from
        return [Question(back, "both")]

    def more(self, answers: Sequence[Masks]) -> list[Question]:
        """What else to ask where no answer so far agrees with all clicks: the clicks without the mask before."""
        if not self._builds or agreement(Masks.join(answers), self.points, self.labels).max() == len(self.labels):
            return []
        return [Question(self._fresh, False)]

    @property
    def _fresh(self) -> Prompts:
        return Prompts.of(self.points or None, self.labels or None, self.box, size=self.before.size)

    @property
    def _builds(self) -> bool:
        """Whether there is a mask before to build on."""
        return len(self.before) > 0 and self.before.logits is not None and not self._fresh.ambiguous

    def settle(self, answers: Sequence[Masks]) -> tuple[Masks, str]:
        """The candidates, best first, and a note that is empty or says what could not be done.

        answers: to `questions` and to `more`, in this order.

        The first agrees with at least as many clicks as the mask before did; where no new candidate does, that mask
        comes first again and the note says so.
        """
        if not self._builds:
            return answers[0], ""
        options = distinct(Masks.join([*answers, self.before]))
        agreed = agreement(options, self.points, self.labels)
        # the model's own order among equals
        order = np.argsort(-agreed, kind="stable")
        ranked, best = options[order], int(agreed.max())
        note = ""
        if agreed[0] < best and iou(ranked.rle[:1], self.before.rle)[0, 0] >= SAME:
            note = "no new candidate agrees with the clicks as well as the mask before, so it was kept; undo or choose"
        elif best < len(self.labels):
            note = f"the answer agrees with {best} of {len(self.labels)} clicks; another click or a candidate may help"
        return ranked, note


def agreement(masks: Masks, points: Points, labels: Sequence[int]) -> NDArray[np.int64]:
    """How many clicks each mask agrees with, int64 [N]."""
    height, width = masks.size
    places = [min(int(x), width - 1) * height + min(int(y), height - 1) for x, y in points]
    wanted = np.array(labels, np.bool_)
    return np.array([np.count_nonzero(_covers(rle, places) == wanted) for rle in masks.rle], np.int64)


def _covers(rle: RLE, places: Sequence[int]) -> NDArray[np.bool_]:
    """Whether pixels, counted down the columns, belong to a mask; runs take turns, background first."""
    return np.searchsorted(np.cumsum(lengths(rle)), places, side="right") % 2 == 1


def distinct(masks: Masks) -> Masks:
    """The masks without those that look like an earlier one."""
    overlap = iou(masks.rle, masks.rle)
    keep: list[int] = []
    for row in range(len(masks)):
        if all(overlap[row, other] < SAME for other in keep):
            keep.append(row)
    return masks[keep].replace(ids=np.zeros(len(keep), np.int64))
