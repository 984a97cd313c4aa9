"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Puts `data` (text as UTF-8) at `path`, making its folder; a reader sees the old file or the new one, whole.

    On failure, OSError, an existing file is untouched and nothing is left behind.
    """
    # through a link, or the link itself would be replaced by a file
    path = Path(os.path.realpath(path))
    if isinstance(data, str):
        data = data.encode("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    # in the same folder: a rename between file systems is a copy. Not tempfile, whose files only the owner may read.
    # A fixed-length name, since one made of a long name might exceed what the file system takes
    temporary = path.parent / f".anymask-{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
