"""COCO folders of photos with masks: `<set>/annotations.json` and `<set>/images/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from pycocotools import mask as coco_mask

from anymask.errors import BadImage, BadSetting

Rle = dict[str, Any]
"""{"size": [H, W], "counts": str}, COCO's compressed run lengths."""


def set_folders(data: Path) -> list[Path]:
    """The folders with an annotations.json under `data`, sorted; `data` itself if it has one.

    Raises BadSetting if there is none.
    """
    alone = (data / "annotations.json").is_file()
    found = [data] if alone else sorted(p.parent for p in data.glob("*/annotations.json"))
    if not found:
        raise BadSetting(f"{data} holds no <set>/annotations.json (COCO) with an images folder beside it")
    return found


def read_set(folder: Path) -> list[tuple[str, list[Rle]]]:
    """(file name, masks) of each image of a COCO folder, in file order; crowds are left out.

    Raises BadSetting for a file that is no COCO instances file.
    """
    file = folder / "annotations.json"
    try:
        coco = json.loads(file.read_text())
        by_image: dict[Any, list[Rle]] = {image["id"]: [] for image in coco["images"]}
        sizes = {image["id"]: (image["height"], image["width"]) for image in coco["images"]}
        for annotation in coco["annotations"]:
            if not annotation.get("iscrowd"):
                image_id = annotation["image_id"]
                by_image[image_id].append(as_rle(annotation["segmentation"], *sizes[image_id]))
        return [(image["file_name"], by_image[image["id"]]) for image in coco["images"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadSetting(f"{file} is no COCO instances file: {type(error).__name__} {error}") from None


def as_rle(segmentation: Any, height: int, width: int) -> Rle:
    """Any COCO segmentation (polygons, plain or compressed run lengths) as compressed run lengths."""
    if isinstance(segmentation, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        rle = coco_mask.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    counts = rle["counts"]
    return {"size": list(rle["size"]), "counts": counts.decode() if isinstance(counts, bytes) else counts}


def open_rgb(path: Path) -> NDArray[np.uint8]:
    """The pixels of a file, uint8 [H, W, 3]. Raises BadImage where there are none."""
    try:
        with Pillow.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise BadImage(f"{path} cannot be read as an image: {error}") from None
