"""Truths in encodings that a single data set has: ADE20K, Hypersim, BSDS500."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from anymask.data.labelmaps import NumberMap
from anymask.data.paired import Found, Pair
from anymask.data.volumes import reading
from anymask.errors import BadImage, BadSetting
from anymask.extras import need


def ade20k(pair: Pair[Path]) -> Found:
    """The objects of a _seg.png: red and green code the class, R // 10 * 256 + G, blue counts the objects.

    Pixels without class or object are nobody's. Source: the data set's own reader (utils of CSAILVision/ADE20K).
    """

    def read() -> NDArray[np.int64]:
        with Pillow.open(pair.truth) as picture:
            return np.asarray(picture.convert("RGB"), np.int64)

    colours = reading(pair.truth, read)
    kinds = colours[:, :, 0] // 10 * 256 + colours[:, :, 1]
    objects = np.where((kinds > 0) & (colours[:, :, 2] > 0), kinds * 256 + colours[:, :, 2], 0)
    return NumberMap(ignore=()).found(objects)


def hypersim(pair: Pair[Path]) -> Found:
    """The instances of a semantic_instance.hdf5; -1 is nobody. Source: README of apple/ml-hypersim."""
    h5py = need("h5py", extra="hdf5", to="read Hypersim's instances")

    def read() -> NDArray[np.int64]:
        with h5py.File(pair.truth, "r") as file:
            return np.asarray(file["dataset"], np.int64)

    return NumberMap(ignore=()).found(reading(pair.truth, read))


def bsds500(pair: Pair[Path]) -> Found:
    """The regions that one person saw: of all who drew the picture, the one with the median number of regions."""
    drawn = bsds500_people(pair.truth)
    counts = [int(segments.max()) for segments, _ in drawn]
    middle = int(np.argsort(counts, kind="stable")[len(counts) // 2])
    return NumberMap(ignore=()).found(drawn[middle][0])


def bsds500_people(file: Path) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """(regions int64 [H, W] from 1, boundaries bool [H, W]) by each person who drew a picture of BSDS500.

    Raises BadImage, BadSetting, MissingExtra.
    """
    scipy = need("scipy.io", extra="evaluate", to="read the boundaries of BSDS500")
    if not file.is_file():
        raise BadImage(f"there is no file {file}")
    data: Any = reading(file, lambda: scipy.loadmat(file))
    try:
        people = [one[0, 0] for one in data["groundTruth"].reshape(-1)]
        return [(np.asarray(one["Segmentation"], np.int64), np.asarray(one["Boundaries"]) > 0) for one in people]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadSetting(f"{file} is no groundTruth of BSDS500: {type(error).__name__} {error}") from None
