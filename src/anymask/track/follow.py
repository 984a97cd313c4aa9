"""Objects followed frame by frame: what still holds is given as it is, the rest is tracked, all objects at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from anymask.errors import BadPrompt
from anymask.masks.masks import Masks
from anymask.models.video import Recalled, Tracked
from anymask.pixels.image import Image
from anymask.track.answer import Answer, Entry
from anymask.track.bank import Found
from anymask.track.thing import Thing

if TYPE_CHECKING:
    from anymask.track.session import VideoSession


def follow(
    session: VideoSession, start: int | None, stop: int | None, reverse: bool, early: bool, afresh: bool
) -> Iterator[tuple[int, Masks]]:
    """See `VideoSession.propagate`."""
    frames = session.frames
    if start is not None:
        start = frames._number(start)
    if not any(thing.first() is not None for thing in session._things.values()):
        raise BadPrompt("nothing has been pointed at; click on an object, box it or draw it before following it")
    return _followed(session, start, stop, reverse, early, afresh)


def _followed(
    session: VideoSession, start: int | None, stop: int | None, reverse: bool, early: bool, afresh: bool
) -> Iterator[tuple[int, Masks]]:
    step = -1 if reverse else 1
    firsts = [first for thing in session._things.values() if (first := thing.first()) is not None]
    frame = start if start is not None else (max(firsts) if reverse and not early else min(firsts))
    end = _end(session, stop, reverse)
    reader = _Reader(session, reverse)
    seen = -1
    try:
        while end is None or (frame > end if reverse else frame < end):
            if seen != session._serial:
                session.settle()
                seen = session._serial
            things = [thing for thing in session._things.values() if _takes_part(thing, frame, start, reverse, early)]
            todo = [thing for thing in things if frame not in thing.prompted]
            if not afresh:
                todo = [thing for thing in todo if thing.valid(frame, reverse) is None]
            if todo or end is None:
                image = reader.image(frame)
                if image is None:
                    return
                if todo:
                    track(session, frame, todo, reverse, image)
            for thing in things:
                if frame in thing.prompted:
                    thing.passed[frame] = reverse
            yield frame, session.masks(frame) or session._rows([])
            frame += step
    finally:
        reader.close()


def _end(session: VideoSession, stop: int | None, reverse: bool) -> int | None:
    """The frame before which to end; None where the clip is live and has no end yet."""
    if reverse:
        return -1 if stop is None else max(-1, stop)
    count = session.frames.count
    if stop is None or count is None:
        return count if stop is None else stop
    return min(stop, count)


def _takes_part(thing: Thing, frame: int, start: int | None, reverse: bool, early: bool) -> bool:
    """Whether an object is followed on a frame: it is on its prompted frames, and after the first of them."""
    if not thing.prompted:
        return False
    if early or frame in thing.prompted:
        return True
    if not reverse:
        return frame > min(thing.prompted)
    # backward from where the caller said, or from the frame that following forward begins at
    return frame < (min(thing.prompted) if start is None else max(thing.prompted))


class _Reader:
    """Frames in order, read ahead from where the first one is needed."""

    def __init__(self, session: VideoSession, reverse: bool) -> None:
        self._session, self._step = session, -1 if reverse else 1
        self._read: Iterator[tuple[int, Image]] | None = None
        self._next = -1

    def image(self, frame: int) -> Image | None:
        """A frame; None after the last one of a live clip."""
        if self._read is None or self._next != frame:
            self.close()
            self._read = self._session.frames.read(frame, step=self._step)
        found = next(self._read, None)
        self._next = frame + self._step
        return None if found is None else found[1]

    def close(self) -> None:
        """Ends reading ahead."""
        close = getattr(self._read, "close", None)
        if close is not None:
            close()
        self._read = None


def track(session: VideoSession, frame: int, things: list[Thing], reverse: bool, image: Image | None = None) -> None:
    """Tracks some objects on one frame and keeps what was found."""
    session.embedding(frame, image)
    entries: dict[int, Entry] = {}
    for at in range(0, len(things), session.settings.at_once):
        entries |= _tracked(session, frame, things[at : at + session.settings.at_once], reverse)
    session._store.put(frame, entries)


def _tracked(session: VideoSession, frame: int, things: list[Thing], reverse: bool) -> Mapping[int, Entry]:
    policy, before = session.policy, frame + (1 if reverse else -1)
    lines = [(thing, line) for thing in things for line in range(_lines(thing, before))]
    device = next(iter(session.embedding(frame).tensors.values())).device
    recalled = [_there(policy.recalled(thing, frame, reverse, line), device) for thing, line in lines]
    with torch.no_grad():
        tracked = session.model.track(session.embedding(frame), recalled)
    rows: list[int] = []
    candidates: list[int] = []
    owners: list[tuple[Thing, int, tuple[float, ...]]] = []
    for thing in things:
        own = [row for row, (one, _) in enumerate(lines) if one is thing]
        found = [_found(tracked, row, thing, before, lines[row][1]) for row in own]
        for chosen in policy.choose(found, session.size):
            rows.append(own[chosen.line])
            candidates.append(chosen.candidate)
            owners.append((thing, chosen.line, chosen.carried))
    # remembered as the network answered; shown with its holes filled
    raw = tracked.logits[rows, candidates].float()
    answers = session.memorised(frame, session.answers(tracked, rows, candidates), prompted=False, logits=raw)
    entries: dict[int, Entry] = {}
    for thing in things:
        kept = [
            replace(answer, line=line, carried=carried)
            for answer, (owner, line, carried) in zip(answers, owners, strict=True)
            if owner is thing
        ]
        entries[thing.number] = Entry(tuple(kept), reverse, session._serial)
    return entries


def _lines(thing: Thing, before: int) -> int:
    """In how many lines of memory an object arrives from the frame before."""
    if before in thing.prompted or before < 0:
        return 1
    entry = thing.store.entry(before, thing.number)
    return 1 if entry is None else len(entry.answers)


def _found(tracked: Tracked, row: int, thing: Thing, before: int, line: int) -> Found:
    last: Answer | None = thing.prompted.get(before) or (thing.at(before, line) if before >= 0 else None)
    return Found(
        tracked.logits[row].float(),
        tuple(float(one) for one in tracked.scores[row]),
        float(tracked.presence[row]),
        int(tracked.best[row]),
        last,
    )


def _there(recalled: Recalled, device: torch.device) -> Recalled:
    """What is recalled, where the network is."""
    return Recalled(
        tuple((one.to(device), slot) for one, slot in recalled.features),
        tuple((one.to(device), slot) for one, slot in recalled.pointers),
        recalled.reach,
    )
