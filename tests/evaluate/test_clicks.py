"""The protocol on hand-made masks, with a model whose answers are known."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from anymask.errors import BadSetting
from anymask.evaluate.baselines import ellipse, grabcut
from anymask.evaluate.clicks import MEASURES, Clicks, measure_photo
from anymask.evaluate.overlap import iou
from anymask.evaluate.photos import mask_units
from anymask.evaluate.protocol import Choice
from anymask.evaluate.runner import run
from anymask.models.interface import Decoded, Embedding
from anymask.pixels.resize import Resize

SIZE = (40, 60)


class Scripted:
    """Answers full-size logits: a box by its left half, clicks by what `answers` holds for that many clicks."""

    def __init__(self, answers: dict[int, list[np.ndarray]], scores: list[float]) -> None:
        self.card = SimpleNamespace(name="scripted")
        self.weights = "none"
        self.answers, self.scores = answers, scores
        self.asked: list = []

    def encode(self, images):
        size = images[0].size
        return Embedding({"image": torch.zeros(1, 1, 1, 1)}, (Resize(size, size, size),), self.weights)

    def decode(self, embedding, prompts, *, multimask=None):
        self.asked.append((prompts, multimask))
        resize = embedding.resize[0]
        if prompts.boxes is not None:
            x0, y0, x1, y1 = (int(v) for v in prompts.boxes[0])
            mask = np.zeros(resize.original, bool)
            mask[y0:y1, x0 : (x0 + x1) // 2] = True
            return _decoded([mask], [0.75], resize)
        clicks = prompts.points.shape[1]
        masks = self.answers[clicks]
        return _decoded(masks, self.scores if len(masks) == 3 else [0.5], resize)


def _decoded(masks, scores, resize):
    logits = torch.from_numpy(np.stack(masks)[None].astype(np.float32)) * 60 - 30
    return Decoded(logits, torch.tensor([scores]), resize)


def rectangle(x0, y0, x1, y1):
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_known_answers_give_the_iou_that_arithmetic_gives():
    truth = rectangle(10, 10, 30, 20)
    quarter, half, whole = rectangle(10, 10, 15, 20), rectangle(10, 10, 20, 20), truth
    three_quarters = rectangle(10, 10, 25, 20)
    model = Scripted(
        {1: [quarter, whole, half], 2: [quarter], 3: [half], 4: [three_quarters], 5: [whole]}, [0.3, 0.2, 0.9]
    )
    row = dict(zip(MEASURES, measure_photo(model, np.zeros((*SIZE, 3), np.uint8), truth[None])[0], strict=True))
    assert row == pytest.approx({
        "box": 0.5, "click_top": 0.5, "click_oracle": 1.0, "clicks_2": 0.25, "clicks_3": 0.5, "clicks_4": 0.75,
        "clicks_5": 1.0, "box_score_error": 0.25,
    })  # fmt: skip


def test_the_model_is_asked_as_the_protocol_says():
    truth = rectangle(10, 10, 30, 20)
    half = rectangle(10, 10, 20, 20)
    model = Scripted({1: [half] * 3, 2: [half], 3: [half], 4: [half], 5: [half]}, [0.1, 0.2, 0.3])
    measure_photo(model, np.zeros((*SIZE, 3), np.uint8), truth[None])
    (box, single), (first, multi), (second, later), *_ = model.asked
    assert box.boxes.tolist() == [[10, 10, 30, 20]] and single is False
    # ten rows high: the innermost pixels are at distance 5, the first of them at row 14, column 14
    assert first.points.tolist() == [[[14, 14]]] and first.point_labels.tolist() == [[1]] and multi is True
    assert second.points.tolist() == [[[14, 14], [24, 14]]] and later is False
    # the logits of +-30 come back clamped
    assert np.abs(second.low_res).max() == 20 and second.low_res.shape == (1, *SIZE)
    assert len(model.asked) == 6


def coco_folder(folder, photos):
    """photos: file name -> masks, bool [H, W]; every photo is black."""
    (folder / "images").mkdir(parents=True)
    coco = {"images": [], "annotations": []}
    for number, (name, masks) in enumerate(photos.items(), 1):
        height, width = masks[0].shape
        Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(folder / "images" / name)
        coco["images"].append({"id": number, "file_name": name, "height": height, "width": width})
        for mask in masks:
            rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            segmentation = {"size": [height, width], "counts": rle["counts"].decode()}
            row = {"id": len(coco["annotations"]) + 1, "image_id": number, "segmentation": segmentation}
            coco["annotations"].append(row)
    (folder / "annotations.json").write_text(json.dumps(coco))


def test_masks_are_chosen_evenly_in_file_order(tmp_path):
    big, small = np.ones((20, 20), bool), np.eye(20, dtype=bool)
    coco_folder(tmp_path / "one", {"a.png": [big, small, big, big], "b.png": [big, big, big]})
    taken = [(unit.name, unit.read().rows) for unit in Clicks().units(tmp_path, Choice())]
    assert taken == [("a.png", (0, 2, 3)), ("b.png", (0, 1, 2))]
    # six masks, three asked for: places floor((q + 0.5) * 2) = 1, 3, 5
    taken = [(unit.name, unit.read().rows) for unit in Clicks().units(tmp_path, Choice(cap=3))]
    assert taken == [("a.png", (2,)), ("b.png", (0, 2))]
    # the small one is large enough for protocols without a limit
    assert [unit.masks for unit in mask_units(tmp_path, Choice())] == [4, 3]


def test_iou_of_disjoint_and_of_equal_masks():
    a, b = rectangle(0, 0, 10, 10), rectangle(20, 20, 30, 30)
    assert iou(np.stack([a, a]), np.stack([a, b])).tolist() == [1.0, 0.0]


def test_the_ellipse_covers_pi_quarters_of_its_box():
    assert ellipse((200, 300), (50, 20, 250, 180)).sum() == pytest.approx(np.pi / 4 * 200 * 160, rel=0.005)


def test_grabcut_finds_a_disc_of_another_colour():
    y, x = np.mgrid[:60, :80]
    disc = (x - 40) ** 2 + (y - 30) ** 2 < 15**2
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (60, 80, 3)).astype(np.uint8)
    pixels[disc] += 150
    found = grabcut(pixels, (25, 15, 56, 46))
    assert iou(found, disc) > 0.9


def test_grabcut_takes_a_box_that_is_the_whole_image():
    assert grabcut(np.zeros((10, 12, 3), np.uint8), (0, 0, 12, 10)).all()


def test_the_mean_is_over_sets_and_a_set_counts_as_beaten_only_by_both():
    row = [0.8, *[0.5] * 7]
    lines = {
        "a": [{"rows": [[*row, 0.5, 0.7]]}],
        "b": [{"rows": [[0.6, *row[1:], 0.5, 0.7]] * 99}],
    }
    found = Clicks(baselines=True).outcome("m", lines)
    assert found.mean["box"] == pytest.approx(0.7)
    assert found.more["above_baselines"] == 1


def test_a_folder_is_measured_from_file_to_report(tmp_path):
    truth = rectangle(10, 10, 30, 20)
    coco_folder(tmp_path / "data" / "one", {"p.png": [truth]})
    model = Scripted({1: [truth] * 3, 2: [truth], 3: [truth], 4: [truth], 5: [truth]}, [0.1, 0.2, 0.3])
    seen = []
    out = tmp_path / "deep" / "scores.json"
    report = run(Clicks(), tmp_path / "data", model=model, out=out, tell=lambda *done: seen.append(done))
    assert report.masks == {"one": 1} and report.mean["box"] == 0.5 and report.mean["clicks_5"] == 1.0
    assert seen == [(0, 1), (1, 1)]
    written = json.loads(out.read_text())
    assert written["mean"] == report.mean and written["sets"] == report.sets and written["model"] == "scripted"


def test_no_data_is_said_so(tmp_path):
    with pytest.raises(BadSetting, match=r"annotations\.json"):
        run(Clicks(), tmp_path, model=Scripted({}, []))
