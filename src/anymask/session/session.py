"""One image, encoded once, and what is asked of it: single questions, or clicks that build on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anymask.errors import BadPrompt, BadSetting
from anymask.masks.masks import Masks
from anymask.models.interface import Embedding, PromptModel
from anymask.models.load import load
from anymask.pixels.image import Image, ImageLike
from anymask.prompts.prompts import Prompts
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


@dataclass(frozen=True)
class _Step:
    """A point in the life of a session: what was pointed at, and the answers to it."""

    points: tuple[tuple[float, ...], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, ...] | None = None
    candidates: Masks | None = None
    chosen: int = 0
    note: str = ""


class Session:
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
        self._steps = [_Step()]

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

    def answer(self, prompts: Prompts, multimask: bool | None = None) -> Masks:
        """`predict` for prompts that are already `Prompts`."""
        parts: list[Masks] = []
        for rows, group in prompts.groups():
            for start in range(0, len(rows), CHUNK):
                chunk = slice(start, start + CHUNK)
                with torch.no_grad():
                    decoded = self.model.decode(self.embedding, group[chunk], multimask=multimask)
                masks = as_masks(decoded, image=self.image)
                parts.append(masks.replace(ids=rows[chunk][masks.ids]))
        if len(parts) == 1:
            return parts[0]
        joined = Masks.join(parts)
        return joined[np.argsort(joined.ids, kind="stable")]

    # clicks that build on each other

    @property
    def candidates(self) -> Masks:
        """The alternatives of the last step, best first; row 0 of a first click is not always what was meant."""
        return self._now.candidates if self._now.candidates is not None else Masks(self.image.size, [])

    @property
    def mask(self) -> Masks:
        """The mask as it stands: one row, or none before the first prompt."""
        candidates = self.candidates
        return candidates[[self._now.chosen]] if len(candidates) else candidates

    @property
    def note(self) -> str:
        """Empty, or a sentence when the last step could not do what it was asked to."""
        return self._now.note

    @property
    def steps(self) -> int:
        """How many steps `undo` can take back."""
        return len(self._steps) - 1

    def click(self, x: float, y: float, inside: bool = True) -> Masks:
        """Adds a click, at (x, y) in pixels, that belongs to the object (inside) or does not.

        The logits of the mask as it stands are fed back. The answer agrees with at least as many clicks as the mask
        before it did; where no new candidate does, the mask is kept and `note` says so.
        """
        if not isinstance(inside, (bool, int, np.bool_)) or inside not in (0, 1):
            raise BadPrompt(f"inside is True or False, got {inside!r:.40}")
        now = self._now
        points, labels = (*now.points, _floats(x, y)), (*now.labels, int(inside))
        if not any(labels) and now.box is None:
            raise BadPrompt("the first click must be inside the object; a click outside takes away from a mask")
        return self._ask(points, labels, now.box)

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Masks:
        """Sets the box around the object, XYXY in pixels; it replaces an earlier one, clicks stay."""
        return self._ask(self._now.points, self._now.labels, _floats(x0, y0, x1, y1))

    def choose(self, index: int) -> Masks:
        """Takes another of the `candidates`; later clicks refine that one. Can be undone."""
        count = len(self.candidates)
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < count:
            raise BadSetting(f"there are {count} candidates, numbered from 0; got {index!r:.40}")
        index = int(index)
        now = self._now
        self._steps.append(_Step(now.points, now.labels, now.box, now.candidates, index))
        return self.mask

    def undo(self) -> Masks:
        """Takes the last step back; does nothing at the start."""
        if len(self._steps) > 1:
            self._steps.pop()
        return self.mask

    def reset(self) -> None:
        """Back to no prompts at all."""
        self._steps = [_Step()]

    @property
    def _now(self) -> _Step:
        return self._steps[-1]

    def _ask(
        self,
        points: tuple[tuple[float, ...], ...],
        labels: tuple[int, ...],
        box: tuple[float, ...] | None,
    ) -> Masks:
        asked = Clicks(points, labels, box, self.mask)
        answers = [self.answer(one.prompts, one.multimask) for one in asked.questions()]
        candidates, note = asked.settle(answers)
        self._steps.append(_Step(points, labels, box, candidates, 0, note))
        return self.mask

    def __repr__(self) -> str:
        height, width = self.image.size
        return f"Session({width} x {height} px, {self.model.card.name}, {self.steps} steps)"


def _loaded(model: PromptModel | str | None) -> PromptModel:
    return named_model(model) if model is None or isinstance(model, str) else _promptable(model)


def _floats(*values: float) -> tuple[float, ...]:
    """Coordinates as plain floats, or BadPrompt."""
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        raise BadPrompt(f"coordinates are numbers in pixels, got {values!r:.80}") from None


def _cache(cache: EmbeddingCache | str | Path | None) -> EmbeddingCache:
    if cache is None:
        return MEMORY
    return cache if isinstance(cache, EmbeddingCache) else EmbeddingCache(folder=cache)
