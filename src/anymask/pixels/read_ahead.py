"""An iterator that runs ahead of whoever uses it, by a bounded number of items, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _End:
    """The last thing in the queue: the items have come to their end, or to an error."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class ReadAhead(Iterator[Item], Generic[Item]):
    """The items of `source`, of which up to `ahead` are made before they are asked for.

    An error of `source` is raised where its item would have come. `close` ends the thread, as does the last item;
    nothing is started before the first one is asked for.
    """

    def __init__(self, source: Iterator[Item], ahead: int) -> None:
        self._source = source
        # the thread holds one more in its hand while it waits for room
        self._queue: queue.Queue[Item | _End] = queue.Queue(max(ahead - 1, 1))
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._ended = False

    def __next__(self) -> Item:
        if self._ended or self._stopped.is_set():
            raise StopIteration
        if self._thread is None:
            # not `self._run`: a thread that knew this object would keep it alive, and with it itself
            given = (self._source, self._queue, self._stopped)
            self._thread = threading.Thread(target=_run, args=given, name="anymask-read-ahead", daemon=True)
            self._thread.start()
        item = self._queue.get()
        if isinstance(item, _End):
            self._ended = True
            self._thread.join()
            if item.error is not None:
                raise item.error
            raise StopIteration
        return item

    def close(self) -> None:
        """Ends the thread and lets go of what was read ahead."""
        self._stopped.set()
        if self._thread is not None:
            while self._thread.is_alive():
                _drained(self._queue)
                self._thread.join(0.01)
        _drained(self._queue)

    def __del__(self) -> None:
        self._stopped.set()
        _drained(self._queue)


def _run(source: Iterator[Item], into: queue.Queue[Item | _End], stopped: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in source:
            if not _put(into, item, stopped):
                break
            del item  # or this thread would keep one more alive
    except BaseException as raised:
        error = raised
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()
    _put(into, _End(error), stopped)


def _put(into: queue.Queue[Item | _End], item: Item | _End, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            into.put(item, timeout=0.05)
            return True
        except queue.Full:
            continue
    return False


def _drained(room: queue.Queue[Item | _End]) -> None:
    try:
        while True:
            room.get_nowait()
    except queue.Empty:
        pass
