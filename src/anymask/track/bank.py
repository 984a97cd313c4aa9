"""What an object is reminded of when a frame is tracked, as a policy that can be exchanged.

`Recent` is SAM 2's own: all prompted frames, the frames just before, and more object pointers from a little further
back. Source: SAM 2 (arXiv 2408.00714), section 4 and appendix; behaviour of the official predictor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from anymask.models.video import Recalled
from anymask.track.answer import Answer


class Memories(Protocol):
    """The memories of one object."""

    @property
    def prompted(self) -> Mapping[int, Answer]:
        """Answers on prompted frames that have been memorised, by frame."""
        ...

    def at(self, frame: int, line: int) -> Answer | None:
        """The answer on an ordinary frame in one line of memory; None where it was not tracked."""
        ...


@dataclass(frozen=True)
class Chosen:
    """An answer that goes on: candidate `candidate` of the answers to line `line`."""

    line: int
    candidate: int
    carried: tuple[float, ...] = ()


@dataclass(frozen=True)
class Found:
    """The network's answers in one line of memory: M candidates.

    frame: its number. logits: float32 [M, h, w]. scores: M predicted IoUs. presence: logit. best: the network's own
    choice. before: the answer on the frame before, where it was tracked or prompted.
    """

    frame: int
    logits: Tensor
    scores: tuple[float, ...]
    presence: float
    best: int
    before: Answer | None


class Policy(Protocol):
    """Chooses memories and answers. Holds no state: what it wants to know later it puts into `Chosen.carried`."""

    @property
    def lines(self) -> int:
        """Lines of memory that are followed side by side, at most."""
        ...

    def recalled(self, memories: Memories, frame: int, reverse: bool, line: int) -> Recalled:
        """What the object is reminded of on `frame`, in the line of memory that ended there as number `line`."""
        ...

    def choose(self, found: Sequence[Found]) -> list[Chosen]:
        """Which answers go on, the one to show first; at least one, at most `lines`. found: by line of memory."""
        ...

    def reach(self, memories: Memories, frame: int, reverse: bool, line: int) -> list[tuple[int, int]]:
        """(frame, line) of the ordinary memories whose features `recalled` will ask for."""
        ...


@dataclass(frozen=True)
class Recent:
    """SAM 2's choice.

    slots, pointer_slots: frames just before whose memories and object pointers are recalled, those of prompted frames
    besides. max_prompted: prompted frames at most, None for all. count: frames of the clip, None where nobody knows.
    """

    slots: int
    pointer_slots: int
    max_prompted: int | None = None
    count: int | None = None
    lines: int = 1

    def recalled(self, memories: Memories, frame: int, reverse: bool, line: int) -> Recalled:
        """See `Policy.recalled`."""
        _, far = nearest(memories.prompted, frame, self.max_prompted)
        recent = self._before(memories, far, frame, reverse, self.slots)
        pointers = self._before(memories, far, frame, reverse, self.pointer_slots)
        return self.recalled_of(memories, frame, reverse, recent, pointers)

    def recalled_of(
        self,
        memories: Memories,
        frame: int,
        reverse: bool,
        recent: Sequence[tuple[int, Answer]],
        pointers: Sequence[tuple[int, Answer]],
    ) -> Recalled:
        """The prompted frames first, then (slot, answer) whose memories and whose pointers are recalled besides."""
        near, _ = nearest(memories.prompted, frame, self.max_prompted)
        features = [(_known(answer), 0) for answer in near.values()]
        features += [(answer.features, slot) for slot, answer in recent if answer.features is not None]
        found = pointers_of(near, frame, reverse)
        found += [(answer.pointer, slot) for slot, answer in reversed(pointers)]
        reach = None if self.count is None else max(1, min(self.pointer_slots, self.count - 1))
        return Recalled(tuple(features), tuple(found), reach)

    def choose(self, found: Sequence[Found]) -> list[Chosen]:
        """See `Policy.choose`: the network's own choice."""
        return [Chosen(0, found[0].best)]

    def reach(self, memories: Memories, frame: int, reverse: bool, line: int) -> list[tuple[int, int]]:
        """See `Policy.reach`."""
        step = 1 if reverse else -1
        return [(frame + step * slot, 0) for slot in range(1, self.slots + 1)]

    def _before(
        self, memories: Memories, far: Mapping[int, Answer], frame: int, reverse: bool, count: int
    ) -> list[tuple[int, Answer]]:
        """(frames ago, answer) of up to `count` frames, the one longest ago first.

        A prompted frame that is too many counts as an ordinary one.
        """
        step = 1 if reverse else -1
        found = []
        for slot in range(count, 0, -1):
            number = frame + step * slot
            if number < 0:
                continue
            answer = None if number in memories.prompted else memories.at(number, 0)
            answer = answer or far.get(number)
            if answer is not None:
                found.append((slot, answer))
        return found


def nearest(
    prompted: Mapping[int, Answer], frame: int, limit: int | None
) -> tuple[dict[int, Answer], dict[int, Answer]]:
    """(prompted frames to recall, the others): the last one before `frame`, the next one, then by distance."""
    if limit is None or len(prompted) <= limit:
        return dict(prompted), {}
    chosen = [max((one for one in prompted if one < frame), default=None)]
    chosen.append(min((one for one in prompted if one >= frame), default=None))
    kept = [one for one in chosen if one is not None]
    rest = sorted((one for one in prompted if one not in kept), key=lambda one: abs(one - frame))
    kept += rest[: limit - len(kept)]
    return {one: prompted[one] for one in kept}, {one: prompted[one] for one in prompted if one not in kept}


def pointers_of(near: Mapping[int, Answer], frame: int, reverse: bool) -> list[tuple[Tensor, int]]:
    """(pointer, distance) of prompted frames that lie behind, as tracking goes; the frame itself counts."""
    sign = -1 if reverse else 1
    return [(answer.pointer, sign * (frame - one)) for one, answer in near.items() if sign * (frame - one) >= 0]


def _known(answer: Answer) -> Tensor:
    assert answer.features is not None, "prompted frames are memorised before tracking"
    return answer.features
