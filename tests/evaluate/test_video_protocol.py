"""Objects followed through clips: tasks, baselines, and the command with table, JSON, plot and the worst clip."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from anymask.cli.evaluate import evaluate
from anymask.data.clip_layouts import open_clips
from anymask.errors import BadPrompt, BadSetting
from anymask.evaluate import video_tasks
from anymask.evaluate.carried import Carried
from anymask.evaluate.jf import j
from anymask.evaluate.video import Video, apart
from anymask.evaluate.video_tasks import Played, measured, offline, online, prompted
from anymask.masks.masks import Masks

SIZE = (64, 96)


def _object(frame, step, late):
    """A disc that moves to the right; frames before `late` are without the second one."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    numbers = np.zeros(SIZE, np.uint8)
    numbers[(x - 20 - step * frame) ** 2 + (y - 30) ** 2 < 14**2] = 1
    if frame >= late:
        numbers[50:60, 70:90] = 2
    return numbers


@pytest.fixture
def clips(tmp_path):
    """Makes clips of 8 frames in the layout of the provided ones."""

    def make(steps=(3,), late=99):
        rng = np.random.default_rng(0)
        for number, step in enumerate(steps):
            folder = tmp_path / "data" / "made" / f"clip-{number}"
            for name in ("frames", "masks"):
                (folder / name).mkdir(parents=True)
            ground = cv2.GaussianBlur(rng.integers(0, 90, (*SIZE, 3)).astype(np.float32), (0, 0), 2)
            disc = cv2.GaussianBlur(rng.integers(120, 255, (*SIZE, 3)).astype(np.float32), (0, 0), 2)
            for frame in range(8):
                numbers = _object(frame, step, late)
                picture = np.where((numbers == 1)[..., None], np.roll(disc, step * frame, 1), ground)
                picture = np.where((numbers == 2)[..., None], 255 - disc, picture)
                Image.fromarray(picture.astype(np.uint8)).save(folder / "frames" / f"{frame:05}.png")
                Image.fromarray(numbers).save(folder / "masks" / f"{frame:05}.png")
            (folder / "meta.json").write_text(json.dumps({"fps": 10, "objects": {"1": "disc"}}))
        return tmp_path / "data"

    return make


def _played(data, begin, **options):
    clip = open_clips(data)[0]
    return Played(clip, lambda: begin(clip), lambda follower, frame, masks: masks, **options)


@pytest.mark.parametrize(("way", "least", "most"), [("copied", 0.1, 0.5), ("flow", 0.8, 1), ("neighbours", 0.6, 1)])
def test_a_mask_is_carried_on(clips, way, least, most):
    played = _played(clips(), lambda clip: Carried(clip.frames, way))
    track = prompted(played, "mask")
    found = measured(played, track, [1])[1]["J"]
    assert len(found) == 6 and least < np.mean(found) < most
    # the drawn mask is its own answer
    assert np.array_equal(track.mask(0, 1, SIZE), played.truth(0, 1))


def test_baselines_want_something_to_carry_and_take_clicks(clips):
    clip = open_clips(clips())[0]
    carried = Carried(clip.frames, "copied")
    with pytest.raises(BadPrompt, match="nothing"):
        next(carried.propagate())
    first = carried.prompt(0, 1, points=[[20, 30]], labels=[1])
    assert first.dense()[0][30, 20] and next(carried.propagate())[1].ids.tolist() == [1]


def test_objects_that_come_later_begin_on_their_own_frame(clips):
    played = _played(clips(late=3), lambda clip: Carried(clip.frames, "copied"))
    assert played.objects == {1: [1, 2, 3, 4, 5, 6], 2: [4, 5, 6]}
    track = prompted(played, "mask")
    assert 2 not in track.found[2] and measured(played, track, [2])[2] == {"J": [1, 1, 1], "F": [1, 1, 1]}
    assert _played(played.clip.frames[0].parents[3], None, skip="none").objects[2] == [3, 4, 5, 6, 7]
    assert _played(played.clip.frames[0].parents[3], None, skip="first").objects[2] == [4, 5, 6, 7]


class Told:
    """Knows the true mask of every frame that it was clicked on, and on others repeats the last one."""

    def __init__(self, clip):
        self.clip, self.known, self.clicks = clip, {}, []

    def prompt(self, frame, object=1, *, points=None, labels=None, box=None, mask=None):
        self.clicks.append((frame, len(points)))
        # three clicks are enough
        truth = video_tasks.decode_one(self.clip.truth(frame)[object])
        answer = truth.copy()
        answer[:, : [0, 45, 30, 0][min(len(points), 3)]] = False
        self.known[frame] = answer
        return Masks.from_dense(answer, ids=[object])

    def propagate(self, *, afresh=False):
        for frame in range(len(self.clip)):
            given = [at for at in self.known if at <= frame]
            yield frame, Masks.from_dense(self.known[max(given)], ids=[1])

    def close(self):
        self.closed = True


def test_offline_rounds_click_the_worst_frame_and_get_better(clips):
    made = []

    def begin(clip):
        made.append(Told(clip))
        return made[-1]

    played = _played(clips(), begin)
    tracks = list(offline(played, 1, 3, 3))
    scores = [np.mean(measured(played, track, [1])[1]["J"]) for track in tracks]
    assert len(made) == 1 and made[0].closed and scores == sorted(scores) and scores[0] < scores[2]
    # the disc moves on: the last frame is worst; then the one farthest from both
    assert [frame for frame, count in made[0].clicks if count == 1] == [0, 7, 6]
    assert [count for _, count in made[0].clicks[:3]] == [1, 2, 3]
    # no more rounds than frames
    assert len(list(offline(played, 1, 50, 1))) == 8


def test_online_stops_where_it_drifts_and_never_looks_back(clips):
    made = []

    def begin(clip):
        made.append(Told(clip))
        return made[-1]

    played = _played(clips(), begin)
    track, asked = online(played, 1, 8, 3, 0.75)
    stops = [frame for frame, count in made[0].clicks if count == 1]
    size = played.clip.size
    assert asked == len(stops) > 2 and stops == sorted(stops)
    assert all(j(track.mask(at, 1, size), played.truth(at, 1)) >= 0.75 for at in range(8))
    assert online(played, 1, 2, 3, 0.75)[1] == 2


def test_pixels_that_two_claim_go_to_the_surer_one():
    both = np.zeros((2, 4, 6), bool)
    both[0, :, :4], both[1, :, 2:] = True, True
    found = apart(object(), 0, Masks.from_dense(both, scores=[0.4, 0.8], ids=[3, 5]))
    assert found.areas().tolist() == [8, 16] and found.ids.tolist() == [3, 5]


def test_figures_are_means_over_objects_then_sets_and_clips(clips):
    row = Video(prompts=("mask",)).row(
        [{"mask": {"J": [1.0, 1.0], "F": [0.5, 0.5]}}, {"mask": {"J": [0.2, 0.4], "F": [0.0, 0.2]}}]
    )
    assert row["J mask"] == pytest.approx(0.65) and row["F mask"] == pytest.approx(0.3)
    assert row["J&F mask"] == pytest.approx(0.475) and row["J recall mask"] == 0.5


def test_the_command_gives_table_json_plot_and_the_worst_clip_and_resumes(clips, tmp_path, capsys):
    av = pytest.importorskip("av", reason="the extra video is not installed")
    out = tmp_path / "scores.json"
    data = clips(steps=(0, 4))
    options = {"protocol": "video", "settings": ["prompts=mask", "by=copied"], "out": out}
    evaluate(data, cap=1, **options)
    assert "1 objects in 1 clips" in capsys.readouterr().out
    with pytest.raises(BadSetting, match="cap was 1"):
        evaluate(data, **options)
    evaluate(data, fresh=True, **options)
    printed = capsys.readouterr().out
    assert "made/clip-1" in printed and "mean of 2 clips" in printed and "scores.worst.mp4" in printed
    report = json.loads(out.read_text())
    assert report["clips"]["made/clip-0"]["J&F mask"] == 1 > report["clips"]["made/clip-1"]["J&F mask"]
    assert report["mean_of_clips"]["J&F mask"] == pytest.approx(
        np.mean([row["J&F mask"] for row in report["clips"].values()])
    )
    assert out.with_suffix(".png").is_file()
    with av.open(str(tmp_path / "scores.worst.mp4")) as video:
        assert video.streams.video[0].frames == 8 and video.streams.video[0].width == 96
    before = (tmp_path / "scores.images.jsonl").read_bytes()
    evaluate(data, **options)
    assert (tmp_path / "scores.images.jsonl").read_bytes() == before


@pytest.mark.parametrize("task", ["semi-supervised", "offline", "online"])
def test_a_member_of_the_family_is_measured(clips, tmp_path, task):
    pytest.importorskip("av", reason="the extra video is not installed")
    out = tmp_path / "scores.json"
    settings = [f"task={task}", "prompts=box,3", "clicks=2", "frames=2"]
    evaluate(clips(), model="sam2.1-tiny-test", protocol="video", settings=settings, precision="float32", out=out)
    report = json.loads(out.read_text())
    rounds = ["box", "3"] if task == "semi-supervised" else ["1", "2"]
    assert all(0 <= report["mean"][f"J&F {one}"] <= 1 for one in rounds)
    assert report["settings"]["task"] == task


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (["prompts=scribble"], "number of clicks"),
        (["by=luck"], "neighbours"),
        (["task=twice"], "offline"),
        (["split=val"], "splits"),
        (["below=2"], "between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_told(clips, settings, named):
    with pytest.raises(BadSetting, match=named):
        evaluate(clips(), protocol="video", settings=["by=copied", *settings])


def test_true_masks_that_are_kept_secret_are_told(clips):
    data = clips()
    for path in (data / "made/clip-0/masks").glob("0000[1-9].png"):
        path.unlink()
    with pytest.raises(BadSetting, match="kept secret"):
        evaluate(data, protocol="video", settings=["by=copied"])
