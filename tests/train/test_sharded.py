"""Sharded parameters: the same run as one process's, saved, taken up and exported like any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anymask.errors import BadSetting
from anymask.train import journal
from anymask.train.export import ADAPTER, WHOLE
from anymask.train.loop import AVERAGE, accelerator, states
from anymask.train.spread import Shards

RUN = """
import sys
from pathlib import Path
import torch
from anymask.family import lite, sam
from anymask.train import run as running
from anymask.train.settings import Phase, TrainSettings

def made(job):
    torch.manual_seed(0)
    model = {model}
    return model, "0" * 64

running.start = made
if __name__ == "__main__":
    settings = TrainSettings(steps=6, images=4, at_once=1, masks=2, warmup=2, rate=2e-3, encoder_rate=1.0,
                             precision="float32", method={method!r}, phases=(Phase(1.0, {side}, (0.9, 1.2)),),
                             drop_path={drop_path}, checkpointing={checkpointing})
    job = running.Job({name!r}, (Path({data!r}),), Path(sys.argv[1]), settings, save_minutes=0.0,
                      pictures_every=2, cpu=True, sharded="sharded" in sys.argv)
    torch.set_num_threads(1)
    real = running.drive
    def drive(trainer, *rest, **options):
        if "half" in sys.argv:
            step = trainer.one_step
            def one_step(drawn):
                trainer.stopping = trainer.counters.step == 2
                return step(drawn)
            trainer.one_step = one_step
        real(trainer, *rest, **options)
    running.drive = drive
    running._work(job, None)
"""
VIT = {"name": "sam-tiny-test", "model": "sam.tiny()", "side": None, "drop_path": 0.0, "checkpointing": True}
LITE = {"name": "anymask-lite", "model": 'lite.LiteModel("lite0", dim=32, side=64)', "side": 64, "drop_path": 0.0}
LITE |= {"checkpointing": False}


def launched(script: Path, out: Path, *words: str, processes: int, machines: int = 1) -> None:
    """Run the script, in several processes as a launcher starts them."""
    command = [sys.executable, str(script), str(out), *words]
    if processes > 1:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, *launch, *command[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]


def same_run(alone: Path, sharded: Path, file: str) -> None:
    one, two = journal.read(alone), journal.read(sharded)
    assert [line["step"] for line in one] == [line["step"] for line in two] and one
    for here, there in zip(one, two, strict=True):
        assert abs(here["loss"] - there["loss"]) < 1e-4 and abs(here["norm"] - there["norm"]) < 1e-3 * here["norm"]
    for name in (f"states/{states(alone)[-1].name}/{AVERAGE}", file):
        first, second = load_file(alone / name), load_file(sharded / name)
        assert first.keys() == second.keys()
        for key, tensor in first.items():
            torch.testing.assert_close(second[key], tensor, rtol=1e-3, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "method", "file"),
    [(VIT, "full", WHOLE), (LITE, "full", WHOLE), (VIT, "lora", ADAPTER)],
    ids=["vit", "lite", "lora"],
)
def test_sharded_processes_make_the_run_of_one_also_after_a_stop(made_up, tmp_path, setting, method, file):
    script = tmp_path / "train.py"
    script.write_text(RUN.format(data=str(made_up), method=method, **setting))
    alone, sharded = tmp_path / "alone", tmp_path / "sharded"
    launched(script, alone, processes=1)
    launched(script, sharded, "sharded", "half", processes=2)
    assert [folder.name for folder in states(sharded)] == ["00000003"]
    launched(script, sharded, "sharded", processes=2)
    assert sorted(file.name for file in (sharded / "pictures").iterdir()) == [f"{n:08d}.jpg" for n in (2, 4, 6)]
    if len(journal.read(alone)) < len(journal.read(sharded)):
        # the stop wrote a line of its own; the last line holds the means since then
        launched(script, tmp_path / "again", "half", processes=1)
        launched(script, tmp_path / "again", processes=1)
        alone = tmp_path / "again"
    same_run(alone, sharded, file)


def test_one_process_cannot_shard():
    with pytest.raises(BadSetting, match="several processes"):
        Shards(accelerator(cpu=True))
