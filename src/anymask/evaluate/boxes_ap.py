"""Instance segmentation from given boxes: a detector says where and what, the model draws the mask.

Source: Segment Anything, section 7.4 and appendix D.4: each box is a prompt, the most confident mask is fed back with
the box once; the detector's score ranks. COCO's average precision, by pycocotools, crowds ignored as there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anymask.data.coco import CocoSet
from anymask.errors import BadSetting
from anymask.evaluate.photos import photo_units, sets_of
from anymask.evaluate.protocol import Choice, Line, Outcome, Plot, Protocol, Row, Unit, by_set, mean_of_sets
from anymask.evaluate.talk import LOGIT_LIMIT
from anymask.masks.rle import RLE, area, boxes, encode_one
from anymask.prompts.prompts import Prompts

if TYPE_CHECKING:
    from anymask.models.interface import Embedding, PromptModel

MEASURES = ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large", "AR@1", "AR@10", "AR@100")
"""In the order in which pycocotools gives them, but for average recall by size."""
AT_ONCE = 32
TRUE = "true"


@dataclass(frozen=True)
class Boxed:
    """A photo, what is true of it, and the boxes to ask.

    truth: rows of category, area, iscrowd and rle. asked: XYXY px, float32 [P, 4]; categories: of each; scores: float64
    [P], or None where the model's own confidence ranks.
    """

    photo: Any
    truth: list[dict[str, Any]]
    asked: NDArray[np.float32]
    categories: list[Any]
    scores: NDArray[np.float64] | None


@dataclass(frozen=True)
class BoxesAp(Protocol):
    """boxes: a COCO results file (image_id, category_id, bbox, score), or "true" for the boxes of the true masks.

    refine: how often the most confident mask is fed back with its box. most: boxes of a photo, best first. `cap` counts
    photos of a set. A results file needs data in COCO's layout, whose ids it uses.
    """

    name: ClassVar[str] = "boxes-ap"
    boxes: str = TRUE
    refine: int = 1
    most: int = 100

    def __post_init__(self) -> None:
        if self.refine < 0 or self.most < 1:
            raise BadSetting("boxes-ap takes refine of at least 0 and most of at least 1")

    def settings(self) -> dict[str, Any]:
        if self.boxes == TRUE:
            return super().settings()
        # the file's content counts, not where it lies
        digest = hashlib.sha256(_opened(self.boxes)).hexdigest()
        return super().settings() | {"boxes": Path(self.boxes).name, "boxes_digest": digest}

    def units(self, data: Path, choice: Choice) -> list[Unit]:
        found = {one.name: one for one in sets_of(data, choice)}
        truths = {name: _official(one) for name, one in found.items() if isinstance(one, CocoSet)}
        detected = None if self.boxes == TRUE else _results(self.boxes)
        if detected is not None and len(truths) < len(found):
            raise BadSetting(f"a file of boxes names photos by COCO's ids; {data} is of another layout: use boxes=true")
        units = []
        for unit in photo_units(data, choice):
            truth = truths.get(unit.dataset)
            units.append(dataclasses.replace(unit, read=_Reader(self, unit, truth, detected)))
        return units

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
        return {"size": list(work.photo.sample.size), "truth": work.truth, "found": found}

    def outcome(self, title: str, lines: Mapping[str, Sequence[Line]]) -> Outcome:
        sets: dict[str, Row] = {}
        curves: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        for name, found in lines.items():
            sets[name], curve = average_precision(found)
            curves.append(curve)
        mean = mean_of_sets(sets)
        counts = {name: sum(len(line["truth"]) for line in found) for name, found in lines.items()}
        recall = np.linspace(0, 1, 101).tolist()
        halves = [np.mean([curve[place] for curve in curves], 0).tolist() for place in (0, 1)]
        series = {"IoU 0.50": (recall, halves[0]), "IoU 0.75": (recall, halves[1])}
        plot = Plot("Masks from boxes, mean over sets", "recall", "precision", series)
        source = "the true boxes" if self.boxes == TRUE else Path(self.boxes).name
        columns = {name: name for name in MEASURES}
        return Outcome(sets, mean, by_set(f"{title}: masks from {source}", sets, mean, columns, counts), (plot,))


@dataclass(frozen=True)
class _Reader:
    """Reads one photo with its boxes."""

    protocol: BoxesAp
    unit: Unit
    truth: COCO | None
    detected: Mapping[Any, list[dict[str, Any]]] | None

    def __call__(self) -> Boxed:
        photo = self.unit.read()
        if self.truth is None:
            truth = _rows(photo)
            image_id = None
        else:
            image_id = next(
                row["id"] for row in self.truth.dataset["images"] if str(row.get("file_name")) == photo.sample.name
            )
            truth = _official_rows(self.truth, image_id)
        if self.detected is None:
            real = [row for row in truth if not row["iscrowd"]]
            asked = boxes([_rle(row["rle"]) for row in real])
            return Boxed(photo, truth, asked, [row["category"] for row in real], None)
        rows = sorted(self.detected.get(image_id, ()), key=lambda row: -row["score"])[: self.protocol.most]
        xywh = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        scores = np.array([row["score"] for row in rows], np.float64)
        return Boxed(photo, truth, xyxy, [row["category_id"] for row in rows], scores)


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


def average_precision(lines: Sequence[Line]) -> tuple[Row, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """COCO's figures over photos, and precision at 101 recalls for IoU 0.50 and 0.75, mean over categories.

    lines: size, truth (category, area, iscrowd, rle) and found (category, score, rle) of each photo. Where found has a
    bbox (XYWH) pycocotools takes its area for that of the mask when sizes are told apart. NaN where there is no true
    mask of a size.
    """
    names = sorted({row["category"] for line in lines for row in line["truth"]}, key=str)
    category = {name: number for number, name in enumerate(names, 1)}
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, line in enumerate(lines, 1):
        for row in line["truth"]:
            one = {"id": len(truth) + 1, "image_id": image, "category_id": category[row["category"]]}
            truth.append(one | {"segmentation": row["rle"], "area": row["area"], "iscrowd": row["iscrowd"]})
        for row in line["found"]:
            # what is of no category that is true anywhere counts in none, as officially
            if row["category"] in category:
                one = {"image_id": image, "category_id": category[row["category"]], "score": row["score"]}
                found.append(one | {"segmentation": row["rle"]} | ({"bbox": row["bbox"]} if "bbox" in row else {}))
    if not truth:
        raise BadSetting("average precision needs true masks")
    if not found:
        nothing = np.zeros(101)
        return dict.fromkeys(MEASURES, 0.0), (nothing, nothing)
    coco = COCO()
    sizes = enumerate((line["size"] for line in lines), 1)
    coco.dataset = {
        "info": {},
        "images": [{"id": image, "height": size[0], "width": size[1]} for image, size in sizes],
        "annotations": truth,
        "categories": [{"id": number, "name": str(name)} for name, number in category.items()],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(found), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    values = [float("nan") if value < 0 else float(value) for value in judge.stats[: len(MEASURES)]]
    precision = judge.eval["precision"][:, :, :, 0, -1]  # [IoU thresholds, recalls, categories]
    known = precision[:, :, (precision > -1).all((0, 1))]
    return dict(zip(MEASURES, values, strict=True)), (known[0].mean(1), known[5].mean(1))


def _official(found: CocoSet) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(found.file))


def _official_rows(coco: COCO, image_id: Any) -> list[dict[str, Any]]:
    """What a COCO file says of a photo, crowds too."""
    return [
        {
            "category": row.get("category_id", ""),
            "area": float(row["area"]) if "area" in row else float(area([coco.annToRLE(row)])[0]),
            "iscrowd": int(row.get("iscrowd", 0)),
            "rle": _text(coco.annToRLE(row)),
        }
        for row in coco.imgToAnns[image_id]
        if row.get("segmentation")
    ]


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
