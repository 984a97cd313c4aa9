"""What is read of data before training: pixels in one flat file that every process maps, and an index beside it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.data import scene_sets
from anymask.errors import BadSetting
from anymask.masks.rle import RLE

LONGEST = 640
"""Pictures are kept at this side at most, in pixels."""

Reading: TypeAlias = Callable[[str, int, int | None], None]
"""Called with a set's name, the pictures of it that have been decoded, and all of them where their number is known."""
Write: TypeAlias = Callable[[IO[bytes]], Any]
"""Writes pixels and answers the index, which must be of what JSON knows."""


def flat(cache: Path, name: str, about: Iterable[object], roots: Sequence[Path], write: Write) -> tuple[Any, Any]:
    """The index and the mapped pixels, uint8 [N], of what lies under `roots`; `write` makes them at the first call.

    They are made anew when files are, or what they are made by: name and `about`. Raises BadSetting for a root that is
    not there.
    """
    stamp = hashlib.sha256(" ".join(map(str, about)).encode())
    for root in roots:
        _stamp(root, stamp.update)
    stem = cache / f"{name}-{stamp.hexdigest()[:12]}"
    if not stem.with_suffix(".json").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = stem.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as out:
            index = write(out)
        unfinished.replace(stem.with_suffix(".bin"))
        unfinished.write_text(json.dumps(index))
        unfinished.replace(stem.with_suffix(".json"))
    pixels = stem.with_suffix(".bin")
    mapped = np.memmap(pixels, np.uint8, mode="r") if pixels.stat().st_size else np.empty(0, np.uint8)
    return json.loads(stem.with_suffix(".json").read_text()), mapped


def shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture [H, W, 3] whose longer side is `LONGEST` at most."""
    scale = LONGEST / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def text(mask: RLE) -> dict[str, Any]:
    """A mask as JSON keeps it."""
    return {"size": list(mask["size"]), "counts": mask["counts"].decode()}


def _stamp(root: Path, tell: Callable[[bytes], None]) -> None:
    """What changes when data does: names, sizes and times of its files."""
    if scene_sets.generated(root):
        tell(f"{scene_sets.stamp(root)}\n".encode())
        return
    if not root.exists():
        raise BadSetting(f"there is no data at {root}")
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    for file in files:
        state = file.stat()
        tell(f"{file.relative_to(root)} {state.st_size} {state.st_mtime_ns}\n".encode())
