"""The proposal protocol: how many of an image's true objects everything mode finds among its best 10, 100 and 1,000.

Source: COCO's average recall, class-agnostic, masks: the share of true masks met by a proposal, averaged over IoU
thresholds .5 to .95 (pycocotools computes it). Masks are ranked by predicted IoU, and every set counts the same.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anymask.errors import BadSetting
from anymask.evaluate.folders import Rle, open_rgb, read_set, set_folders
from anymask.masks.masks import Masks
from anymask.masks.rle import RLE
from anymask.models.interface import PromptModel
from anymask.pixels.image import Image
from anymask.records import atomic
from anymask.session.everything import everything

LIMITS = (10, 100, 1000)
MEASURES = ("AR@10", "AR@100", "AR@1000", "AR@1000 small", "AR@1000 medium", "AR@1000 large")
AREAS = {"": (0, 1e10), " small": (0, 32**2), " medium": (32**2, 96**2), " large": (96**2, 1e10)}
"""COCO's size classes, pixels of the true mask."""

Proposer = Callable[[NDArray[np.uint8]], tuple[Sequence[RLE], NDArray[np.float32]]]
"""Pixels [H, W, 3] to masks and what they are ranked by."""


@dataclass(frozen=True)
class ProposalReport:
    """sets: set -> measure -> value; NaN where a set has no true mask of that size. proposals: mean number an image."""

    model: str
    weights: str
    data: str
    settings: dict[str, Any]
    images: int
    masks: int
    proposals: float
    seconds: float
    sets: dict[str, dict[str, float]]

    @property
    def mean(self) -> dict[str, float]:
        """The plain mean over the sets that have a value, NaN where none has."""
        known = {name: [row[name] for row in self.sets.values() if np.isfinite(row[name])] for name in MEASURES}
        return {name: float(np.mean(values)) if values else float("nan") for name, values in known.items()}

    def write(self, path: Path) -> None:
        """Save as JSON, all or nothing."""
        document = {"protocol": "proposals"} | asdict(self) | {"mean": self.mean}
        # NaN is no JSON
        text = json.dumps(_plain(document), indent=1, allow_nan=False)
        atomic.write(path, text + "\n")


def everything_of(model: PromptModel, preset: str = "default", **options: Any) -> Proposer:
    """Everything mode as a proposal method."""

    def propose(pixels: NDArray[np.uint8]) -> tuple[Sequence[RLE], NDArray[np.float32]]:
        masks: Masks = everything(Image.open(pixels), model, preset, **options)
        return masks.rle, masks.scores

    return propose


def evaluate(
    propose: Proposer,
    data: Path,
    *,
    images: int | None = None,
    only: Sequence[str] = (),
    model: str = "",
    weights: str = "",
    settings: dict[str, Any] | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> ProposalReport:
    """Average recall on folders of photos with true masks, `<set>/annotations.json`.

    images: at most so many of each set, evenly spread. only: names of sets. model, weights, settings: noted in the
    report. tell: called with (photos done, photos in all). Raises BadSetting, BadImage.
    """
    if images is not None and images < 1:
        raise BadSetting(f"images of a set must be at least 1, got {images}")
    chosen = {folder.name: (folder, _spread(read_set(folder), images)) for folder in set_folders(data)}
    unknown = set(only) - set(chosen)
    if unknown:
        raise BadSetting(f"{data} has no set {', '.join(sorted(unknown))}; it has {', '.join(chosen)}")
    chosen = {name: found for name, found in chosen.items() if not only or name in only}
    total = sum(len(photos) for _, photos in chosen.values())
    sets, done, found, masks = {}, 0, 0, 0
    start = time.perf_counter()
    for name, (folder, photos) in chosen.items():
        truths, answers = [], []
        for file, true in photos:
            rles, merit = propose(open_rgb(folder / "images" / file))
            truths.append(true)
            answers.append((rles, merit))
            done, found, masks = done + 1, found + len(rles), masks + len(true)
            if tell is not None:
                tell(done, total)
        sets[name] = average_recall(truths, answers)
    seconds = time.perf_counter() - start
    return ProposalReport(model, weights, str(data), settings or {}, total, masks, found / max(total, 1), seconds, sets)


def average_recall(
    truths: Sequence[Sequence[Rle]], answers: Sequence[tuple[Sequence[RLE], NDArray[np.float32]]]
) -> dict[str, float]:
    """COCO's average recall over the images of a set, by pycocotools; see MEASURES.

    truths: the true masks of each image. answers: masks and their ranking scores for each image.
    """
    coco = COCO()
    # every photo that takes part has a true mask, which tells its size
    sizes = [true[0]["size"] for true in truths]
    rows: list[dict[str, Any]] = []
    for image, true in enumerate(truths, 1):
        for rle in true:
            row = {"id": len(rows) + 1, "image_id": image, "category_id": 1, "segmentation": rle, "iscrowd": 0}
            rows.append({**row, "area": float(coco_mask.area(rle)), "ignore": 0})
    found: list[dict[str, Any]] = []
    for image, (rles, merit) in enumerate(answers, 1):
        best = np.argsort(-merit, kind="stable")[: LIMITS[-1]]
        found += [
            {"image_id": image, "category_id": 1, "segmentation": rles[row], "score": float(merit[row])} for row in best
        ]
    coco.dataset = {
        "info": {},
        "images": [{"id": image, "height": size[0], "width": size[1]} for image, size in enumerate(sizes, 1)],
        "annotations": rows,
        "categories": [{"id": 1, "name": "object"}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        if not found:
            return {name: (0.0 if _any(rows, name) else float("nan")) for name in MEASURES}
        judge = COCOeval(coco, coco.loadRes(found), "segm")
        judge.params.useCats = 0
        judge.params.maxDets = list(LIMITS)
        judge.params.areaRng = list(AREAS.values())
        judge.params.areaRngLbl = list(AREAS)
        judge.evaluate()
        judge.accumulate()
    recall = judge.eval["recall"]  # [IoU thresholds, 1, areas, limits]
    result = {}
    for name in MEASURES:
        limit, size_class = _parts(name)
        values = recall[:, 0, list(AREAS).index(size_class), LIMITS.index(limit)]
        result[name] = float("nan") if (values < 0).any() else float(values.mean())
    return result


def _parts(name: str) -> tuple[int, str]:
    """(limit, size class) of a measure: "AR@1000 small" is (1000, " small")."""
    limit, space, size_class = name.removeprefix("AR@").partition(" ")
    return int(limit), space + size_class


def _any(rows: Sequence[dict[str, Any]], name: str) -> bool:
    low, high = AREAS[_parts(name)[1]]
    return any(low <= row["area"] < high for row in rows)


def _spread(photos: list[tuple[str, list[Rle]]], count: int | None) -> list[tuple[str, list[Rle]]]:
    """At most `count` of the photos that have masks, evenly over the set."""
    photos = [photo for photo in photos if photo[1]]
    if count is None or count >= len(photos):
        return photos
    return [photos[int(place)] for place in np.linspace(0, len(photos) - 1, count)]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
