"""Fine-tuning the model inside on nuclei: box and click IoU, and what everything mode finds, before and after.

    python benchmarks/finetune.py OUT [--data shared/data/nuclei] [--steps 300] [--photos 20] [--methods decoder lora]

Four fifths of the photos, chosen by a hash of their names, are trained on; the rest is measured. AP50 is COCO's average
precision at IoU 0.5, class-agnostic, masks ranked by predicted IoU, over the first `--photos` of the rest. Half an hour
on two cores; everything is in OUT, and what is there already is not made again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import measure

SHARED = Path(os.environ.get("ANYMASK_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def split(data: Path, out: Path) -> tuple[Path, Path]:
    """Two COCO folders, train and test, by a hash of the photos' names."""
    coco = json.loads((data / "annotations.json").read_text())
    for part in ("train", "test"):
        folder = out / part / "nuclei"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        chosen = [image for image in coco["images"] if (_fifth(image["file_name"]) == 0) == (part == "test")]
        kept = {image["id"] for image in chosen}
        rows = [row for row in coco["annotations"] if row["image_id"] in kept]
        for image in chosen:
            name = Path(image["file_name"]).name
            shutil.copyfile(data / "images" / name, folder / "images" / name)
        images = [image | {"file_name": Path(image["file_name"]).name} for image in chosen]
        document = {"images": images, "annotations": rows, "categories": coco["categories"]}
        (folder / "annotations.json").write_text(json.dumps(document))
    return out / "train", out / "test"


def _fifth(name: str) -> int:
    return int(hashlib.sha256(Path(name).name.encode()).hexdigest(), 16) % 5


def anymask(*arguments: str) -> None:
    """The command line, as a user types it."""
    done = subprocess.run([sys.executable, "-m", "anymask", *arguments], check=False)
    if done.returncode:
        sys.exit(f"anymask {' '.join(arguments)} failed")


def clicks(test: Path, file: Path, weights: Path | None) -> dict[str, float]:
    """Box and click IoU, at most 300 nuclei."""
    if not file.is_file():
        chosen = [] if weights is None else ["--weights", str(weights)]
        anymask("evaluate", "--data", str(test), "--cap", "300", "-o", str(file), *chosen)
    found: dict[str, float] = json.loads(file.read_text())["mean"]
    return found


def precision(test: Path, file: Path, weights: Path | None, photos: int) -> dict[str, float]:
    """AP50 and AP of everything mode, and the masks found a photo."""
    if file.is_file():
        kept: dict[str, float] = json.loads(file.read_text())
        return kept
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    import anymask as package

    model = package.load(weights=weights, device="cpu")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(test / "nuclei" / "annotations.json"))
    chosen = sorted(truth.imgs)[:photos]
    for row in truth.dataset["annotations"]:
        row["category_id"] = 1
    rows: list[dict[str, Any]] = []
    for number in chosen:
        path = test / "nuclei" / "images" / truth.imgs[number]["file_name"]
        # nuclei are small: smaller specks than a photo's are objects here
        masks = package.everything(path, model, min_mask_region_area=20)
        for rle, score in zip(masks.rle, masks.scores.tolist(), strict=True):
            rows.append({"image_id": number, "category_id": 1, "segmentation": rle, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(truth, truth.loadRes(rows), "segm")
        judge.params.imgIds, judge.params.useCats = chosen, 0
        judge.params.maxDets = [1, 100, 1000]
        judge.evaluate()
        judge.accumulate()
    table = judge.eval["precision"][:, :, 0, 0, 2]
    found = {
        "AP50": float(np.mean(table[0])),
        "AP": float(np.mean(table)),
        "masks a photo": len(rows) / len(chosen),
    }
    file.write_text(json.dumps(found))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "nuclei")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--methods", nargs="+", default=["decoder", "lora"])
    asked = parser.parse_args()
    train, test = split(asked.data, asked.out)
    weights: dict[str, Path | None] = {"before": None}
    for method in asked.methods:
        run = asked.out / method
        anymask("train", "--data", str(train), "--out", str(run), "--method", method, "--steps", str(asked.steps))
        weights[method] = next(file for file in sorted(run.glob("*.safetensors")))
    rows: list[tuple[Any, ...]] = [("weights", "MB", "box", "1 click", "5 clicks", "AP50", "AP", "masks a photo")]
    for name, file in weights.items():
        iou = clicks(test, asked.out / f"clicks-{name}.json", file)
        ap = precision(test, asked.out / f"everything-{name}.json", file, asked.photos)
        size = 0.0 if file is None else file.stat().st_size / 1e6
        values = (iou["box"], iou["click_top"], iou["clicks_5"], ap["AP50"], ap["AP"], ap["masks a photo"])
        rows.append((name, round(size, 1), *(round(value, 3) for value in values)))
    measure.table(rows)
    print(json.dumps(measure.machine()))


if __name__ == "__main__":
    main()
