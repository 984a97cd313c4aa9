"""The box and click protocol: how well a model answers a box, and one to five simulated clicks.

Source: shared/TRAINING.md section 5; interactive segmentation's usual rule for the next click (innermost pixel of the
larger error). Figures are comparable only if every detail is the same, so nothing here is an option but the number of
masks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from anymask.errors import BadSetting
from anymask.evaluate.baselines import ellipse, grabcut
from anymask.evaluate.folders import Rle, open_rgb, read_set, set_folders
from anymask.models.interface import Decoded, Embedding, PromptModel
from anymask.prompts.prompts import Prompts
from anymask.prompts.simulate import innermost, next_click, tight_box

if TYPE_CHECKING:
    from anymask.pixels.image import Image

SMALLEST = 100
"""Masks with fewer pixels are left out."""
CLICKS = 5
LOGIT_LIMIT = 20.0
OBJECTS_AT_ONCE = 8
MEASURES = ("box", "click_top", "click_oracle", "clicks_2", "clicks_3", "clicks_4", "clicks_5", "box_score_error")
"""IoU for a box, one click (top-scored, best of three), two to five clicks; |predicted - true IoU| of the box."""
BASELINES = ("ellipse", "grabcut")

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Report:
    """sets: set -> measure -> mean over its masks. masks: set -> how many."""

    model: str
    weights: str
    data: str
    cap: int | None
    seconds: float
    masks: dict[str, int]
    sets: dict[str, dict[str, float]]

    @property
    def mean(self) -> dict[str, float]:
        """The plain mean over sets of every measure."""
        names = next(iter(self.sets.values())).keys()
        return {name: float(np.mean([row[name] for row in self.sets.values()])) for name in names}

    def above_baselines(self) -> int | None:
        """In how many sets the box beats every baseline; None where none was measured."""
        rows = list(self.sets.values())
        if BASELINES[0] not in rows[0]:
            return None
        return sum(row["box"] > max(row[name] for name in BASELINES) for row in rows)

    def write(self, path: Path) -> None:
        """Save as JSON, all or nothing."""
        document = (
            {"protocol": "clicks"} | asdict(self) | {"mean": self.mean, "above_baselines": self.above_baselines()}
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".tmp")
        unfinished.write_text(json.dumps(document, indent=1))
        os.replace(unfinished, path)


def evaluate(
    model: PromptModel,
    data: Path,
    *,
    cap: int | None = None,
    baselines: bool = False,
    only: Sequence[str] = (),
    tell: Callable[[int, int], None] | None = None,
) -> Report:
    """Run the protocol on every set under `data`.

    cap: masks a set at most, evenly spread; None takes all. baselines: measure ellipse and GrabCut on the same masks.
    only: names of sets, all if empty. tell: called with masks done and in all.
    Raises BadSetting where there is no data.
    """
    if cap is not None and cap < 1:
        raise BadSetting(f"cap must be at least 1, got {cap}")
    folders = [folder for folder in set_folders(data) if not only or folder.name in only]
    if not folders:
        raise BadSetting(f"{data} has none of the sets {', '.join(only)}")
    chosen = {folder: choose(read_set(folder), cap) for folder in folders}
    total = sum(len(masks) for photos in chosen.values() for _, masks in photos)
    began, done = time.monotonic(), 0
    sets: dict[str, dict[str, float]] = {}
    counts: dict[str, int] = {}
    names = MEASURES + (BASELINES if baselines else ())
    for folder, photos in chosen.items():
        rows = []
        for name, rles in photos:
            pixels = open_rgb(folder / "images" / name)
            masks = coco_mask.decode(rles).transpose(2, 0, 1).astype(bool)
            found = measure_photo(model, pixels, masks)
            if baselines:
                found = np.hstack([found, measure_baselines(pixels, masks)])
            rows.append(found)
            done += len(masks)
            if tell is not None:
                tell(done, total)
        if rows:
            table = np.concatenate(rows)
            sets[folder.name] = dict(zip(names, table.mean(0).tolist(), strict=True))
            counts[folder.name] = len(table)
    if not sets:
        raise BadSetting(f"{data} has no mask of at least {SMALLEST} pixels")
    return Report(model.card.name, model.weights, data.name, cap, time.monotonic() - began, counts, sets)


def choose(photos: list[tuple[str, list[Rle]]], cap: int | None) -> list[tuple[str, list[Rle]]]:
    """The masks that count: large enough, and at most `cap` of them, evenly spread in file order."""
    pairs = [(name, rle) for name, masks in photos for rle in masks if coco_mask.area(rle) >= SMALLEST]
    if cap is not None and len(pairs) > cap:
        pairs = [pairs[int((q + 0.5) * len(pairs) / cap)] for q in range(cap)]
    by_photo: dict[str, list[Rle]] = {}
    for name, rle in pairs:
        by_photo.setdefault(name, []).append(rle)
    return list(by_photo.items())


def iou(answers: Bools, truths: Bools) -> NDArray[np.float64]:
    """Intersection over union of masks [..., H, W], 0 where both are empty."""
    both = (answers & truths).sum((-1, -2))
    either = (answers | truths).sum((-1, -2))
    return np.asarray(both / np.maximum(either, 1), np.float64)


def measure_baselines(pixels: NDArray[np.uint8], masks: Bools) -> NDArray[np.float64]:
    """IoU of ellipse and GrabCut from the tight box of each mask, [N, 2]."""
    rows = []
    for mask in masks:
        box = tight_box(mask)
        answers = np.stack([ellipse(mask.shape, box), grabcut(pixels, box)])
        rows.append(iou(answers, mask[None]))
    return np.stack(rows)


def measure_photo(model: PromptModel, pixels: NDArray[np.uint8], masks: Bools) -> NDArray[np.float64]:
    """MEASURES of each mask, [N, 8], through the public encode and decode.

    pixels: uint8 [H, W, 3] RGB; masks: bool [N, H, W], none empty.
    """
    from anymask.pixels.image import Image

    image: Image = Image.open(pixels)
    with torch.inference_mode():
        embedding = model.encode([image])
        parts = [masks[i : i + OBJECTS_AT_ONCE] for i in range(0, len(masks), OBJECTS_AT_ONCE)]
        return np.concatenate([_measure(model, embedding, part) for part in parts])


def _measure(model: PromptModel, embedding: Embedding, truths: Bools) -> NDArray[np.float64]:
    boxes = np.array([tight_box(mask) for mask in truths], np.float32)
    decoded = model.decode(embedding, Prompts(boxes=boxes), multimask=False)
    box = iou(_masks(decoded)[:, 0], truths)
    error = np.abs(decoded.scores[:, 0].float().cpu().numpy() - box)

    points = np.array([[innermost(mask)[:2]] for mask in truths], np.float32)
    labels = np.ones((len(truths), 1), np.int64)
    decoded = model.decode(embedding, Prompts(points, labels), multimask=True)
    candidates = _masks(decoded)
    each = iou(candidates, truths[:, None])
    rows = np.arange(len(truths))
    top = decoded.scores.float().cpu().numpy().argmax(1)
    logits, answers = decoded.logits.float().cpu().numpy()[rows, top], candidates[rows, top]
    later = []
    for _ in range(CLICKS - 1):
        clicks = [next_click(answer, truth) for answer, truth in zip(answers, truths, strict=True)]
        # a perfect answer needs no click; it gets its first one again, so that the batch stays whole
        xy = [[c.x, c.y] if c else points[i, 0].tolist() for i, c in enumerate(clicks)]
        points = np.concatenate([points, np.array(xy, np.float32)[:, None]], 1)
        labels = np.concatenate([labels, np.array([[1 if c is None else int(c.inside)] for c in clicks])], 1)
        low_res = logits.clip(-LOGIT_LIMIT, LOGIT_LIMIT)
        decoded = model.decode(embedding, Prompts(points, labels, low_res=low_res), multimask=False)
        logits, answers = decoded.logits.float().cpu().numpy()[:, 0], _masks(decoded)[:, 0]
        later.append(iou(answers, truths))
    return np.column_stack([box, each[rows, top], each.max(1), *later, error])


def _masks(decoded: Decoded) -> Bools:
    """bool [P, M, H, W] at the original size."""
    answers: Bools = (decoded.upscaled() > 0).cpu().numpy()
    return answers
