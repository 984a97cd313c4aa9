"""COCO folders: the masks are those of the official reader, whatever way the files lie."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools import mask as official
from pycocotools.coco import COCO

from anymask.data import json_rows
from anymask.data.open import open_data
from anymask.errors import BadImage, BadSetting
from anymask.masks.rle import decode_one


def dataset(rng: np.random.Generator, count: int = 3) -> dict:
    """Images of two sizes; polygons of several parts, plain and compressed run lengths, a crowd, an empty one."""
    images, annotations = [], []
    for number in range(1, count + 1):
        height, width = (40, 60) if number % 2 else (50, 30)
        images.append({"id": number * 7, "file_name": f"photo_{number}.png", "height": height, "width": width})
        disc = (np.mgrid[:height, :width] ** 2).sum(0) < (10 + number) ** 2
        packed = official.encode(np.asfortranarray(disc, np.uint8))
        plain = np.diff(np.flatnonzero(np.diff(disc.T.reshape(-1), prepend=False)), prepend=0, append=disc.size)
        corners = rng.uniform(0, min(height, width), 10).tolist()
        for segmentation, crowd in (
            ([corners, [1, 1, 9, 1.5, 8, 9.25]], 0),
            ({"size": [height, width], "counts": packed["counts"].decode()}, 0),
            ({"size": [height, width], "counts": [0, *plain[1:].tolist()] if disc[0, 0] else plain.tolist()}, 0),
            ({"size": [height, width], "counts": packed["counts"].decode()}, 1),
            ([], 0),
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number * 7,
                    "category_id": 3 + crowd,
                    "segmentation": segmentation,
                    "iscrowd": crowd,
                    "bbox": [0, 0, 1, 1],
                    "area": 1,
                }
            )
    rng.shuffle(annotations)
    categories = [{"id": 3, "name": "Käse"}, {"id": 4, "name": "crowd of 日"}]
    licences = [{"id": 1, "name": "CC BY 4.0", "url": ""}]
    return {
        "info": {"year": 2026},
        "licenses": licences,
        "annotations": annotations,
        "images": images,
        "categories": categories,
    }


def photos(folder: Path, data: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(data["images"]):
        Pillow.new("RGB", (image["width"], image["height"]), (number, 2, 3)).save(folder / image["file_name"])


@pytest.fixture
def data() -> dict:
    return dataset(np.random.default_rng(0))


def write(file: Path, data: dict, **how: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data, **how), "utf-8")


LAYOUTS = {
    "anymask": ("annotations.json", "images", "{root}"),
    "sets": ("cheese/annotations.json", "cheese/images", "cheese"),
    "official": ("annotations/instances_val2017.json", "val2017", "val2017"),
    "cvat": ("annotations/instances_default.json", "images/default", "default"),
    "roboflow": ("valid/_annotations.coco.json", "valid", "valid"),
}


@pytest.mark.parametrize("way", LAYOUTS)
@pytest.mark.parametrize("how", [{}, {"ensure_ascii": False, "indent": 1}], ids=["compact", "indented utf-8"])
def test_masks_are_those_of_pycocotools_in_every_layout(way, how, data, tmp_path, monkeypatch):
    # pieces so small that every row crosses a border between two
    monkeypatch.setattr(json_rows, "PIECE", 97)
    file, folder, name = LAYOUTS[way]
    write(tmp_path / file, data, **how)
    photos(tmp_path / folder, data)
    (found,) = open_data(tmp_path)
    assert found.name == name.format(root=tmp_path.name)
    assert found.licence == "CC BY 4.0"
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / file))
    assert len(found) == len(truth.imgs)
    for index, image in enumerate(data["images"]):
        sample = found[index]
        # the empty outline has no mask to click on
        wanted = [
            one for one in truth.loadAnns(truth.getAnnIds([image["id"]], iscrowd=False)) if one["segmentation"] != []
        ]
        assert sample.name == image["file_name"]
        assert sample.labels == ("Käse",) * 3
        assert [decode_one(one).tolist() for one in sample.masks] == [truth.annToMask(one).tolist() for one in wanted]
        assert sample.pixels()[0, 0].tolist() == [index, 2, 3]


def test_a_set_travels_to_another_process_and_gives_the_same_samples(data, tmp_path):
    write(tmp_path / "annotations.json", data)
    photos(tmp_path / "images", data)
    (found,) = open_data(tmp_path)
    copy = pickle.loads(pickle.dumps(found))
    assert [copy[row] for row in range(len(copy))] == list(found)
    assert pickle.loads(pickle.dumps(found[1])).pixels().tolist() == found[1].pixels().tolist()


def test_a_photo_turned_by_its_camera_fits_the_masks_either_way(data, tmp_path):
    write(tmp_path / "annotations.json", data)
    photos(tmp_path / "images", data)
    first, second = (tmp_path / "images" / one["file_name"] for one in data["images"][:2])
    turned = Pillow.Exif()
    turned[0x0112] = 6
    # drawn before the turn: the file has the size that is told
    Pillow.new("RGB", (60, 40)).save(first, exif=turned)
    # drawn after it
    Pillow.new("RGB", (50, 30)).save(second, exif=turned)
    (found,) = open_data(tmp_path)
    assert found[0].pixels().shape == (40, 60, 3)
    assert found[1].pixels().shape == (50, 30, 3)


def test_a_photo_of_another_size_is_refused_by_name(data, tmp_path):
    write(tmp_path / "annotations.json", data)
    photos(tmp_path / "images", data)
    Pillow.new("RGB", (61, 40)).save(tmp_path / "images" / "photo_1.png")
    (found,) = open_data(tmp_path)
    with pytest.raises(BadImage, match=r"photo_1\.png is 40 x 61"):
        found[0].pixels()
    assert found[1].pixels().shape == (50, 30, 3)


DAMAGE = {
    "a cut file": lambda text, data: text[: len(text) // 2],
    "a list": lambda text, data: "[1, 2]",
    "no JSON": lambda text, data: "hello",
    "no images": lambda text, data: json.dumps({**data, "images": []}),
    "an unknown image": lambda text, data: text.replace('"image_id": 7,', '"image_id": 8,'),
    "an image twice": lambda text, data: json.dumps({**data, "images": data["images"] * 2}),
    "annotations of another kind": lambda text, data: json.dumps({**data, "annotations": [1]}),
    "sizes in words": lambda text, data: text.replace('"height": 40', '"height": "tall"'),
    "far too deep": lambda text, data: '{"images": ' + "[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_with_the_reason(damage, data, tmp_path):
    write(tmp_path / "annotations.json", data)
    photos(tmp_path / "images", data)
    file = tmp_path / "annotations.json"
    file.write_text(DAMAGE[damage](file.read_text(), data))
    with pytest.raises(BadSetting, match=r"annotations\.json"):
        open_data(tmp_path)


BROKEN = {
    "a mask of another size": {"size": [4, 4], "counts": "d0"},
    "runs that do not add up": {"size": [40, 60], "counts": [5, 5]},
    "an outline to the moon": [[0, 0, 1e9, 0, 1e9, 1e9]],
    "an outline of nothing": [[0, 0, float("nan"), 0, 1, 1]],
    "half a corner": [[0, 0, 1, 1, 2, 2, 3]],
    "words": [["a", "b", "c", "d", "e", "f"]],
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_damaged_annotation_is_named_and_the_others_are_read(broken, data, tmp_path):
    for annotation in data["annotations"]:
        if annotation["image_id"] == 7 and not annotation["iscrowd"]:
            annotation["segmentation"] = BROKEN[broken]
            annotation["id"] = 555
    write(tmp_path / "annotations.json", data)
    photos(tmp_path / "images", data)
    (found,) = open_data(tmp_path)
    with pytest.raises(BadSetting, match="annotation 555"):
        found[0]
    assert len(found[1].masks) == 3


def test_photos_that_are_nowhere_are_missed_when_the_set_is_opened(data, tmp_path):
    write(tmp_path / "annotations" / "instances_val2017.json", data)
    with pytest.raises(BadSetting, match=r"photo_1\.png.*val2017"):
        open_data(tmp_path)


def test_a_split_whose_photos_were_not_unpacked_is_left_out(data, tmp_path):
    for split in ("train2017", "val2017"):
        write(tmp_path / "annotations" / f"instances_{split}.json", data)
    photos(tmp_path / "val2017", data)
    assert [one.name for one in open_data(tmp_path)] == ["val2017"]


def test_an_unknown_place_names_the_layouts(tmp_path):
    with pytest.raises(BadSetting, match=r"instances_SPLIT\.json"):
        open_data(tmp_path)
    with pytest.raises(BadSetting, match="did you mean coco"):
        open_data(tmp_path, kind="cocoo")
    with pytest.raises(BadSetting, match="there is no data at"):
        open_data(tmp_path / "elsewhere")


def test_real_sets_have_the_masks_that_their_readme_counts(shared):
    sets = open_data(shared / "data" / "instances" / "val")
    assert len(sets) == 30
    assert sum(len(one) for one in sets) == 219
    assert sum(len(sample.masks) for one in sets for sample in one) == 2899
