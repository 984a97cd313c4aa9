"""The step of one image, and how a machine is divided."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from anymask.errors import BadSetting
from anymask.jobs import shares, work
from anymask.jobs.manifest import Item
from anymask.jobs.work import Everything
from anymask.models.catalogue import card
from anymask.records.formats import FORMATS, format_named

OPTIONS = {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}


@pytest.fixture
def item(tmp_path, photo):
    Pillow.fromarray(photo).save(tmp_path / "photo.png")
    return Item("photo", str(tmp_path / "photo.png"), str(tmp_path / "photo.png"))


def step(form="sa1b", **how):
    return Everything(form, "sam-tiny-test", device="cpu", options=OPTIONS, **how)()


@pytest.mark.parametrize("form", [name for name in FORMATS if name not in ("geopackage", "geotiff")])
def test_the_same_image_gives_the_same_bytes_in_every_worker(item, form):
    first, second = step(form, pictures=True)(item), step(form, pictures=True)(item)
    assert first.files and dict(first.files) == dict(second.files) and dict(first.facts) == dict(second.facts)
    assert "photo.overlay.jpg" in first.files and first.facts["masks"] == sum(first.facts["levels"]) > 3


def test_the_tree_is_drawn_where_pictures_are(item):
    assert "photo.tree.jpg" not in step(tree=True)(item).files
    answer = step(tree=True, pictures=True)(item)
    drawn = Pillow.open(io.BytesIO(answer.files["photo.tree.jpg"]))
    overlay = Pillow.open(io.BytesIO(answer.files["photo.overlay.jpg"]))
    # a panel for each level that has masks, up to three
    assert drawn.width * drawn.height > min(3, len(answer.facts["levels"])) * overlay.width * overlay.height


def test_nothing_is_written(item, tmp_path):
    before = sorted(os.listdir(tmp_path))
    step()(item)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_record_says_how_it_was_made_and_nothing_of_the_hour(item):
    record = step().record(item)
    assert record.image.path == item.source and record.made_by.model == "sam-tiny-test" and record.made_by.time == ""
    assert record.made_by.settings["points_per_side"] == 3


def test_an_image_that_is_no_file_is_fetched(item):
    data = Path(item.source).read_bytes()
    far = Item("photo", "bucket://x/photo.png", "bucket://x/photo.png")
    asked = []

    def fetch(address):
        asked.append(address)
        return data

    there, here = step(fetch=fetch).record(far), step().record(item)
    assert asked == [far.at] and there.image.path == far.source
    assert [one["counts"] for one in there.masks.rle] == [one["counts"] for one in here.masks.rle]


def test_an_image_beyond_the_limit_is_tiled_unasked(item, monkeypatch):
    monkeypatch.setattr(work, "TILED_FROM", 10_000)
    monkeypatch.setattr(work, "TILE", 64)
    record = step().record(item)
    assert record.masks.details["crop_box"][:, 2:].max() == 64
    assert format_named("sa1b").files(record, "x")


def test_a_tiff_is_an_image_like_any_other(item, tmp_path, photo):
    Pillow.fromarray(photo).save(tmp_path / "photo.tif")
    path = str(tmp_path / "photo.tif")
    there, here = step().record(Item("t", path, path)), step().record(item)
    assert there.masks.image is not None
    np.testing.assert_array_equal(there.masks.dense(), here.masks.dense())


def test_cores_and_memory_decide_how_many_workers_there_are(monkeypatch):
    monkeypatch.setattr(shares, "cores", lambda: 8)
    lite, huge, cpu = card("anymask-lite"), card("sam-vit-h"), torch.device("cpu")
    for memory, model, images, expected in (
        (100 << 30, lite, 1000, (8, 1)),
        (100 << 30, lite, 3, (3, 2)),
        (4 << 30, lite, 1000, (3, 2)),
        (14 << 30, huge, 1000, (2, 4)),
        (1 << 20, huge, 1000, (1, 8)),
    ):
        monkeypatch.setattr(shares, "available", lambda memory=memory: memory)
        workers, each = shares.divided(model, cpu, images)
        assert (workers, each.threads) == expected
        assert 1 <= each.batch <= 32
    assert shares.divided(lite, cpu, 1000, 5)[0] == 5
    with pytest.raises(BadSetting, match="without workers"):
        shares.divided(lite, cpu, 1000, 0)
    assert shares.device_of(torch.device("cuda:1"), 5) == "cuda:1" and shares.device_of(cpu, 5) == "cpu"
