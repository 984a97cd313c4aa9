"""The training loop: schedule, workers, moving average, and a state that can be taken up at any step."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from anymask.errors import BadSetting
from anymask.models.promptable import PromptableModel
from anymask.train.photos import Photos
from anymask.train.sampler import Sampler
from anymask.train.settings import TrainSettings
from anymask.train.start import groups
from anymask.train.step import Step

STATE = "state.pt"
LOG = "log.jsonl"
LOG_EVERY = 20
SMOOTHING = 0.98
FORMAT = 1


@dataclass
class Counters:
    """Where a run is. step and images count over all cycles (images over all workers); progress is of this cycle."""

    step: int = 0
    cycle_step: int = 0
    images: int = 0
    progress: float = 0.0
    seconds: float = 0.0
    cycle: int = 0
    averages: dict[str, float] = field(default_factory=dict)


class Trainer:
    """One worker's part of a run; worker 0 keeps the moving average, saves and logs.

    model: what to train, its starting weights loaded. out: folder of the run's state and log.
    """

    def __init__(
        self, model: PromptableModel, photos: Photos, out: Path, settings: TrainSettings, *, worker: int = 0
    ) -> None:
        self.model, self.out, self.settings, self.worker = model, out, settings, worker
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.sampler = Sampler(photos, seed=settings.seed, worker=worker, pasting=settings.pasting)
        self.parameters, parts = groups(model, settings)
        self.optimiser = torch.optim.AdamW(parts, lr=settings.rate, betas=(0.9, 0.98), fused=True)
        self.base_rates = [group["lr"] for group in self.optimiser.param_groups]
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        dtype = torch.bfloat16 if settings.bfloat16 else torch.float32
        self.step = Step(model, compiled=settings.compiled, dtype=dtype)
        self.counters = Counters()
        self.stopping = False
        self._flat: Tensor | None = None

    # -- state

    def state(self) -> dict[str, Any]:
        """Everything that a later run needs, of plain types and tensors."""
        names = [name for name, parameter in self.model.named_parameters() if parameter.requires_grad]
        return {
            "format": FORMAT,
            "model": self.model.state_dict(),
            "average": dict(zip(names, self.average, strict=True)),
            "optimiser": self.optimiser.state_dict(),
            "counters": asdict(self.counters),
            "settings": json.dumps(asdict(self.settings)),
        }

    def save(self) -> None:
        """Write the state, all or nothing."""
        self.out.mkdir(parents=True, exist_ok=True)
        unfinished = self.out / f"{STATE}.tmp"
        torch.save(self.state(), unfinished)
        os.replace(unfinished, self.out / STATE)

    def resume(self, *, new_cycle: bool = False) -> None:
        """Take up the state in the run's folder; new_cycle: start a new schedule from its weights."""
        state = torch.load(self.out / STATE, map_location="cpu", weights_only=True)
        if state.get("format") != FORMAT:
            raise BadSetting(f"{self.out / STATE} was written by another version; start in a new folder")
        self.model.load_state_dict(state["model"])
        for mine, theirs in zip(self.average, state["average"].values(), strict=True):
            mine.copy_(theirs)
        self.optimiser.load_state_dict(state["optimiser"])
        self.counters = Counters(**state["counters"])
        if new_cycle:
            self.counters.cycle += 1
            self.counters.cycle_step, self.counters.progress = 0, 0.0

    # -- schedule

    def rate(self) -> float:
        """The share of the base rates at this step."""
        settings, counters = self.settings, self.counters
        warm = min(1.0, (counters.cycle_step + 1) / settings.warmup)
        cosine = (1 + math.cos(math.pi * min(counters.progress, 1.0))) / 2
        return warm * (settings.floor + (1 - settings.floor) * cosine)

    def one_step(self) -> dict[str, float]:
        """Draw a batch, add its gradients, move the parameters."""
        settings, counters = self.settings, self.counters
        phase = settings.phase(counters.progress)
        if self.model.preprocess.side != phase.side:
            self.model.set_side(phase.side)  # type: ignore[operator]
        rng = np.random.default_rng((settings.seed, self.worker, counters.step, 1))
        shares = settings.corrections[0 if counters.progress < 1 / 3 else 1]
        corrections = int(rng.choice(len(shares), p=shares))
        batch = self.sampler.batch(counters.step, settings.images, settings.masks, phase.side, phase.scales)
        low, high = settings.focal
        report = self.step(batch, corrections, low + (high - low) * counters.progress, rng)
        report["norm"] = float(torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip, foreach=True))
        share = self.rate()
        for group, base in zip(self.optimiser.param_groups, self.base_rates, strict=True):
            group["lr"] = base * share
        if math.isfinite(report["norm"]):
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        counters.step += 1
        counters.cycle_step += 1
        counters.images += settings.images * settings.workers
        for name, value in report.items():
            counters.averages[name] = SMOOTHING * counters.averages.get(name, value) + (1 - SMOOTHING) * value
        return report

    # -- workers

    def _mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their mean over the workers."""
        if self.settings.workers == 1:
            return
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.settings.workers
        offset = 0
        for tensor in tensors:
            tensor.data.copy_(flat[offset : offset + tensor.numel()].view_as(tensor))
            offset += tensor.numel()

    def _moments(self) -> list[Tensor]:
        entries = (self.optimiser.state[parameter] for parameter in self.parameters)
        return [entry[name] for entry in entries if entry for name in ("exp_avg", "exp_avg_sq")]

    def run(self, tell: Callable[[Counters, float], None] | None = None) -> None:
        """Train until the cycle is over, or until `stopping` is set; the state is saved at the end.

        tell: called on worker 0 now and then with the counters and the seconds left.
        """
        settings, counters = self.settings, self.counters
        began, saved = time.monotonic(), time.monotonic()
        before, done = counters.seconds, counters.progress
        while counters.progress < 1:
            self.one_step()
            if settings.steps is not None:
                counters.progress = counters.cycle_step / settings.steps
            last = counters.progress >= 1 and settings.steps is not None
            if counters.cycle_step % settings.sync and not last:
                continue
            self._mean(self.parameters)
            decay = min(settings.average**settings.sync, (10 + counters.step) / (60 + counters.step))
            if self.worker == 0:
                torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
            now = time.monotonic()
            counters.seconds = before + now - began
            if settings.hours is not None:
                # the part still to do takes the time still planned
                counters.progress = done + (1 - done) * (now - began) / (settings.hours * 3600 * (1 - done))
            save = now - saved > settings.save_minutes * 60 or self.stopping or counters.progress >= 1
            orders = torch.tensor([counters.progress, float(save), float(self.stopping)], dtype=torch.float64)
            if settings.workers > 1:
                dist.broadcast(orders, 0)
            counters.progress = float(orders[0])
            if orders[1]:
                self._mean(self._moments())
                saved = now
                if self.worker == 0:
                    self.save()
            if self.worker == 0 and (counters.step % LOG_EVERY < settings.sync or save):
                self._log()
                if tell is not None:
                    tell(counters, (now - began) * (1 - counters.progress) / max(counters.progress - done, 1e-9))
            if orders[2]:
                break

    def _log(self) -> None:
        counters = self.counters
        line = asdict(counters) | {"rate": self.rate() * self.settings.rate, "side": self.model.preprocess.side}
        line["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / LOG).open("a") as log:
            log.write(json.dumps(line) + "\n")


def stop_on_signal(trainer: Trainer) -> None:
    """On SIGTERM or SIGINT worker 0 saves and ends after the step; the others follow it."""

    def stop(*_: object) -> None:
        trainer.stopping = trainer.worker == 0

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
