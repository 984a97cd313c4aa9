"""One image, encoded once, and what is asked of it: single questions, or clicks that build on each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.models.interface import Embedding, Multimask, PromptModel
from anymask.models.load import load
from anymask.pixels.image import Image, ImageLike
from anymask.pixels.resize import HW
from anymask.prompts.prompts import Prompts
from anymask.prompts.steps import Points, Step, Steps
from anymask.session.answers import as_masks
from anymask.session.clicks import Clicks
from anymask.session.embeddings import MEMORY, EmbeddingCache

CHUNK = 8
"""Objects decoded at once: enough to keep the arithmetic busy, little enough for flat memory."""


@lru_cache(maxsize=2)
def named_model(name: str | None) -> PromptModel:
    """A loaded model, kept for the next caller; the model inside when no name is given."""
    return _promptable(load(name))


def _promptable(model: object) -> PromptModel:
    if not isinstance(model, PromptModel):
        raise BadSetting(f"a session needs a model that takes points, boxes or masks, got {type(model).__name__}")
    return model


class Session(Steps):
    """An image and a model, ready for prompts. The image is encoded once, here.

    image: path, bytes, PIL image, numpy HWC or torch CHW array, or an anymask Image.
    model: a loaded model or a model's name; none means the model inside.
    cache: where embeddings are kept: an EmbeddingCache, or a folder for keeping them on disk; by default in memory,
        bounded, shared by all sessions.

    `predict` is stateless. `click`, `box`, `choose` and `undo` build one mask step by step.
    """

    def __init__(
        self,
        image: ImageLike,
        model: PromptModel | str | None = None,
        *,
        cache: EmbeddingCache | str | Path | None = None,
    ) -> None:
        opened = Image.open(image)
        loaded = _loaded(model)
        self._start(opened, loaded, _cache(cache).encode([opened], loaded)[0])

    def _start(self, image: Image, model: PromptModel, embedding: Embedding) -> None:
        self.image = image
        self.model = model
        self.embedding = embedding
        self.reset()

    @classmethod
    def batch(
        cls,
        images: Sequence[ImageLike],
        model: PromptModel | str | None = None,
        *,
        cache: EmbeddingCache | str | Path | None = None,
    ) -> list[Session]:
        """One session an image, all images encoded in one pass."""
        loaded = _loaded(model)
        opened = [Image.open(image) for image in images]
        sessions = []
        for image, embedding in zip(opened, _cache(cache).encode(opened, loaded), strict=True):
            session = cls.__new__(cls)
            session._start(image, loaded, embedding)
            sessions.append(session)
        return sessions

    @property
    def size(self) -> HW:
        """(H, W) of the image in pixels."""
        return self.image.size

    # single questions

    def predict(
        self,
        points: Any = None,
        labels: Any = None,
        boxes: Any = None,
        mask: Any = None,
        multimask: bool | None = None,
    ) -> Masks:
        """Masks for one object or many; leaves the session's own state alone.

        points: [x, y], [[x, y], ...] for one object, or [[[x, y], ...], ...] for several (of any lengths).
        labels: 1 inside, 0 outside, nested like the points; left out, all are inside.
        boxes: [x0, y0, x1, y1] or [P, 4]. mask: low-res logits of an earlier answer (`Masks.logits`), or a drawn
        mask, boolean or 0/1 integers in the image's size. All coordinates are (x, y) pixels of the original image.
        multimask: three candidates (True), one (False), or by the paper's rule (None): three for a single point.

        Returns rows sorted by object (`ids`), within an object best score first. Raises BadPrompt.
        """
        return self.answer(Prompts.of(points, labels, boxes, mask, size=self.image.size), multimask)

    def answer(self, prompts: Prompts, multimask: Multimask = None) -> Masks:
        """`predict` for prompts that are already `Prompts`; with "both" the single answer comes first."""
        parts: list[Masks] = []
        for rows, group in prompts.groups():
            for start in range(0, len(rows), CHUNK):
                chunk = slice(start, start + CHUNK)
                with torch.no_grad():
                    decoded = self.model.decode(self.embedding, group[chunk], multimask=multimask)
                masks = as_masks(decoded, both=multimask == "both", image=self.image)
                parts.append(masks.replace(ids=rows[chunk][masks.ids]))
        if len(parts) == 1:
            return parts[0]
        joined = Masks.join(parts)
        return joined[np.argsort(joined.ids, kind="stable")]

    # clicks that build on each other: see Steps

    def _answer(self, points: Points, labels: tuple[int, ...], box: tuple[float, ...] | None) -> Step:
        asked = Clicks(points, labels, box, self.mask)
        answers = [self.answer(one.prompts, one.multimask) for one in asked.questions()]
        answers += [self.answer(one.prompts, one.multimask) for one in asked.more(answers)]
        candidates, note = asked.settle(answers)
        return Step(points, labels, box, candidates, 0, note)

    def __repr__(self) -> str:
        height, width = self.image.size
        return f"Session({width} x {height} px, {self.model.card.name}, {self.steps} steps)"


def _loaded(model: PromptModel | str | None) -> PromptModel:
    return named_model(model) if model is None or isinstance(model, str) else _promptable(model)


def _cache(cache: EmbeddingCache | str | Path | None) -> EmbeddingCache:
    if cache is None:
        return MEMORY
    return cache if isinstance(cache, EmbeddingCache) else EmbeddingCache(folder=cache)
