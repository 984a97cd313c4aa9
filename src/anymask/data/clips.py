"""Clips whose objects have true masks, on every frame or on some."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from anymask.data import photo
from anymask.data.labelmaps import runs
from anymask.errors import BadImage
from anymask.masks.rle import RLE, area, encode_one
from anymask.pixels.resize import HW
from anymask.records import labelmap

Truth = Mapping[int, RLE]
"""Object -> its true mask on one frame; objects that are not to be seen there are left out."""


@dataclass(frozen=True)
class Clip:
    """One clip. dataset, name: unique together. frames: pictures in order. rate: frames a second, None if unknown.

    maps: frame number -> the files that hold its true masks: one label map under object 0, or one black and white
    picture for each object under the object's number (SA-V, whose objects may overlap).
    merged: everything that is no background is one object, number 1 (DAVIS 2016). names: what objects are, if told.
    """

    dataset: str
    name: str
    frames: tuple[Path, ...] = field(repr=False)
    maps: Mapping[int, Mapping[int, Path]] = field(repr=False)
    rate: float | None = None
    merged: bool = False
    names: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def annotated(self) -> list[int]:
        """Frames with true masks, ascending."""
        return sorted(self.maps)

    @property
    def apart(self) -> bool:
        """Whether the true masks are one label map, so that no two objects share a pixel."""
        return all(0 in files for files in self.maps.values())

    @cached_property
    def size(self) -> HW:
        """(H, W) of the first frame. Raises BadImage."""
        return photo.size_of(self.frames[0])

    def truth(self, frame: int) -> Truth:
        """The true masks on an annotated frame. Raises BadSetting, BadImage."""
        found: dict[int, RLE] = {}
        for number, path in self.maps[frame].items():
            try:
                levels = labelmap.levels(path)
            except OSError as error:
                raise BadImage(f"{path} cannot be read: {error.strerror or error}") from None
            if levels.shape != self.size:
                raise BadImage(f"{path} is {levels.shape}, the frames of {self.name} are {self.size} (H, W)")
            if number or self.merged:
                found[number or 1] = encode_one(levels > 0)
            else:
                found |= runs(levels)
        return {one: rle for one, rle in sorted(found.items()) if area([rle])[0]}

    @cached_property
    def first(self) -> Mapping[int, int]:
        """Object -> the first annotated frame on which it is to be seen; reads all true masks."""
        found: dict[int, int] = {}
        for frame in self.annotated:
            for one in self.truth(frame):
                found.setdefault(one, frame)
        return dict(sorted(found.items()))

    @cached_property
    def digest(self) -> str:
        """Of the true masks' files and the number of frames."""
        found = hashlib.sha256(f"{len(self.frames)} {self.merged}\n".encode())
        for frame in self.annotated:
            for number, path in sorted(self.maps[frame].items()):
                found.update(f"{frame} {number}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
        return found.hexdigest()
