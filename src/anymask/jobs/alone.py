"""One run at a time where two would mix their files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from anymask.jobs.places import OWN, LocalFolder


@contextmanager
def alone(lock: Path, busy: str, place: object, *, tidy: bool = False) -> Iterator[None]:
    """Nobody else holds the lock file meanwhile, on this machine; it ends with its holder, however that ends.

    busy: what is said where somebody holds it. place: what is named where it cannot be written. tidy: the file goes in
    the end, while it is still held: after that, another run could hold it already. Raises NotWritten.
    """
    from filelock import FileLock, Timeout

    from anymask.errors import NotWritten

    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock)
        held.acquire(timeout=0)
    except Timeout:
        raise NotWritten(busy) from None
    except OSError as error:
        raise NotWritten(f"{place} cannot be written: {error.strerror or error}; choose another folder") from error
    try:
        yield
    finally:
        if tidy:
            with suppress(OSError):  # Windows keeps files that are open
                lock.unlink()
        held.release()


def alone_in(place: LocalFolder) -> AbstractContextManager[None]:
    """No other run on this folder meanwhile, on this machine. Raises NotWritten."""
    busy = f"another run is at work in {place}; wait for it or stop it"
    return alone(place.path(f"{OWN}/run.lock"), busy, place)


def free(lock: Path) -> bool:
    """Whether nobody on this machine holds a lock file; one that a kill has left is free."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(lock, timeout=0):
            return True
    except (Timeout, OSError):
        return False
