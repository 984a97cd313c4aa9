"""`anymask video`: prompts in, masks of a whole clip out in every format; stopped and gone on with."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from anymask.cli import video_outputs
from anymask.cli.app import app
from anymask.cli.video_run import Run
from anymask.models.load import load
from anymask.records import coco_video, davis, sav

av = pytest.importorskip("av", reason="the extra video is not installed")

SIZE, COUNT = (48, 65), 9


@pytest.fixture
def clip(tmp_path):
    """A folder of pictures of odd width: a bright square that moves."""
    folder = tmp_path / "square"
    folder.mkdir()
    for frame in range(COUNT):
        picture = np.full((*SIZE, 3), 40, np.uint8)
        picture[12:32, 5 + 3 * frame : 25 + 3 * frame] = [220, 180, 40]
        Image.fromarray(picture).save(folder / f"{frame:05}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """One set of random weights, so that two runs answer alike."""
    torch.manual_seed(0)
    model = load("sam2.1-tiny-test")
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file({name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}, path)
    return path


@pytest.fixture
def run(weights):
    def go(*arguments, code=0):
        model = ["--model", "sam2.1-tiny-test", "--weights", weights]
        found = CliRunner().invoke(app, ["video", *map(str, arguments), *map(str, model)])
        assert found.exit_code == code, found.output
        return found

    return go


def _files(folder):
    """relative path -> content"""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".anymask" not in path.parts
    }


def _count(folder):
    return sum(1 for path in folder.rglob("*.png") if ".anymask" not in path.parts)


def test_every_format_is_written_and_holds_the_same_masks(run, clip, tmp_path):
    out = tmp_path / "out"
    formats = "overlay,png,sav,coco,alpha,webm,strip"
    printed = run(clip, "--point", "15,20", "--point", "2:50,40@3", "-f", formats, "-o", out).output
    assert "9 frames" in printed and "square.overlay.mp4" in printed
    pngs, (coco,), text = (
        davis.read(out / "square"),
        coco_video.read(out / "square.coco.json"),
        sav.read(out / "square_auto.json"),
    )
    assert pngs.clip.count == coco.clip.count == text.clip.count == COUNT
    assert coco.clip.files[8] == "00008.png"
    for frame in range(COUNT):
        ids = text.frames[frame].ids.tolist()
        if ids:
            assert np.array_equal(coco.frames[frame].dense(), text.frames[frame].dense())
            assert set(pngs.frames[frame].ids.tolist()) <= set(ids)
    with av.open(str(out / "square.overlay.mp4")) as film:
        # H.264 takes even sides only
        assert (film.streams.video[0].frames, film.streams.video[0].width) == (COUNT, 66)
    with av.open(str(out / "square.alpha.mov")) as film:
        frames = [frame.to_ndarray(format="rgba") for frame in film.decode(video=0)]
    assert frames[0].shape == (*SIZE, 4)
    inside = text.frames[4].dense().any(0) if len(text.frames[4]) else np.zeros(SIZE, bool)
    assert np.array_equal(frames[4][..., 3] > 127, inside)
    with Image.open(out / "square.strip.png") as strip:
        assert strip.width == 1600
    # nothing but a note is left of the work
    assert [path.name for path in (out / ".anymask").rglob("*") if path.is_file()] == ["question.json"]


def test_frames_before_the_first_prompt_are_followed_backward(run, clip, tmp_path):
    said = json.loads(run(clip, "--box", "5,12,45,32@6", "-f", "sav", "-o", tmp_path / "out", "--json").stdout)
    assert said["frames"] == COUNT and said["objects"][0]["id"] == 1
    assert len(json.loads((tmp_path / "out/square_auto.json").read_text())["masklet"]) == COUNT


def test_a_drawn_mask_and_a_label_map_are_prompts(run, clip, tmp_path):
    numbers = np.zeros(SIZE, np.uint8)
    numbers[12:32, 5:25], numbers[40:46, 40:60] = 1, 4
    Image.fromarray(numbers).save(tmp_path / "map.png")
    Image.fromarray((numbers == 1).astype(np.uint8) * 255).save(tmp_path / "black-white.png")
    run(clip, "--mask", tmp_path / "map.png", "-f", "png", "-o", tmp_path / "a")
    first = davis.read(tmp_path / "a/square").frames[0]
    assert first.ids.tolist() == [1, 4] and np.array_equal(first.dense()[1], numbers == 4)
    run(clip, "--mask", f"{tmp_path / 'black-white.png'}@2", "-f", "png", "-o", tmp_path / "b")
    third = davis.read(tmp_path / "b/square").frames[2]
    assert third.ids.tolist() == [1] and np.array_equal(third.dense()[0], numbers == 1)


@pytest.mark.parametrize("stop", [0, 5])
def test_a_stopped_run_goes_on_and_leaves_the_same_files(run, clip, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(video_outputs, "PART", 2)
    question = (clip, "--point", "15,20", "--point", "2:50,40@3", "-f", "overlay,png,sav,coco,webm")
    run(*question, "-o", tmp_path / "whole")
    add = video_outputs.Labels.add

    def stopping(self, frame, picture, masks):
        if frame == stop:
            raise KeyboardInterrupt
        add(self, frame, picture, masks)

    with monkeypatch.context() as patched:
        patched.setattr(video_outputs.Labels, "add", stopping)
        assert "goes on from there" in run(*question, "-o", tmp_path / "out", code=130).output
    before = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in _files(tmp_path / "out")}
    run(*question, "-o", tmp_path / "out")
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")
    assert all((tmp_path / "out" / name).stat().st_mtime_ns == at for name, at in before.items())


def test_a_run_that_was_killed_while_it_tidied_up_is_tidied_by_the_same_command(run, clip, tmp_path, monkeypatch):
    question = (clip, "--point", "15,20", "-f", "png", "-o", tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(Run, "_tidy", lambda run: (_ for _ in ()).throw(KeyboardInterrupt))
        run(*question, code=130)
    own = tmp_path / "out/.anymask"
    assert (own / "square/session").is_dir()
    (own / "unfinished/0123").write_bytes(b"half a file")
    with FileLock(own / "other.lock"):
        run(*question)
        assert (own / "unfinished/0123").exists(), "the run of another clip may be writing it"
    (own / "other.lock").unlink(missing_ok=True)
    assert "done before" in run(*question).output
    assert {path.name for path in own.rglob("*") if path.is_file()} == {"question.json"}
    # what was kept on purpose stays
    run(*question, "--overwrite", "--keep")
    run(*question)
    assert (own / "square/session").is_dir()


def test_another_question_does_not_mix_with_what_is_there(run, clip, tmp_path):
    out = tmp_path / "out"
    run(clip, "--point", "15,20", "-f", "png", "-o", out)
    assert "done before" in run(clip, "--point", "15,20", "-f", "png", "-o", out).output
    assert "another run" in run(clip, "--point", "16,20", "-f", "png", "-o", out, code=2).output
    run(clip, "--point", "16,20", "-f", "png", "-o", out, "--overwrite")
    # a further format tracks again, or not where what was tracked was kept
    run(clip, "--point", "16,20", "-f", "sav", "-o", out, "--keep")
    assert (out / ".anymask/square/session").is_dir()
    run(clip, "--point", "16,20", "-f", "coco", "-o", out)
    assert not (out / ".anymask/square/session").exists() and (out / "square.coco.json").is_file()


def test_a_video_file_keeps_its_rate_and_a_single_frame_is_a_clip(run, clip, tmp_path):
    from anymask.pixels.video_write import VideoWriter

    with VideoWriter(tmp_path / "film.mp4", (64, 96), 12.5) as film:
        for frame in range(4):
            film.add(np.full((64, 96, 3), 50 * frame, np.uint8))
    run(tmp_path / "film.mp4", "--point", "20,20@1", "-f", "overlay,coco,strip", "-o", tmp_path / "out")
    with av.open(str(tmp_path / "out/film.overlay.mp4")) as file:
        assert file.streams.video[0].average_rate == 12.5 and file.streams.video[0].frames == 4
    assert json.loads((tmp_path / "out/film.coco.json").read_text())["videos"][0]["file_names"][3] == "film/00003.jpg"
    for path in sorted(clip.iterdir())[1:]:
        path.unlink()
    run(clip, "--point", "15,20", "-f", "overlay,png,sav,coco,alpha,webm,strip", "-o", tmp_path / "one")
    assert len(_files(tmp_path / "one")) == 7


def test_two_runs_do_not_write_one_clip_at_a_time(run, clip, tmp_path):
    (tmp_path / "out/.anymask").mkdir(parents=True)
    with FileLock(tmp_path / "out/.anymask/square.lock"):
        assert "another run follows square" in run(clip, "--point", "15,20", "-o", tmp_path / "out", code=1).output


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "say what to follow"),
        (("--point", "500,1"), "outside the image"),
        (("--point", "1,1@99"), "frames 0 to 8"),
        (("--point", "1,1", "-f", "gif"), "overlay, png"),
        (("--point", "1,1", "--policy", "luck"), "samurai"),
        (("--point", "1,1", "--rate", "0"), "--rate"),
        (("--point", "300:1,1", "-f", "png"), "1 to 255"),
        (("--mask", "gone.png"), "gone.png"),
    ],
)
def test_what_makes_no_sense_ends_with_2_and_a_sentence(run, clip, tmp_path, arguments, named):
    found = run(clip, *arguments, "-o", tmp_path / "out", code=2)
    assert named in found.output and "Traceback" not in found.output


def test_a_clip_that_cannot_be_read_ends_with_1(run, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    assert "broken.mp4" in run(tmp_path / "broken.mp4", "--point", "1,1", "-o", tmp_path / "out", code=1).output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_files(clip, weights, tmp_path):
    for frame in range(COUNT, 60):
        os.link(clip / "00000.png", clip / f"{frame:05}.png")
    command = [
        *(sys.executable, "-m", "anymask", "video", str(clip), "--point", "15,20", "-f", "overlay,png,sav", "-q"),
        *("--model", "sam2.1-tiny-test", "--weights", str(weights), "-o"),
    ]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, timeout=300)
    # by what is written, not by the clock: how long a start takes differs tenfold between machines
    written = _count(tmp_path / "whole")
    moments = sorted(random.Random(0).sample(range(written // 20, written * 9 // 10), 6))
    for moment in moments:
        with subprocess.Popen([*command, str(tmp_path / "out")]) as process:
            patience = time.monotonic() + 300
            while _count(tmp_path / "out") < moment:
                assert process.poll() is None and time.monotonic() < patience
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
    subprocess.run([*command, str(tmp_path / "out")], check=True, timeout=300)
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")
