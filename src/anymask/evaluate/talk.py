"""Simulated sessions of clicks: a model answers, the next click goes where it is most wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anymask.evaluate.overlap import Bools, iou
from anymask.evaluate.protocol import Line, Row
from anymask.masks.rle import area
from anymask.models.interface import Decoded, Embedding, PromptModel
from anymask.prompts.prompts import Prompts
from anymask.prompts.simulate import depth

if TYPE_CHECKING:
    from anymask.evaluate.photos import Photo

AT_ONCE = 8
"""Objects that are decoded together; of each three masks are held in full size."""
LOGIT_LIMIT = 32.0
"""Logits fed back are clipped to +- this, as SAM 2 does; those of SAM seldom go beyond."""

Spots = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Round:
    """The answers after a click. number: clicks so far, from 1. rows: objects that were asked, int64 [P].

    answers: the most confident mask of each, bool [P, H, W]. scores: its predicted IoU [P]. found: its IoU [P].
    oracle: IoU of the best candidate [P].
    """

    number: int
    rows: NDArray[np.int64]
    answers: Bools
    scores: Floats
    found: Floats
    oracle: Floats


def in_parts(model: PromptModel, photo: Photo) -> Iterator[tuple[Embedding, Bools]]:
    """A photo's embedding, made once, with AT_ONCE of its true masks at a time, bool [P, H, W], in order."""
    from anymask.pixels.image import Image

    truths = photo.truths()
    embedding = model.encode([Image.open(photo.pixels())])
    for start in range(0, len(truths), AT_ONCE):
        yield embedding, truths[start : start + AT_ONCE]


def with_areas(photo: Photo, rows: Sequence[Row]) -> Line:
    """The line of a photo: what was measured of each mask that takes part, and its pixels."""
    areas = area(photo.masks).tolist()
    return {"rows": [{"area": float(pixels)} | row for pixels, row in zip(areas, rows, strict=True)]}


def talk(
    model: PromptModel,
    embedding: Embedding,
    truths: Bools,
    first: Spots,
    *,
    most: int,
    enough: float = 1.0,
    ask: Callable[[Bools, Bools, Spots], tuple[int, int, bool] | None],
) -> Iterator[Round]:
    """Clicks on P objects of one image, round by round.

    truths: bool [P, H, W], none empty. first: [P, 2] (x, y), clicks inside. most: rounds. enough: an object whose IoU
    reaches this is not asked again. ask: (answer, truth, clicks so far [K, 2]) -> the next click (x, y, inside).
    The first round takes three masks; later ones what the model gives for several points with its last answer fed back,
    one mask for most. The most confident is the answer. Source: Segment Anything, sections 3 and 7.1.
    """
    rows = np.arange(len(truths))
    points, labels = first[:, None].astype(np.float32), np.ones((len(truths), 1), np.int64)
    low_res: NDArray[np.float32] | None = None
    for number in range(1, most + 1):
        asked = Prompts(points, labels, low_res=low_res)
        decoded = model.decode(embedding, asked, multimask=True if number == 1 else None)
        candidates = full_size(decoded)
        scores = decoded.scores.float().cpu().numpy().astype(np.float64)
        each = iou(candidates, truths[rows][:, None])
        place, top = np.arange(len(rows)), scores.argmax(1)
        answers = candidates[place, top]
        yield Round(number, rows, answers, scores[place, top], each[place, top], each.max(1))
        clicks = [
            None if good >= enough else ask(answer, truths[row], spots.astype(np.int64))
            for good, answer, row, spots in zip(each[place, top], answers, rows, points, strict=True)
        ]
        stay = np.array([click is not None for click in clicks])
        if not stay.any():
            return
        fresh = np.array([click for click in clicks if click is not None], np.int64)
        points = np.concatenate([points[stay], fresh[:, None, :2].astype(np.float32)], 1)
        labels = np.concatenate([labels[stay], fresh[:, 2:]], 1)
        logits = decoded.logits.float().cpu().numpy()[place, top][stay]
        low_res, rows = logits.clip(-LOGIT_LIMIT, LOGIT_LIMIT), rows[stay]


def full_size(decoded: Decoded) -> Bools:
    """bool [P, M, H, W] at the original size."""
    answers: Bools = (decoded.upscaled() > 0).cpu().numpy()
    return answers


def ritm_click(answer: Bools, truth: Bools, clicked: Spots) -> tuple[int, int, bool] | None:
    """The next click by the convention of interactive segmentation: deepest inside the deeper error.

    Of two errors equally deep the extra part is clicked; no pixel is clicked twice. None where nothing is left to
    click. Source: Sofiiuk et al., "Reviving Iterative Training with Mask Guidance" (RITM, 2021).
    """
    best: tuple[float, int, int, bool] | None = None
    for wrong, inside in ((answer & ~truth, False), (truth & ~answer, True)):
        rows, columns = np.flatnonzero(wrong.any(1)), np.flatnonzero(wrong.any(0))
        if len(rows) == 0:
            continue
        # the transform of the error's own window is that of the whole image, and much smaller
        y0, x0 = int(rows[0]), int(columns[0])
        inner = depth(wrong[y0 : rows[-1] + 1, x0 : columns[-1] + 1])
        for x, y in clicked:
            if 0 <= y - y0 < inner.shape[0] and 0 <= x - x0 < inner.shape[1]:
                inner[y - y0, x - x0] = 0
        y, x = np.unravel_index(int(inner.argmax()), inner.shape)
        deep = float(inner[y, x])
        if deep > (0 if best is None else best[0]):
            best = deep, x0 + int(x), y0 + int(y), inside
    return None if best is None else best[1:]
