"""COCO data sets of folder runs, loaded by COCO's own readers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from faster_coco_eval import COCO as FasterCOCO
from pycocotools.coco import COCO

from anymask.errors import BadSetting
from anymask.records import Record, coco
from anymask.records.formats import format_named


@pytest.mark.parametrize("reader", [COCO, FasterCOCO])
def test_coco_readers_see_the_same_pixels(reader, record, empty, dense, run, capsys):
    out = run("coco", {"a": record, "nothing here": empty, "ü/b": record})
    data = reader(str(out / "annotations.json"))
    assert data.getImgIds() == [1, 2, 3]
    assert data.loadImgs([2])[0]["file_name"] == record.image.path
    assert sorted(data.getAnnIds()) == list(range(1, 21))
    assert [one["name"] for one in data.loadCats(data.getCatIds())] == ["object"]
    for image_id in (1, 3):
        rows = data.loadAnns(data.getAnnIds(imgIds=[image_id]))
        assert len(rows) == 10
        for row, annotation in enumerate(rows):
            np.testing.assert_array_equal(data.annToMask(annotation), dense[row])
            assert annotation["area"] == dense[row].sum()


def test_the_data_set_is_what_a_single_write_gives(record, empty, run, tmp_path):
    """Save for the order of its keys."""
    records = [record, empty, record]
    out = run("coco", dict(zip("abc", records, strict=True)))
    written = json.loads((out / "annotations.json").read_text())
    assert written == json.loads(coco.write(records, tmp_path / "once.json").read_text())


def test_categories_are_numbered_over_all_images(record, run):
    count = len(record.masks)
    first = Record(record.image, record.masks.replace(labels=["ω"] + [None] * (count - 1)))
    second = Record(record.image, record.masks.replace(labels=["cup"] * count))
    back = coco.read(run("coco", {"a": first, "b": second}) / "annotations.json")
    assert [one.masks.labels for one in back] == [first.masks.labels, second.masks.labels]


def test_parents_are_ids_of_the_whole_data_set(record, run):
    out = run("coco", {"a": record, "b": record})
    rows = json.loads((out / "annotations.json").read_text())["annotations"]
    assert [row.get("parent") for row in rows[3:5] + rows[13:15]] == [5, None, 15, None]
    for back in coco.read(out / "annotations.json"):
        assert back.masks.parents.tolist() == record.masks.parents.tolist()


def test_a_data_set_without_images_is_one(run):
    assert coco.read(run("coco", {}, folder=".") / "annotations.json") == []


def test_each_part_is_read_once_and_when_its_turn_comes(record):
    form = format_named("coco")
    (content,) = form.files(record, "x").values()
    asked = []

    def read(name):
        asked.append(name)
        return content

    ((_, pieces),) = form.finish((f"{number}" for number in range(50)), read)
    size = 0
    for done, piece in enumerate(pieces):
        assert len(asked) == min(done, 50)
        size += len(piece)
    assert len(asked) == len(set(asked)) == 50 and size > 40 * len(content)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"image": {}}', b'{"image": {}, "annotations": [{}]}', b"\xff"])
def test_a_damaged_part_is_named(text):
    ((_, pieces),) = format_named("coco").finish(["x/y"], lambda name: text)
    with pytest.raises(BadSetting, match=r"parts/x/y\.json is damaged"):
        list(pieces)
