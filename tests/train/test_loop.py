"""The loop: learns, is stopped and killed and goes on as if nothing had been, and is the same run on two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anymask.errors import BadSetting
from anymask.family.lite import LiteModel
from anymask.train import journal
from anymask.train.loop import AVERAGE, Trainer, accelerator, states
from anymask.train.photos import load_photos
from anymask.train.rounds import Promptable
from anymask.train.sampler import Sampler
from anymask.train.settings import RECIPES, Phase, TrainSettings, recipe
from anymask.train.start import prepare

PHASES = (Phase(0.5, 64, (0.9, 1.2)), Phase(1.0, 96, (0.9, 1.2)))
SMALL = {"images": 1, "masks": 2, "warmup": 2, "phases": PHASES, "precision": "float32", "method": "scratch"}


def trainer(made_up: Path, out: Path, steps: int, **changes) -> Trainer:
    settings = TrainSettings(steps=steps, **SMALL | changes)
    torch.manual_seed(0)
    model = LiteModel("lite0", dim=32, side=64)
    groups = prepare(model, settings)
    sampler = Sampler(load_photos([made_up], out.parent / "cache"), settings, side=64, ratio=2)
    return Trainer(Promptable(model, settings), groups, sampler, out, settings, accelerator(cpu=True))


def weights(run: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.inner.state_dict().items()}


def test_a_small_model_learns_one_picture(made_up, tmp_path):
    easy = {"pasting": 0.0, "exact_boxes": 1.0, "rounds": ((0.0, 1.0), (0.0, 1.0)), "betas": (0.9, 0.999)}
    one = (Phase(1.0, 64, (0.9, 1.1)),)
    run = trainer(made_up, tmp_path / "run", 10_000, masks=4, rate=3e-3, phases=one, **easy)
    batch = run.batches.sampler.batch(1, [1])
    batches = iter(lambda: batch, None)
    for _ in range(100):
        report = run.one_step(batches)
    assert report["box"] > 0.9 and report["click"] > 0.9 and report["last"] > 0.9


def test_a_stopped_run_ends_like_one_that_never_stopped(made_up, tmp_path):
    whole = trainer(made_up, tmp_path / "whole", 8, drop_path=0.3)
    assert whole.run()
    first = trainer(made_up, tmp_path / "parts", 8, drop_path=0.3)
    real = first.one_step

    def step(drawn):
        first.stopping = first.counters.step == 3
        return real(drawn)

    first.one_step = step
    assert not first.run() and first.counters.step == 4
    second = trainer(made_up, tmp_path / "parts", 8, drop_path=0.3)
    assert second.resume() and second.run()
    assert second.counters.step == 8 and second.counters.images == 8
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(second)[name], tensor, rtol=0, atol=0)
    for name, tensor in whole.average.items():
        torch.testing.assert_close(second.average[name], tensor, rtol=0, atol=0)


def test_accumulated_gradients_are_those_of_the_whole_step(made_up, tmp_path):
    together = trainer(made_up, tmp_path / "a", 3, images=4)
    parts = trainer(made_up, tmp_path / "b", 3, images=4, at_once=1)
    together.run()
    parts.run()
    pairs = zip(journal.read(tmp_path / "a"), journal.read(tmp_path / "b"), strict=True)
    assert all(abs(one["loss"] - other["loss"]) < 1e-4 for one, other in pairs)


def test_a_state_of_other_settings_is_refused(made_up, tmp_path):
    trainer(made_up, tmp_path / "run", 2).run()
    with pytest.raises(BadSetting, match=r"other settings \(rate\)"):
        trainer(made_up, tmp_path / "run", 2, rate=5e-4).resume()


def test_only_the_latest_state_is_kept_and_an_unfinished_one_is_none(made_up, tmp_path):
    run = trainer(made_up, tmp_path / "run", 3)
    run.run(save_minutes=0)
    assert [folder.name for folder in states(tmp_path / "run")] == ["00000003"]
    (tmp_path / "run" / "states" / "00000009").mkdir()
    again = trainer(made_up, tmp_path / "run", 3)
    assert again.resume() and again.counters.step == 3


def test_frozen_parts_stay_as_they_were(made_up, tmp_path):
    run = trainer(made_up, tmp_path / "run", 2)
    before = weights(run)
    run.run()
    moved = {name for name, tensor in weights(run).items() if not torch.equal(tensor, before[name])}
    assert not any(name.startswith("model.image_encoder.backbone.stem") for name in moved)
    assert "model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix" not in moved
    assert "model.image_encoder.backbone.blocks.12.project.conv.weight" in moved


def test_the_rate_warms_up_and_falls_to_its_floor(made_up, tmp_path):
    run = trainer(made_up, tmp_path / "run", 100, warmup=10)
    assert run.share() == pytest.approx(0.1)
    run.counters.step = 50
    assert run.share() == pytest.approx(0.51)
    run.counters.step = 100
    assert run.share() == pytest.approx(0.02)


def test_the_log_goes_on_where_the_state_was(made_up, tmp_path):
    run = trainer(made_up, tmp_path / "run", 4)
    run.run()
    lines = journal.read(tmp_path / "run")
    assert lines[-1]["step"] == 4 and {"box", "click", "loss", "rate"} <= lines[-1].keys()
    with (tmp_path / "run" / journal.LOG).open("a") as log:
        log.write(json.dumps({"step": 9, "loss": 1.0}) + "\n" + '{"step": 10, "lo')
    run.journal.cut(4)
    assert [line["step"] for line in journal.read(tmp_path / "run")] == [4]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_make_sense_and_take_changes(name):
    assert recipe(name, steps=7).steps == 7


def test_the_papers_recipe_has_eleven_rounds(made_up, tmp_path):
    settings = recipe("sam", steps=9)
    task = Promptable(LiteModel("lite0", dim=32, side=64), settings)
    plan = task._plan(Sampler(load_photos([made_up], tmp_path / "c"), settings, side=64, ratio=2).batch(0, [0]))
    # the first prompt, eight clicks, and two rounds without a new point, the last one of them
    assert 1 + len(plan) == 11 and sum(plan) == 8 and not plan[-1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"masks": 3},
        {"method": "half"},
        {"precision": "int8"},
        {"rounds": ((0.5,), (1.0,))},
        {"rate": 0.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(BadSetting):
        TrainSettings(**wrong)


def test_settings_that_nobody_knows_are_refused():
    with pytest.raises(BadSetting, match="no such training setting"):
        recipe("tune", speed=3)
    with pytest.raises(BadSetting, match="the recipes are"):
        recipe("best")


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from anymask.family import lite
from anymask.train import run as running
from anymask.train.settings import Phase, TrainSettings

def fresh(name):
    torch.manual_seed(0)
    return lite.LiteModel("lite0", dim=32, side=64)

running.fresh = fresh
if __name__ == "__main__":
    settings = TrainSettings(steps={steps}, images=2, masks=2, warmup=2, method="scratch", precision="float32",
                             phases=(Phase(1.0, 64, (0.9, 1.2)),))
    job = running.Job("anymask-lite", (Path({data!r}),), Path({out!r}), settings, save_minutes=0.0,
                      pictures_every=2, cpu=True)
    torch.set_num_threads(1)
    running._work(job, None)
"""


def script(made_up: Path, out: Path, steps: int) -> list[str]:
    file = out.with_suffix(".py")
    file.write_text(RUN.format(tests=str(Path(__file__).parent), steps=steps, data=str(made_up), out=str(out)))
    return [sys.executable, str(file)]


def average(out: Path) -> dict[str, torch.Tensor]:
    return load_file(states(out)[-1] / AVERAGE)


def test_two_processes_make_the_run_of_one(made_up, tmp_path):
    alone, pair = tmp_path / "alone", tmp_path / "pair"
    done = subprocess.run(script(made_up, alone, 6), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*launch, script(made_up, pair, 6)[1]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    one, two = journal.read(alone), journal.read(pair)
    assert len(one) == len(two) > 0
    for here, there in zip(one, two, strict=True):
        assert here["step"] == there["step"] and abs(here["loss"] - there["loss"]) < 1e-4
    for name, tensor in average(alone).items():
        torch.testing.assert_close(average(pair)[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_killed_run_ends_like_one_that_was_left_alone(made_up, tmp_path):
    left, killed = tmp_path / "left", tmp_path / "killed"
    assert subprocess.run(script(made_up, left, 12), timeout=300).returncode == 0
    running = subprocess.Popen(script(made_up, killed, 12))
    while not states(killed):
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert subprocess.run(script(made_up, killed, 12), timeout=300).returncode == 0
    for name, tensor in average(left).items():
        torch.testing.assert_close(average(killed)[name], tensor, rtol=0, atol=0)
    assert [line["step"] for line in journal.read(killed)] == [line["step"] for line in journal.read(left)]
