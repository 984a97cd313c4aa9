"""Places that results lie in: the few things a job asks of a folder or a bucket."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar

from anymask.errors import BadSetting, NotWritten

OWN = ".anymask"
"""The folder within a place where a job keeps what is no result: manifest, list of images, unfinished files."""

_THE_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EISDIR, errno.EILSEQ)
"""Refusals that concern one file and not the place."""


Result = TypeVar("Result")


class Place(Protocol):
    """Where results go. Paths are relative, with "/".

    Whatever happens to the writer, a file is either there with all its bytes or not there. Object stores have that by
    nature, so a place is no more than they can do: no appending, no renaming, no locks.
    """

    def write(self, path: str, content: bytes | Iterable[bytes]) -> None:
        """Puts a file there, whole or not at all, in place of an older one.

        Raises NotWritten when the place takes nothing more, OSError when it does not take this name.
        """

    def read(self, path: str) -> bytes:
        """The content. Raises FileNotFoundError."""

    def exists(self, path: str) -> bool:
        """Whether the file is there."""

    def list(self, folder: str) -> list[str]:
        """Paths of the files directly in a folder, by name; none when there is no such folder."""

    def remove(self, path: str) -> None:
        """Takes a file away; nothing happens when it is not there."""


class LocalFolder:
    """A folder on this machine, made when something is written.

    An unfinished file lies in OWN/unfinished until it has all its bytes and the disc has taken them, then it is renamed
    to its name. After a kill it stays there: `sweep` removes it. Since each file is on the disc before its name
    appears, and names appear in the order they are given, also a power failure leaves no name without its content on
    file systems with a journal.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.abspath(folder))

    def __str__(self) -> str:
        return str(self.root)

    def path(self, path: str) -> Path:
        """The file's path on this machine. Raises BadSetting for one that leads out of the folder."""
        parts = path.split("/")
        if not path or os.path.isabs(path) or any(part in ("", ".", "..") for part in parts) or "\0" in path:
            raise BadSetting(f"{path!r} is no name for a file of a result folder")
        return self.root.joinpath(*parts)

    def write(self, path: str, content: bytes | Iterable[bytes]) -> None:
        """See `Place.write`."""
        target = self.path(path)
        unfinished = self.root / OWN / "unfinished" / secrets.token_hex(8)
        try:
            with self._answering(path):
                file = _made(unfinished, lambda: unfinished.open("xb"))
            with file:
                # an error of what the content is made of is not one of this place
                for piece in [content] if isinstance(content, bytes) else content:
                    with self._answering(path):
                        file.write(piece)
                with self._answering(path):
                    file.flush()
                    os.fsync(file.fileno())
            with self._answering(path):
                _made(target, lambda: os.replace(unfinished, target))
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    @contextmanager
    def _answering(self, path: str) -> Iterator[None]:
        """The system's refusals as NotWritten, unless they concern this name only."""
        try:
            yield
        except OSError as error:
            if error.errno in _THE_NAME:
                raise
            raise NotWritten(_refusal(self.root, path, error)) from error

    def read(self, path: str) -> bytes:
        """See `Place.read`."""
        return self.path(path).read_bytes()

    def exists(self, path: str) -> bool:
        """See `Place.exists`."""
        return self.path(path).is_file()

    def list(self, folder: str) -> list[str]:
        """See `Place.list`."""
        try:
            with os.scandir(self.path(folder)) as found:
                return sorted(f"{folder}/{entry.name}" for entry in found if entry.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, path: str) -> None:
        """See `Place.remove`."""
        self.path(path).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Removes what killed writers left unfinished; how many files. Only while nobody else writes."""
        left = self.list(f"{OWN}/unfinished")
        for path in left:
            self.remove(path)
        return len(left)

    def bare(self) -> None:
        """Removes OWN when it holds nothing; for results that are no job's."""
        with suppress(OSError):
            (self.root / OWN / "unfinished").rmdir()
            (self.root / OWN).rmdir()


def pieces(content: Iterable[bytes], size: int = 1 << 20) -> Iterator[bytes]:
    """The same bytes in pieces of about `size`, so that small ones cost no call each."""
    held: list[bytes] = []
    count = 0
    for piece in content:
        held.append(piece)
        count += len(piece)
        if count >= size:
            yield b"".join(held)
            held, count = [], 0
    yield b"".join(held)


def _made(path: Path, action: Callable[[], Result]) -> Result:
    """The action's result; when it fails for want of the file's folder, that is made first."""
    try:
        return action()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return action()


def _refusal(root: Path, path: str, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return f"the disc of {root} is full; free some space and give the same command again, it goes on from here"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{root / path} may not be written ({error.strerror}); choose another folder or change its rights"
    return f"{root / path} cannot be written: {error.strerror or error}"
