"""The proposal protocol: how many of an image's true objects everything mode finds among its best 10, 100 and 1,000.

Source: COCO's average recall, class-agnostic, masks: the share of true masks met by a proposal, averaged over IoU
thresholds .5 to .95 (pycocotools matches). Masks are ranked by predicted IoU, and every set counts the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anymask.errors import BadSetting
from anymask.evaluate.photos import photo_units
from anymask.evaluate.protocol import Choice, Line, Outcome, Plot, Protocol, Row, Unit, by_set, mean_of_sets
from anymask.extras import need
from anymask.masks.rle import RLE, area
from anymask.session.settings import EverythingSettings

if TYPE_CHECKING:
    from anymask.models.interface import PromptModel

LIMITS = (10, 100, 1000)
AREAS = {"": (0, 1e10), " small": (0, 32**2), " medium": (32**2, 96**2), " large": (96**2, 1e10)}
"""COCO's size classes, pixels of the true mask."""
PARTS = {
    "AR@10": (10, ""),
    "AR@100": (100, ""),
    "AR@1000": (1000, ""),
    "AR@1000 small": (1000, " small"),
    "AR@1000 medium": (1000, " medium"),
    "AR@1000 large": (1000, " large"),
}
"""Measure -> how many proposals count, and the size class of the true masks."""
MEASURES = tuple(PARTS)

Proposer = Callable[[NDArray[np.uint8]], tuple[Sequence[RLE], NDArray[np.float32]]]
"""Pixels [H, W, 3] to masks and what they are ranked by."""


def everything_of(model: PromptModel, preset: str = "default", **options: Any) -> Proposer:
    """Everything mode as a proposal method."""
    from anymask.pixels.image import Image
    from anymask.session.everything import everything

    def propose(pixels: NDArray[np.uint8]) -> tuple[Sequence[RLE], NDArray[np.float32]]:
        masks = everything(Image.open(pixels), model, preset, **options)
        return masks.rle, masks.scores

    return propose


@dataclass(frozen=True)
class Proposals(Protocol):
    """method: everything mode of the model, or merged regions, which need none. cap counts photos of a set.

    preset, points_per_side: of everything mode; the preset's own number of points if None.
    """

    name: ClassVar[str] = "proposals"
    half_by: ClassVar[Literal["autocast", "use"]] = "use"
    method: Literal["everything", "regions"] = "everything"
    preset: str = "proposals"
    points_per_side: int | None = None

    def __post_init__(self) -> None:
        if self.method == "regions":
            # said before the minutes that the model takes
            need("skimage.segmentation", extra="evaluate", to="measure merged regions as a baseline")

    @property
    def needs_model(self) -> bool:
        return self.method == "everything"

    @property
    def title(self) -> str:
        return "merged regions"

    def rivals(self) -> list[tuple[str, Protocol]]:
        return [("regions", dataclasses.replace(self, method="regions"))]

    def settings(self) -> dict[str, Any]:
        return super().settings() if self.needs_model else {"method": self.method}

    def for_model(self, model: PromptModel) -> Mapping[str, Any]:
        return EverythingSettings.of(self.preset, model.card, **self._options()).described()

    def units(self, data: Path, choice: Choice) -> list[Unit]:
        return photo_units(data, choice)

    def measure(self, model: PromptModel | None, unit: Unit, rng: np.random.Generator) -> Line:
        return measure_photo(self._proposer(model), unit)

    def outcome(self, title: str, lines: Mapping[str, Sequence[Line]]) -> Outcome:
        sets = {name: recall_of(found) for name, found in lines.items()}
        mean = mean_of_sets(sets)
        counts = {name: sum(int(line["true"][""]) for line in found) for name, found in lines.items()}
        photos = sum(len(found) for found in lines.values())
        each = sum(line["proposals"] for found in lines.values() for line in found) / photos
        columns = {name: name for name in MEASURES}
        table = by_set(f"{title}: average recall of masks by set", sets, mean, columns, counts)
        plot = Plot(
            "Average recall, mean over sets",
            "proposals",
            "AR",
            {"all sizes": (LIMITS, [mean[f"AR@{limit}"] for limit in LIMITS])},
            log_x=True,
        )
        return Outcome(sets, mean, table, (plot,), (f"{each:.0f} proposals a photo",), {"proposals": each})

    def _options(self) -> dict[str, Any]:
        return {} if self.points_per_side is None else {"points_per_side": self.points_per_side}

    def _proposer(self, model: PromptModel | None) -> Proposer:
        if self.needs_model:
            assert model is not None
            return everything_of(model, self.preset, **self._options())
        from anymask.evaluate.regions import regions

        return regions


def measure_photo(propose: Proposer, unit: Unit) -> Line:
    """The line of one photo: how many proposals there are, and what `matches` says of them."""
    photo = unit.read()
    rles, merit = propose(photo.pixels())
    return {"proposals": len(rles)} | matches(photo.masks, rles, merit)


def matches(truth: Sequence[RLE], rles: Sequence[RLE], merit: NDArray[np.float32]) -> Line:
    """How many true masks of one photo are met, by pycocotools.

    truth: its true masks, at least one. rles, merit: proposals and what they are ranked by.
    Returns "true": size class -> number of true masks; "met": measure -> number met at each of ten IoU thresholds.
    """
    if not truth:
        raise BadSetting("recall needs at least one true mask")
    height, width = truth[0]["size"]
    areas = area(truth).tolist()
    rows = [
        {"id": row, "image_id": 1, "category_id": 1, "segmentation": rle, "iscrowd": 0, "area": float(pixels)}
        for row, (rle, pixels) in enumerate(zip(truth, areas, strict=True), 1)
    ]
    best = np.argsort(-merit, kind="stable")[: LIMITS[-1]]
    found = [{"image_id": 1, "category_id": 1, "segmentation": rles[row], "score": float(merit[row])} for row in best]
    sizes = {name: sum(low <= pixels <= high for pixels in areas) for name, (low, high) in AREAS.items()}
    if not found:
        return {"true": sizes, "met": {name: [0] * 10 for name in MEASURES}}
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": 1, "height": height, "width": width}],
        "annotations": rows,
        "categories": [{"id": 1, "name": "object"}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(found), "segm")
        judge.params.useCats = 0
        judge.params.maxDets = list(LIMITS)
        judge.params.areaRng = list(AREAS.values())
        judge.params.areaRngLbl = list(AREAS)
        judge.evaluate()
    judged = dict(zip(AREAS, judge.evalImgs, strict=True))
    met = {}
    for name, (limit, size_class) in PARTS.items():
        one = judged[size_class]
        hits = (one["dtMatches"] > 0) & ~one["dtIgnore"].astype(bool)  # [thresholds, proposals]
        met[name] = [int(count) for count in hits[:, :limit].sum(1)]
    return {"true": sizes, "met": met}


def recall_of(lines: Sequence[Line]) -> Row:
    """Average recall over photos; NaN where there is no true mask of a size. lines: from `matches`."""
    row = {}
    for name, (_, size_class) in PARTS.items():
        true = sum(line["true"][size_class] for line in lines)
        met = np.sum([line["met"][name] for line in lines], 0)
        row[name] = float((met / true).mean()) if true else float("nan")
    return row
