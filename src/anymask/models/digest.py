"""Fingerprints of files, computed once."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from anymask.models.places import home

_BLOCK = 1 << 20
_WORTH_KEEPING = 32 << 20
"""Bytes from which a digest is also kept on disk: hashing 2.5 GB takes seconds, reading a line does not."""

_known: dict[tuple[str, str, int, int], str] = {}


def digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's content, remembered for as long as its size and modification time stay.

    Raises OSError as open() does.
    """
    path = Path(path).resolve()
    state = path.stat()
    key = (algorithm, str(path), state.st_size, state.st_mtime_ns)
    if key not in _known:
        value = _Kept(home() / "digests.json").get(key) if state.st_size >= _WORTH_KEEPING else None
        if value is None:
            _keep(key, compute(path, algorithm))
        else:
            _known[key] = value
    return _known[key]


def _keep(key: tuple[str, str, int, int], value: str) -> None:
    _known[key] = value
    if key[2] >= _WORTH_KEEPING:
        _Kept(home() / "digests.json").put(key, value)


def moved(old: Path, new: Path) -> None:
    """Carry what is known of a file over to its new name: a rename changes neither size nor time."""
    state = new.stat()
    for algorithm in ("sha256", "md5"):
        value = _known.get((algorithm, str(old.resolve()), state.st_size, state.st_mtime_ns))
        if value is not None:
            _keep((algorithm, str(new.resolve()), state.st_size, state.st_mtime_ns), value)


def compute(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's content, read now."""
    hasher = hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


class _Kept:
    """Digests of large files, kept between processes; best effort, a lost entry only costs time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _read(self) -> dict[str, str]:
        try:
            entries = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}

    def get(self, key: tuple[str, str, int, int]) -> str | None:
        value = self._read().get("|".join(map(str, key)))
        return value if isinstance(value, str) else None

    def put(self, key: tuple[str, str, int, int], value: str) -> None:
        entries = {**self._read(), "|".join(map(str, key)): value}
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self.path.parent, delete=False, encoding="utf-8") as file:
                json.dump(entries, file, indent=0)
            os.replace(file.name, self.path)
