"""`anymask evaluate` from the command line to the report."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from anymask.cli.evaluate import evaluate
from anymask.errors import BadSetting


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "squares"
    (folder / "images").mkdir(parents=True)
    mask = np.zeros((40, 50), np.uint8)
    mask[10:30, 10:40] = 1
    Image.fromarray(np.repeat(mask[..., None] * 200, 3, 2)).save(folder / "images" / "1.png")
    rle = coco_mask.encode(np.asfortranarray(mask))
    coco = {
        "images": [{"id": 7, "file_name": "1.png", "height": 40, "width": 50}],
        "annotations": [{"id": 1, "image_id": 7, "segmentation": {"size": [40, 50], "counts": rle["counts"].decode()}}],
    }
    (folder / "annotations.json").write_text(json.dumps(coco))
    return tmp_path / "data"


def test_any_member_can_be_measured(data, tmp_path, capsys):
    evaluate(data, model="sam-tiny-test", baselines=True, precision="float32", out=tmp_path / "scores.json")
    printed = capsys.readouterr().out
    assert "squares" in printed and "grabcut" in printed
    report = json.loads((tmp_path / "scores.json").read_text())
    assert report["model"] == "sam-tiny-test" and report["masks"] == {"squares": 1}
    # pi / 4 of the box, and the box is the mask
    assert report["mean"]["ellipse"] == pytest.approx(np.pi / 4, abs=0.03)
    assert 0 <= report["mean"]["box"] <= 1


@pytest.mark.parametrize(("option", "named"), [({"protocol": "sweep"}, "clicks"), ({"precision": "int8"}, "bfloat16")])
def test_unknown_choices_are_answered_with_the_known_ones(data, option, named):
    with pytest.raises(BadSetting, match=named):
        evaluate(data, model="sam-tiny-test", **option)
