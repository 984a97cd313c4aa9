"""Typical successes and failures of the model inside, chosen by a rule and not by eye.

    python benchmarks/gallery.py OUT [--data shared/data/instances/val] [--weights FILE]

One click in the middle of each object, at most 40 a set, the answer that the model itself ranks first. Of each set the
objects are sorted by IoU: the success is the one at the upper quarter, the failure the one at the lower quarter. Only
sets whose pictures may be shown again. Writes OUT/successes.jpg and OUT/failures.jpg; two minutes.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from anymask.evaluate.overlap import iou
from anymask.evaluate.photos import Photo, mask_units
from anymask.evaluate.protocol import Choice
from anymask.masks.masks import Masks
from anymask.masks.rle import decode
from anymask.masks.sheet import Cell, contact_sheet
from anymask.models.load import load
from anymask.prompts.simulate import innermost, tight_box
from anymask.session.session import Session

SHARED = Path(os.environ.get("ANYMASK_SHARED", Path(__file__).resolve().parents[2] / "shared"))
SHOWN = {
    "book_spines": "CC BY 4.0, DiKe2004",
    "circuit_boards": "MIT, Grod-d",
    "dates_figs_nuts": "MIT, Tony607",
    "facades_street": "CC BY 4.0, a-hwang",
    "food_plates": "MIT, rezayoga",
    "gravel_coke": "CC BY 4.0, WesselJonge",
    "mushrooms": "CC BY 4.0, tomsains",
    "potholes": "CC BY 4.0, gbadrain",
    "screws": "MIT, AroonKumarr",
    "underwater_suim": "MIT, xahidbuffon",
}
"""Sets whose licence allows to show their pictures, and whom to name."""


YELLOW = (255, 214, 10)


@dataclass(frozen=True)
class Shown:
    """An object that was asked for. point: (x, y)."""

    photo: Photo
    row: int
    point: tuple[int, int]
    answer: Masks
    found: float


def ask(data: Path, name: str, weights: Path | None) -> list[Shown]:
    """Every object of a set that takes part, worst answers first."""
    model = load("anymask-lite", weights=weights)
    shown = []
    for unit in mask_units(data, Choice(only=(name,), cap=40), smallest=64):
        photo = unit.read()
        session = Session(photo.pixels(), model)
        for row, truth in enumerate(photo.truths()):
            x, y, _ = innermost(truth)
            answer = session.predict([x, y])[:1]
            found = float(iou(decode(answer.rle), truth[None])[0])
            shown.append(Shown(photo, row, (x, y), answer, found))
    return sorted(shown, key=lambda one: one.found)


def cell(name: str, one: Shown) -> Cell:
    """The answer in colour, the true outline in yellow, the click marked; what lies around both, a little of it."""
    pixels = one.photo.pixels()
    truth = one.photo.truths()[one.row]
    picture = np.asarray(one.answer.overlay(pixels, points=[one.point], dim=0.25)).copy()
    outline, _ = cv2.findContours(truth.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outline, -1, YELLOW, max(1, round(max(truth.shape) / 320)))
    return Cell(Pillow.fromarray(_around(picture, truth)), f"{name}: IoU {one.found:.2f}", SHOWN[name])


def _around(picture: NDArray[np.uint8], truth: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A square window of three times the object's size, at least a third of the photo."""
    x0, y0, x1, y1 = tight_box(truth)
    height, width = truth.shape
    side = min(max(3 * (x1 - x0), 3 * (y1 - y0), max(height, width) // 3), height, width)
    left = min(max(0, (x0 + x1 - side) // 2), width - side)
    top = min(max(0, (y0 + y1 - side) // 2), height - side)
    return picture[top : top + side, left : left + side]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=SHARED / "data/instances/val")
    parser.add_argument("--weights", type=Path)
    chosen = parser.parse_args()
    asked = {name: ask(chosen.data, name, chosen.weights) for name in SHOWN}
    chosen.out.mkdir(parents=True, exist_ok=True)
    for title, share in (("successes", 0.75), ("failures", 0.25)):
        cells = [cell(name, found[int(share * (len(found) - 1) + 0.5)]) for name, found in asked.items()]
        contact_sheet(cells, columns=5, side=260).save(chosen.out / f"{title}.jpg", quality=85)
    rows = [found[int(0.5 * (len(found) - 1))].found for found in asked.values()]
    print(f"median IoU of one click over these sets: {np.mean(rows):.3f}")


if __name__ == "__main__":
    main()
