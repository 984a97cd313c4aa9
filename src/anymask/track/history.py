"""Memories of long ago: let go of but for a stretch here and there, and tracked again from there when they are needed.

An hour of a clip is 100,000 frames, of which each object's memories take half a megabyte. What stays of old frames is
their masks, scores and pointers, and of every `snapshot` frames a stretch as long as what is recalled; a correction far
back tracks at most so many frames again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from anymask.track.step import lines_of, track
from anymask.track.store import Note
from anymask.track.thing import Thing

if TYPE_CHECKING:
    from anymask.track.session import VideoSession


def thin(session: VideoSession, frame: int, reverse: bool) -> None:
    """Lets go of what lies `history` frames behind a frame that was tracked."""
    settings, slots = session.settings, session.model.slots
    if frame % settings.snapshot == (0 if reverse else slots - 1):
        # what going on from a stretch needs besides itself, where a policy recalls from further back
        following = frame + (-1 if reverse else 1)
        for thing in session._things.values():
            reach = _reach(session, thing, following, reverse)
            session._needed.update(one for one in reach if abs(one - following) > slots)
    old = frame + settings.history if reverse else frame - settings.history
    if old < 0 or old % settings.snapshot < slots or old in session._needed:
        return
    session._store.thin(old)


def recover(session: VideoSession, thing: Thing, frame: int, reverse: bool, *, itself: bool = False) -> None:
    """Tracks again what is needed to track an object on `frame` and was let go of; `itself`: that frame, too."""
    reach = _reach(session, thing, frame, reverse) | ({frame} if itself else set())
    gone = [(number, note) for number in reach if (note := _thin(thing, number)) is not None]
    # the longest ago first, as time ran when it was tracked
    for number, note in sorted(gone, key=lambda one: -one[0] if one[1].reverse else one[0]):
        _again(session, thing, number, note.reverse)


def _again(session: VideoSession, thing: Thing, frame: int, reverse: bool) -> None:
    """Tracks a frame again, and those before it from the last stretch on, in the light of what was said by then."""
    step = -1 if reverse else 1
    start = frame
    while _missing(session, thing, start, reverse) and _thin(thing, start - step) is not None:
        start -= step
    for number in range(start, frame + step, step):
        note = _thin(thing, number)
        if note is None or note.taken_back:
            continue
        serials = {at: serial for serial, at in thing.edits}
        known = {at: answer for at, answer in thing.prompted.items() if serials.get(at, 0) <= note.serial}
        track(session, number, [replace(thing, prompted=known or thing.prompted)], note.reverse, serial=note.serial)


def _missing(session: VideoSession, thing: Thing, frame: int, reverse: bool) -> bool:
    """Whether memories that tracking on a frame would recall have been let go of."""
    return any(_thin(thing, number) for number in _reach(session, thing, frame, reverse))


def _reach(session: VideoSession, thing: Thing, frame: int, reverse: bool) -> set[int]:
    """The frames whose memories would be recalled, in all lines of memory."""
    lines = range(lines_of(thing, frame + (1 if reverse else -1)))
    return {number for line in lines for number, _ in session.policy.reach(thing, frame, reverse, line)}


def _thin(thing: Thing, frame: int) -> Note | None:
    """What is left of an object's entry on a frame, where its memories have been let go of; else None."""
    if frame < 0 or frame in thing.prompted:
        return None
    note = thing.store.notes(frame).get(thing.number)
    return None if note is None or note.whole else note
