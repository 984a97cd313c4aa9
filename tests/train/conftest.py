"""A made-up training set and a small model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from anymask.family.lite import LiteModel


def write_set(folder: Path, count: int, seed: int = 0) -> Path:
    """A COCO folder of `count` photos, each with a bright rectangle and a dark disc."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    y, x = np.mgrid[:96, :128]
    for index in range(1, count + 1):
        pixels = rng.integers(90, 130, (96, 128, 3)).astype(np.uint8)
        left, top = rng.integers(5, 40, 2)
        rectangle = (x >= left) & (x < left + 40) & (y >= top) & (y < top + 30)
        disc = (x - 100) ** 2 + (y - rng.integers(30, 70)) ** 2 < 20**2
        for mask, colour in ((rectangle, (240, 220, 60)), (disc, (20, 30, 60))):
            pixels[mask] = colour
            rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            segmentation = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
            annotations.append({"id": len(annotations) + 1, "image_id": index, "segmentation": segmentation})
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "height": 96, "width": 128})
    (folder / "annotations.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    write_set(tmp_path / "data" / "shapes", 3)
    return tmp_path / "data"


@pytest.fixture
def small() -> LiteModel:
    """A narrow model with a 64 px frame; its backbone is random."""
    torch.manual_seed(0)
    return LiteModel("lite0", dim=32, side=64)
