"""What a run has measured so far: a file that is only appended to, a line a photo, so that a killed run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from anymask.errors import BadSetting
from anymask.evaluate.protocol import Line


def state_of(out: Path) -> Path:
    """Where the lines of a run are kept whose figures go to `out`: "scores.json" has "scores.images.jsonl"."""
    return out.with_name(f"{out.stem}.images.jsonl")


class State:
    """The lines of one run, by key. The first line of the file says what is measured; it never changes.

    A line that was cut off by a kill is dropped when the file is opened again.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Raises BadSetting where `path` holds lines of a run with other settings."""
        self.path = path
        self.lines: dict[str, Line] = {}
        about = json.loads(json.dumps(about))
        whole = 0
        if path.is_file():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            found = [_parsed(path, text) for text in content[:whole].splitlines()]
            if found:
                _same(path, found[0], about)
                self.lines = {line["key"]: line["line"] for line in found[1:]}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("r+b" if path.is_file() else "xb")
        self._file.truncate(whole)
        self._file.seek(whole)
        if whole == 0:
            self._append(about)

    def add(self, key: str, line: Line) -> None:
        """Keeps a line; when this returns it survives a kill."""
        self._append({"key": key, "line": line})
        self.lines[key] = line

    def _append(self, value: Any) -> None:
        self._file.write(json.dumps(value, allow_nan=False, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> State:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keeps others from the same state. Raises BadSetting while another run writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BadSetting(f"another run is writing {path}; wait for it, or give another --out") from None
    try:
        yield
    finally:
        lock.release()
        path.with_name(path.name + ".lock").unlink(missing_ok=True)


def _parsed(path: Path, text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise BadSetting(f"{path} is damaged or not of a run; delete it, or start anew with --fresh") from None


def _same(path: Path, before: Any, now: Mapping[str, Any]) -> None:
    if before == now:
        return
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    said = "; ".join(f"{name} was {_short(before.get(name))}, now {_short(now.get(name))}" for name in names)
    raise BadSetting(f"{path} holds a run with other settings ({said}); give another --out, or start anew with --fresh")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
