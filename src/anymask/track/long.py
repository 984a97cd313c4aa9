"""SAM2Long's choice: several stories of what became of an object are followed side by side, and the best one is shown.

Source: SAM2Long (arXiv 2410.16268), section 3, with the published settings. Each line of memory branches into the
candidates of each frame; those with the highest sum of logarithms of predicted IoU go on. Where no line is sure whether
the object is there, lines that go on must differ in their scores, so that they do not all tell the same story. A line
recalls its last frames that are good. Of the paper, the weighing of memories by presence is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from anymask.models.video import Recalled
from anymask.track.answer import Answer
from anymask.track.bank import Chosen, Found, Memories, Recent

LINES = 3
GOOD_IOU = 0.1
"""Predicted IoU above which a frame on which the object is there is remembered."""
UNSURE = 2.0
"""Logit of presence up to which, either way, nobody is sure."""


@dataclass(frozen=True)
class _Carried:
    """total: of logarithms of predicted IoU, 0 for the best line. good: (frame, line) of good memories, latest last."""

    total: float = 0.0
    good: tuple[tuple[int, int], ...] = ()

    def packed(self) -> tuple[float, ...]:
        return (self.total, *(float(number) for pair in self.good for number in pair))

    @classmethod
    def of(cls, answer: Answer | None) -> _Carried:
        if answer is None or not answer.carried:
            return cls()
        total, *flat = answer.carried
        return cls(total, tuple((int(a), int(b)) for a, b in zip(flat[::2], flat[1::2], strict=True)))


@dataclass(frozen=True)
class Long(Recent):
    """SAM 2 with SAM2Long's lines of memory."""

    lines: int = LINES

    def recalled(self, memories: Memories, frame: int, reverse: bool, line: int) -> Recalled:
        """See `Policy.recalled`."""
        known = [memories.at(number, own) for number, own in self.reach(memories, frame, reverse, line)]
        answers = [answer for answer in known if answer is not None]
        recent = [(len(answers) - at, answer) for at, answer in enumerate(answers)]
        return self.recalled_of(memories, frame, reverse, recent, self._pointers(memories, frame, reverse, line))

    def reach(self, memories: Memories, frame: int, reverse: bool, line: int) -> list[tuple[int, int]]:
        """See `Policy.reach`; the latest last."""
        step = 1 if reverse else -1
        before = frame + step
        while before in memories.prompted:
            before, line = before + step, 0
        answer = memories.at(before, line) if before >= 0 else None
        good = _Carried.of(answer).good
        return [pair for pair in good if pair[0] not in memories.prompted]

    def choose(self, found: Sequence[Found]) -> list[Chosen]:
        """See `Policy.choose`."""
        sure = max(abs(one.presence) for one in found) > UNSURE
        options = []
        for line, one in enumerate(found):
            carried = _Carried.of(one.before)
            # an object that is not there has one answer, not three
            candidates = range(len(one.scores)) if one.presence > 0 else [one.best]
            for candidate in candidates:
                score = one.scores[candidate]
                options.append((carried.total + math.log(max(score, 1e-6)), line, candidate, score, carried.good))
        options.sort(key=lambda option: -option[0])
        kept: list[tuple[float, int, int, float, tuple[tuple[int, int], ...]]] = []
        seen: set[float] = set()
        for option in options:
            if len(kept) == self.lines:
                break
            if not sure and round(option[3], 2) in seen:
                continue
            seen.add(round(option[3], 2))
            kept.append(option)
        highest = kept[0][0]
        chosen = []
        for rank, (total, line, candidate, score, good) in enumerate(kept):
            if score > GOOD_IOU and found[line].presence > 0:
                good = (*good, (found[line].frame, rank))[-self.slots :]
            chosen.append(Chosen(line, candidate, _Carried(total - highest, good).packed()))
        return chosen

    def _pointers(self, memories: Memories, frame: int, reverse: bool, line: int) -> list[tuple[int, Answer]]:
        """(frames ago, answer) along the line, the one longest ago first."""
        step = 1 if reverse else -1
        found: list[tuple[int, Answer]] = []
        for ago in range(1, self.pointer_slots + 1):
            number = frame + step * ago
            if number < 0:
                break
            if number in memories.prompted:
                line = 0
                continue
            answer = memories.at(number, line)
            if answer is None:
                break
            found.append((ago, answer))
            line = answer.line
        return found[::-1]
