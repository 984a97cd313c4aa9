"""Average precision of masks over photos, by the rules of COCO and by those of LVIS.

COCO: every photo was searched for every category; pycocotools judges. LVIS (Gupta et al. 2019, section 3): a photo was
searched for some categories only, so a mask counts against a category only where that category is known to be there
or known not to be; where not all of its objects are outlined, a mask too many is nobody's. faster-coco-eval judges.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anymask.errors import BadSetting
from anymask.evaluate.protocol import Line, Row
from anymask.extras import need

MEASURES = ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large", "AR@1", "AR@10", "AR@100")
"""Of COCO, in the order in which pycocotools gives them, but for average recall by size."""
FEDERATED = ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large", "APr", "APc", "APf", "AR@300")
"""Of LVIS; r, c, f: categories of fewer than 10, of 10 to 100, of more than 100 training photos."""
LIMIT = 300
"""Masks of a photo that LVIS counts, best first, over all categories."""

Curves = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Precision at 101 recalls for IoU 0.50 and 0.75, mean over categories."""


def average_precision(lines: Sequence[Line]) -> tuple[Row, Curves]:
    """COCO's figures over photos, and the curves.

    lines: size, truth (category, area, iscrowd, rle) and found (category, score, rle) of each photo. Where found has a
    bbox (XYWH) pycocotools takes its area for that of the mask when sizes are told apart. NaN where there is no true
    mask of a size.
    """
    dataset, found = _dataset(lines)
    if not found:
        return _nothing(MEASURES)
    coco = COCO()
    coco.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(found), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return _row(MEASURES, judge.stats[: len(MEASURES)]), _curves(judge.eval["precision"])


def federated_precision(lines: Sequence[Line]) -> tuple[Row, Curves]:
    """LVIS's figures over photos, and the curves.

    lines: as for `average_precision`, with "frequency" ("r", "c" or "f") in each row of truth, and of each photo
    "negative", categories known not to be there, and "unsure", categories not all of whose objects are outlined.
    Raises MissingExtra.
    """
    official = need("faster_coco_eval", extra="evaluate", to="judge by the rules of LVIS")
    dataset, found = _dataset([_judgeable(line) for line in lines])
    if not found:
        return _nothing(FEDERATED)
    truth = official.COCO(dataset)
    judge = official.COCOeval_faster(
        truth, truth.loadRes(found), "segm", print_function=lambda *_: None, lvis_style=True
    )
    judge.params.maxDets = [LIMIT]
    judge.evaluate()
    judge.accumulate()
    # [IoU thresholds, recalls, categories, sizes, limits], recall without recalls; sizes: all, small, medium, large
    precision, recall = judge.eval["precision"], judge.eval["recall"]
    parts = [precision[..., 0, -1], precision[0, ..., 0, -1], precision[5, ..., 0, -1]]
    parts += [precision[..., size, -1] for size in (1, 2, 3)]
    groups = [[one["frequency"] == letter for one in dataset["categories"]] for letter in "rcf"]
    parts += [precision[:, :, group, 0, -1] for group in groups]
    parts += [recall[..., 0, -1]]
    return _row(FEDERATED, [part[part > -1].mean() if (part > -1).any() else -1 for part in parts]), _curves(precision)


def _judgeable(line: Line) -> Line:
    """A line with the best masks of its photo, those left out of whose category nothing is known there.

    faster-coco-eval leaves these out too, but 1.8 stops at a photo where there are no others.
    """
    known = {row["category"] for row in line["truth"]} | set(line["negative"])
    best = sorted(line["found"], key=lambda row: -row["score"])[:LIMIT]
    return line | {"found": [row for row in best if row["category"] in known]}


def _dataset(lines: Sequence[Line]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(a COCO data set, COCO results) of lines; categories, photos and masks numbered from 1."""
    frequency = {row["category"]: row.get("frequency") for line in lines for row in line["truth"]}
    category = {name: number for number, name in enumerate(sorted(frequency, key=str), 1)}
    images: list[dict[str, Any]] = []
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, line in enumerate(lines, 1):
        images.append({"id": image, "height": line["size"][0], "width": line["size"][1]})
        for key, official in (("negative", "neg_category_ids"), ("unsure", "not_exhaustive_category_ids")):
            if key in line:
                images[-1][official] = [category[name] for name in line[key] if name in category]
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
    categories = [{"id": number, "name": str(name), "frequency": frequency[name]} for name, number in category.items()]
    return {"info": {}, "images": images, "annotations": truth, "categories": categories}, found


def _nothing(measures: Sequence[str]) -> tuple[Row, Curves]:
    return dict.fromkeys(measures, 0.0), (np.zeros(101), np.zeros(101))


def _row(measures: Sequence[str], values: Sequence[float]) -> Row:
    """-1 stands for no true mask."""
    return {name: float("nan") if value < 0 else float(value) for name, value in zip(measures, values, strict=True)}


def _curves(precision: NDArray[np.float64]) -> Curves:
    """precision: [IoU thresholds, recalls, categories, sizes, limits], -1 where there is no true mask."""
    of_all = precision[:, :, :, 0, -1]
    known = of_all[:, :, (of_all > -1).all((0, 1))]
    return known[0].mean(1), known[5].mean(1)
