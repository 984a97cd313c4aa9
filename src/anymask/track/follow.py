"""Objects followed frame by frame: what still holds is given as it is, the rest is tracked, all objects at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from anymask.errors import BadPrompt
from anymask.masks.masks import Masks
from anymask.pixels.image import Image
from anymask.track import history
from anymask.track.step import track
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
                for thing in todo:
                    history.recover(session, thing, frame, reverse)
                if todo:
                    track(session, frame, todo, reverse, image)
            for thing in things:
                if frame in thing.prompted:
                    thing.passed[frame] = reverse
            history.thin(session, frame, reverse)
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
