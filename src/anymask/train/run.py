"""A whole run: one process a core, each with its own trainer, averaging as they go."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from anymask.errors import BadSetting
from anymask.models.catalogue import card
from anymask.models.promptable import PromptableModel
from anymask.train.loop import STATE, Counters, Trainer, stop_on_signal
from anymask.train.photos import load_photos
from anymask.train.settings import TrainSettings
from anymask.train.start import start_backbone

Tell = Callable[[Counters, float], None]


def train(
    model: str,
    data: Sequence[Path],
    out: Path,
    settings: TrainSettings,
    *,
    cache: Path | None = None,
    new_cycle: bool = False,
    tell: Tell | None = None,
) -> None:
    """Train a model on COCO folders; a state in `out` is taken up.

    new_cycle: raise the rate again and begin a new schedule from the state's weights.
    Raises BadSetting for data or models that cannot be trained.
    """
    if new_cycle and not (out / STATE).is_file():
        raise BadSetting(f"there is no state in {out} to begin a new cycle from")
    cache = cache or out / "cache"
    load_photos(data, cache)
    if settings.workers == 1:
        _work(0, model, data, out, settings, cache, new_cycle, "", tell)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        arguments = (model, data, out, settings, cache, new_cycle, meeting, tell)
        start_processes(_work, arguments, settings.workers, start_method="spawn")  # type: ignore[no-untyped-call]


def _work(
    worker: int,
    name: str,
    data: Sequence[Path],
    out: Path,
    settings: TrainSettings,
    cache: Path,
    new_cycle: bool,
    meeting: str,
    tell: Tell | None,
) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # one graph for each frame side and round kind, and a few spare
    torch._dynamo.config.recompile_limit = 64
    torch._dynamo.config.accumulated_recompile_limit = 512
    if settings.workers > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group("gloo", init_method=meeting, rank=worker, world_size=settings.workers)
    try:
        torch.manual_seed(settings.seed)
        trainer = Trainer(fresh(name), load_photos(data, cache), out, settings, worker=worker)
        if (out / STATE).is_file():
            trainer.resume(new_cycle=new_cycle)
        stop_on_signal(trainer)
        trainer.run(tell)
    finally:
        if settings.workers > 1:
            dist.destroy_process_group()


def fresh(name: str) -> PromptableModel:
    """A model to start from: random but for its ImageNet backbone."""
    build = card(name).build
    model = build() if build is not None else None
    if not isinstance(model, PromptableModel) or not hasattr(model.image_encoder, "backbone"):
        raise BadSetting(f"{name} cannot be trained yet; anymask-lite can")
    start_backbone(model.image_encoder.backbone)  # type: ignore[arg-type]
    return model
