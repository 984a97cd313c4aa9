"""Damaged files of every layout end in errors that name them, never in a library's own."""

from __future__ import annotations

import logging
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# the small data sets that the other tests make
from test_coco_data import dataset, photos, write
from test_folder_data import discs, photo, record
from test_named import MADE
from test_shards import add, contents
from test_volumes import CELLS, body, dicom, save

from anymask.data.open import open_data
from anymask.errors import AnymaskError
from anymask.records import sa1b

TRIALS = 12


def coco(root: Path) -> None:
    data = dataset(np.random.default_rng(0))
    write(root / "annotations.json", data)
    photos(root / "images", data)


def yolo(root: Path) -> None:
    photo(root / "images" / "a.png")
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (root / "data.yaml").write_text("train: images\nnames: [cat]\n")


def folder(root: Path) -> None:
    image = photo(root / "sa_1.png")
    sa1b.write(record(image, discs((12, 12))), image.with_suffix(".json"))


def tar(root: Path) -> None:
    with tarfile.open(root / "a.tar", "w") as out:
        for number in range(3):
            picture, text, _ = contents(number)
            add(out, f"{number}.png", picture)
            add(out, f"{number}.json", text)


def nifti(root: Path) -> None:
    values, labels = body()
    save(root / "a.nii", values, np.eye(4))
    save(root / "a_seg.nii", labels, np.eye(4))


def series(root: Path) -> None:
    dicom(root / "ct")
    save(root / "ct_labels.nii", body()[1], np.diag([2.0, 3, 5, 1]))


def stack(root: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(root / "a.tif", CELLS, metadata={"axes": "ZYX"}, compression="zlib")
    tifffile.imwrite(root / "a_masks.tif", CELLS)


LAYOUTS: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "coco": (coco, None),
    "yolo": (yolo, None),
    "sa1b": (folder, None),
    "shards": (tar, None),
    "nifti": (nifti, None),
    "dicom": (series, None),
    "tiff": (stack, None),
    **{
        name: (MADE[name], name)
        for name in ("ade20k", "bbbc038v1", "hypersim", "ovis", "streets", "visor", "woodscape")
    },
}


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Cut short, some bytes changed, or a stretch of it replaced."""
    found = bytearray(content)
    kind = draw.random()
    if kind < 0.2:
        return bytes(found[: draw.randrange(len(found))])
    place = draw.randrange(min(len(found), draw.choice([400, 3000, len(found)])))
    if kind < 0.7:
        for at in range(place, min(place + draw.choice([1, 2, 5]), len(found))):
            found[at] = draw.choice([draw.randrange(256), *b'0123456789-e[]{}",'])
    else:
        found[place : place + draw.randrange(1, 40)] = draw.choice(
            [b"", b"null", b"[]", b"{}", b"-1", b"1e400", b'"a"']
        )
    return bytes(found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_damage_is_told_and_never_crashes(layout, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    make, kind = LAYOUTS[layout]
    (tmp_path / "whole").mkdir()
    make(tmp_path / "whole")
    files = sorted(file for file in (tmp_path / "whole").rglob("*") if file.is_file() and file.suffix != ".jpg")
    draw = random.Random(layout)
    for trial in range(TRIALS):
        root = tmp_path / str(trial)
        shutil.copytree(tmp_path / "whole", root)
        file = root / draw.choice(files).relative_to(tmp_path / "whole")
        file.write_bytes(damaged(file.read_bytes(), draw))
        try:
            for one in open_data(root, kind):
                for sample in one:
                    sample.pixels()
        except AnymaskError as error:
            assert str(error)
