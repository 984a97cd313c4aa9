"""Masks that formats stumble over, and a folder written and finished as a run does it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from anymask import Image, Masks
from anymask.records import ImageRef, Provenance, Record
from anymask.records.formats import format_named

SIZE = (48, 64)
NAME = "Straße 1 – 東.png"
TITLE = "Straße 1 – 東"


def awkward_masks() -> np.ndarray:
    """bool [10, 48, 64]"""
    dense = np.zeros((10, *SIZE), bool)
    dense[0, 5:30, 5:40] = True  # a ring with an island in it
    dense[0, 10:25, 10:35] = False
    dense[0, 15:20, 18:24] = True
    dense[1, 20:48, 30:64] = True  # two holes, one of a single pixel, on the border
    dense[1, 30:36, 40:50] = False
    dense[1, 40, 60] = False
    dense[2, 7, 13] = True  # one pixel
    dense[3, 1:4, 1:9] = dense[3, 40:47, 3:11] = True  # two parts
    dense[4] = True  # everything; number 5 is nothing
    dense[6, 25:45, 20:50] = True  # overlaps
    dense[7, 0, 0] = dense[7, -1, -1] = True  # two corners
    dense[8, [10, 11, 12], [50, 51, 52]] = True  # pixels that touch by corners
    dense[9, 2:46, 2:62] = True  # a frame of one pixel
    dense[9, 3:45, 3:61] = False
    return dense


@pytest.fixture
def dense():
    return awkward_masks()


@pytest.fixture
def record(dense, tmp_path):
    """All of them, found by a grid, on a picture in a file whose name has spaces, umlauts and more."""
    count = len(dense)
    source = tmp_path / "photos with space" / NAME
    source.parent.mkdir()
    pixels = np.random.default_rng(7).integers(0, 256, (*SIZE, 3), np.uint8)
    Pillow.fromarray(pixels).save(source)
    picture = Image.open(source)
    masks = Masks.from_dense(
        dense,
        scores=np.linspace(0.5, 0.99, count),
        parents=[4, 4, 4, 4, -1, -1, 4, 4, 4, 4],
        image=picture,
        details={
            "stability_score": np.linspace(0.9, 1, count, dtype=np.float32),
            "point_coords": np.arange(2.0 * count).reshape(count, 2) + 0.25,
            "crop_box": np.tile([0, 0, 64, 48], (count, 1)),
        },
    )
    return Record(ImageRef.of(picture), masks, Provenance("sam-vit-b", time="2026-11-21T00:00:00+00:00"))


@pytest.fixture
def empty(record):
    """The same picture without any mask."""
    return Record(record.image, record.masks[[]], record.made_by)


@pytest.fixture
def run(tmp_path):
    """Writes records as a folder run does, by title; gives the folder."""

    def written(form, records, folder="out"):
        form = format_named(form) if isinstance(form, str) else form
        out = tmp_path / folder
        for title, record in records.items():
            for name, content in form.files(record, title).items():
                path = out / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        for name, pieces in form.finish(iter(records), lambda one: (out / one).read_bytes()):
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(pieces))
        return out

    return written
