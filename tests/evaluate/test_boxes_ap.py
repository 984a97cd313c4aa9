"""Average precision from boxes: golden figures, and a model asked with the boxes of a results file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from test_points import Grows

from anymask.errors import BadSetting
from anymask.evaluate.boxes_ap import BoxesAp
from anymask.evaluate.precision import average_precision, federated_precision
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


# made-up photos, judged once by LVISEval of the package lvis 0.5.3, which today's numpy and opencv-python-headless do
# not go with: 12 photos, of which one has more than 300 masks found and some have no true mask, and 9 categories
GOLDEN = json.loads(Path(__file__).with_name("lvis_golden.json").read_text())
NAMES = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "APs": "AP small", "APm": "AP medium", "APl": "AP large",
         "APr": "APr", "APc": "APc", "APf": "APf", "AR@300": "AR@300"}  # fmt: skip


def golden_lines():
    frequency = {one["id"]: one["frequency"] for one in GOLDEN["gt"]["categories"]}
    for image in GOLDEN["gt"]["images"]:
        truth = [row for row in GOLDEN["gt"]["annotations"] if row["image_id"] == image["id"]]
        found = [row for row in GOLDEN["found"] if row["image_id"] == image["id"]]
        yield {
            "size": [image["height"], image["width"]],
            "negative": image["neg_category_ids"],
            "unsure": image["not_exhaustive_category_ids"],
            "truth": [
                {"category": row["category_id"], "area": row["area"], "iscrowd": 0, "rle": row["segmentation"],
                 "frequency": frequency[row["category_id"]]} for row in truth
            ],
            "found": [
                {"category": row["category_id"], "score": row["score"], "rle": row["segmentation"]} for row in found
            ],
        }  # fmt: skip


def test_federated_precision_is_that_of_the_official_lvis_package():
    row, _ = federated_precision(list(golden_lines()))
    for theirs, ours in NAMES.items():
        if GOLDEN["expected"][theirs] == -1:
            assert np.isnan(row[ours])
        else:
            assert row[ours] == pytest.approx(GOLDEN["expected"][theirs], abs=1e-12)
    # the rules of COCO say something else
    assert average_precision(list(golden_lines()))[0]["AP"] < row["AP"] - 0.05


def test_nothing_found_is_no_precision():
    lines = [line | {"found": []} for line in golden_lines()]
    assert set(federated_precision(lines)[0].values()) == {0.0}


@pytest.fixture
def lvis(tmp_path):
    """An LVIS folder: a rectangle on each of two photos, and a third with nothing that is outlined."""
    folder = tmp_path / "lvis"
    (folder / "val2017").mkdir(parents=True)
    data = {"images": [], "annotations": [], "categories": [
        {"id": 3, "name": "cup", "frequency": "f"}, {"id": 5, "name": "owl", "frequency": "r"},
    ]}  # fmt: skip
    for number in range(3):
        name = f"{7 + number:012d}.jpg"
        mask = np.zeros((40, 50), np.uint8)
        mask[10:30, 10:40] = number < 2
        Image.fromarray(np.repeat(mask[..., None] * 200, 3, 2)).save(folder / "val2017" / name)
        data["images"].append({
            "id": 7 + number, "height": 40, "width": 50, "coco_url": f"http://images.cocodataset.org/val2017/{name}",
            "neg_category_ids": [[5], [], [3]][number], "not_exhaustive_category_ids": [[], [5], []][number],
        })  # fmt: skip
        if number < 2:
            rle = coco_mask.encode(np.asfortranarray(mask))
            data["annotations"].append({
                "id": 1 + number, "image_id": 7 + number, "category_id": (3, 5)[number], "area": 600,
                "bbox": [10, 10, 30, 20], "segmentation": {"size": [40, 50], "counts": rle["counts"].decode()},
            })  # fmt: skip
    (folder / "lvis_v1_val.json").write_text(json.dumps(data))
    return folder


def detections(tmp_path, *rows):
    file = tmp_path / "detections.json"
    file.write_text(json.dumps([
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, box, score in rows
    ]))  # fmt: skip
    return BoxesAp(boxes=str(file), refine=0)


def test_data_in_the_layout_of_lvis_is_judged_by_its_rules(lvis, tmp_path):
    right = [10, 10, 30, 20]
    hits = [(7, 3, right, 0.5), (8, 5, right, 0.5)]
    assert run(detections(tmp_path, *hits), lvis, model=Grows([1.0])).mean["AP"] == pytest.approx(1)
    # nobody looked for owls in photo 9, nor for cups in photo 8, and owls of photo 8 are not all outlined
    unknown = [(9, 5, right, 0.9), (8, 3, right, 0.9), (8, 5, [11, 11, 28, 18], 0.4)]
    mean = run(detections(tmp_path, *hits, *unknown), lvis, model=Grows([1.0])).mean
    assert (mean["AP"], mean["APr"], mean["APf"]) == pytest.approx((1, 1, 1))
    assert np.isnan(mean["APc"])
    # no owl is in photo 7, and no cup in photo 9, which has no mask at all
    wrong = [(7, 5, right, 0.9), (9, 3, right, 0.9)]
    mean = run(detections(tmp_path, *hits, *wrong), lvis, model=Grows([1.0])).mean
    assert (mean["APr"], mean["APf"]) == pytest.approx((0.5, 0.5))


def test_true_boxes_of_lvis_need_no_file(lvis):
    report = run(BoxesAp(), lvis, model=Grows([1.0]))
    assert report.mean["AP"] == pytest.approx(1)
    assert report.sets.keys() == {"lvis_v1_val"}


def test_masks_on_photos_without_any_count_against_their_class_in_coco(squares, tmp_path):
    data = squares(1)
    file = data / "squares" / "annotations.json"
    coco = json.loads(file.read_text())
    coco["images"].append({"id": 9, "file_name": "empty.png", "height": 40, "width": 50})
    Image.new("RGB", (50, 40)).save(data / "squares" / "images" / "empty.png")
    file.write_text(json.dumps(coco))
    right = [10, 10, 30, 20]
    asked = detections(tmp_path, (7, 3, right, 0.5), (9, 3, right, 0.9))
    assert run(asked, data, model=Grows([1.0])).mean["AP"] == pytest.approx(0.5)
