"""Worker processes: started, handed images, and replaced when one dies in its work."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from anymask.errors import AnymaskError
from anymask.jobs.manifest import Entry, Item, listed
from anymask.jobs.worker import Post, Ready, Settled, Stopped, serve

TICK = 0.2
"""Seconds after which the loop looks whether it is to stop."""

DEATHS = 2
"""So many workers must die of the same thing to be believed: with an image in hand, which is then called bad, or one
after the other before they are ready, which ends the run. A single death may be anybody's fault."""


class WorkerFailed(AnymaskError, RuntimeError):
    """Workers die before they can do anything."""


class _Hand:
    """A worker as its coordinator sees it. item: what it is doing. ready: whether it has its step."""

    def __init__(self, process: Any, connection: Connection, post: Post) -> None:
        self.process, self.connection, self.post = process, connection, post
        self.item: Item | None = None
        self.ready = False


class Pool:
    """So many workers, until the `with` block ends; they are ended there whatever they are doing.

    count: fewer after one was killed by SIGKILL, which is how systems end what takes too much memory.

    posts: what worker n is given, n from 0; called again for one that takes a dead one's place.
    """

    def __init__(self, posts: Callable[[int], Post], count: int) -> None:
        self.posts, self.count = posts, count
        self.hands: list[_Hand] = []
        self._started = 0

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for hand in self.hands:
            hand.process.terminate()
        for hand in self.hands:
            hand.process.join(5)
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()
            hand.connection.close()
        self.hands.clear()

    def settled(self, items: Iterable[Item], stop: Callable[[], bool]) -> Iterator[Settled]:
        """What became of each image, as they get ready; ends early when `stop` says so.

        Of an image that kills its workers the entry is not listed yet. Raises what a worker was stopped by.
        """
        waiting, again = iter(items), deque[Item]()
        deaths: dict[str, int] = {}
        unborn = 0
        left = True
        while not stop():
            # no more workers than there may be images for
            while left and len(self.hands) < self.count:
                self._start()
            for hand in self.hands:
                if hand.ready and hand.item is None:
                    item = again.popleft() if again else next(waiting, None)
                    if item is None:
                        left = False
                        break
                    hand.item = item
                    with suppress(BrokenPipeError, ConnectionResetError):  # its death is noticed below
                        hand.connection.send(item)
            if not left and not again and all(hand.item is None for hand in self.hands):
                return
            for hand in self._spoke():
                message = self._heard(hand)
                if isinstance(message, Stopped):
                    raise message.error
                if isinstance(message, Ready):
                    hand.ready, unborn = True, 0
                elif isinstance(message, Settled):
                    hand.item = None
                    yield message
                else:
                    self.hands.remove(hand)
                    code = self._buried(hand)
                    if not hand.ready:
                        unborn += 1
                        if unborn < DEATHS:
                            continue
                        raise WorkerFailed(f"a worker ended before it began, {_said(code)}; try fewer --workers")
                    if code == -signal.SIGKILL:
                        # most likely memory ran out: fewer at once need less
                        self.count = max(1, self.count - 1)
                    if hand.item is None:
                        continue
                    title = hand.item.title
                    # it may have died between listing the image and saying so
                    done = listed(hand.post.place, hand.post.token).get(title)
                    deaths[title] = deaths.get(title, 0) + 1
                    if done is not None:
                        yield Settled(done)
                    elif deaths[title] < DEATHS:
                        again.append(hand.item)
                        left = True
                    else:
                        text = f"{hand.item.source}: the process that worked on it ended {DEATHS} times, {_said(code)}"
                        yield Settled(Entry(title, failed=text), listed=False)

    def finish(self) -> None:
        """Has the workers write what they gathered and end; raises what one was stopped by."""
        # one that is still loading its model has gathered nothing
        begun = [hand for hand in self.hands if hand.ready]
        for hand in begun:
            with suppress(BrokenPipeError, ConnectionResetError):
                hand.connection.send(None)
        for hand in begun:
            message: Any = None
            with suppress(EOFError, OSError):
                message = hand.connection.recv()
            if isinstance(message, Stopped):
                raise message.error

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        post = self.posts(self._started)
        process = context.Process(target=serve, args=(theirs, post), daemon=True)
        with _undisturbed():
            process.start()
        theirs.close()
        self._started += 1
        self.hands.append(_Hand(process, ours, post))

    def _spoke(self) -> list[_Hand]:
        by: dict[Any, _Hand] = {}
        for hand in self.hands:
            by[hand.connection] = by[hand.process.sentinel] = hand
        found = wait(list(by), TICK)
        return list(dict.fromkeys(by[one] for one in found))

    @staticmethod
    def _heard(hand: _Hand) -> Any:
        """The message, None from a dead worker."""
        try:
            # a worker that ended may have said something before
            return hand.connection.recv() if hand.connection.poll() else None
        except (EOFError, OSError):
            return None

    @staticmethod
    def _buried(hand: _Hand) -> int | None:
        hand.connection.close()
        hand.process.join(5)
        if hand.process.is_alive():
            hand.process.kill()
            hand.process.join()
        code: int | None = hand.process.exitcode
        return code


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits until the block is through, and never reaches a process that is started within it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _said(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"killed by {name}" + (", as systems do when memory runs out" if name == "SIGKILL" else "")
    return f"exit code {code}"


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
