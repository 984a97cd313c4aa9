"""Files of results: read back whole, readable by others, written whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow
from pycocotools.coco import COCO

import anymask
from anymask import Image, Masks, Prompts
from anymask.errors import BadImage, BadSetting
from anymask.masks.polygons import fill
from anymask.records import ImageRef, Provenance, Record, atomic, coco, png, svg
from anymask.records import json as result
from anymask.records.record import described


@pytest.fixture
def ring():
    """20 x 30 px, a ring with an island in it, and a bar."""
    dense = np.zeros((2, 20, 30), bool)
    dense[0, 2:15, 3:20] = True
    dense[0, 4:13, 5:18] = False
    dense[0, 7:9, 9:12] = True
    dense[1, 16:18, 1:29] = True
    return Masks.from_dense(
        dense, scores=[0.875, 0.5], labels=["ring", None], parents=[-1, 0], ids=[3, 9], logits=np.zeros((2, 4, 4))
    )


@pytest.fixture
def record(ring, tmp_path):
    prompts = Prompts.of(points=[[[1, 2], [3, 4]], [[5, 6]]], labels=[[1, 0], [1]], size=(20, 30))
    how = Provenance("sam-vit-b", "ab" * 32, described(prompts), {"multimask": None})
    return Record(ImageRef("photos/ring.png", (20, 30), "cd" * 32), ring, how)


def same(first, second):
    np.testing.assert_array_equal(first.dense(), second.dense())
    assert first.labels == second.labels
    for name in ("scores", "parents", "ids"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_a_result_file_is_read_back_as_it_was(record, tmp_path):
    path = result.write(record, tmp_path / "new" / "ring.json")
    back = result.read(path)
    same(back.masks, record.masks)
    assert back.image == record.image and back.made_by == record.made_by
    assert back.masks.logits is None


def test_a_result_file_can_be_used_without_anymask(record, tmp_path):
    data = json.loads(result.write(record, tmp_path / "ring.json").read_text())
    assert data["format"] == "anymask-result-1"
    assert data["image"] == {"path": "photos/ring.png", "height": 20, "width": 30, "sha256": "cd" * 32}
    assert data["made_by"]["model"] == "sam-vit-b" and data["made_by"]["weights"] == "ab" * 32
    assert data["made_by"]["prompts"] == {"points": [[[1, 2], [3, 4]], [[5, 6]]], "labels": [[1, 0], [1]]}
    assert data["made_by"]["anymask"] == anymask.__version__
    first = data["masks"][0]
    assert (first["score"], first["box"], first["area"]) == (0.875, [3, 2, 20, 15], 13 * 17 - 9 * 13 + 6)
    filled = fill([[part["exterior"], *part["holes"]] for part in first["polygons"]], (20, 30))
    np.testing.assert_array_equal(filled, record.masks[0].dense()[0])


def test_outlines_can_be_left_out(record, tmp_path):
    path = result.write(record, tmp_path / "ring.json", polygons=False)
    assert "polygons" not in path.read_text()
    same(result.read(path).masks, record.masks)


@settings(max_examples=50)
@given(hnp.arrays(bool, st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9))))
def test_any_masks_survive_json_and_coco(tmp_path_factory, dense):
    folder = tmp_path_factory.mktemp("any")
    record = Record(ImageRef(None, dense.shape[1:]), Masks.from_dense(dense))
    same(result.read(result.write(record, folder / "a.json")).masks, record.masks)
    for kind in ("rle", "polygon"):
        (back,) = coco.read(coco.write([record], folder / "b.json", segmentation=kind))
        np.testing.assert_array_equal(back.masks.dense(), dense)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"format": "anymask-result-1"}',
        '{"format": "anymask-result-2"}',
        '{"format": "anymask-result-1", "image": {"height": 2, "width": 2, "path": null, "sha256": ""}, "made_by": {}, '
        '"masks": [{"rle": {"size": [2, 2], "counts": "zz"}, "score": 1, "label": null, "parent": -1, "id": 0}]}',
        '{"format": "anymask-result-1", "image": {"height": -2, "width": 2, "path": null, "sha256": ""}, "made_by": {}'
        ', "masks": []}',
        '{"format": "anymask-result-1", "image": {"height": 2, "width": 2, "path": 3, "sha256": ""}, "made_by": {}, '
        '"masks": []}',
        '{"format": "anymask-result-1", "image": {"height": 2, "width": 2, "path": null, "sha256": ""}, "made_by": [], '
        '"masks": []}',
        "[" * 100_000,
        "\x00\xff",
    ],
)
def test_damaged_files_are_refused_by_name(text, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(text)
    for read in (result.read, coco.read):
        with pytest.raises(BadSetting, match=r"broken\.json"):
            read(path)
    with pytest.raises(FileNotFoundError):
        result.read(tmp_path / "none.json")


def test_settings_that_json_cannot_hold_are_refused_and_the_old_file_stays(record, tmp_path):
    path = result.write(record, tmp_path / "ring.json")
    before = path.read_bytes()
    odd = Record(record.image, record.masks, Provenance(settings={"x": float("nan")}))
    with pytest.raises(BadSetting, match="JSON"):
        result.write(odd, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["ring.json"]


def test_a_record_is_of_one_image(ring):
    with pytest.raises(BadSetting, match="the masks are"):
        Record(ImageRef(None, (30, 20)), ring)


def test_prompts_are_described_without_padding_and_without_logits(ring):
    drawn = described(Prompts.of(mask=ring.dense()[:1], size=(20, 30)))
    assert Masks((20, 30), drawn["masks"]).areas().tolist() == ring.areas().tolist()[:1]
    both = described(Prompts.of(boxes=[1, 2, 3, 4], mask=np.zeros((8, 8), np.float32)))
    assert both == {"boxes": [[1, 2, 3, 4]], "low_res": [1, 8, 8]}


def test_pycocotools_loads_the_dataset(record, ring, tmp_path, capsys):
    other = Record(ImageRef(None, (20, 30)), Masks((20, 30), []))
    path = coco.write([record, other, record], tmp_path / "annotations.json")
    dataset = COCO(str(path))
    assert dataset.getImgIds() == [1, 2, 3] and len(dataset.getAnnIds(imgIds=[1])) == 2
    assert [one["name"] for one in dataset.loadCats(dataset.getCatIds())] == ["object", "ring"]
    for row, annotation in enumerate(dataset.loadAnns(dataset.getAnnIds(imgIds=[3]))):
        np.testing.assert_array_equal(dataset.annToMask(annotation), ring.dense()[row])
    back = coco.read(path)
    assert [len(one.masks) for one in back] == [2, 0, 2]
    assert back[0].image.path == "photos/ring.png"
    np.testing.assert_array_equal(back[2].masks.dense(), ring.dense())
    assert back[2].masks.labels == ("ring", None)


def test_coco_files_of_other_tools_are_read(tmp_path):
    path = tmp_path / "other.json"
    data = {
        "images": [{"id": 77, "file_name": "x.jpg", "height": 4, "width": 6}],
        "categories": [{"id": 18, "name": "dog"}],
        "annotations": [
            {"image_id": 77, "category_id": 18, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [4, 2, 6, 2, 6, 4, 4, 4]]},
            {"image_id": 77, "category_id": 18, "segmentation": {"size": [4, 6], "counts": [0, 4, 20]}},
        ],
    }
    path.write_text(json.dumps(data))
    (record,) = coco.read(path)
    assert record.masks.areas().tolist() == [8, 4] and record.masks.labels == ("dog", "dog")
    data["annotations"][0]["image_id"] = 5
    path.write_text(json.dumps(data))
    with pytest.raises(BadSetting, match="does not list"):
        coco.read(path)


def test_mask_pictures_are_black_and_white_and_read_back(ring, tmp_path):
    path = png.write_mask(ring[0], tmp_path / "mask.png")
    pixels = np.asarray(Pillow.open(path))
    assert pixels.dtype == np.uint8 and set(np.unique(pixels)) == {0, 255}
    np.testing.assert_array_equal(png.read_mask(path).dense(), ring[0].dense())
    both = png.read_mask(png.write_mask(ring, tmp_path / "both.png")).dense()[0]
    np.testing.assert_array_equal(both, ring.dense().any(0))
    assert png.read_mask(png.write_mask(ring[[]], tmp_path / "none.png")).areas().tolist() == [0]


@pytest.mark.parametrize("form", ["one-bit", "zero-one", "jpeg", "rgb", "alpha", "palette"])
def test_masks_drawn_in_other_programs_are_read(form, ring, tmp_path):
    inside = ring.dense().any(0)
    levels = Pillow.fromarray(inside.astype(np.uint8) * 255)
    path = tmp_path / ("mask.jpg" if form == "jpeg" else "mask.png")
    if form == "one-bit":
        levels.convert("1").save(path)
    elif form == "zero-one":
        Pillow.fromarray(inside.astype(np.uint8)).save(path)
    elif form == "jpeg":
        levels.save(path, quality=100)
    elif form == "rgb":
        levels.convert("RGB").save(path)
    elif form == "palette":
        levels.convert("P").save(path)
    else:
        Pillow.merge("RGBA", [levels, levels, levels, levels]).save(path)
    np.testing.assert_array_equal(png.read_mask(path).dense()[0], inside)


def test_a_photo_is_no_mask(photo, tmp_path):
    Pillow.fromarray(photo).save(tmp_path / "photo.png")
    with pytest.raises(BadSetting, match="shades"):
        png.read_mask(tmp_path / "photo.png")
    with pytest.raises(BadImage, match="no file"):
        png.read_mask(tmp_path / "none.png")


def test_a_cut_out_has_alpha(ring, tmp_path):
    picture = np.full((20, 30, 3), 77, np.uint8)
    path = png.write_cutout(ring[0], tmp_path / "cut.png", picture)
    cut = np.asarray(Pillow.open(path))
    assert cut.shape == (13, 17, 4) and (cut[:, :, 3] > 0).sum() == ring.areas()[0]
    with pytest.raises(BadSetting, match="one mask"):
        png.write_cutout(ring, tmp_path / "cut.png", picture)


def test_svg_paths_lie_over_the_picture_and_keep_their_holes(record, tmp_path):
    root = ET.fromstring(svg.write(record, tmp_path / "ring.svg").read_text())
    assert root.attrib["viewBox"] == "0 0 30 20"
    paths = root.findall("{*}path")
    assert len(paths) == 2 and paths[0].attrib["fill-rule"] == "evenodd" and paths[0].attrib["data-label"] == "ring"
    rings = [walked(part) for part in paths[0].attrib["d"].split("M") if part]
    np.testing.assert_array_equal(fill([rings], (20, 30)), record.masks[0].dense()[0])


def walked(text):
    """A ring from the path commands h, v, l and z after M."""
    import re

    start, *moves = re.findall(r"^[\d ]+|[hvl][-\d ]+", text)
    points = [list(map(int, start.split()))]
    for move in moves:
        numbers = list(map(int, move[1:].split()))
        dx, dy = {"h": [numbers[0], 0], "v": [0, numbers[0]], "l": numbers}[move[0]]
        points.append([points[-1][0] + dx, points[-1][1] + dy])
    return points


def test_svg_survives_names_that_xml_cannot_hold(ring, tmp_path):
    odd = ring.replace(labels=["<&\"'\x00\n>", "\udce9"])
    text = svg.as_text(Record(ImageRef("a<b>&\x07.png", (20, 30)), odd), simplify=1.0)
    assert len(ET.fromstring(text).findall("{*}path")) == 2


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = atomic.write(tmp_path / "a.json", "old")

    def fail(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        atomic.write(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.json"]


def test_files_get_the_permissions_that_new_files_get(tmp_path):
    (tmp_path / "plain").write_text("x")
    path = atomic.write(tmp_path / "ours", b"x")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_writing_through_a_link_keeps_the_link(tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    atomic.write(tmp_path / "link.json", "new")
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "real.json").read_text() == "new"


def test_the_reference_names_the_picture_not_the_file(photo, tmp_path):
    Pillow.fromarray(photo).save(tmp_path / "a.png")
    Pillow.fromarray(photo).save(tmp_path / "b.bmp")
    first, second = (ImageRef.of(Image.open(tmp_path / name)) for name in ("a.png", "b.bmp"))
    assert first.sha256 == second.sha256 and first.path != second.path
