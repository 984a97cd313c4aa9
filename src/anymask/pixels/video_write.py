"""Video files, written frame by frame: opaque ones that play anywhere, and such with alpha. Needs the extra `video`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting, NotWritten
from anymask.extras import need
from anymask.pixels.resize import HW

Kind = Literal["mp4", "alpha", "webm"]


class _Codec(NamedTuple):
    """suffix of the file, encoder, pixel format, how many channels frames have, options of encoder and container."""

    suffix: str
    encoder: str
    pixels: str
    channels: int
    options: dict[str, str]
    container: dict[str, str]


CODECS: dict[Kind, _Codec] = {
    # without B-frames parts can be put behind one another packet by packet
    "mp4": _Codec(
        ".mp4", "libx264", "yuv420p", 3,
        {"crf": "18", "preset": "veryfast", "bf": "0"}, {"movflags": "+faststart", "fflags": "+bitexact"},
    ),
    # ProRes 4444, which editing programs import with its alpha
    "alpha": _Codec(
        ".mov", "prores_ks", "yuva444p10le", 4,
        {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}, {"fflags": "+bitexact"},
    ),
    # VP9, which browsers play with its alpha; hidden frames cannot carry any, hence no alternate references
    "webm": _Codec(
        ".webm", "libvpx-vp9", "yuva420p", 4,
        {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "auto-alt-ref": "0"}, {"fflags": "+bitexact"},
    ),
}  # fmt: skip
"""mp4: H.264, opaque. alpha: ProRes 4444 in MOV. webm: VP9 with alpha. bitexact: no random numbers, versions, so that
equal frames give equal files."""

BLOCK = 32
"""Columns that a conversion of pixels writes at once, at most."""
FALLBACK = 24.0
"""Frames a second of clips that do not say."""


class VideoWriter:
    """One video file; the frames that are added become it when it is closed, and before there is no file.

    path: with the suffix of the kind. size: (H, W) of the frames. rate: a second, FALLBACK if None.
    Raises BadSetting, MissingExtra, NotWritten.
    """

    def __init__(self, path: str | os.PathLike[str], size: HW, rate: float | None, kind: Kind = "mp4") -> None:
        codec = _codec(kind)
        self._av = need("av", extra="video", to="write videos")
        self.path, self.size, self.kind, self.count = Path(path), size, kind, 0
        if self.path.suffix.lower() != codec.suffix:
            raise BadSetting(f"a video of the kind {kind} is a {codec.suffix} file, got {self.path.name}")
        self._channels = codec.channels
        # 4:2:0 takes even sides only; the last row and column are repeated, since cutting them off would lose some
        even = codec.pixels == "yuv420p"
        self._padding = (size[0] % 2, size[1] % 2) if even else (0, 0)
        self._temporary = self.path.parent / f".anymask-{secrets.token_hex(8)}{codec.suffix}"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: Any = self._av.open(str(self._temporary), "w", options=codec.container)
        except OSError as error:
            raise NotWritten(f"{self.path} cannot be written: {error.strerror or error}") from error
        self._rate = fraction(rate)
        stream: Any = self._file.add_stream(codec.encoder, rate=self._rate, options=dict(codec.options))
        stream.height, stream.width = size[0] + self._padding[0], size[1] + self._padding[1]
        stream.pix_fmt = codec.pixels
        context = stream.codec_context
        # one thread always gives the same bytes, and the network next to it wants the cores
        context.thread_count = 1
        # said and done: players take unmarked small pictures for BT.601 and large ones for BT.709
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        self._stream = stream

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """The next frame: uint8 [H, W, 3] RGB, with alpha [H, W, 4]. Raises BadSetting, NotWritten."""
        if pixels.shape != (*self.size, self._channels) or pixels.dtype != np.uint8:
            expected = (*self.size, self._channels)
            raise BadSetting(f"a frame of this video is uint8 {expected}, got {pixels.dtype} {pixels.shape}")
        if any(self._padding):
            pixels = np.pad(pixels, ((0, self._padding[0]), (0, self._padding[1]), (0, 0)), "edge")
        frame = self._converted(pixels)
        frame.pts, frame.time_base = self.count, 1 / self._rate
        self.count += 1
        self._mux(self._stream.encode(frame))

    def close(self) -> Path:
        """Completes the file and puts it in its place. Raises BadSetting where no frame was added, NotWritten."""
        if not self.count:
            self.discard()
            raise BadSetting(f"{self.path.name} would have no frames")
        try:
            self._mux(self._stream.encode(None))
            self._file.close()
            os.replace(self._temporary, self.path)
        except OSError as error:
            raise NotWritten(f"{self.path} cannot be written: {error.strerror or error}") from error
        finally:
            self._temporary.unlink(missing_ok=True)
        return self.path

    def discard(self) -> None:
        """Gives up; nothing is left behind."""
        try:
            self._file.close()
        finally:
            self._temporary.unlink(missing_ok=True)

    def _converted(self, pixels: NDArray[np.uint8]) -> Any:
        """A frame in the pixel format of the file.

        FFmpeg's conversion writes whole blocks of columns, past the end of a line into the next one where that is
        another thread's already; so lines are made long enough for blocks, and what is too much is left behind.
        """
        height, width = pixels.shape[:2]
        long = np.pad(pixels, ((0, 0), (0, -width % BLOCK), (0, 0)), "edge")
        frame = self._av.VideoFrame.from_ndarray(long, format="rgb24" if self._channels == 3 else "rgba")
        frame = frame.reformat(format=self._stream.pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG")
        if long.shape[1] == width:
            return frame
        found = self._av.VideoFrame(width, height, frame.format.name)
        for source, target in zip(frame.planes, found.planes, strict=True):
            lines = np.frombuffer(source, np.uint8).reshape(-1, source.line_size)
            kept = min(source.line_size, target.line_size)
            filled = np.zeros((len(lines), target.line_size), np.uint8)
            filled[:, :kept] = lines[:, :kept]
            target.update(filled)
        return found

    def _mux(self, packets: Any) -> None:
        try:
            self._file.mux(packets)
        except OSError as error:
            raise NotWritten(f"{self.path} cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def join(parts: Sequence[Path], path: str | os.PathLike[str], rate: float | None, kind: Kind = "mp4") -> Path:
    """One file of parts that VideoWriter made with the same size, rate and kind; packets are copied, not encoded again.

    Raises BadSetting for no parts, NotWritten.
    """
    av = need("av", extra="video", to="write videos")
    if not parts:
        raise BadSetting("there are no parts to join")
    codec, place = _codec(kind), Path(path)
    temporary = place.parent / f".anymask-{secrets.token_hex(8)}{codec.suffix}"
    tick = 1 / fraction(rate)
    try:
        with av.open(str(temporary), "w", options=codec.container) as out:
            stream = None
            offset = 0
            for part in parts:
                with av.open(str(part)) as source:
                    inner = source.streams.video[0]
                    if stream is None:
                        stream = out.add_stream_from_template(inner)
                        stream.time_base = tick
                    count = 0
                    for packet in source.demux(inner):
                        if packet.size == 0:
                            continue
                        # frames are equally far apart, so that their number is their time
                        packet.pts = packet.dts = offset + count
                        packet.time_base, packet.duration = tick, 1
                        packet.stream = stream
                        out.mux(packet)
                        count += 1
                    offset += count
        os.replace(temporary, place)
    except OSError as error:
        raise NotWritten(f"{place} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return place


def suffix(kind: Kind) -> str:
    """The ending of a kind's files."""
    return _codec(kind).suffix


def fraction(rate: float | None) -> Fraction:
    """A rate as containers keep it: 29.97 is 30000/1001."""
    value = FALLBACK if rate is None or not rate > 0 else float(rate)
    whole = Fraction(round(value * 1001 / 1000) * 1000, 1001)
    if abs(float(whole) - value) < 0.003 and abs(value - round(value)) > 1e-6:
        return whole
    return Fraction(value).limit_denominator(1000)


def _codec(kind: Kind) -> _Codec:
    if kind not in CODECS:
        raise BadSetting(f"kinds of videos are {', '.join(CODECS)}; got {kind!r}")
    return CODECS[kind]
