"""Video files, decoded by PyAV: found by their times, so that a frame sought is the frame that playing would show."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadImage
from anymask.extras import need
from anymask.pixels.image import Image
from anymask.pixels.video import Frames, same_size

BACKWARD = 1 << 26
"""Bytes of frames decoded together when a clip is read backward."""

UNSHOWN = frozenset(("vp8", "av1"))
"""Codecs whose files may hold packets that show nothing; their frames are found by decoding once."""


@dataclass(frozen=True)
class _Index:
    """Where the frames lie. times: in ticks of the stream, ascending. keys: those that decoding can start at.

    timed: whether times name frames; without, frames can only be counted from the start.
    """

    times: list[int]
    keys: list[int]
    timed: bool = True


class VideoFile(Frames):
    """A video file. Its packets are looked through once, undecoded; `partial` as in `Frames.open`."""

    def __init__(self, path: Path, *, partial: bool = False) -> None:
        self._av = need("av", extra="video", to="read video files")
        self._path, self.source = path, str(path)
        index, stream = self._indexed(partial)
        self._index = index
        self.count = len(index.times)
        self._base, self.rate = stream.base, stream.rate
        self._decoder: _Decoder | None = None
        first = self._decoder_here().frame(0)
        self.size = (first.shape[0], first.shape[1])
        Image.open(first)  # refuses what is too large

    def __getitem__(self, index: int) -> Image:
        number = self._number(index)
        return self._image(self._decoder_here().frame(number), number)

    def time(self, index: int) -> float | None:
        number = self._number(index)
        if not self._index.timed:
            return super().time(number)
        return float((self._index.times[number] - self._index.times[0]) * self._base)

    def _walk(self, start: int, stop: int | None, step: int) -> Iterator[tuple[int, Image]]:
        assert stop is not None
        decoder = _Decoder(self._av, self._path, self._index)
        try:
            if step > 0:
                for number in range(start, stop):
                    yield number, self._image(decoder.frame(number), number)
                return
            # backward in blocks: each is decoded forward once
            block = max(1, min(64, BACKWARD // max(1, 3 * self.size[0] * self.size[1])))
            for top in range(start, stop, -block):
                numbers = range(max(stop + 1, top - block + 1), top + 1)
                held = [self._image(decoder.frame(number), number) for number in numbers]
                for number in reversed(numbers):
                    yield number, held.pop()
        finally:
            decoder.close()

    def close(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _decoder_here(self) -> _Decoder:
        if self._decoder is None:
            self._decoder = _Decoder(self._av, self._path, self._index)
        return self._decoder

    def _image(self, rgb: NDArray[np.uint8], number: int) -> Image:
        rgb.flags.writeable = False
        image = Image((rgb.shape[0], rgb.shape[1]), None, rgb)
        same_size(image, self.size, number, self.source)
        return image

    def _indexed(self, partial: bool) -> tuple[_Index, _Stream]:
        container = opened(self._av, self._path)
        with container:
            stream = container.streams.video[0]
            times: list[int] = []
            keys: list[int] = []
            timed = stream.codec_context.name not in UNSHOWN
            cut = False
            try:
                for packet in container.demux(stream):
                    if packet.size == 0 or packet.is_discard:
                        continue
                    cut = cut or packet.is_corrupt
                    if packet.pts is None:
                        timed = False
                        continue
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
            except self._av.error.FFmpegError:
                cut = True
            described = _Stream.of(stream)
            if cut or described.lacks(times):
                if not partial:
                    raise BadImage(
                        f"{self.source} is cut short: {len(times)} of its {described.promised} frames are there; mend "
                        "it, or take what is there with partial=True"
                    )
                timed = timed and not cut
        timed = timed and len(set(times)) == len(times)
        index = _Index(sorted(times), sorted(keys)) if timed else self._counted()
        if not index.times:
            raise BadImage(f"{self.source} holds no frames")
        return index, described

    def _counted(self) -> _Index:
        """All frames decoded once, for files whose packets do not tell."""
        container = opened(self._av, self._path)
        times: list[int | None] = []
        keys: list[int] = []
        with container:
            try:
                for frame in container.decode(video=0):
                    times.append(frame.pts)
                    if frame.key_frame and frame.pts is not None:
                        keys.append(frame.pts)
            except self._av.error.FFmpegError:
                pass  # what came before is what there is; whether that is enough was decided before
        known = [one for one in times if one is not None]
        if len(known) == len(times) and all(a < b for a, b in pairwise(known)):
            return _Index(known, keys)
        return _Index(list(range(len(times))), [], timed=False)


@dataclass(frozen=True)
class _Stream:
    """What a file says of its video stream. promised: its number of frames, 0 where it says nothing."""

    base: Fraction
    rate: float | None
    promised: int
    duration: float | None

    @classmethod
    def of(cls, stream: Any) -> _Stream:
        rate = stream.average_rate or stream.guessed_rate
        base = Fraction(stream.time_base) if stream.time_base else Fraction(1)
        duration = float(stream.duration * base) if stream.duration else _clock(stream.metadata.get("DURATION", ""))
        promised = int(stream.frames or 0)
        if not promised and duration and rate:
            promised = round(duration * float(rate))
        return cls(base, float(rate) if rate else None, promised, duration)

    def lacks(self, times: list[int]) -> bool:
        """Whether there is clearly less than the file says."""
        if self.promised and len(times) < self.promised and times and self.duration:
            # headers are off by a frame or two, and edit lists hide some; time that is missing is another matter
            shown = float((max(times) - min(times)) * self.base)
            return self.duration - shown > max(0.5, 0.02 * self.duration)
        return bool(self.promised and not times)


class _Decoder:
    """One open file that goes forward by itself and seeks when it must. For one thread."""

    def __init__(self, av: Any, path: Path, index: _Index) -> None:
        self._av, self._path, self._index = av, path, index
        self._container = opened(av, path)
        self._frames: Iterator[Any] = self._container.decode(video=0)
        self._at = -1
        """Number of the frame decoded last."""
        self._held: NDArray[np.uint8] | None = None
        self._matrix: NDArray[np.int64] | None = None
        self._asked = False
        """Whether the display matrix has been read."""

    def close(self) -> None:
        self._frames = iter(())
        self._container.close()

    def frame(self, number: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB, upright. Raises BadImage."""
        if number == self._at and self._held is not None:
            return self._held
        try:
            found = self._timed(number) if self._index.timed else self._counted(number)
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            self._at, self._held = -1, None
            self._restart(None)
            raise BadImage(
                f"frame {number} of {self._path} cannot be decoded, the file is damaged: {_short(error)}"
            ) from error
        if not self._asked:
            # once and not for each frame, since a frame whose side data was looked at lives until Python's collector
            # comes by: some hundred frames at a time. The matrix is the file's, not the frame's.
            self._asked, self._matrix = True, _matrix(found)
        self._at, self._held = number, upright(found, self._matrix)
        return self._held

    def _timed(self, number: int) -> Any:
        target = self._index.times[number]
        behind = bisect.bisect_right(self._index.keys, target) - 1
        last = self._index.times[self._at] if 0 <= self._at < len(self._index.times) else None
        start = self._index.keys[behind] if behind >= 0 else None
        if last is not None and self._at < number and (start is None or start <= last):
            found = self._until(target)
            if found is not None:
                return found
        # some files' indexes lead past the frame, and some key frames need what lies before them: then further back
        back = 1
        while behind >= 0:
            self._restart(self._index.keys[behind])
            found = self._until(target)
            if found is not None:
                return found
            behind, back = behind - back, back * 2
        self._restart(None)
        found = self._until(target)
        if found is None:
            raise ValueError("it is missing")
        return found

    def _until(self, target: int) -> Any | None:
        """The frame of a time; None when it does not come from here, or comes damaged."""
        for frame in self._frames:
            if frame.pts is None or frame.pts < target:
                continue
            return frame if frame.pts == target and not frame.is_corrupt else None
        return None

    def _counted(self, number: int) -> Any:
        if number <= self._at:
            self._restart(None)
            self._at = -1
        for frame in self._frames:
            self._at += 1
            if self._at == number:
                return frame
        raise ValueError("the file ends before it")

    def _restart(self, at: int | None) -> None:
        """Decoding begins anew at a key frame's time, or at the start of the file."""
        stream = self._container.streams.video[0]
        if at is None:
            # a new handle: not every format can be sought, and of those not all give their first frame again
            self._container.close()
            self._container = opened(self._av, self._path)
            stream = self._container.streams.video[0]
        else:
            self._container.seek(at, stream=stream, backward=True, any_frame=False)
        self._frames = self._container.decode(stream)


def opened(av: Any, path: Path) -> Any:
    """A container with a video stream. Raises BadImage."""
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError, UnicodeError) as error:
        empty = path.stat().st_size == 0 if path.is_file() else False
        reason = "it is empty" if empty else f"it is no video file, or it is cut short or damaged ({_short(error)})"
        raise BadImage(f"{path} cannot be opened: {reason}") from error
    if not container.streams.video:
        container.close()
        raise BadImage(f"{path} has no pictures in it, only {len(container.streams)} other streams")
    return container


def upright(frame: Any, matrix: NDArray[np.int64] | None) -> NDArray[np.uint8]:
    """A decoded frame as uint8 [H, W, 3] RGB, turned and mirrored as the display matrix says.

    Phones write how they were held into that matrix. Only quarter turns and mirrors are followed.
    """
    rgb: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(_turned(rgb, matrix))


def _matrix(frame: Any) -> NDArray[np.int64] | None:
    """The signs of the display matrix [2, 2], row by row what becomes of a step right and a step down."""
    for one in frame.side_data:
        if getattr(one.type, "name", "") == "DISPLAYMATRIX":
            numbers = np.frombuffer(bytes(one), "<i4", 9).reshape(3, 3)[:2, :2]
            scale = np.abs(numbers).max()
            return np.rint(numbers / scale).astype(np.int64) if scale else None
    return None


def _turned(rgb: NDArray[np.uint8], matrix: NDArray[np.int64] | None) -> NDArray[np.uint8]:
    if matrix is None or abs(int(np.linalg.det(matrix).round())) != 1 or np.abs(matrix).sum() != 2:
        return rgb
    # x' = a x + c y, y' = b x + d y: first exchange the axes where they change places, then mirror each
    (a, b), (c, d) = matrix
    if a == 0:
        rgb = rgb.transpose(1, 0, 2)
        across, down = c, b
    else:
        across, down = a, d
    return rgb[:: int(down), :: int(across)]


def _clock(text: str) -> float | None:
    """Seconds of Matroska's "00:01:02.500000000"."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def _short(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or " ".join(str(error).split()))[:120]
