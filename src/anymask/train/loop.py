"""The training loop: one for every task, every member and any number of processes.

A task is a module whose forward pass turns a batch into (loss, report). Gradients are averaged over the processes and
over the accumulated parts of a step, so the same run gives the same weights however it is shared out, up to the order
of sums. How parameters lie on the processes, copied or sharded, is the matter of `spread.py`.
"""

from __future__ import annotations

import functools
import json
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from anymask import extras
from anymask.errors import BadSetting
from anymask.train.journal import Journal
from anymask.train.sampler import Batches, Examples
from anymask.train.settings import TrainSettings
from anymask.train.spread import Copies, Spread, complete

if TYPE_CHECKING:
    from accelerate import Accelerator

STATES = "states"
AVERAGE = "average.safetensors"
COUNTERS = "counters.json"
FORMAT = 2
LOG_EVERY = 20
PATIENCE = timedelta(hours=3)
"""How long processes wait for each other."""


@dataclass
class Counters:
    """Where a run is: steps done and left, examples seen, seconds of running, and the latest means of the report."""

    step: int = 0
    left: int = 0
    images: int = 0
    seconds: float = 0.0
    means: dict[str, float] = field(default_factory=dict)


Tell = Callable[[Counters, float], None]
"""Called on the main process with the counters and the seconds that are left."""


def accelerator(precision: str = "float32", *, cpu: bool = False) -> Accelerator:
    """Accelerate's view of this process: its device, its rank, and how gradients are averaged.

    precision: only float16 needs it, for scaled gradients; bfloat16 is the tasks' own autocast.
    Raises BadSetting where a launcher asks accelerate to shard by itself (see `spread.asked_by_launcher`).
    """
    library = extras.need("accelerate", extra="train", to="train")
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise BadSetting("this command cannot shard its parameters; start it without --use_fsdp")
    # which parameters take part depends on the step: without corrections nothing reads earlier logits
    ddp = library.utils.DistributedDataParallelKwargs(find_unused_parameters=True)
    # one process of a machine decodes the photos while the others wait; the dead are noticed by the launcher
    patient = library.utils.InitProcessGroupKwargs(timeout=PATIENCE)
    mixed = "fp16" if precision == "float16" else "no"
    found: Accelerator = library.Accelerator(mixed_precision=mixed, cpu=cpu, kwargs_handlers=[ddp, patient])
    return found


class Trainer:
    """One process's part of a run; the main process writes and logs.

    task: what to train, starting weights loaded. groups: optimiser groups of its parameters. examples: what draws them
    by number. out: folder of states and log. spread: how parameters lie on the processes; copied to each if left out.
    """

    def __init__(
        self,
        task: nn.Module,
        groups: Sequence[dict[str, Any]],
        examples: Examples,
        out: Path,
        settings: TrainSettings,
        accelerator: Accelerator,
        spread: Spread | None = None,
    ) -> None:
        self.out, self.settings, self.accelerator = out, settings, accelerator
        self.batches = Batches(examples, rank=accelerator.process_index, processes=accelerator.num_processes)
        if not any(parameter.requires_grad for parameter in task.parameters()):
            raise BadSetting("nothing in this model is left to train; choose another method")
        self.rates = [group["lr"] for group in groups]
        adam = functools.partial(torch.optim.AdamW, lr=settings.rate, betas=settings.betas, fused=True)
        self.spread = spread or Copies(accelerator)
        self.task, self.optimiser = self.spread.prepare(task, groups, adam)
        self.inner: nn.Module = task
        self.named = {name: p for name, p in task.named_parameters() if p.requires_grad}
        self.average = {name: p.detach().clone() for name, p in self.named.items()}
        self.counters = Counters()
        self.stopping = False
        self.journal = Journal(out) if accelerator.is_main_process else None

    # -- state

    def save(self) -> None:
        """Write the state, all or nothing; older ones go when the new one is complete."""
        folder = self.out / STATES
        unfinished, done = folder / "unfinished", folder / f"{self.counters.step:08d}"
        if self.accelerator.is_main_process and not done.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        if done.exists():
            return
        self.spread.save(unfinished)
        average = self.spread.whole(self.average)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            save_file(average, unfinished / AVERAGE)
            document = {"format": FORMAT, "counters": asdict(self.counters), "settings": asdict(self.settings)}
            document["sharded"] = self.spread.sharded
            (unfinished / COUNTERS).write_text(json.dumps(document))
            unfinished.rename(done)
            for old in states(self.out)[:-1]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def resume(self) -> bool:
        """Take up the latest state in the run's folder; False where there is none.

        Raises BadSetting for a state of other settings: their run would be neither the one nor the other.
        """
        found = states(self.out)
        if not found:
            return False
        document = json.loads((found[-1] / COUNTERS).read_text())
        if document["format"] != FORMAT:
            raise BadSetting(f"{found[-1]} was written by another version; start in a new folder")
        mine = json.loads(json.dumps(asdict(self.settings)))
        other = [name for name, value in document["settings"].items() if mine.get(name) != value]
        # how the work is shared out and computed may change between stops
        other = sorted(set(other) - {"at_once", "loaders", "compiled", "checkpointing"})
        if other:
            raise BadSetting(f"the run in {self.out} has other settings ({', '.join(other)}); start in a new folder")
        if document.get("sharded", False) != self.spread.sharded:
            how = "without" if self.spread.sharded else "with"
            raise BadSetting(f"the state in {self.out} was written {how} --sharded; go on {how} it")
        self.spread.load(found[-1])
        self.spread.fill(self.average, found[-1] / AVERAGE)
        self.counters = Counters(**document["counters"])
        if self.journal is not None:
            self.journal.cut(self.counters.step)
        return True

    # -- steps

    def share(self) -> float:
        """The share of the base rates at this step."""
        settings, step = self.settings, self.counters.step
        warm = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
        cosine = (1 + math.cos(math.pi * step / settings.steps)) / 2
        return warm * (settings.floor + (1 - settings.floor) * cosine)

    def one_step(self, drawn: Any) -> dict[str, float]:
        """Take the parts of a step from the batches, add their gradients, move the parameters; the mean report.

        Beside what the task reports: "norm" of the gradients, and "wait", the seconds this process waited for data.
        """
        settings, counters, accelerator = self.settings, self.counters, self.accelerator
        parts = self.batches.parts
        # dropped paths are drawn anew each step, and alike after a resume
        torch.manual_seed(hash((settings.seed, counters.step, accelerator.process_index)) % 2**62)
        reports = []
        waited = 0.0
        for part in range(parts):
            last = part == parts - 1
            asked = time.perf_counter()
            batch = next(drawn)
            waited += time.perf_counter() - asked
            if last:
                loss, report = self.task(batch)
                accelerator.backward(loss / parts)
            else:
                with self.spread.part(self.task):
                    loss, report = self.task(batch)
                    accelerator.backward(loss / parts)
            reports.append(report)
        norm = complete(accelerator.clip_grad_norm_(self.named.values(), settings.clip))
        share = self.share()
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        report = self._mean(reports) | {"norm": float(norm), "wait": waited}
        if math.isfinite(report["norm"]) or accelerator.scaler is not None:
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        counters.step += 1
        counters.left = settings.steps - counters.step
        counters.images += settings.images
        # young averages follow quickly, else the random start weighs for thousands of steps
        decay = min(settings.average, (10 + counters.step) / (60 + counters.step))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in self.named.values()], 1 - decay)
        return report

    def _mean(self, reports: Sequence[dict[str, float]]) -> dict[str, float]:
        """The mean over parts and processes."""
        names = sorted(set().union(*reports))
        values = [sum(report[name] for report in reports) / len(reports) for name in names]
        together = torch.tensor(values, device=self.accelerator.device, dtype=torch.float32)
        if self.accelerator.num_processes > 1:
            reduced = self.accelerator.reduce(together, "mean")
            assert isinstance(reduced, Tensor)
            together = reduced
        return dict(zip(names, together.tolist(), strict=True))

    def run(
        self,
        *,
        tell: Tell | None = None,
        hours: float | None = None,
        save_minutes: float = 5.0,
        watch: Callable[[int], None] | None = None,
        watch_every: int = 0,
    ) -> bool:
        """Train to the end, or until `hours` of running have passed or `stopping` is set; the state is saved then.

        watch: called with the step every `watch_every` steps, for pictures; given to the main process alone unless
        parameters are sharded, which takes all processes to look at.
        Returns whether the run is complete.
        """
        settings, counters = self.settings, self.counters
        began = saved = time.monotonic()
        before, first = counters.seconds, counters.step
        drawn = self.batches.starting(counters.step)
        sums: dict[str, list[float]] = {}
        while counters.step < settings.steps:
            report = self.one_step(drawn)
            for name, value in report.items():
                sums.setdefault(name, []).append(value)
            now = time.monotonic()
            counters.seconds = before + now - began
            stop = self.stopping or (hours is not None and now - began > hours * 3600)
            end = counters.step >= settings.steps
            save, stop = self._agreed(now - saved > save_minutes * 60 or stop or end, stop)
            if counters.step % LOG_EVERY == 0 or stop or end:
                counters.means = {name: sum(values) / len(values) for name, values in sums.items()}
                sums.clear()
                if self.journal is not None:
                    share = self.share()
                    self.journal.write(counters, {"rate": share * settings.rate, "side": self._side()})
                if tell is not None and self.accelerator.is_main_process:
                    left = (now - began) / (counters.step - first) * (settings.steps - counters.step)
                    tell(counters, left)
            if save:
                self.save()
                saved = time.monotonic()
            # no barrier: only the main process draws, and the others meet it again in the next step's gradients
            if watch is not None and watch_every and (counters.step % watch_every == 0 or end):
                watch(counters.step)
            if stop:
                break
        return counters.step >= settings.steps

    def _side(self) -> int:
        return int(
            self.settings.phase(max(0, self.counters.step - 1) / self.settings.steps).side or self.batches.sampler.side
        )

    def _agreed(self, *wishes: bool) -> list[bool]:
        """What the main process wishes; the others follow it, so that all stop and save after the same step."""
        if self.accelerator.num_processes == 1:
            return list(wishes)
        orders = torch.tensor([float(wish) for wish in wishes], device=self.accelerator.device)
        torch.distributed.broadcast(orders, 0)
        return [bool(order) for order in orders]


def states(out: Path) -> list[Path]:
    """The complete states of a run, oldest first."""
    return sorted(folder for folder in (out / STATES).glob("[0-9]*") if (folder / COUNTERS).is_file())


def stop_on_signal(trainer: Trainer) -> None:
    """On SIGTERM or SIGINT the main process saves and ends after the step; the others follow it."""

    def stop(*_: object) -> None:
        trainer.stopping = trainer.accelerator.is_main_process

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
