"""How many prompts are decoded at once: as many as the memory allows, fewer when it does not after all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from anymask.errors import NotEnoughMemory
from anymask.models.interface import Decoded, Embedding, PromptModel
from anymask.pixels.resize import HW
from anymask.prompts.prompts import Prompts

PROMPT_BYTES = 32 << 20
"""What a prompt takes at most while it is decoded at 64 x 64 cells of 256 channels, by the plain path."""

ON_CPU, ON_GPU = 32, 256
"""More prompts at once make nothing faster there."""


class Batches:
    """Decodes many one-point prompts in batches and remembers the size that went well.

    wanted: prompts a batch, or None for as many as a quarter of the free memory holds. total: prompts of the whole run,
    for `tell`, which is called with (answered, total) after each batch.
    """

    def __init__(
        self, model: PromptModel, wanted: int | None, total: int, tell: Callable[[int, int], None] | None = None
    ) -> None:
        self.model, self.total, self.tell = model, total, tell
        self.size = wanted or _fitting(model)
        self.answered = 0

    def decoded(
        self, embedding: Embedding, points: NDArray[np.float64], size: HW, min_score: float
    ) -> Iterator[tuple[int, Decoded]]:
        """(index of the first point, three answers for each point) for batches of points [N, 2] (x, y) px.

        size: (H, W) of the encoded image. min_score: answers that score no more are of no interest, 0 for all.
        Raises NotEnoughMemory when even a single prompt does not fit.
        """
        start = 0
        while start < len(points):
            prompts = Prompts.of(points[start : start + self.size, None], size=size)
            try:
                with torch.no_grad():
                    least = min_score if min_score > 0 else None
                    decoded = self.model.decode(embedding, prompts, multimask=True, min_score=least)
            except (MemoryError, RuntimeError) as error:
                self._fewer(error)
                continue
            yield start, decoded
            start += len(prompts)
            self.answered += len(prompts)
            if self.tell is not None:
                self.tell(self.answered, self.total)

    def skip(self, count: int) -> None:
        """So many prompts of the whole run will not be asked."""
        self.total -= count
        if count and self.tell is not None:
            self.tell(self.answered, self.total)

    def _fewer(self, error: Exception) -> None:
        """Halves the batch after running out of memory; anything else is raised again."""
        if not _is_memory(error):
            raise error
        if self.size == 1:
            raise NotEnoughMemory(
                "there is not enough memory to decode a single prompt; close other programs or take a smaller model"
            ) from error
        self.size = max(1, self.size // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _is_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out; on a CPU torch says so in words only."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "not enough memory" in str(error)


def _fitting(model: PromptModel) -> int:
    device = torch.device(getattr(model, "device", "cpu"))
    most = ON_CPU if device.type == "cpu" else ON_GPU
    free = free_memory(device)
    return most if free is None else int(min(most, max(1, free // 4 // PROMPT_BYTES)))


def free_memory(device: torch.device) -> int | None:
    """Bytes that a device can still give, None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
