"""The proposal protocol, checked against arithmetic."""

import json

import numpy as np
import pytest

from anymask.errors import BadSetting
from anymask.evaluate.proposals import MEASURES, Proposals, everything_of, matches, recall_of
from anymask.evaluate.protocol import Choice
from anymask.evaluate.runner import run
from anymask.masks.rle import encode_one


def rectangle(x0, y0, x1, y1, size=(200, 300)):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return encode_one(mask)


def as_text(rle):
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def average_recall(truths, answers):
    return recall_of([matches(true, *found) for true, found in zip(truths, answers, strict=True)])


def test_recall_averages_over_thresholds_and_sizes_are_cocos():
    true = [as_text(rectangle(0, 0, 100, 100)), as_text(rectangle(150, 50, 170, 70))]
    # the first is met at IoU 0.8, that is at 7 of the 10 thresholds; the second exactly
    found = [rectangle(0, 0, 100, 80), rectangle(150, 50, 170, 70), rectangle(200, 100, 290, 190)]
    scores = np.array([0.5, 0.9, 0.8], np.float32)
    recall = average_recall([true], [(found, scores)])
    assert recall["AR@1000"] == pytest.approx((0.7 + 1.0) / 2)
    assert recall["AR@1000 large"] == pytest.approx(0.7)
    assert recall["AR@1000 small"] == pytest.approx(1.0)
    assert np.isnan(recall["AR@1000 medium"])


def test_only_the_best_ranked_count():
    true = [as_text(rectangle(0, 0, 50, 50))]
    rest = [rectangle(60 + 10 * place, 100, 68 + 10 * place, 150) for place in range(12)]
    found = [*rest, rectangle(0, 0, 50, 50)]
    scores = np.linspace(1, 0.1, 13).astype(np.float32)
    recall = average_recall([true], [(found, scores)])
    assert (recall["AR@10"], recall["AR@100"]) == (0.0, 1.0)


def test_no_proposals_at_all_is_a_recall_of_0():
    recall = average_recall([[as_text(rectangle(0, 0, 50, 50))]], [([], np.zeros(0, np.float32))])
    assert recall["AR@1000"] == 0
    assert recall["AR@1000 medium"] == 0
    assert np.isnan(recall["AR@1000 large"])


@pytest.fixture
def photos(tmp_path):
    """Two sets of made-up photos with one true mask each."""
    from PIL import Image

    for name, count in (("ones", 3), ("twos", 1)):
        (tmp_path / name / "images").mkdir(parents=True)
        coco = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
        for number in range(count):
            pixels = np.full((60, 80, 3), 40, np.uint8)
            pixels[10:40, 20:60] = [220, 160, 40]
            Image.fromarray(pixels).save(tmp_path / name / "images" / f"{number}.png")
            coco["images"].append({"id": number, "file_name": f"{number}.png", "height": 60, "width": 80})
            mask = as_text(rectangle(20, 10, 60, 40, (60, 80)))
            coco["annotations"].append(
                {"id": number + 1, "image_id": number, "category_id": 1, "segmentation": mask, "iscrowd": 0}
            )
        (tmp_path / name / "annotations.json").write_text(json.dumps(coco))
    return tmp_path


def test_recall_is_that_of_pycocotools_over_all_photos():
    """What is summed photo by photo equals one run of pycocotools over all of them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)

    def some(count):
        corners = rng.integers(0, 120, (count, 2))
        sides = rng.integers(4, 120, (count, 2))
        return [rectangle(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sides, strict=True)]

    truths = [[as_text(one) for one in some(12)] for _ in range(3)]
    answers = [(some(150) + true[:5], rng.random(155).astype(np.float32)) for true in truths]
    coco = COCO()
    coco.dataset = {
        "info": {}, "categories": [{"id": 1}], "images": [{"id": i, "height": 200, "width": 300} for i in (1, 2, 3)],
        "annotations": [
            {"id": 12 * i + j + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0, "segmentation": one,
             "area": float(rectangle_area(one))}
            for i, true in enumerate(truths) for j, one in enumerate(true)
        ],
    }  # fmt: skip
    coco.createIndex()
    found = [
        {"image_id": i + 1, "category_id": 1, "segmentation": rle, "score": float(score)}
        for i, (rles, scores) in enumerate(answers)
        for rle, score in zip(rles, scores, strict=True)
    ]
    judge = COCOeval(coco, coco.loadRes(found), "segm")
    judge.params.maxDets, judge.params.useCats = [10, 100, 1000], 0
    judge.evaluate()
    judge.accumulate()
    recall = judge.eval["recall"][:, 0].mean(0)  # [areas all, small, medium, large; limits]
    ours = average_recall(truths, answers)
    expected = [*recall[0], *recall[1:, 2]]
    assert [ours[name] for name in MEASURES] == pytest.approx(expected, abs=1e-12)


def rectangle_area(rle):
    from pycocotools import mask as coco_mask

    return coco_mask.area(rle)


def test_sets_count_the_same_and_the_report_is_plain_json(photos, tmp_path, monkeypatch):
    right = rectangle(20, 10, 60, 40, (60, 80))
    seen = []

    def propose(pixels):
        seen.append(pixels.shape)
        return ([right] if len(seen) <= 2 else []), np.ones(1 if len(seen) <= 2 else 0, np.float32)

    monkeypatch.setattr(Proposals, "_proposer", lambda self, model: propose)
    report = run(Proposals(method="regions"), photos, out=tmp_path / "out.json")
    assert seen == [(60, 80, 3)] * 4
    assert report.sets["ones"]["AR@10"] == pytest.approx(2 / 3)
    assert report.sets["twos"]["AR@10"] == 0
    assert report.mean["AR@10"] == pytest.approx(1 / 3)
    assert (report.images, report.masks) == ({"ones": 3, "twos": 1}, {"ones": 3, "twos": 1})
    text = json.loads((tmp_path / "out.json").read_text())
    assert set(text["mean"]) == set(MEASURES)
    assert text["sets"]["ones"]["AR@1000 large"] is None and text["proposals"] == 0.5


def test_a_cap_takes_photos_evenly(photos):
    taken = [(unit.dataset, unit.name) for unit in Proposals(method="regions").units(photos, Choice(cap=2))]
    assert taken == [("ones", "0.png"), ("ones", "2.png"), ("twos", "0.png")]


def test_everything_mode_of_the_model_inside_finds_the_bright_ellipse(photo, tmp_path):
    import anymask

    y, x = np.mgrid[:90, :140]
    true = as_text(encode_one(((x - 70) / 30) ** 2 + ((y - 45) / 20) ** 2 < 1))
    propose = everything_of(
        anymask.load(), points_per_side=5, pred_iou_thresh=0.3, stability_score_thresh=0.3, box_nms_thresh=0.9
    )
    assert average_recall([[true]], [propose(photo)])["AR@100"] > 0.7


def test_wrong_wishes_are_named(photos):
    with pytest.raises(BadSetting, match="no set cats"):
        run(Proposals(method="regions"), photos, choice=Choice(only=("cats",)))
    with pytest.raises(BadSetting, match="at least 1"):
        Choice(cap=0)
