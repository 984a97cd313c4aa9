"""Clips in every form that people hold: found by their numbers, upright, one at a time, refused with a sentence."""

from __future__ import annotations

import gc
import threading
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from PIL import Image as Pillow

from anymask.errors import BadImage, BadSetting
from anymask.pixels.image import Image
from anymask.pixels.read_ahead import ReadAhead
from anymask.pixels.video import Frames, natural

av = pytest.importorskip("av", reason="the extra video is not installed")


def picture(number: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A picture that no other number has: a bright square that moves, and stripes."""
    height, width = size
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, :, 1] = np.arange(width) * 3 % 200
    at = 3 * number % (width - 12)
    rgb[8:20, at : at + 12] = [250, 40, 10 * number % 250]
    rgb[height - 8 :, : 2 + number % (width - 4), 0] = 200
    return rgb


def write_clip(path, count=30, size=(48, 64), codec="libx264", times=None, rotation=None, gop=10, pixels="yuv420p"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], pixels
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if codec == "libx264":
            stream.options = {"bf": "2", "g": str(gop), "crf": "12", "sc_threshold": "0"}
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts = 40 * number if times is None else times[number]
            frame.time_base = Fraction(1, 1000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def decoded(path) -> list[np.ndarray]:
    """What playing the file from its start shows."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 47)


def test_any_frame_is_the_one_that_playing_shows(clip):
    expected = decoded(clip)
    frames = Frames.open(clip)
    assert (frames.size, frames.count, len(frames), frames.rate) == ((48, 64), 47, 47, 25.0)
    for number in [46, 0, 31, 30, 29, 9, 10, 11, 11, 12, 45, 1, -1, *np.random.default_rng(0).integers(0, 47, 20)]:
        assert np.array_equal(frames[int(number)].pixels(), expected[number]), number


@pytest.mark.parametrize(
    "suffix, codec", [("mkv", "libx264"), ("webm", "libvpx"), ("webm", "libvpx-vp9"), ("avi", "mpeg4")]
)
def test_other_containers_and_codecs_are_sought_exactly_too(tmp_path, suffix, codec):
    path = write_clip(tmp_path / f"clip.{suffix}", 26, codec=codec)
    expected = decoded(path)
    frames = Frames.open(path)
    assert frames.count == len(expected)
    for number in (20, 3, 25, 0, 13, 12, 14):
        assert np.array_equal(frames[number].pixels(), expected[number])
    assert all(np.array_equal(a.pixels(), b) for a, b in zip(frames, expected, strict=True))


def test_playing_and_playing_backward_give_the_same_frames(clip):
    expected = decoded(clip)
    frames = Frames.open(str(clip))
    assert all(np.array_equal(a.pixels(), b) for a, b in zip(frames, expected, strict=True))
    numbers, images = zip(*frames.read(40, 7, -1), strict=True)
    assert list(numbers) == list(range(40, 7, -1))
    assert all(np.array_equal(image.pixels(), expected[number]) for number, image in zip(numbers, images, strict=True))
    assert [number for number, _ in frames.read(3, step=-1)] == [3, 2, 1, 0]
    assert [number for number, _ in frames.read(44, 1000)] == [44, 45, 46]


def test_variable_frame_rate_keeps_the_times(tmp_path):
    times = [0, 10, 30, 200, 210, 500, 540, 1000, 1010, 1400]
    frames = Frames.open(write_clip(tmp_path / "clip.mp4", 10, times=times))
    assert [round(1000 * frames.time(number)) for number in range(10)] == times
    assert np.array_equal(frames[5].pixels(), decoded(tmp_path / "clip.mp4")[5])


@pytest.mark.parametrize("rotation, turns", [(90, 1), (-90, -1), (180, 2)])
def test_a_phone_held_sideways_gives_upright_frames(tmp_path, rotation, turns):
    path = write_clip(tmp_path / "clip.mp4", 5, rotation=rotation)
    frames = Frames.open(path)
    # FFmpeg counts degrees counter-clockwise, as numpy does
    expected = np.rot90(decoded(path)[3], turns)
    assert frames.size == expected.shape[:2]
    assert np.array_equal(frames[3].pixels(), expected)


def test_decoded_frames_are_let_go_of_at_once(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 30)
    frames = Frames.open(path)
    gc.collect()
    gc.disable()
    try:
        before = sum(type(one) is av.VideoFrame for one in gc.get_objects())
        for _ in frames.read():
            pass
        assert sum(type(one) is av.VideoFrame for one in gc.get_objects()) - before <= 3
    finally:
        gc.enable()


def test_a_mirrored_display_matrix_is_followed(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        one = 1 << 16
        stream.set_display_matrix([-one, 0, 0, 0, one, 0, 0, 0, 1 << 30])
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(picture(2), format="rgb24")), *stream.encode()]:
            container.mux(packet)
    assert np.array_equal(Frames.open(path)[0].pixels(), decoded(path)[0][:, ::-1])


def test_odd_sizes(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", 6, size=(37, 53), codec="ffv1", pixels="bgr0")
    frames = Frames.open(path)
    assert frames.size == (37, 53)
    assert np.array_equal(frames[4].pixels(), picture(4, (37, 53)))


def test_a_clip_of_one_frame(tmp_path):
    frames = Frames.open(write_clip(tmp_path / "clip.mp4", 1))
    assert [image.size for image in frames] == [(48, 64)]
    with pytest.raises(BadSetting, match="frames 0 to 0, there is no frame 1"):
        frames[1]


def test_a_clip_of_no_frames(tmp_path):
    for path in (write_clip(tmp_path / "clip.mkv", 0), tmp_path / "empty.mp4"):
        path.touch()
        with pytest.raises(BadImage):
            Frames.open(path)
    for nothing in ([], iter([]), np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(BadImage, match="holds no frames"):
            Frames.open(nothing)


def test_a_file_with_sound_only(tmp_path):
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(BadImage, match="no pictures in it"):
        Frames.open(tmp_path / "sound.wav")


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_a_file_cut_short_is_refused_with_a_sentence(tmp_path, suffix):
    whole = write_clip(tmp_path / f"clip.{suffix}", 120).read_bytes()
    path = tmp_path / f"short.{suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadImage, match="cut short"):
        Frames.open(path)


def test_what_is_there_of_a_file_cut_short_can_be_had(tmp_path):
    whole = write_clip(tmp_path / "clip.mkv", 120).read_bytes()
    path = tmp_path / "short.mkv"
    path.write_bytes(whole[: len(whole) // 2])
    frames = Frames.open(path, partial=True)
    assert 10 < frames.count < 110
    assert np.array_equal(frames[7].pixels(), decoded(tmp_path / "clip.mkv")[7])
    assert len(list(frames)) == frames.count


def test_damage_in_the_middle_names_the_frame_or_is_hidden_by_the_decoder(tmp_path):
    data = bytearray(write_clip(tmp_path / "clip.mp4", 60).read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    (tmp_path / "bad.mp4").write_bytes(data)
    try:
        frames = Frames.open(tmp_path / "bad.mp4")
        for image in frames:
            assert image.size == (48, 64)
    except BadImage as error:
        assert "bad.mp4" in str(error)


def test_no_video_at_all(tmp_path):
    (tmp_path / "notes.mp4").write_text("nothing to see " * 100)
    with pytest.raises(BadImage, match="no video file"):
        Frames.open(tmp_path / "notes.mp4")
    with pytest.raises(BadImage, match="no file or folder"):
        Frames.open(tmp_path / "missing.mp4")
    with pytest.raises(BadImage, match="not addresses"):
        Frames.open("https://example.org/clip.mp4")
    with pytest.raises(BadImage, match="got float"):
        Frames.open(1.5)


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    for number in (10, 2, 1, 100):
        Pillow.fromarray(picture(number)).save(tmp_path / f"Frame{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_text("no picture either")
    frames = Frames.open(tmp_path)
    assert (frames.count, frames.rate, frames.time(0)) == (4, None, None)
    for number, shown in enumerate((1, 2, 10, 100)):
        assert np.array_equal(frames[number].pixels(), picture(shown))
    with pytest.raises(BadImage, match="no pictures"):
        (tmp_path / "empty").mkdir()
        Frames.open(tmp_path / "empty")


def test_names_sort_as_people_count():
    names = ["b1", "a10", "a9", "A1", "a09", "1", "10", "2", "a"]
    assert sorted(names, key=natural) == ["1", "2", "10", "a", "A1", "a09", "a9", "a10", "b1"]


def test_lists_and_arrays_of_any_pictures(tmp_path):
    Pillow.fromarray(picture(1)).save(tmp_path / "one.png")
    mixed = [picture(0), tmp_path / "one.png", Pillow.fromarray(picture(2)), Image.open(picture(3))]
    frames = Frames.open(mixed)
    assert all(np.array_equal(image.pixels(), picture(number)) for number, image in enumerate(frames))
    stacked = Frames.open(np.stack([picture(number) for number in range(4)]))
    assert np.array_equal(stacked[-1].pixels(), picture(3))
    assert Frames.open(frames) is frames


def test_frames_of_another_size_are_refused_by_number():
    frames = Frames.open([picture(0), picture(1), picture(2, (50, 64))])
    frames[1]
    with pytest.raises(BadImage, match=r"frame 2 .* 64 x 50 pixels, the first one 64 x 48"):
        frames[2]
    with pytest.raises(BadImage, match="frame 2"):
        list(frames)


def test_an_iterator_goes_by_once():
    frames = Frames.open(picture(number, (480, 640)) for number in range(200))
    assert frames.count is None
    assert np.array_equal(frames[5].pixels(), picture(5, (480, 640)))
    assert frames[0].size == (480, 640)
    assert sum(1 for _ in frames.read(6)) == 194
    assert frames.count == 200
    with pytest.raises(BadSetting, match="has gone by"):
        frames[0]
    with pytest.raises(BadSetting, match="there is no frame 200"):
        frames[200]


def test_a_live_clip_has_no_length_yet():
    frames = Frames.open(picture(number) for number in range(3))
    with pytest.raises(BadSetting, match="live"):
        len(frames)
    with pytest.raises(BadSetting, match="there is no frame 7"):
        frames[7]
    assert len(frames) == 3


def test_no_webcam_is_a_sentence():
    with pytest.raises(BadImage, match="webcam"):
        Frames.open(99)
    with pytest.raises(BadImage, match="numbered from 0"):
        Frames.open(-1)


def test_reading_ahead_is_bounded_and_ends_with_its_reader():
    made: list[int] = []
    ended = threading.Event()

    def numbers():
        try:
            for number in range(1000):
                made.append(number)
                yield number
        finally:
            ended.set()

    ahead = ReadAhead(numbers(), 2)
    assert made == []
    assert list(islice(ahead, 10)) == list(range(10))
    ahead.close()
    assert ended.is_set() and len(made) <= 13
    assert list(ahead) == []


def test_an_error_read_ahead_comes_in_its_place():
    def numbers():
        yield 1
        raise BadImage("frame 1 is damaged")

    ahead = ReadAhead(numbers(), 4)
    assert next(ahead) == 1
    with pytest.raises(BadImage, match="damaged"):
        next(ahead)


def test_a_reader_that_is_dropped_leaves_no_thread(clip):
    before = threading.active_count()
    for _ in range(3):
        next(iter(Frames.open(clip).read(2)))
    for thread in threading.enumerate():
        if thread.name == "anymask-read-ahead":
            thread.join(2)
    assert threading.active_count() <= before
