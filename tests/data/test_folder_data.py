"""Folders of other tools: SA-1B, YOLO, LVIS and label maps give the masks that their writers wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools import mask as official

from anymask.data.open import open_data
from anymask.errors import BadImage, BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import decode_one
from anymask.records import labelmap, sa1b
from anymask.records.record import ImageRef, Record
from anymask.records.voc import Voc
from anymask.records.yolo import Yolo


def discs(*centres: tuple[int, int], size: tuple[int, int] = (40, 60), radius: int = 7) -> np.ndarray:
    """bool [N, H, W] of discs about (x, y)."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([(x - cx) ** 2 + (y - cy) ** 2 < radius**2 for cx, cy in centres])


def photo(path: Path, size: tuple[int, int] = (40, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.new("RGB", (size[1], size[0]), (9, 8, 7)).save(path)
    return path


def record(path: Path, dense: np.ndarray, labels: list[str] | None = None) -> Record:
    return Record(ImageRef(str(path), dense.shape[1:]), Masks.from_dense(dense, labels=labels or [None] * len(dense)))


def same(sample, dense) -> bool:
    return [decode_one(one).tolist() for one in sample.masks] == [mask.tolist() for mask in dense]


def test_sa1b_folders_are_one_set_whether_nested_or_not(tmp_path):
    truth = {}
    for number, folder in ((11, "sa_000000"), (12, "sa_000000"), (7, "sa_000001")):
        dense = discs((10 + number, 12), (40, 20))
        image = photo(tmp_path / folder / f"sa_{number}.jpg")
        sa1b.write(record(image, dense), image.with_suffix(".json"))
        truth[f"{folder}/sa_{number}"] = dense
    (tmp_path / "sa_000001" / "notes.json").write_text("{}")
    (found,) = open_data(tmp_path)
    assert {sample.name: same(sample, truth[sample.name]) for sample in found} == dict.fromkeys(truth, True)
    assert found[0].labels == ()
    assert found[0].pixels().shape == (40, 60, 3)
    (alone,) = open_data(tmp_path / "sa_000000")
    assert [sample.name for sample in alone] == ["sa_11", "sa_12"]


def test_yolo_sets_are_the_splits_of_data_yaml(tmp_path):
    yolo = Yolo(names=("cat", "dog"))
    dense = discs((12, 12), (40, 22))
    image = photo(tmp_path / "source.jpg")
    for split, labels in (("train", ["cat", "dog"]), ("valid", ["dog", "dog"])):
        for name, content in yolo.files(record(image, dense, labels), "one").items():
            kind, _, rest = name.partition("/")
            at = tmp_path / "data" / split / kind / rest
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_bytes(content)
    # as Roboflow writes it: the folders are not where they are said to be
    (tmp_path / "data" / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\nnames: [cat, dog]\nroboflow: {license: CC BY 4.0}\n"
    )
    train, val = open_data(tmp_path / "data")
    assert (train.name, val.name, train.licence) == ("train", "val", "CC BY 4.0")
    assert train[0].labels == ("cat", "dog")
    assert val[0].labels == ("dog", "dog")
    assert same(train[0], dense)


def test_yolo_outlines_of_a_turned_photo_are_those_of_what_is_seen(tmp_path):
    turned = Pillow.Exif()
    turned[0x0112] = 6
    (tmp_path / "images").mkdir()
    # 60 x 40 in the file, 40 x 60 upright: the lower half
    Pillow.new("RGB", (60, 40)).save(tmp_path / "images" / "a.jpg", exif=turned)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0 0.5 1 0.5 1 1 0 1\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\n")
    (found,) = open_data(tmp_path)
    assert found[0].size == (60, 40)
    assert found[0].pixels().shape == (60, 40, 3)
    mask = decode_one(found[0].masks[0])
    assert not mask[:30].any() and mask[30:].all()


def test_a_missing_yolo_folder_is_named(tmp_path):
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [cat]\n")
    with pytest.raises(BadSetting, match="images/train, which is not there"):
        open_data(tmp_path)


@pytest.mark.parametrize("within", ["", "images"])
def test_lvis_finds_photos_by_their_url_and_tells_frequencies(within, tmp_path):
    photo(tmp_path / within / "train2017" / "000000000009.jpg")
    mask = discs((20, 20))[0]
    coded = official.encode(np.asfortranarray(mask, np.uint8))
    data = {
        "images": [
            {
                "id": 9,
                "height": 40,
                "width": 60,
                "coco_url": "http://images.cocodataset.org/train2017/000000000009.jpg",
                "not_exhaustive_category_ids": [],
            }
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 9,
                "category_id": 5,
                "segmentation": {"size": [40, 60], "counts": coded["counts"].decode()},
            }
        ],
        "categories": [{"id": 5, "name": "aerosol_can", "frequency": "c"}],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "lvis_v1_val.json").write_text(json.dumps(data))
    (found,) = open_data(tmp_path)
    assert (found.name, found[0].labels, found.categories[5]["frequency"]) == ("lvis_v1_val", ("aerosol_can",), "c")
    assert same(found[0], mask[None])
    assert found[0].pixels().shape == (40, 60, 3)


def test_lvis_without_its_photos_says_where_they_belong(tmp_path):
    row = {"id": 9, "height": 4, "width": 6, "coco_url": "http://images.cocodataset.org/train2017/000000000009.jpg"}
    (tmp_path / "lvis_v1_val.json").write_text(json.dumps({"images": [row], "annotations": [], "categories": []}))
    with pytest.raises(BadSetting, match=r"train2017/000000000009\.jpg"):
        open_data(tmp_path)


def numbers(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(values).save(path)


def test_maps_of_more_than_eight_bits_hold_objects(tmp_path):
    dense = discs((12, 12), (40, 22))
    photo(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    labelmap.write(record(Path("a"), dense), tmp_path / "labels" / "a.png")
    values = np.asarray(Pillow.open(tmp_path / "labels" / "a.png")).astype(np.uint16)
    numbers(tmp_path / "labels" / "a.png", np.where(values == 2, 255, np.where(values == 1, 300, 0)).astype(np.uint16))
    (found,) = open_data(tmp_path)
    # 255 is a number like any other there
    assert same(found[0], dense[::-1])


def test_black_and_white_maps_hold_one_object_of_all_their_pieces(tmp_path):
    dense = discs((12, 12), (40, 22))
    for name, white in (("a", 255), ("b", 1)):
        photo(tmp_path / "images" / f"{name}.jpg")
        numbers(tmp_path / "masks" / f"{name}.png", (dense.any(0) * white).astype(np.uint8))
    (found,) = open_data(tmp_path)
    assert all(same(sample, dense.any(0)[None]) for sample in found)
    assert len(found) == 2


def test_numbers_of_unknown_meaning_are_asked_for(tmp_path):
    dense = discs((12, 12), (40, 22), (12, 30))
    values = (dense[0] * 1 + dense[1] * 1 + dense[2] * 2).astype(np.uint8)
    values[:, -1] = 255
    photo(tmp_path / "images" / "a.jpg")
    numbers(tmp_path / "annotations" / "a.png", values)
    with pytest.raises(BadSetting, match="png-classes"):
        open_data(tmp_path)
    (objects,) = open_data(tmp_path, kind="png-instances")
    assert same(objects[0], [dense[0] | dense[1], dense[2]])
    (pieces,) = open_data(tmp_path, kind="png-classes")
    assert same(pieces[0], dense)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (37, 23)])
def test_masks_of_a_map_are_coded_as_pycocotools_codes_them(size):
    from anymask.data.labelmaps import runs

    values = np.random.default_rng(1).integers(0, 5, size).repeat(2, 0).repeat(3, 1)
    found = runs(values)
    assert sorted(found) == sorted(set(values.reshape(-1).tolist()) - {0})
    for number, mask in found.items():
        assert mask["counts"] == official.encode(np.asfortranarray(values == number, np.uint8))["counts"]


def test_voc_objects_are_read_and_their_borders_left_out(tmp_path):
    dense = discs((12, 12), (40, 22))
    image = photo(tmp_path / "source.jpg")
    for name, content in Voc().files(record(image, dense), "one").items():
        at = tmp_path / "VOC2012" / name
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content)
    (found,) = open_data(tmp_path / "VOC2012")
    assert same(found[0], dense)


def test_damaged_files_are_named_when_they_are_asked_for(tmp_path):
    dense = discs((12, 12))
    for name in ("a", "b"):
        image = photo(tmp_path / f"{name}.jpg")
        sa1b.write(record(image, dense), image.with_suffix(".json"))
    (tmp_path / "b.json").write_text('{"image": {}, "annotations": [{}]}')
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    (found,) = open_data(tmp_path)
    with pytest.raises(BadImage, match=r"a\.jpg"):
        found[0].pixels()
    with pytest.raises(BadSetting, match=r"b\.json"):
        found[1]
