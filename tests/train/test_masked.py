"""A plain student comes to know a teacher's features of patches that it does not see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import anymask
from anymask.cli.app import app
from anymask.errors import BadSetting
from anymask.prompts.prompts import Prompts
from anymask.train import journal
from anymask.train.distil import distil
from anymask.train.loop import AVERAGE, Trainer, states
from anymask.train.masked import HiddenPictures, Masked, Masking, encode_seen, start
from anymask.train.run import fresh
from anymask.train.settings import Phase, TrainSettings
from anymask.train.teacher import Teacher, pair

TEACHER = "sam-tiny-test"
STUDENT = "efficient-sam-tiny-test"
SMALL = Masking(width=32, depth=1, heads=2)
SIDE, PATCH = 128, 16


def blocks(folder: Path, count: int, seed: int) -> list[Path]:
    """Pictures of six coloured fields each, which a few patches give away."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    for number in range(count):
        pixels = np.kron(rng.integers(0, 255, (2, 3, 3)), np.ones((40, 40, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return sorted(folder.glob("*.png"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, tiny) -> Path:
    file = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tiny.state_dict().items()}, file)
    return file


def settings(steps: int, **changes) -> TrainSettings:
    plain = {"images": 4, "method": "scratch", "precision": "float32", "encoder_rate": 1.0, "warmup": 2, "rate": 3e-3}
    return TrainSettings(steps=steps, **plain | {"average": 0.9, "betas": (0.9, 0.95)} | changes)


def task_of(files: list[Path], teacher: Path, student: str, made: TrainSettings) -> tuple[Masked, HiddenPictures]:
    torch.manual_seed(0)
    master, pupil = pair(TEACHER, student, teacher_weights=teacher)
    start(pupil, student)
    pictures = HiddenPictures(files, made, pupil.preprocess, master.preprocess, SMALL)
    return Masked(pupil, Teacher(master, None), pictures.grid, SMALL), pictures


def test_hidden_features_are_guessed_better_than_by_their_mean(teacher, tmp_path):
    files, others = blocks(tmp_path / "photos", 8, 0), blocks(tmp_path / "others", 8, 1)
    out, made = tmp_path / "run", settings(50)
    asked = {"teacher": TEACHER, "student": STUDENT, "teacher_weights": teacher, "masking": SMALL, "cpu": True}
    assert distil(files, out, made, **asked) is not None
    lines = journal.read(out)
    assert lines[-1]["loss"] < 0.95 * lines[0]["loss"]

    # on pictures that it was not trained with, against the mean over all cells of exactly these pictures
    task, pictures = task_of(others, teacher, STUDENT, made)
    task.load_state_dict(load_file(states(out)[-1] / AVERAGE), strict=False)
    task.eval()
    frames = pictures.batch(0, range(8))
    with torch.no_grad():
        _, report = task(frames)
        wanted = task.wanted(frames)
    assert report["hidden"] < 0.95 * float(wanted.var((0, 1), unbiased=False).mean())
    assert report["explained"] > 0.05


@pytest.mark.parametrize("student", [STUDENT, TEACHER])
def test_what_is_hidden_is_not_seen(teacher, tmp_path, student):
    task, pictures = task_of(blocks(tmp_path / "photos", 2, 0), teacher, student, settings(1))
    frames = pictures.batch(0, [0, 1])
    cells = (SIDE // PATCH) ** 2
    both = torch.cat([frames.seen, frames.hidden], 1).sort(1).values
    assert torch.equal(both, torch.arange(cells).expand(2, -1)) and frames.hidden.shape[1] == 0.75 * cells

    hidden = torch.zeros(2, cells).scatter(1, frames.hidden, 1.0).view(2, 1, SIDE // PATCH, -1)
    hidden = hidden.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    noise = torch.randn(frames.student.shape)
    encoder = task.model.image_encoder
    with torch.no_grad():
        before = encode_seen(encoder, frames.student, frames.seen)
        same = encode_seen(encoder, torch.where(hidden > 0, noise, frames.student), frames.seen)
        other = encode_seen(encoder, torch.where(hidden > 0, frames.student, noise), frames.seen)
    assert torch.equal(before, same) and not torch.allclose(before, other, atol=0.1)


def test_seeing_everything_is_what_the_encoder_does(teacher, tmp_path):
    task, pictures = task_of(blocks(tmp_path / "photos", 1, 0), teacher, STUDENT, settings(1))
    encoder, frames = task.model.image_encoder, pictures.batch(0, [0]).student
    cells = pictures.grid[0] * pictures.grid[1]
    with torch.no_grad():
        tokens = encode_seen(encoder, frames, torch.arange(cells)[None])
        found = encoder.neck(tokens.transpose(1, 2).unflatten(2, pictures.grid))
        assert torch.allclose(found, encoder(frames), atol=1e-5)


def test_hidden_patches_depend_on_the_seed_and_the_number_alone(teacher, tmp_path):
    files = blocks(tmp_path / "photos", 3, 0)
    (_, one), (_, other) = (task_of(files, teacher, STUDENT, settings(1, seed=seed)) for seed in (0, 1))
    together, alone = one.batch(0, [4, 5, 6]), one.batch(9, [5])
    assert torch.equal(together.seen[1], alone.seen[0]) and not torch.equal(together.seen[1], together.seen[2])
    assert not torch.equal(other.batch(0, [5]).seen, alone.seen)


def test_an_interrupted_run_gives_the_same_weights(teacher, tmp_path, monkeypatch):
    files, made = blocks(tmp_path / "photos", 5, 0), settings(6)
    asked = {"teacher": TEACHER, "student": STUDENT, "teacher_weights": teacher, "masking": SMALL, "cpu": True}
    whole = distil(files, tmp_path / "whole", made, **asked)

    plain = Trainer.one_step

    def until_three(self, drawn):
        report = plain(self, drawn)
        self.stopping = self.counters.step == 3
        return report

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "one_step", until_three)
        assert distil(files, tmp_path / "twice", made, **asked) is None
    twice = distil(files, tmp_path / "twice", made, **asked)
    one, two = load_file(whole), load_file(twice)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(BadSetting, match="begun with --masked"):
        distil(files, tmp_path / "twice", made, **asked | {"masking": None})


def test_a_smaller_frame_learns_means_of_the_teachers_cells(teacher, tmp_path):
    made = settings(1, phases=(Phase(1.0, 64, (1.0, 1.0)),))
    task, pictures = task_of(blocks(tmp_path / "photos", 1, 0), teacher, STUDENT, made)
    frames = pictures.batch(0, [0])
    assert frames.student.shape[2] == 64 and frames.teacher.shape[2] == 128
    whole = task.teacher.answers(frames, torch.device("cpu"))
    first = task.wanted(frames)[0, 0]
    assert torch.allclose(first, whole[0, :, :2, :2].mean((1, 2)), atol=1e-6)
    loss, _ = task(frames)
    assert loss.isfinite()
    with pytest.raises(BadSetting, match="works at 128 px only"):
        task_of(pictures.files, teacher, TEACHER, made)


def test_other_encoders_are_refused():
    model = fresh("mobile-sam")
    with pytest.raises(BadSetting, match="no plain vision transformer"):
        start(model, "mobile-sam")


def test_the_command_writes_what_everything_else_loads(teacher, tmp_path, made_up, monkeypatch):
    monkeypatch.setattr("anymask.train.masked.Masking", lambda: SMALL)
    folder, out = tmp_path / "photos", tmp_path / "run"
    files = blocks(folder, 2, 0)
    asked = ["distil", folder, "-o", out, "--teacher", TEACHER, "--teacher-weights", teacher, "--student", STUDENT]
    hidden = ["--masked", "--steps", 2, "--images", 2]
    done = run(*asked, *hidden)
    assert done.exit_code == 0, done.output
    file = out / "model.safetensors"
    assert str(file) in done.output and "anymask train" in done.output
    assert "2 of 2 steps" in (out / "report.html").read_text()

    # the decoder of the pre-training is not in it, the teacher's is
    student, master = anymask.load(STUDENT, weights=file, device="cpu"), anymask.load(weights=teacher, device="cpu")
    assert load_file(file).keys() == student.state_dict().keys()
    for name, tensor in master.mask_decoder.state_dict().items():
        assert torch.equal(student.mask_decoder.state_dict()[name], tensor)
    assert anymask.load(weights=file).card.name == STUDENT
    answer = student.decode(student.encode([anymask.Image.open(files[0])]), Prompts.of(points=[(30, 30)]))
    assert answer.logits.isfinite().all()

    tuned = ["--data", made_up, "--model", STUDENT, "--weights", file, "--steps", 1, "--images", 1, "--masks", 2]
    done = run("train", *tuned, "--method", "full", "--pictures-every", 0, "-o", tmp_path / "joint")
    assert done.exit_code == 0, done.output
    assert anymask.load(STUDENT, weights=tmp_path / "joint" / "model.safetensors").weights != student.weights

    wrong = run(*asked, "--side", 64)
    assert wrong.exit_code != 0 and "--masked" in wrong.output


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
