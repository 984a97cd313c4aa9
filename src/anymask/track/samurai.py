"""SAMURAI's choice: where a thing moves to has a say in which candidate it is, and only good frames are remembered.

Source: SAMURAI (arXiv 2411.11922), section 4, with the published thresholds. A Kalman filter foretells the box; once it
has been right for a while, its overlap with a candidate's box counts beside the predicted IoU. Instead of the frames
just before, the last good ones are recalled: predicted IoU, presence and overlap all above their gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anymask.models.video import Recalled
from anymask.track.answer import Answer
from anymask.track.bank import Chosen, Found, Memories, Recent, nearest
from anymask.track.kalman import Motion, box_of, overlap

STEADY_AFTER = 15
"""Frames in a row that the filter must have been fed before it is listened to."""
STEADY_IOU = 0.3
"""Predicted IoU below which the filter is fed nothing and begins to count anew."""
WEIGHT = 0.25
"""Of the foretold box, beside the predicted IoU."""
GOOD_IOU, GOOD_PRESENCE, GOOD_OVERLAP = 0.5, 0.0, 0.0
"""A frame is remembered where it is above all three."""


@dataclass(frozen=True)
class _Carried:
    """steady: frames in a row. good: the last good frames, the latest last. motion: None before a first box."""

    steady: int = 0
    good: tuple[int, ...] = ()
    motion: Motion | None = None

    def packed(self) -> tuple[float, ...]:
        motion = () if self.motion is None else self.motion.packed()
        return (float(self.steady), float(len(self.good)), *map(float, self.good), *motion)

    @classmethod
    def of(cls, answer: Answer | None) -> _Carried:
        if answer is None:
            return cls()
        if not answer.carried:
            # a person showed it here
            box = box_of((answer.logits > 0).cpu().numpy())
            return cls() if box is None else cls(1, (), Motion.begin(box))
        steady, count, *rest = answer.carried
        good, motion = tuple(int(one) for one in rest[: int(count)]), tuple(rest[int(count) :])
        return cls(int(steady), good, Motion.unpacked(motion) if motion else None)


@dataclass(frozen=True)
class Samurai(Recent):
    """SAM 2 with SAMURAI's choice of candidates and memories."""

    def recalled(self, memories: Memories, frame: int, reverse: bool, line: int) -> Recalled:
        """See `Policy.recalled`."""
        _, far = nearest(memories.prompted, frame, self.max_prompted)
        pointers = self._before(memories, far, frame, reverse, self.pointer_slots)
        frames = [number for number, _ in self.reach(memories, frame, reverse, line)]
        answers = [memories.at(number, 0) for number in frames]
        known = [answer for answer in answers if answer is not None]
        recent = [(len(known) - at, answer) for at, answer in enumerate(known)]
        return self.recalled_of(memories, frame, reverse, recent, pointers)

    def reach(self, memories: Memories, frame: int, reverse: bool, line: int) -> list[tuple[int, int]]:
        """See `Policy.reach`; the latest last."""
        step = 1 if reverse else -1
        before = frame + step
        while before in memories.prompted:
            before += step
        answer = memories.at(before, 0) if before >= 0 else None
        if answer is None:
            return []
        good = _Carried.of(answer).good
        frames = [*(one for one in good if one != before), before][-self.slots :]
        return [(one, 0) for one in frames if one not in memories.prompted]

    def choose(self, found: Sequence[Found]) -> list[Chosen]:
        """See `Policy.choose`."""
        one = found[0]
        carried = _Carried.of(one.before)
        boxes = [box_of((mask > 0).cpu().numpy()) for mask in one.logits]
        motion = None if carried.motion is None else carried.motion.ahead()
        overlaps = [0.0 if motion is None or box is None else overlap(motion.box, box) for box in boxes]
        heard = motion is not None and carried.steady >= STEADY_AFTER
        merits = one.scores
        if heard:
            pairs = zip(overlaps, one.scores, strict=True)
            merits = tuple(WEIGHT * near + (1 - WEIGHT) * score for near, score in pairs)
        best = max(range(len(merits)), key=lambda at: merits[at]) if len(merits) > 1 else one.best
        box, score = boxes[best], one.scores[best]
        steady = 0
        if box is not None and motion is None:
            motion, steady = Motion.begin(box), 1
        elif box is not None and motion is not None and score > STEADY_IOU:
            motion, steady = motion.seen(box), carried.steady + 1
        moves = not heard or overlaps[best] > GOOD_OVERLAP
        good = carried.good
        if score > GOOD_IOU and one.presence > GOOD_PRESENCE and moves:
            good = (*good, one.frame)[-self.slots :]
        return [Chosen(0, best, _Carried(steady, good, motion).packed())]
