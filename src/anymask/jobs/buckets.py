"""Buckets: places and pictures that are no files of this machine, through fsspec: s3://, gs://, az://, memory:// ..."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from anymask.errors import BadSetting, NotWritten
from anymask.extras import need
from anymask.jobs.places import LocalFolder, Place

PIECE = 8 << 20
"""Bytes that are sent at once of a file that is made as it is written."""


def is_url(name: str) -> bool:
    """Whether a name is one of fsspec's, "s3://bucket/folder", and no path of this machine."""
    return "://" in name


def place_of(out: str) -> Place:
    """Where results go: a bucket for a URL, otherwise a folder; so is what file:// names, where a put is not whole."""
    if out.startswith(("file://", "local://")):
        return LocalFolder(_opened(out)[1])
    return Bucket(out) if is_url(out) else LocalFolder(out)


class Bucket:
    """A folder of an object store.

    Puts are whole by nature there: an object has its name once all its bytes arrived. Protocols of plain files
    (sftp://) have no such thing; for those a folder mounted on every machine is the right place. Picklable: each
    process opens its own connection.
    """

    def __init__(self, url: str) -> None:
        if not is_url(url):
            raise BadSetting(f"{url!r} is no URL; give s3://bucket/folder or the like, or a folder for LocalFolder")
        self.url = url.rstrip("/")
        self._system: Any = None

    def __str__(self) -> str:
        return self.url

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "_system": None}

    def _at(self, path: str) -> tuple[Any, str]:
        """(file system, the path as it takes it). Raises BadSetting for a path that leads out of the place."""
        if any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
            raise BadSetting(f"{path!r} is no name for a file of a result folder")
        if self._system is None:
            self._system, self._root = _opened(self.url)
        return self._system, f"{self._root.rstrip('/')}/{path}"

    def write(self, path: str, content: bytes | Iterable[bytes]) -> None:
        """See `Place.write`."""
        system, at = self._at(path)
        if not isinstance(content, bytes) and "memory" in _protocols(system):
            # its files are there as soon as they are opened
            content = b"".join(content)
        with self._answering(path):
            _folder(system, at)
            if isinstance(content, bytes):
                system.pipe_file(at, content)
                return
            # the object appears with the commit only
            file = system.open(at, "wb", block_size=PIECE, autocommit=False)
        try:
            for piece in content:
                with self._answering(path):
                    file.write(piece)
            with self._answering(path):
                file.close()
                file.commit()
        except BaseException:
            with suppress(Exception):
                file.close()
            with suppress(Exception):
                file.discard()
            raise

    def read(self, path: str) -> bytes:
        """See `Place.read`."""
        system, at = self._at(path)
        return bytes(system.cat_file(at))

    def exists(self, path: str) -> bool:
        """See `Place.exists`."""
        system, at = self._at(path)
        return bool(system.isfile(at))

    def list(self, folder: str) -> list[str]:
        """See `Place.list`. What other machines wrote meanwhile is seen."""
        system, at = self._at(folder)
        system.invalidate_cache()
        try:
            found = system.ls(at, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(f"{folder}/{one['name'].rpartition('/')[2]}" for one in found if one["type"] == "file")

    def remove(self, path: str) -> None:
        """See `Place.remove`."""
        system, at = self._at(path)
        with suppress(FileNotFoundError):
            system.rm_file(at)

    @contextmanager
    def _answering(self, path: str) -> Iterator[None]:
        """The store's refusals as NotWritten, unless they concern this name only."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EISDIR):
                raise
            raise NotWritten(
                f"{self.url}/{path} cannot be written: {error}; give the same command again once that is mended, "
                "it goes on from here"
            ) from error


def read_url(url: str) -> bytes:
    """The bytes of a picture. Raises OSError, MissingExtra, BadSetting."""
    system, at = _opened(url)
    return bytes(system.cat_file(at))


def pictures(url: str, suffixes: Iterable[str], *, recursive: bool = False) -> list[str]:
    """URLs of the pictures under a bucket's folder, by name; the URL itself when it names an object.

    suffixes: endings of pictures, in lower case with their dot. Hidden files are left out.
    """
    system, at = _opened(url)
    try:
        if system.isfile(at):
            return [url]
        depth = None if recursive else 1
        found = system.find(at, maxdepth=depth)
    except OSError as error:
        raise BadSetting(f"{url} cannot be listed: {error}") from error
    ends = tuple(suffixes)
    root = at.rstrip("/") + "/"
    wanted = sorted(
        name for name in found if name.lower().endswith(ends) and not any(
            part.startswith(".") for part in name.removeprefix(root).split("/")
        )
    )  # fmt: skip
    return [str(system.unstrip_protocol(name)) for name in wanted]


def _opened(url: str) -> tuple[Any, str]:
    fsspec = need("fsspec", extra="ray", to="read and write buckets")
    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except (ImportError, ValueError) as error:
        # fsspec names the package that the protocol needs
        raise BadSetting(f"{url} cannot be opened: {error}") from None


def _folder(system: Any, at: str) -> None:
    """Stores that have folders want them made; object stores have none, and making one there may make a bucket."""
    if "file" in _protocols(system) or "memory" in _protocols(system):
        system.makedirs(at.rpartition("/")[0], exist_ok=True)


def _protocols(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)
