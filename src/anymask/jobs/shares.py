"""How a machine is divided among workers."""

from __future__ import annotations

from pathlib import Path

import torch

from anymask.errors import BadSetting
from anymask.jobs.pool import cores
from anymask.jobs.settings import Shares
from anymask.models.card import Card
from anymask.session.batches import ON_CPU, ON_GPU, PROMPT_BYTES, free_memory

EACH = 1 << 30
"""Bytes that a worker takes besides the weights: libraries, a photo of 12 megapixels, its embedding and candidates."""


def divided(card: Card, device: torch.device, images: int, workers: int | None = None) -> tuple[int, Shares]:
    """(workers, what each gets): one a core as far as memory reaches, one a GPU; never more than images.

    workers: so many, whatever the machine. Raises BadSetting for fewer than one.
    """
    if workers is not None and workers < 1:
        raise BadSetting(f"there is no work without workers; got {workers}")
    memory = available()
    # the weights once as read and once in the network
    need = EACH + 8 * card.parameters
    if workers is None:
        if device.type == "cuda":
            workers = torch.cuda.device_count() if device.index is None else 1
        elif device.type == "cpu":
            workers = cores() if memory is None else min(cores(), memory // need)
        else:
            workers = 1
        workers = max(1, min(workers, images))
    threads = max(1, cores() // workers)
    if device.type != "cpu":
        return workers, Shares(threads, ON_GPU)
    room = ON_CPU if memory is None else memory // workers // 4 // PROMPT_BYTES
    return workers, Shares(threads, int(max(1, min(ON_CPU, room))))


def device_of(device: torch.device, worker: int) -> str:
    """The device of worker n: GPUs in turn, unless one was named."""
    if device.type == "cuda" and device.index is None:
        return f"cuda:{worker % max(1, torch.cuda.device_count())}"
    return str(device)


def available() -> int | None:
    """Bytes of memory that are free here, also by the limit of a container; None where the system does not say."""
    free = free_memory(torch.device("cpu"))
    try:
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text("ascii").strip()
        if limit != "max":
            left = max(0, int(limit) - int((group / "memory.current").read_text("ascii")))
            free = left if free is None else min(free, left)
    except (OSError, ValueError):
        pass
    return free
