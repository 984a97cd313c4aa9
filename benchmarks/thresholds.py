"""Where the thresholds of everything mode on a card come from: masks left and recall kept, on training photos.

    python benchmarks/thresholds.py shared/data/instances/train [--model anymask-lite] [--weights FILE] [--photos 1]

Everything mode runs once without filters on some photos of each set; the filters are tried on what it found. Recall is
the share of true masks met by one of the 100 best, averaged over IoU .5 to .95 and over photos. The pair to take is the
one that leaves the fewest masks of those that keep 95 % of the recall. A second table tries how much masks may cover of
one another, with that pair; precision is the share of masks that meet a true one, each true one but once, at IoU .5
(photos are not annotated in full, so it says which is better and not how good).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from anymask.evaluate.photos import photo_units
from anymask.evaluate.protocol import Choice
from anymask.masks.rle import iou
from anymask.models.interface import PromptModel
from anymask.models.load import load
from anymask.pixels.image import Image
from anymask.session.everything import everything

QUALITIES = (0.0, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.88)
STABILITIES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
LEVELS = np.arange(0.5, 1, 0.05)
OVERLAPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
KEPT = 0.95


class Found(NamedTuple):
    """One photo's answers, best first.

    scores, stability: [N]. shared: IoU with each true mask [N, true masks]. mutual: with one another [N, N].
    """

    scores: NDArray[np.float32]
    stability: NDArray[np.float32]
    shared: NDArray[np.float64]
    mutual: NDArray[np.float64]


def answers(data: Path, name: str, weights: Path | None, photos: int) -> Iterator[Found]:
    model = cast(PromptModel, load(name, weights=weights))
    for unit in track(photo_units(data, Choice(cap=photos)), "photos"):
        photo = unit.read()
        loose = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "mask_nms_thresh": None}
        masks = everything(Image.open(photo.pixels()), model, **loose)
        order = np.argsort(-masks.scores, kind="stable")
        stability = np.asarray(masks.details["stability_score"])[order]
        rles = [masks.rle[row] for row in order]
        yield Found(masks.scores[order], stability, iou(rles, photo.masks), iou(rles, rles))


def judged(found: list[Found], quality: float, stability: float, overlap: float = 1.0) -> tuple[float, float, float]:
    """(recall at 100, masks a photo, precision) with these filters."""
    recalls, counts, right = [], [], []
    for one in found:
        rows = np.flatnonzero((one.scores > quality) & (one.stability >= stability))
        kept: list[int] = []
        for row in rows:
            if not kept or one.mutual[row, kept].max() <= overlap:
                kept.append(int(row))
        best = one.shared[kept[:100]].max(0, initial=0)
        recalls.append(float((best[:, None] >= LEVELS).mean()))
        counts.append(len(kept))
        right.append(int((one.shared[kept].max(0, initial=0) >= 0.5).sum()))
    return float(np.mean(recalls)), float(np.mean(counts)), sum(right) / max(1, sum(counts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="anymask-lite")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--photos", type=int, default=1, help="of each set")
    args = parser.parse_args()
    found = list(answers(args.data, args.model, args.weights, args.photos))
    whole = judged(found, 0, 0)[0]
    rows = [(*judged(found, *pair), *pair) for pair in product(QUALITIES, STABILITIES)]
    fewest = min((row for row in rows if row[0] >= KEPT * whole), key=lambda row: row[1])
    print(f"{len(found)} photos\n\n| predicted IoU above | stability from | recall at 100 | masks a photo |")
    print("| --- | --- | --- | --- |")
    for row in rows:
        mark = "**" if row is fewest else ""
        recall, count, _, quality, stability = row
        print(f"| {mark}{quality:.2f}{mark} | {mark}{stability:.2f}{mark} | {recall:.3f} | {count:.0f} |")
    print("\n| mask_nms_thresh | recall at 100 | masks a photo | precision |\n| --- | --- | --- | --- |")
    for overlap in OVERLAPS:
        recall, count, precision = judged(found, *fewest[-2:], overlap)
        print(f"| {overlap:.1f} | {recall:.3f} | {count:.0f} | {precision:.3f} |")


if __name__ == "__main__":
    main()
