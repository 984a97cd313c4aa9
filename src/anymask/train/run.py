"""A whole run: the model, the data, one process a core or card, and what is written at the end."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.multiprocessing.spawn import start_processes

from anymask.errors import BadSetting
from anymask.models.catalogue import card
from anymask.models.digest import digest
from anymask.models.load import begun, load, locate
from anymask.models.promptable import PromptableModel
from anymask.train import export, report
from anymask.train.clips import ClipSampler
from anymask.train.filmed import Filmed, load_clips
from anymask.train.flat import Reading
from anymask.train.loop import Tell, Trainer, accelerator, stop_on_signal
from anymask.train.photos import Photos, load_photos
from anymask.train.pictures import Watch
from anymask.train.rounds import Promptable
from anymask.train.sampler import Sampler
from anymask.train.settings import Method, TrainSettings
from anymask.train.spread import Copies, Shards, asked_by_launcher
from anymask.train.start import prepare, start_backbone
from anymask.train.video import Followed

BESIDE = "beside"
"""In a run's folder: the digest of the weights that a memory is trained beside."""


@dataclass(frozen=True)
class Job:
    """What to train on what, and where to write it.

    model: name of a card. weights: a file to start from; the card's own if left out. data: paths of sets.
    kind: their layout, recognised if left out. clips: paths of filmed clips with masks, for the method "memory".
    hours: stop after so much running; the state stays. cache: folder for decoded photos. licence: of the data, kept in
    the written file. half: write the whole model in float16. pictures_every: steps between pictures of answers, 0 for
    none. cpu: even where there is a GPU.
    """

    model: str
    data: tuple[Path, ...]
    out: Path
    settings: TrainSettings
    weights: Path | None = None
    hours: float | None = None
    save_minutes: float = 5.0
    cache: Path | None = None
    kind: str | None = None
    licence: str = ""
    half: bool = False
    pictures_every: int = 0
    sharded: bool = False
    cpu: bool = field(default_factory=lambda: not torch.cuda.is_available())
    clips: tuple[Path, ...] = ()

    def photos(self, tell: Reading | None = None) -> Photos | None:
        """The photos, decoded at the first call, see `load_photos`; None for a run on filmed clips alone."""
        memory = self.settings.method == "memory"
        if self.clips and not memory:
            raise BadSetting("filmed clips are for the method 'memory'; others are trained on photos")
        if not self.data:
            if not self.clips:
                raise BadSetting("name photos to train on" + (", or filmed clips" if memory else ""))
            return None
        return load_photos(self.data, self._cache, self.kind, tell)

    def filmed(self, tell: Reading | None = None) -> Filmed | None:
        """The filmed clips, decoded at the first call, see `load_clips`; None where there are none."""
        return load_clips(self.clips, self._cache, tell) if self.clips else None

    @property
    def _cache(self) -> Path:
        return self.cache or self.out / "cache"


def train(job: Job, *, processes: int = 1, tell: Tell | None = None, reading: Reading | None = None) -> Path | None:
    """Train; a state in the run's folder is taken up. The written file, or None where the run is not complete yet.

    processes: on this machine. A launcher (torchrun, accelerate launch) that started this one among others is found by
    its environment, and then starts them itself. reading: called while photos are decoded for the first time.
    Raises BadSetting for data or models that cannot be trained.
    """
    launched = "WORLD_SIZE" in os.environ
    if launched and processes > 1:
        raise BadSetting("the launcher has started the processes already; leave out their number here")
    job.settings.part(int(os.environ.get("WORLD_SIZE", processes)))
    if not launched:
        # what is wrong with the data is said here, not by one process of many
        job.photos(reading)
        job.filmed(reading)
    if processes == 1:
        _work(job, tell)
    else:
        together(_work, (job, tell), processes, cpu=job.cpu)
    written = job.out / _file(job.settings.method)
    return written if written.is_file() else None


def _file(method: Method) -> str:
    if method == "memory":
        return export.MEMORY
    return export.ADAPTER if method in ("decoder", "lora") else export.WHOLE


def together(work: Callable[..., None], arguments: tuple[Any, ...], processes: int, *, cpu: bool) -> None:
    """Run work(*arguments) in so many processes of this machine that find each other as a launcher's do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(_spawned, (work, arguments, processes, port, cpu), processes, start_method="spawn")  # type: ignore[no-untyped-call]


def _spawned(
    rank: int, work: Callable[..., None], arguments: tuple[Any, ...], processes: int, port: int, cpu: bool
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if cpu:
        # two processes of two threads each on two cores wait for each other most of the time
        torch.set_num_threads(
            max(1, len(os.sched_getaffinity(0)) // processes if hasattr(os, "sched_getaffinity") else 1)
        )
    work(*arguments)


def _work(job: Job, tell: Tell | None) -> None:
    trainer, base = trainer_of(job)
    task = trainer.inner
    assert isinstance(task, (Promptable, Followed))
    sees = trainer.accelerator.is_main_process or trainer.spread.sharded
    watch = Watch(trainer, task) if isinstance(task, Promptable) and sees and job.pictures_every else None
    drive(
        trainer,
        lambda: write(job, task.model, base),
        about(job),
        tell=tell,
        hours=job.hours,
        save_minutes=job.save_minutes,
        watch=watch,
        watch_every=job.pictures_every,
    )


def trainer_of(job: Job) -> tuple[Trainer, str]:
    """This process's trainer, at the run's beginning, and the digest of the weights it starts from."""
    settings = job.settings
    cv2.setNumThreads(1)
    # one graph for each frame side and round kind, and a few spare
    torch._dynamo.config.recompile_limit = 64
    torch._dynamo.config.accumulated_recompile_limit = 512
    torch.manual_seed(settings.seed)
    model, base = start(job)
    groups = prepare(model, settings)
    sharded = asked_by_launcher() or job.sharded
    here = accelerator(settings.precision, cpu=job.cpu)
    with here.local_main_process_first():
        # decoded by one process of a machine, mapped by the others
        photos, filmed = job.photos(), job.filmed()
    spread = Shards(here) if sharded else Copies(here)
    if settings.method == "memory":
        if here.is_main_process:
            _same_beside(job)
        side = model.preprocess.side
        clips = ClipSampler(photos, filmed, settings, side=side, ratio=ratio_of(model), pad=pad_of(model))
        return Trainer(Followed(model, settings), groups, clips, job.out, settings, here, spread), base
    assert photos is not None
    sampler = Sampler(photos, settings, side=model.preprocess.side, ratio=ratio_of(model), pad=pad_of(model))
    return Trainer(Promptable(model, settings), groups, sampler, job.out, settings, here, spread), base


def drive(trainer: Trainer, finish: Callable[[], object], about: Mapping[str, str], **options: Any) -> None:
    """Take up a run, train until its end or until it is stopped, and write what it has come to.

    finish: writes the weights of a complete run. about: what is trained on what. options: of `Trainer.run`.
    """
    here = trainer.accelerator
    trainer.resume()
    stop_on_signal(trainer)
    done = trainer.run(**options)
    if here.is_main_process:
        if done:
            finish()
        report.write(trainer.out, trainer.settings, about)
    here.wait_for_everyone()
    here.end_training()


def write(job: Job, model: PromptableModel, base: str) -> Path:
    """The run's result as a file that `anymask.load` takes."""
    if job.settings.method == "memory":
        return export.memory(job.out, job.out / export.MEMORY, base=digest_beside(job.model), header=about(job))
    if job.settings.method in ("decoder", "lora"):
        return export.adapter(job.out, job.out / export.ADAPTER, name=job.model, base=base)
    return export.whole(model, job.out, job.out / export.WHOLE, header=about(job), half=job.half)


def _same_beside(job: Job) -> None:
    """Notes the weights that a memory is trained beside. Raises BadSetting where the run has begun beside others."""
    kept, now = job.out / BESIDE, digest_beside(job.model)
    if kept.is_file() and kept.read_text() != now:
        raise BadSetting(
            f"the run in {job.out} was begun beside other weights of {card(job.model).base} than those here; "
            "start in a new folder"
        )
    job.out.mkdir(parents=True, exist_ok=True)
    kept.write_text(now)


def digest_beside(name: str) -> str:
    """Of the weights that a model with a memory holds as well, see `Card.base`."""
    return digest(locate(card(card(name).base)))


def about(job: Job) -> dict[str, str]:
    """What is trained on what, for the report and the header of the weights."""
    return {"model": job.model, "data": ", ".join(sorted(p.name for p in job.data + job.clips)), "licence": job.licence}


def start(job: Job) -> tuple[PromptableModel, str]:
    """The model that the run starts from, on the CPU, and the digest of its weights.

    Raises BadSetting for models that cannot be trained so.
    """
    if job.settings.method == "scratch":
        if job.weights is not None:
            raise BadSetting("a run from scratch takes no weights; choose the method 'full' to start from some")
        return fresh(job.model), "random"
    memory = job.settings.method == "memory"
    if memory and not card(job.model).base:
        raise BadSetting(f"{job.model} has no memory to train beside weights for pictures; use anymask-lite-video")
    anew = memory and job.settings.anew and job.weights is None
    model = begun(card(job.model)) if anew else load(job.model, weights=job.weights, device="cpu")
    if not isinstance(model, PromptableModel):
        raise BadSetting(f"{job.model} answers no points and boxes, so this command cannot train it")
    if model.weights == "random":
        raise BadSetting(f"{job.model} has no trained weights to start from; name some, or train from scratch")
    if any(phase.side for phase in job.settings.phases) and not hasattr(model, "set_side"):
        raise BadSetting(f"{job.model} works at {model.preprocess.side} px only; use phases without a side")
    return model, model.weights


def fresh(name: str) -> PromptableModel:
    """A model to start from: random but for its ImageNet backbone, where it has one."""
    build = card(name).build
    model = build() if build is not None else None
    if not isinstance(model, PromptableModel):
        raise BadSetting(f"{name} cannot be trained from scratch")
    if hasattr(model.image_encoder, "backbone"):
        start_backbone(model.image_encoder.backbone)  # type: ignore[arg-type]
    return model


def ratio_of(model: PromptableModel) -> int:
    """Pixels of the frame's side a pixel of the answers."""
    return model.preprocess.side // model.prompt_encoder.mask_size[0]


def pad_of(model: PromptableModel) -> tuple[int, int, int]:
    """The colour of a frame where there is no photo: what normalising turns into zero."""
    if model.preprocess.normalise == "min-max":
        return 0, 0, 0
    red, green, blue = (round(value) for value in model.preprocess.mean)
    return red, green, blue
