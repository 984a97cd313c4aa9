"""A student comes to answer what its teacher answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import anymask
from anymask.errors import BadSetting
from anymask.train import journal
from anymask.train.distil import KEPT, distil
from anymask.train.settings import TrainSettings
from anymask.train.teacher import pair

TINY = "sam-tiny-test"


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return sorted(tmp_path.glob("*.png"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, tiny):
    """The weights of a tiny teacher, as a file."""
    from safetensors.torch import save_file

    file = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tiny.state_dict().items()}, file)
    return file


def settings(steps: int, **changes) -> TrainSettings:
    plain = {"images": 3, "method": "scratch", "precision": "float32", "encoder_rate": 1.0, "warmup": 2, "average": 0.9}
    return TrainSettings(steps=steps, **plain | changes)


def test_the_students_features_come_nearer_to_the_teachers(pictures, teacher, tmp_path):
    out = tmp_path / "run"
    file = distil(pictures, out, settings(60, rate=3e-3), teacher=TINY, student=TINY, teacher_weights=teacher, cpu=True)
    lines = journal.read(out)
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"] and lines[-1]["cosine"] > lines[0]["cosine"]
    # each picture's answer is kept once
    assert len(list((out / KEPT).rglob("*.npy"))) == 3
    student, master = (anymask.load(TINY, weights=path, device="cpu") for path in (file, teacher))
    for name, tensor in master.state_dict().items():
        same = torch.equal(student.state_dict()[name], tensor)
        assert same != name.startswith("image_encoder") or name.endswith("rel_pos_h") or same


def test_a_kept_answer_is_not_taken_for_another_teachers(pictures, teacher, tmp_path):
    first = tmp_path / "first"
    distil(pictures, first, settings(1), teacher=TINY, student=TINY, teacher_weights=teacher, cpu=True)
    (kept,) = (first / KEPT).iterdir()
    assert kept.name == anymask.load(TINY, weights=teacher, device="cpu").weights[:12]


def test_models_that_do_not_fit_together_are_refused():
    with pytest.raises(BadSetting, match="different shapes"):
        pair(TINY, "anymask-lite")
