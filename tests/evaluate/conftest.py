"""Made-up data for the protocols."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask


@pytest.fixture
def squares(tmp_path):
    """Makes a folder with one set, "squares": photos of 40 x 50 with a bright rectangle each, of two classes."""

    def make(count=1):
        folder = tmp_path / "data" / "squares"
        (folder / "images").mkdir(parents=True)
        coco = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "low"}, {"id": 5, "name": "high"}]}
        for number in range(count):
            mask = np.zeros((40, 50), np.uint8)
            mask[10 : 30 - number, 10 + number : 40] = 1
            Image.fromarray(np.repeat(mask[..., None] * 200, 3, 2)).save(folder / "images" / f"{number}.png")
            rle = coco_mask.encode(np.asfortranarray(mask))
            coco["images"].append({"id": 7 + number, "file_name": f"{number}.png", "height": 40, "width": 50})
            coco["annotations"].append({
                "id": 1 + number, "image_id": 7 + number, "category_id": 3 + 2 * (number % 2), "iscrowd": 0,
                "area": int(mask.sum()), "bbox": [10 + number, 10, 30 - number, 20 - number],
                "segmentation": {"size": [40, 50], "counts": rle["counts"].decode()},
            })  # fmt: skip
        (folder / "annotations.json").write_text(json.dumps(coco))
        return tmp_path / "data"

    return make
