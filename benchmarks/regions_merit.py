"""Where MERIT of anymask.evaluate.regions comes from: least squares on training photos, three of each set.

    python benchmarks/regions_merit.py shared/data/instances/train

Each region of a photo is a row; it says the IoU with the true mask that it fits best. Every photo weighs the same.
The first and the last photo of each set take no part, so that the method can be measured on them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anymask.data.open import open_data
from anymask.data.sample import Dataset
from anymask.evaluate.regions import MERIT, Tree, trees
from anymask.masks.rle import decode


def overlap(tree: Tree, truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of every region with the true mask it fits best, float64 [R]. truth: bool [N, H, W]."""
    best = np.zeros(len(tree.areas))
    for mask in truth:
        inside = np.bincount(tree.ranks[mask], minlength=int(tree.ranks.max()) + 1)
        before = np.concatenate([[0], np.cumsum(inside)])
        shared = before[tree.last] - before[tree.first]
        best = np.maximum(best, shared / (tree.areas + mask.sum() - shared))
    return best


def main(data: Path) -> None:
    square, product = np.zeros((len(MERIT) + 1,) * 2), np.zeros(len(MERIT) + 1)
    for entry in open_data(data):
        assert isinstance(entry, Dataset), "a stream has no first and last photo"
        photos = [sample for sample in map(entry.__getitem__, range(len(entry))) if sample.masks]
        for place in sorted({int(p) for p in np.linspace(0, len(photos) - 1, 5)[1:-1]}):
            truth = decode(photos[place].masks)
            found = list(trees(photos[place].pixels()))
            looks = np.concatenate([tree.looks() for tree in found])
            best = np.concatenate([overlap(tree, truth) for tree in found])
            # a region that several mergings made counts once
            rows = np.unique(np.round(np.column_stack([looks, np.ones(len(looks)), best]), 6), axis=0)
            square += rows[:, :-1].T @ rows[:, :-1] / len(rows)
            product += rows[:, :-1].T @ rows[:, -1] / len(rows)
        print(entry.name, np.round(np.linalg.lstsq(square, product, rcond=None)[0][:-1], 3), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
