"""Layout: one way in which data sets lie on disks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anymask.data.sample import Dataset, Stream


@dataclass(frozen=True)
class Layout:
    """One way in which data sets lie on disks, and what reads it.

    name: as `open_data` takes it. looks: what lies where, in a line. recognises: whether a path is of it, by names and
    heads of files only. open: the sets that it holds, at least one; raises BadSetting, OSError, MissingExtra.
    """

    name: str
    looks: str
    recognises: Callable[[Path], bool]
    open: Callable[[Path], Sequence[Dataset | Stream]]
