"""Training: images a second, model FLOPs utilisation, and how long a step waits for its data.

    python benchmarks/training.py [--recipe inside] [--model anymask-lite] [--data FOLDER] [--processes 1 2]
        [--loaders 0 1] [--sides 256 384 512] [--steps 12] [--json FILE]

Without --data it trains on scenes that it draws. Steps have the corrections that the recipe's have, in the same shares.
FLOPs: of the forward and the backward pass as `torch.utils.flop_counter` counts them without torch.compile, two for a
multiplication and an addition; what checkpointing computes again is not counted. Utilisation: of the largest rate that
square matrix products reach in the same processes with the same threads, in the recipe's precision (and in float32),
measured just before. Waiting: share of the time in which a step stood still for its examples; with `--loaders 1`
another process draws them ahead. Busy: share of its threads' time that a process got; far below 100%, something else
was running.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch.utils.flop_counter import FlopCounterMode

import measure
from anymask.data.scenes import draw
from anymask.train import run
from anymask.train.loop import Trainer
from anymask.train.rounds import DTYPES, Promptable
from anymask.train.sampler import Batches
from anymask.train.settings import Phase, TrainSettings, recipe

PRODUCTS = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
"""Sides of the square matrices whose product shows the peak; the fastest counts."""


def made_up(folder: Path, count: int = 32) -> Path:
    """A COCO folder of drawn scenes."""
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        batch = draw([(0, number)], 512)
        Image.fromarray(batch.images[0].numpy()).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 512, "width": 512})
        for mask in batch.visible[0].numpy():
            rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            shape = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
            annotations.append({"id": len(annotations) + 1, "image_id": number, "segmentation": shape})
    (folder / "annotations.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


def corrections(settings: TrainSettings, phase: int, steps: int) -> list[int]:
    """Numbers of corrections of so many steps of a phase, each as often as the recipe has it there."""
    begins = settings.phases[phase - 1].until if phase else 0.0
    ends = min(1.0, settings.phases[phase].until)
    early = max(0.0, min(1 / 3, ends) - begins) / (ends - begins)
    early_shares, late_shares = settings.rounds
    shares = np.zeros(max(len(early_shares), len(late_shares)))
    shares[: len(early_shares)] += early * np.array(early_shares)
    shares[: len(late_shares)] += (1 - early) * np.array(late_shares)
    # every k-th step takes what is most overdue
    counts = np.zeros(len(shares), int)
    plan = []
    for step in range(1, steps + 1):
        plan.append(int((shares * step - counts).argmax()))
        counts[plan[-1]] += 1
    return plan


def with_corrections(task: Promptable, count: int) -> None:
    """Let the next steps have so many."""
    shares = tuple(float(index == count) for index in range(count + 1))
    task.settings = replace(task.settings, rounds=(shares, shares))


def flops(job: run.Job, counts: set[int]) -> dict[int, int]:
    """Of one image's forward and backward pass, by the number of corrections."""
    plain = replace(job.settings, images=1, at_once=None, compiled=False, checkpointing=False)
    trainer, _ = run.trainer_of(replace(job, settings=plain))
    task = trainer.inner
    assert isinstance(task, Promptable)
    found = {}
    for count in sorted(counts):
        with_corrections(task, count)
        batch = trainer.batches[0]
        with FlopCounterMode(display=False) as counter:
            task(batch)[0].backward()
        found[count] = counter.get_total_flops()
        task.zero_grad()
    return found


def peak(dtype: torch.dtype, device: torch.device, seconds: float) -> float:
    """The largest rate of products of square matrices that lasts, in FLOP/s, in this process."""
    best = 0.0
    for side in PRODUCTS.get(device.type, (2048,)):
        a = torch.randn(side, side, device=device).to(dtype)
        out = torch.empty_like(a)
        torch.mm(a, a, out=out)
        _settle(device)
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - began < seconds / 2:
            start = time.perf_counter()
            torch.mm(a, a, out=out)
            _settle(device)
            times.append(time.perf_counter() - start)
        best = max(best, 2 * side**3 / statistics.median(times))
    return best


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def one_process(job: run.Job, sides: list[int], loaders: list[int], steps: int, file: Path) -> None:
    """Every side in this process, or in this one of several; the first of them writes the rows."""
    rows = []
    for side in sides:
        index, phase = phase_of(job.settings, side)
        settings = replace(job.settings, phases=(replace(phase, until=1.0, side=side if phase.side else None),))
        trainer, _ = run.trainer_of(replace(job, settings=settings))
        plan = corrections(job.settings, index, steps)
        # first the longest, then all others: what torch.compile makes is there before it is timed
        _timed(trainer, 0, [*sorted({*plan, 1}, reverse=True), max(plan)])
        device = trainer.accelerator.device
        peaks = {}
        for name in dict.fromkeys((settings.precision, "float32")):
            trainer.accelerator.wait_for_everyone()
            here = torch.tensor(peak(DTYPES[name], device, 1.5), device=device, dtype=torch.float64)
            together: Any = trainer.accelerator.reduce(here, "sum") if _processes(trainer) > 1 else here
            peaks[name] = float(together)
        for count in loaders:
            _timed(trainer, count, plan[:2])
            seconds, waited, busy = _timed(trainer, count, plan)
            rows.append(
                {
                    "side": side,
                    "processes": _processes(trainer),
                    "threads": torch.get_num_threads(),
                    "loaders": count,
                    "images a second": steps * settings.images / seconds,
                    "waiting": waited / seconds,
                    "busy": busy / seconds / torch.get_num_threads(),
                    "peaks": peaks,
                }
            )
        if trainer.accelerator.is_main_process:
            file.write_text(json.dumps(rows))
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


def _processes(trainer: Trainer) -> int:
    return int(trainer.accelerator.num_processes)


def _timed(trainer: Trainer, loaders: int, plan: list[int]) -> tuple[float, float, float]:
    """Of steps with so many corrections each: seconds, those that this process waited for examples, CPU seconds."""
    task, batches = trainer.inner, trainer.batches
    assert isinstance(task, Promptable)
    examples: Any = batches.sampler
    examples.settings = replace(examples.settings, loaders=loaders)
    drawn = Batches(examples, rank=batches.rank, processes=_processes(trainer)).starting(trainer.counters.step)
    # the first examples of a loader are late by its start
    first = next(drawn)
    drawn = _after(first, drawn)
    trainer.accelerator.wait_for_everyone()
    began, before, waited = time.perf_counter(), time.process_time(), 0.0
    for count in plan:
        with_corrections(task, count)
        waited += trainer.one_step(drawn)["wait"]
    _settle(trainer.accelerator.device)
    return time.perf_counter() - began, waited, time.process_time() - before


def _after(first: Any, rest: Any) -> Any:
    yield first
    yield from rest


def phase_of(settings: TrainSettings, side: int) -> tuple[int, Phase]:
    """The phase of frames of that side; the last one where none has it."""
    found = [(index, phase) for index, phase in enumerate(settings.phases) if phase.side == side]
    return found[0] if found else (len(settings.phases) - 1, settings.phases[-1])


def measured(job: run.Job, processes: int, sides: list[int], loaders: list[int], steps: int) -> list[dict[str, Any]]:
    """The rows of so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        if processes == 1:
            alone(one_process, job, sides, loaders, steps, file)
        else:
            run.together(one_process, (job, sides, loaders, steps, file), processes, cpu=job.cpu)
        rows: list[dict[str, Any]] = json.loads(file.read_text())
        return rows


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives in a process of its own, which leaves no threads and no state in this one."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="inside")
    parser.add_argument("--model", default="anymask-lite")
    parser.add_argument("--method", default="full")
    parser.add_argument("--data", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, help="folder for decoded photos")
    parser.add_argument("--sides", type=int, nargs="+", help="of frames; those of the recipe's phases if left out")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--loaders", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--images", type=int, help="of a step; the recipe's if left out")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    changes: dict[str, Any] = {"method": asked.method, "steps": 10**6}
    if asked.images:
        changes["images"] = asked.images
    if asked.no_compile:
        changes["compiled"] = False
    settings = recipe(asked.recipe, **changes)
    with tempfile.TemporaryDirectory() as folder:
        data = asked.data or [made_up(Path(folder) / "scenes")]
        job = run.Job(asked.model, tuple(data), Path(folder), settings, cache=asked.cache)
        sides = asked.sides or [phase.side or 0 for phase in settings.phases]
        work = {}
        for side in sides:
            index, phase = phase_of(settings, side)
            narrowed = replace(settings, phases=(replace(phase, until=1.0, side=side if phase.side else None),))
            plan = corrections(settings, index, asked.steps)
            by_count = alone(flops, replace(job, settings=narrowed), set(plan))
            work[side] = statistics.mean(by_count[count] for count in plan)
            print(f"{side} px: GFLOP an image by corrections { ({k: round(v / 1e9, 1) for k, v in by_count.items()}) }")
        rows = [
            row for processes in asked.processes for row in measured(job, processes, sides, asked.loaders, asked.steps)
        ]
    names = list(dict.fromkeys((settings.precision, "float32")))
    head = ("side", "processes", "threads", "loaders", "images/s", "waiting", "busy", "GFLOP/image", "GFLOP/s")
    lines: list[tuple[Any, ...]] = [(*head, *(f"peak {name}" for name in names), *(f"of {name}" for name in names))]
    for row in rows:
        row["FLOPs an image"] = work[row["side"]]
        rate = row["FLOPs/s"] = row["images a second"] * work[row["side"]]
        row["utilisation"] = {name: rate / row["peaks"][name] for name in names}
        lines.append(
            (
                *(row[name] for name in ("side", "processes", "threads", "loaders")),
                float(row["images a second"]),
                f"{row['waiting']:.1%}",
                f"{row['busy']:.0%}",
                round(work[row["side"]] / 1e9),
                round(rate / 1e9),
                *(round(row["peaks"][name] / 1e9) for name in names),
                *(f"{row['utilisation'][name]:.1%}" for name in names),
            )
        )
    measure.table(lines)
    found = {"recipe": asked.recipe, "model": asked.model, "images a step": settings.images, "rows": rows}
    found["machine"] = measure.machine()
    print(json.dumps(found["machine"]))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
