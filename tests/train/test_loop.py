"""The loop: learns, stops and goes on as if it had never stopped, and exports what it averaged."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from anymask.errors import BadSetting
from anymask.family.lite import LiteModel
from anymask.train.export import export
from anymask.train.loop import LOG, STATE, Trainer
from anymask.train.photos import load_photos
from anymask.train.sampler import Sampler
from anymask.train.settings import Phase, TrainSettings
from anymask.train.start import groups
from anymask.train.step import Step

PLAIN = {"compiled": False, "bfloat16": False, "images": 1, "masks": 2}


def settings(steps: int, **more) -> TrainSettings:
    phases = (Phase(0.5, 64, (0.9, 1.2)), Phase(1.0, 96, (0.9, 1.2)))
    return TrainSettings(steps=steps, phases=phases, warmup=2, **PLAIN, **more)


def trainer(made_up, out, steps, **more) -> Trainer:
    torch.manual_seed(0)
    photos = load_photos([made_up], out.parent / "cache")
    return Trainer(LiteModel("lite0", dim=32, side=64), photos, out, settings(steps, **more))


def test_a_small_model_learns_one_picture(made_up, tmp_path):
    torch.manual_seed(0)
    model = LiteModel("lite0", dim=32, side=64)
    sampler = Sampler(load_photos([made_up], tmp_path / "cache"), pasting=0.0)
    batch = sampler.batch(1, 1, 4, 64, (0.9, 1.1))
    step = Step(model, compiled=False, dtype=torch.float32)
    parameters, _ = groups(model, settings(1))
    optimiser = torch.optim.AdamW(parameters, lr=3e-3)
    for index in range(75):
        report = step(batch, 1, 5.0, np.random.default_rng(index))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
    assert report["box"] > 0.95 and report["click"] > 0.9 and report["last"] > 0.95


def test_a_stopped_run_ends_like_one_that_never_stopped(made_up, tmp_path):
    whole = trainer(made_up, tmp_path / "whole", 8, sync=2)
    whole.run()

    first = trainer(made_up, tmp_path / "parts", 8, sync=2)
    first.step = _stop_after(first, 4)
    first.run()
    assert first.counters.step == 4
    second = trainer(made_up, tmp_path / "parts", 8, sync=2)
    second.resume()
    second.run()

    assert second.counters.step == whole.counters.step == 8
    assert second.model.preprocess.side == 96
    for name, tensor in whole.state()["average"].items():
        torch.testing.assert_close(second.state()["average"][name], tensor, rtol=0, atol=0)
    for name, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], tensor, rtol=0, atol=0)


def _stop_after(run: Trainer, steps: int):
    real = run.step

    def step(*args):
        run.stopping = run.counters.step + 1 >= steps
        return real(*args)

    return step


def test_a_new_cycle_starts_at_the_top_rate_from_the_old_weights(made_up, tmp_path):
    run = trainer(made_up, tmp_path / "run", 4)
    run.run()
    assert run.rate() == pytest.approx(0.02)
    again = trainer(made_up, tmp_path / "run", 4)
    again.resume(new_cycle=True)
    assert again.counters.step == 4 and again.counters.cycle == 1 and again.counters.progress == 0
    # the first of two warm-up steps
    assert again.rate() == pytest.approx(0.5)
    again.run()
    assert again.counters.step == 8


def test_frozen_parts_stay_as_they_were(made_up, tmp_path):
    run = trainer(made_up, tmp_path / "run", 2)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.run()
    moved = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not any(name.startswith("image_encoder.backbone.stem") for name in moved)
    assert "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix" not in moved
    assert "image_encoder.backbone.blocks.12.project.conv.weight" in moved


def test_the_log_has_a_line_with_where_the_run_is(made_up, tmp_path):
    trainer(made_up, tmp_path / "run", 4).run()
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert lines[-1]["step"] == 4 and {"box", "click", "loss"} <= lines[-1]["averages"].keys()


def test_the_export_is_half_precision_and_says_what_it_is(made_up, tmp_path):
    run = trainer(made_up, tmp_path / "run", 4)
    run.run()
    file = tmp_path / "weights.safetensors"
    export(tmp_path / "run" / STATE, file, model="anymask-lite", data="shapes", licence="made up")
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    assert header["model"] == "anymask-lite" and header["step"] == "4" and header["licence"] == "made up"
    assert tensors.keys() == run.model.state_dict().keys()
    name = "mask_decoder.iou_prediction_head.layers.0.weight"
    assert tensors[name].dtype == torch.float16
    torch.testing.assert_close(tensors[name].float(), run.state()["average"][name], rtol=1e-3, atol=1e-4)


def test_nothing_is_exported_without_a_state(tmp_path):
    with pytest.raises(BadSetting, match="no state"):
        export(tmp_path / STATE, tmp_path / "w", model="anymask-lite", data="", licence="")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"steps": 1, "hours": 1.0},
        {"steps": 0},
        {"hours": -1.0},
        {"steps": 1, "masks": 3},
        {"steps": 1, "workers": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(BadSetting):
        TrainSettings(**wrong)
