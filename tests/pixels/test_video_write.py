"""Videos written frame by frame: sizes, colours, alpha, rates, parts put together, nothing left half done."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from anymask.errors import BadSetting, NotWritten
from anymask.pixels.video_write import CODECS, VideoWriter, fraction, join, suffix

av = pytest.importorskip("av", reason="the extra video is not installed")

SIZE = (61, 83)


def _frame(number, channels):
    found = np.zeros((*SIZE, channels), np.uint8)
    found[..., :3] = (200, 60, 30)
    found[20:40, 2 * number : 2 * number + 30, :3] = (20, 220, 90)
    if channels == 4:
        found[..., 3] = 0
        found[20:40, 2 * number : 2 * number + 30, 3] = 255
    return found


def _decoded(path, channels):
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        if path.suffix == ".webm":
            # FFmpeg's own decoder of VP9 passes alpha over
            decoder = av.codec.CodecContext.create("libvpx-vp9", "r")
            frames = [frame for packet in file.demux(stream) for frame in decoder.decode(packet)]
        else:
            frames = list(file.decode(stream))
        wanted = "rgb24" if channels == 3 else "rgba"
        pixels = [frame.reformat(format=wanted, src_colorspace="ITU709").to_ndarray() for frame in frames]
        return pixels, [frame.time for frame in frames], stream.average_rate


@pytest.mark.parametrize("kind", list(CODECS))
def test_parts_become_one_clip_with_its_colours_alpha_and_times(tmp_path, kind):
    channels = CODECS[kind].channels
    parts = []
    for part in range(3):
        with VideoWriter(tmp_path / f"{part}{suffix(kind)}", SIZE, 29.97, kind) as writer:
            for number in range(4):
                writer.add(_frame(4 * part + number, channels))
        parts.append(writer.path)
    whole = join(parts, tmp_path / f"whole{suffix(kind)}", 29.97, kind)
    frames, times, rate = _decoded(whole, channels)
    assert len(frames) == 12 and rate == Fraction(30000, 1001)
    assert times == pytest.approx([number * 1001 / 30000 for number in range(12)], abs=6e-4)
    for number, pixels in enumerate(frames):
        height, width = pixels.shape[:2]
        # H.264's colours come in blocks of two by two
        assert (height, width) == (SIZE if channels == 4 else (62, 84))
        truth = _frame(number, channels)
        for y, x in ((30, 2 * number + 15), (55, 70)):
            assert np.abs(pixels[y, x].astype(int) - truth[y, x]).max() <= 6
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [suffix(kind)] * 4


@pytest.mark.parametrize("kind", list(CODECS))
def test_equal_frames_give_equal_files(tmp_path, kind):
    for name in ("a", "b"):
        with VideoWriter(tmp_path / f"{name}{suffix(kind)}", SIZE, None, kind) as writer:
            # as many as show a conversion whose threads write into one another's lines
            for number in range(12):
                writer.add(_frame(number, CODECS[kind].channels))
        join([writer.path], tmp_path / f"{name}-joined{suffix(kind)}", None, kind)
    content = {path.stem: path.read_bytes() for path in tmp_path.iterdir()}
    # not compared by ==, whose explanation of two files would be pages long
    assert len({content["a"], content["b"]}) == len({content["a-joined"], content["b-joined"]}) == 1


def test_a_single_pixel_is_a_clip_too(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", (1, 1), 5.0) as writer:
        writer.add(np.full((1, 1, 3), 128, np.uint8))
    with av.open(str(writer.path)) as file:
        assert file.streams.video[0].width == 2


def test_an_error_on_the_way_leaves_nothing(tmp_path):
    with pytest.raises(BadSetting, match="61, 83, 3"), VideoWriter(tmp_path / "a.mp4", SIZE, 24) as writer:
        writer.add(_frame(0, 4))
    with pytest.raises(BadSetting, match="no frames"), VideoWriter(tmp_path / "a.mp4", SIZE, 24):
        pass
    with pytest.raises(BadSetting, match=r"\.mov file"):
        VideoWriter(tmp_path / "a.mp4", SIZE, 24, "alpha")
    with pytest.raises(BadSetting, match="mp4, alpha, webm"):
        VideoWriter(tmp_path / "a.gif", SIZE, 24, "gif")
    with pytest.raises(BadSetting, match="no parts"):
        join([], tmp_path / "a.mp4", 24)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritten, match="cannot be written"):
        VideoWriter(tmp_path / "file" / "a.mp4", SIZE, 24)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_rates_are_as_containers_keep_them():
    assert [fraction(rate) for rate in (24, 23.976, 29.97, 59.94, 12.5, 15.0)] == [
        24, Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(25, 2), 15,
    ]  # fmt: skip
    assert fraction(None) == fraction(0) == fraction(float("nan")) == 24
