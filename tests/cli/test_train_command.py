"""`anymask train` and `anymask merge`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from typer.testing import CliRunner

from anymask.cli.app import app


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photos of a bright square, as a COCO folder."""
    folder = tmp_path / "data" / "squares"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in (1, 2):
        pixels = np.full((96, 128, 3), 80, np.uint8)
        mask = np.zeros((96, 128), np.uint8)
        mask[20:70, 10 * number : 60 + 10 * number] = 1
        pixels[mask > 0] = (230, 210, 60)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        rle = coco_mask.encode(np.asfortranarray(mask))
        segmentation = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
        images.append({"id": number, "file_name": f"{number}.png", "height": 96, "width": 128})
        annotations.append({"id": number, "image_id": number, "segmentation": segmentation})
    (folder / "annotations.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return tmp_path / "data"


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_fine_tune_leaves_an_adapter_a_report_and_pictures(photos, tmp_path):
    out = tmp_path / "run"
    asked = ("train", "--data", photos, "-o", out, "--method", "decoder", "--steps", 2, "--images", 1, "--masks", 2)
    done = run(*asked, "--pictures-every", 2)
    assert done.exit_code == 0, done.output
    assert "reading squares, 2 photos" in done.stderr
    adapter = out / "adapter.safetensors"
    assert adapter.is_file() and str(adapter) in done.output
    page = (out / "report.html").read_text()
    assert "2 of 2 steps" in page and page.count("<img ") == 2
    assert [file.name for file in (out / "pictures").iterdir()] == ["00000002.jpg"]
    with Image.open(out / "pictures" / "00000002.jpg") as sheet:
        assert sheet.width > 900

    whole = tmp_path / "whole.safetensors"
    merged = run("merge", adapter, "-o", whole)
    assert merged.exit_code == 0, merged.output
    picture = photos / "squares" / "images" / "1.png"
    for weights in (adapter, whole):
        answer = run("segment", picture, "--box", "10,20,60,70", "--weights", weights, "-o", tmp_path / "answer")
        assert answer.exit_code == 0, answer.output

    # the same command again has nothing left to do, another one is not mixed into it
    assert run(*asked, "--pictures-every", 2).exit_code == 0
    other = run(*asked, "--rate", 0.01)
    assert other.exit_code == 2 and "other settings (rate)" in other.output


def test_what_cannot_be_trained_is_said_in_a_sentence(photos, tmp_path):
    done = run("train", "--data", tmp_path, "-o", tmp_path / "run", "--steps", 1)
    assert done.exit_code == 2 and "annotations.json" in done.output
    done = run("train", "--data", photos, "-o", tmp_path / "run", "--recipe", "best")
    assert done.exit_code == 2 and "the recipes are" in done.output
