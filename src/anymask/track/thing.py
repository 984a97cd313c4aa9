"""One object of a clip: what was said about it, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from anymask.errors import BadPrompt
from anymask.masks.rle import RLE, decode_one, encode_one
from anymask.pixels.resize import HW
from anymask.prompts.prompts import Prompts
from anymask.track.answer import Answer, Entry
from anymask.track.store import Note, Store


@dataclass(frozen=True)
class Said:
    """What a person said about an object on a frame: points and a box in pixels of the clip, or a drawn mask.

    points: (x, y). labels: 1 inside, 0 outside. box: XYXY.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, ...] | None = None
    mask: RLE | None = None

    def prompts(self, size: HW, before: Answer | None) -> Prompts:
        """As the network takes them; `before` is the answer that is refined. Raises BadPrompt."""
        if self.mask is not None:
            return Prompts(masks=decode_one(self.mask)[None])
        given = Prompts.of(self.points or None, self.labels or None, self.box, size=size)
        if before is None:
            return given
        # clamped as in SAM 2, which found larger logits to upset the decoder
        logits = before.logits.float().clamp(-32.0, 32.0).cpu().numpy()
        return replace(given, low_res=logits[None])

    @classmethod
    def of(cls, size: HW, points: Any, labels: Any, box: Any, mask: Any) -> Said:
        """What people pass, checked. Raises BadPrompt."""
        given = Prompts.of(points, labels, box, mask, size=size)
        if len(given) != 1:
            raise BadPrompt(f"prompts are for one object at a time, got {len(given)}")
        if given.low_res is not None:
            raise BadPrompt("a drawn mask is boolean, in the clip's size; compare logits with a threshold first: x > 0")
        drawn = None if given.masks is None else encode_one(given.masks[0])
        if drawn is not None and (given.points is not None or given.boxes is not None):
            raise BadPrompt("give a drawn mask, or points and a box, not both on one frame")
        xy: tuple[tuple[float, float], ...] = ()
        kinds: tuple[int, ...] = ()
        if given.points is not None and given.point_labels is not None:
            used = given.point_labels[0] >= 0
            xy = tuple((float(x), float(y)) for x, y in given.points[0][used])
            kinds = tuple(int(one) for one in given.point_labels[0][used])
        corners = None if given.boxes is None else tuple(float(one) for one in given.boxes[0])
        return cls(xy, kinds, corners, drawn)

    def and_then(self, later: Said) -> Said:
        """Both together: points add up, a later box or drawn mask replaces an earlier one."""
        if later.mask is not None or self.mask is not None:
            return later
        box = self.box if later.box is None else later.box
        return Said(self.points + later.points, self.labels + later.labels, box)

    def as_json(self) -> dict[str, Any]:
        """For `from_json`."""
        mask = None if self.mask is None else self.mask["counts"].decode("ascii")
        return {"points": self.points, "labels": self.labels, "box": self.box, "mask": mask}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], size: HW) -> Said:
        """What `as_json` gave."""
        box, mask = value["box"], value["mask"]
        return cls(
            tuple((float(x), float(y)) for x, y in value["points"]),
            tuple(int(one) for one in value["labels"]),
            None if box is None else tuple(float(one) for one in box),
            None if mask is None else {"size": list(size), "counts": mask.encode("ascii")},
        )


@dataclass
class Thing:
    """An object that is followed.

    name: the user's number for it. number: the session's own, never given twice. said: by frame.
    pending: answers on frames that were pointed at since tracking last began; the flag says whether the frame counts as
    prompted. prompted: answers on prompted frames, memorised. passed: prompted frames that tracking has gone over, and
    whether backward. edits: (serial, frame) of everything that was said or taken back.
    """

    name: int
    number: int
    store: Store
    said: dict[int, Said] = field(default_factory=dict)
    pending: dict[int, tuple[Answer, bool]] = field(default_factory=dict)
    prompted: dict[int, Answer] = field(default_factory=dict)
    passed: dict[int, bool] = field(default_factory=dict)
    edits: list[tuple[int, int]] = field(default_factory=list)

    def at(self, frame: int, line: int) -> Answer | None:
        """See `bank.Memories.at`."""
        entry = self.store.entry(frame, self.number)
        if entry is None:
            return None
        return entry.answers[min(line, len(entry.answers) - 1)]

    def latest(self, frame: int) -> Answer | None:
        """The answer to show on a frame, with its tensors."""
        if frame in self.pending:
            return self.pending[frame][0]
        return self.prompted.get(frame) or self.at(frame, 0)

    def tracked(self, frame: int) -> bool | None:
        """Whether tracking that went over a frame went backward; None where it did not come there."""
        if frame in self.passed:
            return self.passed[frame]
        if frame in self.prompted:
            return None
        note = self.store.notes(frame).get(self.number)
        return None if note is None or note.taken_back else note.reverse

    def first(self) -> int | None:
        """Where following it begins when nothing else is asked for: its earliest prompted frame."""
        frames = [*self.prompted, *(one for one, (_, counts) in self.pending.items() if counts)]
        return min(frames, default=None)

    def valid(self, frame: int, reverse: bool) -> Note | None:
        """What tracking in this direction made on a frame, unless something was said since that it depends on."""
        note = self.store.notes(frame).get(self.number)
        if note is None or note.taken_back or note.reverse != reverse:
            return None
        return None if self.stale(frame, note) else note

    def stale(self, frame: int, note: Note) -> bool:
        """Whether an edit came after an entry, on a frame that tracking had passed before it or on that very frame."""
        return any(serial > note.serial and (at == frame or (at > frame) == note.reverse) for serial, at in self.edits)

    def edited(self, serial: int, frame: int) -> None:
        """Writes down that something was said about a frame, or taken back."""
        # of edits on one frame the last one counts
        self.edits = [(one, at) for one, at in self.edits if at != frame]
        self.edits.append((serial, frame))

    def take_back(self, frame: int, serial: int) -> None:
        """Forgets what was said on a frame. Its answer stays as an ordinary memory, as in SAM 2."""
        self.said.pop(frame, None)
        self.pending.pop(frame, None)
        answer = self.prompted.pop(frame, None)
        self.passed.pop(frame, None)
        self.edited(serial, frame)
        if answer is not None:
            self.store.put(frame, {self.number: Entry((answer,), False, serial - 1, taken_back=True)})


def checked_number(value: Any) -> int:
    """An object's number as the user gives it. Raises BadPrompt."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 1 << 31:
        raise BadPrompt(f"objects are numbered, from 0 to 2147483647; got {value!r:.40}")
    return int(value)
