"""What a session knows outlives it: saved, restored, killed and gone on with."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from stand_in import ByColour, clip_of, where

import anymask
from anymask.errors import BadSetting, EmbeddingMismatch, NotWritten
from anymask.track import restore

COUNT = 40


def pointed(clip):
    clip.click(*where(0, "red"), object=1)
    clip.click(*where(0, "blue"), object=2)
    clip.click(*where(9, "red"), frame=9, object=1)
    return clip


def known(clip) -> list:
    return [(frame, masks.rle, masks.scores.tolist(), masks.ids.tolist()) for frame, masks in clip.propagate()]


@pytest.fixture(scope="module")
def expected():
    with anymask.video(clip_of(COUNT), ByColour()) as clip:
        return known(pointed(clip))


def test_a_saved_session_goes_on_where_it_was(tmp_path, expected):
    with anymask.video(clip_of(COUNT), ByColour()) as clip:
        pointed(clip)
        list(clip.propagate(stop=20))
        clip.click(*where(30, "blue"), frame=30, object=3)
        clip.save(tmp_path / "saved")
        clip.remove(3)
        assert known(clip) == expected
    model = ByColour()
    with restore(tmp_path / "saved", clip_of(COUNT), model) as again:
        assert again.objects == (1, 2, 3)
        again.remove(3)
        assert known(again) == expected
        # twenty frames were known
        assert model.encoded == COUNT - 20


def test_a_correction_after_restoring_is_the_one_without(tmp_path):
    def story(clip):
        clip.click(*where(12, "blue"), frame=12, object=1)
        clip.click(5, 40, inside=False, frame=12, object=1)
        clip.clear(9, 1)
        return known(clip)

    with anymask.video(clip_of(COUNT), ByColour()) as clip:
        known(pointed(clip))
        clip.save(tmp_path / "saved")
        expected = story(clip)
    with restore(tmp_path / "saved", clip_of(COUNT), ByColour()) as again:
        assert story(again) == expected


def test_a_restored_copy_leaves_the_folder_alone(tmp_path, expected):
    with anymask.video(clip_of(COUNT), ByColour(), folder=tmp_path / "kept") as clip:
        pointed(clip)
    with restore(tmp_path / "kept", clip_of(COUNT), ByColour(), copy=True) as copy:
        copy.remove(1)
        list(copy.propagate())
    with restore(tmp_path / "kept", clip_of(COUNT), ByColour()) as again:
        assert again.objects == (1, 2)
        assert known(again) == expected


def test_saving_again_replaces_the_state(tmp_path):
    with anymask.video(clip_of(6), ByColour()) as clip:
        clip.click(*where(0, "red"))
        clip.save(tmp_path / "saved")
        clip.click(*where(0, "blue"), object=2)
        clip.save(tmp_path / "saved")
    with restore(tmp_path / "saved", clip_of(6), ByColour()) as again:
        assert again.objects == (1, 2)
    assert [one.name for one in tmp_path.iterdir()] == ["saved"]


def test_killed_at_any_moment_a_run_goes_on_to_the_same_result(tmp_path, expected):
    """Thirty kills of one run; the frames that were known are not tracked again, and none is lost."""
    folder = tmp_path / "run"
    with anymask.video(clip_of(COUNT), ByColour(), folder=folder) as clip:
        pointed(clip)
    chance = random.Random(0)
    for _ in range(30):
        child = os.fork()
        if child == 0:  # the run that is killed
            try:
                with restore(folder, clip_of(COUNT), ByColour()) as clip:
                    for _ in clip.propagate():
                        time.sleep(0.002)
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0, 0.08))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with restore(folder, clip_of(COUNT), ByColour()) as clip:
        assert known(clip) == expected
        assert not list(folder.rglob("*.tmp"))


def test_killed_while_pointing_a_session_has_the_state_before_or_after(tmp_path):
    folder = tmp_path / "run"
    with anymask.video(clip_of(COUNT), ByColour(), folder=folder) as clip:
        clip.click(*where(0, "red"), object=1)
    chance = random.Random(1)
    for number in range(10):
        child = os.fork()
        if child == 0:
            try:
                with restore(folder, clip_of(COUNT), ByColour()) as clip:
                    for frame in range(1, COUNT):
                        clip.click(*where(frame, "blue"), frame=frame, object=2 + number)
                        clip.clear(frame, 2 + number)
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with restore(folder, clip_of(COUNT), ByColour()) as clip:
            assert 1 in clip.objects
            list(clip.propagate(stop=3))


def test_what_does_not_belong_together_is_refused(tmp_path):
    with anymask.video(clip_of(6), ByColour(), folder=tmp_path / "kept") as clip:
        clip.click(*where(0, "red"))
        with pytest.raises(NotWritten, match="in use by another run"):
            anymask.video(clip_of(6), ByColour(), folder=tmp_path / "kept")
    with pytest.raises(BadSetting, match="holds a session already"):
        anymask.video(clip_of(6), ByColour(), folder=tmp_path / "kept")
    with pytest.raises(BadSetting, match="is not the clip of the session"):
        restore(tmp_path / "kept", clip_of(7), ByColour())
    with pytest.raises(EmbeddingMismatch, match="weights"):
        restore(tmp_path / "kept", clip_of(6), ByColour(weights="others"))
    with pytest.raises(BadSetting, match="holds no session"):
        restore(tmp_path, clip_of(6), ByColour())
    (tmp_path / "kept" / "state.json").write_text("{")
    with pytest.raises(BadSetting, match="cannot be read"):
        restore(tmp_path / "kept", clip_of(6), ByColour())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").touch()
    with anymask.video(clip_of(6), ByColour()) as clip, pytest.raises(NotWritten, match="holds other things"):
        clip.save(tmp_path / "other")


def test_a_session_leaves_no_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with anymask.video(clip_of(4), ByColour()) as clip:
        clip.click(*where(0, "red"))
        list(clip.propagate())
        assert any(tmp_path.iterdir())
    assert not any(tmp_path.iterdir())
