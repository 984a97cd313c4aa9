"""Instance segmentation from given boxes: a detector says where and what, the model draws the mask.

Source: Segment Anything, section 7.4 and appendix D.4: each box is a prompt, the most confident mask is fed back with
the box once; the detector's score ranks. Average precision as COCO has it, crowds ignored; of data that tells for each
photo which categories it was searched for, as LVIS does (`precision.py`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

from anymask.data.coco import CocoSet
from anymask.errors import BadSetting
from anymask.evaluate.photos import photo_units, sets_of
from anymask.evaluate.precision import LIMIT, average_precision, federated_precision
from anymask.evaluate.protocol import Choice, Line, Outcome, Plot, Protocol, Row, Unit, by_set, mean_of_sets
from anymask.evaluate.talk import LOGIT_LIMIT
from anymask.extras import need
from anymask.masks.rle import RLE, area, boxes, encode_one
from anymask.prompts.prompts import Prompts

if TYPE_CHECKING:
    from anymask.models.interface import Embedding, PromptModel

AT_ONCE = 32
TRUE = "true"
SEARCHED = ("neg_category_ids", "not_exhaustive_category_ids")
"""What a row of "images" says where a photo was searched for some categories only."""


@dataclass(frozen=True)
class Boxed:
    """A photo, what is true of it, and the boxes to ask.

    truth: rows of category, area, iscrowd and rle, of LVIS with frequency. asked: XYXY px, float32 [P, 4]; categories:
    of each; scores: float64 [P], or None where the model's own confidence ranks. searched: of LVIS, the categories that
    are known not to be there ("negative") and those not all of whose objects are outlined ("unsure").
    """

    photo: Any
    truth: list[dict[str, Any]]
    asked: NDArray[np.float32]
    categories: list[Any]
    scores: NDArray[np.float64] | None
    searched: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class BoxesAp(Protocol):
    """boxes: a COCO results file (image_id, category_id, bbox, score), or "true" for the boxes of the true masks.

    refine: how often the most confident mask is fed back with its box. most: boxes of a photo, best first; if None 100,
    of LVIS 300. `cap` counts photos of a set. A results file needs data in COCO's or LVIS's layout, whose ids it uses;
    then photos without true masks take part too.
    """

    name: ClassVar[str] = "boxes-ap"
    boxes: str = TRUE
    refine: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        if self.refine < 0 or (self.most is not None and self.most < 1):
            raise BadSetting("boxes-ap takes refine of at least 0 and most of at least 1")

    def settings(self) -> dict[str, Any]:
        if self.boxes == TRUE:
            return super().settings()
        # the file's content counts, not where it lies
        digest = hashlib.sha256(_opened(self.boxes)).hexdigest()
        return super().settings() | {"boxes": Path(self.boxes).name, "boxes_digest": digest}

    def units(self, data: Path, choice: Choice) -> list[Unit]:
        found = {one.name: one for one in sets_of(data, choice)}
        truths = {name: _Official(one) for name, one in found.items() if isinstance(one, CocoSet)}
        detected = None if self.boxes == TRUE else _results(self.boxes)
        if detected is not None and len(truths) < len(found):
            raise BadSetting(f"a file of boxes names photos by COCO's ids; {data} is of another layout: use boxes=true")
        if any(one.federated for one in truths.values()):
            # said before the hours that a model takes
            need("faster_coco_eval", extra="evaluate", to="judge by the rules of LVIS")
        return [
            dataclasses.replace(unit, read=_Reader(self, unit, truths.get(unit.dataset), detected))
            # a mask found where nothing is counts against its category
            for unit in photo_units(data, choice, empty=detected is not None)
        ]

    def measure(self, model: PromptModel | None, unit: Unit, rng: np.random.Generator) -> Line:
        from anymask.pixels.image import Image

        assert model is not None
        work = unit.read()
        found: list[dict[str, Any]] = []
        if len(work.asked):
            embedding = model.encode([Image.open(work.photo.pixels())])
            rles, confidence = masks_of_boxes(model, embedding, work.asked, self.refine)
            scores = confidence if work.scores is None else work.scores
            found = [
                {"category": category, "score": float(score), "rle": _text(rle)}
                for category, score, rle in zip(work.categories, scores, rles, strict=True)
            ]
        return {"size": list(work.photo.sample.size), "truth": work.truth, "found": found, **work.searched}

    def outcome(self, title: str, lines: Mapping[str, Sequence[Line]]) -> Outcome:
        sets: dict[str, Row] = {}
        curves: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        for name, found in lines.items():
            judge = federated_precision if "negative" in found[0] else average_precision
            sets[name], curve = judge(found)
            curves.append(curve)
        measures = list(dict.fromkeys(measure for row in sets.values() for measure in row))
        sets = {name: {measure: row.get(measure, float("nan")) for measure in measures} for name, row in sets.items()}
        mean = mean_of_sets(sets)
        counts = {name: sum(len(line["truth"]) for line in found) for name, found in lines.items()}
        recall = np.linspace(0, 1, 101).tolist()
        halves = [np.mean([curve[place] for curve in curves], 0).tolist() for place in (0, 1)]
        series = {"IoU 0.50": (recall, halves[0]), "IoU 0.75": (recall, halves[1])}
        plot = Plot("Masks from boxes, mean over sets", "recall", "precision", series)
        source = "the true boxes" if self.boxes == TRUE else Path(self.boxes).name
        columns = {name: name for name in measures}
        return Outcome(sets, mean, by_set(f"{title}: masks from {source}", sets, mean, columns, counts), (plot,))


@dataclass(frozen=True)
class _Reader:
    """Reads one photo with its boxes."""

    protocol: BoxesAp
    unit: Unit
    truth: _Official | None
    detected: Mapping[Any, list[dict[str, Any]]] | None

    def __call__(self) -> Boxed:
        photo = self.unit.read()
        image: Mapping[str, Any] = {} if self.truth is None else self.truth.images[photo.sample.name]
        truth = _rows(photo) if self.truth is None else self.truth.rows(image["id"])
        federated = self.truth is not None and self.truth.federated
        searched = {}
        if federated:
            searched = {
                key: list(image.get(name, ())) for key, name in zip(("negative", "unsure"), SEARCHED, strict=True)
            }
        if self.detected is None:
            real = [row for row in truth if not row["iscrowd"]]
            asked = boxes([_rle(row["rle"]) for row in real])
            return Boxed(photo, truth, asked, [row["category"] for row in real], None, searched)
        most = self.protocol.most or (LIMIT if federated else 100)
        rows = sorted(self.detected.get(image["id"], ()), key=lambda row: -row["score"])[:most]
        xywh = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        scores = np.array([row["score"] for row in rows], np.float64)
        return Boxed(photo, truth, xyxy, [row["category_id"] for row in rows], scores, searched)


def masks_of_boxes(
    model: PromptModel, embedding: Embedding, asked: NDArray[np.float32], refine: int
) -> tuple[list[RLE], NDArray[np.float64]]:
    """The mask and predicted IoU [P] of each box, float32 [P, 4] XYXY px, after `refine` rounds."""
    rles: list[RLE] = []
    confidence = []
    for start in range(0, len(asked), AT_ONCE):
        part = asked[start : start + AT_ONCE]
        decoded = model.decode(embedding, Prompts(boxes=part), multimask=refine > 0)
        for _ in range(refine):
            best = decoded.scores.float().cpu().numpy().argmax(1)
            logits = decoded.logits.float().cpu().numpy()[np.arange(len(part)), best]
            fed = Prompts(boxes=part, low_res=logits.clip(-LOGIT_LIMIT, LOGIT_LIMIT))
            decoded = model.decode(embedding, fed, multimask=None)
        scores = decoded.scores.float().cpu().numpy().astype(np.float64)
        best = scores.argmax(1)
        for row, rank in enumerate(best):
            rles.append(encode_one((decoded.upscaled(slice(row, row + 1))[0, rank] > 0).cpu().numpy()))
        confidence.append(scores[np.arange(len(part)), best])
    return rles, np.concatenate(confidence)


class _Official:
    """What a COCO or LVIS file says of its photos, crowds too.

    images: rows of "images" by the names of their samples. federated: whether photos were searched for some categories.
    """

    def __init__(self, found: CocoSet) -> None:
        self.file = found.file
        self.images = {found.name_of(image): image for image in found.images}
        self.federated = any(name in found.images[0] for name in SEARCHED)

    @functools.cached_property
    def _coco(self) -> COCO:
        with contextlib.redirect_stdout(io.StringIO()):
            return COCO(str(self.file))

    def rows(self, image_id: Any) -> list[dict[str, Any]]:
        coco = self._coco
        found = []
        for row in coco.imgToAnns[image_id]:
            if not row.get("segmentation"):
                continue
            one = {
                "category": row.get("category_id", ""),
                "area": float(row["area"]) if "area" in row else float(area([coco.annToRLE(row)])[0]),
                "iscrowd": int(row.get("iscrowd", 0)),
                "rle": _text(coco.annToRLE(row)),
            }
            if self.federated:
                one["frequency"] = coco.cats[row["category_id"]]["frequency"]
            found.append(one)
        return found


def _rows(photo: Any) -> list[dict[str, Any]]:
    masks: list[RLE] = photo.masks
    return [
        {"category": label, "area": float(pixels), "iscrowd": 0, "rle": _text(rle)}
        for label, pixels, rle in zip(photo.labels, area(masks).tolist(), masks, strict=True)
    ]


def _text(rle: Any) -> dict[str, Any]:
    counts = rle["counts"]
    return {"size": list(rle["size"]), "counts": counts.decode() if isinstance(counts, bytes) else counts}


def _rle(row: Mapping[str, Any]) -> RLE:
    return {"size": list(row["size"]), "counts": str(row["counts"]).encode()}


def _opened(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadSetting(f"boxes is {TRUE}, or a COCO results file; {path}: {error.strerror}") from None


def _results(path: str) -> dict[Any, list[dict[str, Any]]]:
    """The rows of a COCO results file, by image id; boxes without area are left out."""
    found: dict[Any, list[dict[str, Any]]] = {}
    try:
        for row in json.loads(_opened(path)):
            x, y, width, height = (float(side) for side in row["bbox"])
            if width > 0 and height > 0:
                one = {"bbox": [x, y, width, height], "score": float(row["score"]), "category_id": row["category_id"]}
                found.setdefault(row["image_id"], []).append(one)
    except (ValueError, KeyError, TypeError) as error:
        raise BadSetting(
            f"{path} is no COCO results file, a list of image_id, category_id, bbox and score: {error}"
        ) from None
    return found
