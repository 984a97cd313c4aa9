"""A worker process: makes its step once, then does the images that it is handed, one after the other.

It ends with the process that started it, whatever happens to that one: a thread waits for its death and ends the
worker on the spot, which is as safe as a kill. While it lives it holds a lock file of its own, so that the next run on
the same place can wait until the last worker of a killed one is gone before it tidies up.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from anymask.errors import AnymaskError, NotWritten
from anymask.jobs.manifest import Entry, Item, Segments
from anymask.jobs.places import Place
from anymask.jobs.work import Recipe, Step


@dataclass(frozen=True)
class Post:
    """What a worker is given when it starts. token, every: see `Segments`. lock: its lock file, "" for none."""

    recipe: Recipe
    place: Place
    threads: int
    token: str
    every: int = 1
    lock: str = ""


@dataclass(frozen=True)
class Ready:
    """The step is made; images may come."""


@dataclass(frozen=True)
class Settled:
    """What became of an image. show: `Answer.show`. listed: whether it is in the manifest already."""

    entry: Entry
    show: Mapping[str, Any] = field(default_factory=dict)
    listed: bool = True


@dataclass(frozen=True)
class Stopped:
    """Nothing more can be done here: the step could not be made, or results cannot be written."""

    error: Exception


def serve(connection: Connection, post: Post) -> None:
    """The process: `Item`s come in and `Settled` go out, until the other end closes or sends None."""
    _end_with_parent()
    # Ctrl-C reaches the whole group; it is the coordinator that decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lock = None
    _divide(post.threads)
    try:
        try:
            lock = _locked(post.lock)
            step = post.recipe()
            _threads(post.threads)
        except Exception as error:
            connection.send(Stopped(_sendable(error)))
            return
        connection.send(Ready())
        segments = Segments(post.place, post.token, post.every)
        while (item := connection.recv()) is not None:
            try:
                settled = settle(item, step, post.place)
                segments.add(settled.entry)
            except NotWritten as error:
                connection.send(Stopped(error))
                return
            connection.send(settled)
        segments.flush()
        connection.send(Ready())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    finally:
        if lock is not None:
            lock.release()


def settle(item: Item, step: Step, place: Place, *, debug: bool = False) -> Settled:
    """Does an image and writes its files; the caller lists it. A failure is an entry as well. Raises NotWritten.

    debug: raise whatever goes wrong.
    """
    try:
        answer = step(item)
        for path, content in answer.files.items():
            place.write(path, content)
    except NotWritten:
        raise
    except Exception as error:  # hours into a folder, no surprise with one picture may cost the others
        if debug:
            raise
        return Settled(Entry(item.title, failed=told(error, item.source)))
    return Settled(Entry(item.title, None, tuple(answer.files), answer.facts, answer.cost), answer.show)


def told(error: Exception, source: str) -> str:
    """An error as a sentence that names the image."""
    text = str(error) if isinstance(error, (AnymaskError, OSError)) else f"{type(error).__name__}: {error}"
    return text if os.path.basename(source) in text else f"{source}: {text}"


def _end_with_parent() -> None:
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _locked(path: str) -> Any:
    """The held lock; ends the process when the one that started it is gone already."""
    if not path:
        return None
    from filelock import FileLock

    lock = FileLock(path)
    lock.acquire()
    from multiprocessing import parent_process

    parent = parent_process()
    # a parent that dies from here on leaves a lock that the next run sees
    if parent is not None and not parent.is_alive():
        os._exit(1)
    return lock


def _divide(threads: int) -> None:
    """So many threads in every library, told before they are loaded."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    # threads that wait by spinning are ten times slower when other programs want the cores
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # which matrix product is the fastest is measured in every process anew, and products differ in the last bit:
    # workers must agree, or the same image would get other files on another day
    os.environ.setdefault("ANYMASK_FAST", "1")


def _threads(threads: int) -> None:
    """The same for libraries that were loaded before, with the script that started this process."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
