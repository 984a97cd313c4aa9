"""Average precision from boxes: golden figures, and a model asked with the boxes of a results file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_points import Grows

from anymask.errors import BadSetting
from anymask.evaluate.boxes_ap import BoxesAp, average_precision
from anymask.evaluate.protocol import settings_from
from anymask.evaluate.runner import run


@pytest.mark.parametrize("name", ["coco_ap_tiny.json", "coco_ap_nuclei.json"])
def test_average_precision_is_the_golden_one(shared, name):
    golden = json.loads((shared / "data/golden" / name).read_text())
    lines = []
    for image in golden["gt"]["images"]:
        truth = [row for row in golden["gt"]["annotations"] if row["image_id"] == image["id"]]
        found = [row for row in golden["dt"] if row["image_id"] == image["id"]]
        lines.append({
            "size": [image["height"], image["width"]],
            "truth": [
                {"category": row["category_id"], "area": row["area"], "iscrowd": row["iscrowd"],
                 "rle": row["segmentation"]} for row in truth
            ],
            "found": [
                {"category": row["category_id"], "score": row["score"], "rle": row["segmentation"], "bbox": row["bbox"]}
                for row in found
            ],
        })  # fmt: skip
    expected = next(one for one in golden["expected"] if one["iou_type"] == "segm" and one["use_cats"] == 1)
    row, _ = average_precision(lines)
    names = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "AP_small": "AP small", "AP_medium": "AP medium",
             "AP_large": "AP large", "AR_1": "AR@1", "AR_10": "AR@10", "AR_100": "AR@100"}  # fmt: skip
    for theirs, ours in names.items():
        if expected[theirs] == -1:
            assert np.isnan(row[ours])
        else:
            assert row[ours] == pytest.approx(expected[theirs], abs=1e-12)


def test_true_boxes_of_a_perfect_model_have_ap_1(squares):
    model = Grows([1.0])
    report = run(BoxesAp(), squares(2), model=model)
    # the second photo's rectangle is another one, and of another class
    assert report.sets["squares"]["AP"] == pytest.approx((1 + 0.9) / 2, abs=0.06)
    box, fed = model.asked[:2]
    assert box.boxes.tolist() == fed.boxes.tolist() == [[10, 10, 40, 30]]
    assert box.low_res is None and fed.low_res is not None


def test_a_results_file_names_photos_by_coco_ids_and_its_scores_rank(squares, tmp_path):
    file = tmp_path / "detections.json"
    rows = [
        {"image_id": 7, "category_id": 3, "bbox": [10, 10, 30, 20], "score": 0.4},
        # of the wrong class, and ranked above: it costs precision in that class
        {"image_id": 7, "category_id": 5, "bbox": [10, 10, 30, 20], "score": 0.9},
        {"image_id": 8, "category_id": 5, "bbox": [11, 10, 29, 19], "score": 0.8},
        {"image_id": 8, "category_id": 5, "bbox": [11, 10, 0, 19], "score": 0.99},
    ]
    file.write_text(json.dumps(rows))
    report = run(settings_from(BoxesAp, {"boxes": str(file), "refine": "0"}), squares(2), model=Grows([1.0]))
    # the first class is right; in the second the right one comes second, at an IoU of 0.92
    assert report.sets["squares"]["AP50"] == pytest.approx((1 + 0.5) / 2, abs=0.01)
    assert (
        report.about["settings"]["boxes"] == "detections.json" and len(report.about["settings"]["boxes_digest"]) == 64
    )


def test_files_that_hold_no_boxes_are_named(squares, tmp_path):
    (tmp_path / "some.json").write_text('{"a": 1}')
    with pytest.raises(BadSetting, match="no COCO results file"):
        run(BoxesAp(boxes=str(tmp_path / "some.json")), squares(), model=Grows([1.0]))
    with pytest.raises(BadSetting, match="boxes is true, or a COCO results file"):
        BoxesAp(boxes=str(tmp_path / "none.json")).settings()
