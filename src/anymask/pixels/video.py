"""Frames: a clip in any form people hold it, read frame by frame."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, cast

import numpy as np

from anymask.errors import BadImage, BadSetting
from anymask.pixels.image import Image
from anymask.pixels.read_ahead import ReadAhead
from anymask.pixels.resize import HW

SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".dib",
        ".gif",
        ".avif",
        ".ppm",
        ".pgm",
    )
)
"""Endings of the files in a folder that are taken for frames."""

AHEAD = 2
"""Frames that are decoded before anyone asks for them."""

FramesLike: TypeAlias = "str | os.PathLike[str] | int | Sequence[Any] | Iterable[Any] | Frames"
"""What `Frames.open` takes."""


class Frames(ABC):
    """The frames of a clip, upright RGB. Made by `Frames.open`.

    size: (H, W) of every frame in pixels. count: how many there are, None while a live source goes on.
    rate: frames a second on the average, None where frames have no times. source: what messages call the clip.
    """

    size: HW
    count: int | None
    rate: float | None
    source: str

    @staticmethod
    def open(source: FramesLike, *, partial: bool = False) -> Frames:
        """A clip, opened and checked now; no more than its first frame is decoded.

        source: a video file in any format that FFmpeg reads (needs the extra `video`); a folder of pictures, in natural
            order of their names; a sequence of pictures (whatever `Image.open` takes) or an array [T, H, W, 3]; an
            iterator of pictures, which can be gone through once; the number of a webcam; Frames, given back as they
            are.
        partial: take what can be read of a file that was cut short, instead of refusing it.

        Raises BadImage with one sentence, whatever is wrong with the clip; MissingExtra.
        """
        # late: they derive from this class
        from anymask.pixels import video_file, video_live

        if isinstance(source, Frames):
            return source
        if isinstance(source, (bool, np.bool_)):
            raise BadImage("a clip is a file, a folder, pictures or the number of a webcam, got a truth value")
        if isinstance(source, (int, np.integer)):
            return video_live.camera(int(source))
        if isinstance(source, (str, os.PathLike)):
            path = _path(source)
            return Pictures.folder(path) if path.is_dir() else video_file.VideoFile(path, partial=partial)
        if isinstance(source, (bytes, bytearray, memoryview)):
            raise BadImage("a clip is not read from bytes; write them to a file first")
        if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
            return Pictures(cast("Sequence[Any]", source), f"the given {type(source).__name__}")
        if isinstance(source, Iterable):
            return video_live.Live(iter(source), f"the given {type(source).__name__}")
        raise BadImage(
            "a clip is a video file, a folder of pictures, a list or iterator of pictures or the number of a webcam, "
            f"got {type(source).__name__}"
        )

    @abstractmethod
    def __getitem__(self, index: int) -> Image:
        """One frame, exactly, from wherever it lies. Negative numbers count from the end where `count` is known.

        Raises BadSetting for a number outside the clip, BadImage where the frame cannot be decoded.
        """

    def __len__(self) -> int:
        """The number of frames. Raises BadSetting for a live source, whose length nobody knows."""
        if self.count is None:
            raise BadSetting(f"{self.source} is live: how many frames it has is known when it has ended")
        return self.count

    def __iter__(self) -> Iterator[Image]:
        """All frames in order; the next ones are decoded in a thread meanwhile."""
        return (image for _, image in self.read())

    def time(self, index: int) -> float | None:
        """When a frame is shown, in seconds from the first one; None where frames have no times."""
        return None if self.rate is None else self._number(index) / self.rate

    def read(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[tuple[int, Image]]:
        """(number, frame) from `start` to before `stop`, or to the clip's end, decoded ahead in a thread.

        step: 1, or -1 to go backward down to frame 0 or to after `stop`. Close the iterator to end it early.
        """
        if step not in (1, -1):
            raise BadSetting(f"frames are read forward (step 1) or backward (step -1), got {step}")
        start = self._number(start)
        if stop is None:
            stop = self.count if step > 0 else -1
        elif self.count is not None:
            stop = max(-1, min(stop, self.count))
        return ReadAhead(self._walk(start, stop, step), AHEAD)

    def _walk(self, start: int, stop: int | None, step: int) -> Iterator[tuple[int, Image]]:
        """What `read` decodes ahead; runs in its thread, hence shares no decoder with `__getitem__`."""
        index = start
        while stop is None or (index < stop if step > 0 else index > stop):
            yield index, self[index]
            index += step

    def _number(self, index: int) -> int:
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
            raise BadSetting(f"frames are numbered, 0 is the first; got {index!r:.40}")
        number = int(index)
        if self.count is None:
            if number < 0:
                raise BadSetting(f"{self.source} is live and has no end to count from; got frame {number}")
            return number
        if number < 0:
            number += self.count
        if not 0 <= number < self.count:
            raise BadSetting(f"{self.source} has the frames 0 to {self.count - 1}, there is no frame {index}")
        return number

    def close(self) -> None:  # noqa: B027
        """Lets go of the file or the camera."""

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        count = "live" if self.count is None else f"{self.count} frames"
        rate = "" if self.rate is None else f", {self.rate:.4g} a second"
        return f"Frames({self.source}, {self.size[1]} x {self.size[0]} px, {count}{rate})"


class Pictures(Frames):
    """A sequence of pictures, each opened when it is asked for; only the first one now, for its size."""

    def __init__(self, pictures: Sequence[Any], source: str) -> None:
        self._pictures = pictures
        self.source, self.rate, self.count = source, None, len(pictures)
        if self.count == 0:
            raise BadImage(f"{source} holds no frames")
        self.size = _picture(pictures[0], 0, source).size

    @classmethod
    def folder(cls, path: Path) -> Pictures:
        """The pictures of a folder by the numbers in their names: 2.jpg comes before 10.jpg."""
        try:
            names = [one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and not one.name.startswith(".")]
        except OSError as error:
            raise BadImage(f"the folder {path} cannot be read: {error.strerror}") from None
        if not names:
            raise BadImage(f"the folder {path} holds no pictures; frames are files such as 00000.jpg")
        return cls(sorted(names, key=lambda one: natural(one.name)), str(path))

    def __getitem__(self, index: int) -> Image:
        number = self._number(index)
        image = _picture(self._pictures[number], number, self.source)
        same_size(image, self.size, number, self.source)
        return image


def natural(name: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """A key to sort names by as people do: digits by their value, letters whatever their case."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(one)) if one.isdecimal() else (1, one.lower()) for one in parts if one), name


def same_size(image: Image, size: HW, index: int, source: str) -> None:
    """Raises BadImage where a frame is not as large as the first one."""
    if image.size != size:
        raise BadImage(
            f"frame {index} of {source} is {image.size[1]} x {image.size[0]} pixels, the first one {size[1]} x "
            f"{size[0]}; all frames of a clip have one size"
        )


def _picture(value: Any, index: int, source: str) -> Image:
    try:
        return Image.open(value)
    except BadImage as error:
        raise BadImage(f"frame {index} of {source} cannot be read: {error}") from error


def _path(source: str | os.PathLike[str]) -> Path:
    text = os.fsdecode(os.fspath(source))
    if not text:
        raise BadImage("the path of the clip is empty")
    if re.match(r"^[a-z][a-z0-9+.-]+://|^data:", text, re.IGNORECASE):
        raise BadImage(f"anymask reads files, not addresses; download {text[:80]} first and pass the file")
    try:
        path = Path(text).expanduser()
        if not path.exists():
            raise BadImage(f"there is no file or folder {path}")
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, BadImage):
            raise
        raise BadImage(f"{text[:200]!r} cannot be opened: {error}") from None
    if not path.is_dir() and not path.is_file():
        raise BadImage(f"{path} is not a regular file")
    return path
