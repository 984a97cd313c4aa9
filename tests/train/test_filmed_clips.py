"""Training on filmed clips: objects keep their names and their places, and what cannot be trained on is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.errors import BadSetting
from anymask.train.clips import ClipSampler
from anymask.train.filmed import Filmed, load_clips
from anymask.train.run import Job
from anymask.train.settings import TrainSettings

SETTINGS = TrainSettings(
    method="memory", images=1, masks=2, steps=10, frames=4, precision="float32", corrected=(0.0, 1.0), warmup=0
)


def film(folder: Path, count: int, every: int = 1) -> Path:
    """A clip in the layout SET/CLIP: a white disc (1) goes right, a grey one (2) left, and out before the end."""
    for kind in ("frames", "masks"):
        (folder / "set" / "clip" / kind).mkdir(parents=True)
    y, x = np.mgrid[:120, :200]
    for t in range(count):
        picture, mask = np.zeros((120, 200, 3), np.uint8), np.zeros((120, 200), np.uint8)
        for name, level, centre in ((1, 250, (50 + 6 * t, 40)), (2, 140, (60 - 15 * t, 85))):
            disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 25**2
            picture[disc], mask[disc] = level, name
        Image.fromarray(picture).save(folder / "set" / "clip" / "frames" / f"{t:05d}.png")
        if t % every == 0:
            Image.fromarray(mask).save(folder / "set" / "clip" / "masks" / f"{t:05d}.png")
    return folder


def test_objects_keep_their_rows_and_masks_lie_on_them(tmp_path):
    filmed = load_clips([film(tmp_path / "data", 12)], tmp_path / "cache")
    both = 0
    for seed in range(30):
        frames, visible = filmed.draw(np.random.default_rng(seed), (64, 96), 4)
        assert frames.shape == (4, 64, 96, 3)
        assert visible.shape[2:] == (64, 96)
        levels = np.full(visible.shape[:2], np.nan)
        for t, row in zip(*np.nonzero(visible.sum((2, 3)) > 150), strict=True):
            levels[t, row] = np.median(frames[t][visible[t, row]])
            beyond = frames[t][~visible[t].any(0)]
            # what no mask covers is the black ground, but for outlines
            assert levels[t, row] > np.median(beyond) if len(beyond) else True
        assert all(np.ptp(row[~np.isnan(row)]) < 30 for row in levels.T if not np.isnan(row).all())
        if visible.shape[1] == 2:
            both += 1
            assert not abs(levels[0, 0] - levels[0, 1]) < 30
    assert both > 3


def test_only_annotated_frames_are_shown_and_short_clips_go_back_and_forth(tmp_path):
    filmed = load_clips([film(tmp_path / "data", 5, every=2)], tmp_path / "cache")
    (clips,) = filmed.sets.values()
    assert len(clips[0]) == 3
    frames, visible = filmed.draw(np.random.default_rng(0), (120, 200), 8)
    assert len(frames) == 8
    assert len({frame.tobytes() for frame in frames}) == 3
    assert visible[:, 0].any((1, 2)).all()


def test_clips_for_training_are_taken_and_not_those_for_validation(tmp_path):
    clip = film(tmp_path / "drawn", 6) / "set" / "clip"
    for split, frames in (("train", 6), ("val", 3)):
        for ours, theirs in (("frames", "JPEGImages"), ("masks", "Annotations")):
            there = tmp_path / "davis" / theirs / "480p" / split
            there.mkdir(parents=True)
            for path in sorted((clip / ours).iterdir())[:frames]:
                (there / path.name).write_bytes(path.read_bytes())
        lists = tmp_path / "davis/ImageSets/2017"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text(f"{split}\n")
    (films,) = load_clips([tmp_path / "davis"], tmp_path / "cache").sets.values()
    assert [len(one) for one in films] == [6]


def test_the_cache_is_read_without_the_pictures(tmp_path):
    data = film(tmp_path / "data", 6)
    read: list[tuple[str, int, int | None]] = []
    first = load_clips([data], tmp_path / "cache", lambda *told: read.append(told))
    again = load_clips([data], tmp_path / "cache", lambda *told: pytest.fail("read again"))
    assert read == [("set (clips)", 1, 1)]
    one, other = (filmed.draw(np.random.default_rng(5), (64, 64), 4) for filmed in (first, again))
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])


def test_a_sampler_takes_filmed_clips_alone(tmp_path):
    filmed = load_clips([film(tmp_path / "data", 12)], tmp_path / "cache")
    sampler = ClipSampler(None, filmed, SETTINGS, side=64, ratio=2, pad=(127, 127, 127))
    batch, again = sampler.batch(3, [3]), sampler.batch(3, [3])
    assert np.array_equal(batch.frames, again.frames)
    assert batch.targets[0].any((1, 2)).all()


def test_clips_without_an_object_that_is_large_enough_are_refused(tmp_path):
    filmed = load_clips([film(tmp_path / "data", 4)], tmp_path / "cache")
    tiny = TrainSettings(method="memory", images=1, masks=2, frames=4)
    sampler = ClipSampler(None, filmed, tiny, side=32, ratio=16, pad=(0, 0, 0))
    with pytest.raises(BadSetting, match="large enough"):
        sampler.batch(0, [0])


def test_data_that_holds_no_object_is_refused(tmp_path):
    with pytest.raises(BadSetting, match="no clip with an object"):
        Filmed(np.empty(0, np.uint8), {})


@pytest.mark.parametrize(
    ("method", "clips", "said"),
    [("lora", True, "for the method 'memory'"), ("lora", False, "name photos"), ("memory", False, "or filmed clips")],
)
def test_a_run_without_fitting_data_is_refused(tmp_path, method, clips, said):
    settings = TrainSettings(method=method)
    films = (film(tmp_path / "data", 4),) if clips else ()
    with pytest.raises(BadSetting, match=said):
        Job("anymask-lite-video", (), tmp_path / "out", settings, clips=films).photos()
