"""Data sets by name: each is read from the folders that its archive unpacks to, made here in small."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools import mask as official

from anymask.data.named import NAMED, SUITE
from anymask.data.open import open_data
from anymask.errors import BadSetting
from anymask.masks.rle import decode_one

SIZE = (40, 60)
"""H, W of all pictures."""

SQUARE, BAR = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
SQUARE[5:15, 5:15] = True
BAR[20:30, 30:55] = True
NUMBERS = (SQUARE * 1 + BAR * 2).astype(np.uint8)
CORNERS = [[5, 5], [15, 5], [15, 15], [5, 15]], [[30, 20], [55, 20], [55, 30], [30, 30]]
"""Corners (x, y) of both."""


def picture(root: Path, name: str) -> None:
    at = root / name
    at.parent.mkdir(parents=True, exist_ok=True)
    Pillow.new("RGB", SIZE[::-1], (200, 100, 50)).save(at)


def numbers(root: Path, name: str, values: np.ndarray = NUMBERS) -> None:
    at = root / name
    at.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(values).save(at)


def text(root: Path, name: str, data: object) -> None:
    at = root / name
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(json.dumps(data))


def coco(root: Path, file: str, pictures: str, **more: str) -> None:
    picture(root, f"{pictures}/a.jpg")
    coded = [official.encode(np.asfortranarray(one, np.uint8)) for one in (SQUARE, BAR)]
    rows = [
        {
            "id": number,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "segmentation": {"size": list(SIZE), "counts": one["counts"].decode()},
        }
        for number, one in enumerate(coded, 1)
    ]
    image = {"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1], **more}
    text(root, file, {"images": [image], "annotations": rows, "categories": [{"id": 1, "name": "thing"}]})


def via(listed: bool) -> dict:
    shapes = [
        {"name": "polygon", "all_points_x": [x for x, _ in ring], "all_points_y": [y for _, y in ring]}
        for ring in CORNERS
    ]
    regions = [{"shape_attributes": one, "region_attributes": {"species": "BND"}} for one in shapes]
    regions.append({"shape_attributes": {"name": "rect", "x": 1, "y": 1, "width": 3, "height": 3}})
    given = regions if listed else {str(row): one for row, one in enumerate(regions)}
    return {"a.jpg123": {"filename": "a.jpg", "size": 123, "regions": given}}


def ade20k(root: Path) -> None:
    # classes 300 = 1 * 256 + 44 and 5; objects are counted in blue over the whole picture
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[SQUARE], colours[BAR] = (10, 44, 1), (0, 5, 2)
    picture(root, "images/ADE/validation/street/ADE_val_00000001.jpg")
    numbers(root, "images/ADE/validation/street/ADE_val_00000001_seg.png", colours)


def bbbc038v1(root: Path) -> None:
    for cell in ("0a1b", "2c3d"):
        picture(root, f"stage1_train/{cell}/images/{cell}.png")
        numbers(root, f"stage1_train/{cell}/masks/1.png", SQUARE.astype(np.uint8) * 255)
        numbers(root, f"stage1_train/{cell}/masks/2.png", BAR.astype(np.uint8) * 255)


def cityscapes(root: Path) -> None:
    values = (np.full(SIZE, 7) + SQUARE * (26001 - 7) + BAR * (24000 - 7)).astype(np.uint16)
    values[35:, :] = 26  # a group of cars that nobody counted
    for split in ("val", "train"):
        picture(root, f"leftImg8bit/{split}/ulm/ulm_000000_000019_leftImg8bit.png")
        numbers(root, f"gtFine/{split}/ulm/ulm_000000_000019_gtFine_instanceIds.png", values)
        numbers(root, f"gtFine/{split}/ulm/ulm_000000_000019_gtFine_labelIds.png", NUMBERS)


def hypersim(root: Path) -> None:
    h5py = pytest.importorskip("h5py")
    picture(root, "ai_001_001/images/scene_cam_00_final_preview/frame.0003.tonemap.jpg")
    at = root / "ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0003.semantic_instance.hdf5"
    at.parent.mkdir(parents=True)
    with h5py.File(at, "w") as file:
        file["dataset"] = np.where(NUMBERS > 0, NUMBERS.astype(np.int16), np.int16(-1))


def ishape(root: Path) -> None:
    for part in ("antenna", "log"):
        picture(root, f"{part}/val/image/1.jpg")
        numbers(root, f"{part}/val/instance_map/1.png", NUMBERS.astype(np.uint16) * 1000)


def ndd20(root: Path) -> None:
    picture(root, "ABOVE/a.jpg")
    text(root, "ABOVE_LABELS.json", via(listed=True))


def streets(root: Path) -> None:
    picture(root, "vehicleannotations/images/a.jpg")
    text(root, "vehicleannotations/annotations/vehicle-annotations.json", via(listed=False))


def ovis(root: Path) -> None:
    rows = []
    for number, one in enumerate((SQUARE, BAR), 1):
        runs = np.diff(np.flatnonzero(np.diff(one.T.reshape(-1), prepend=False)), prepend=0, append=one.size)
        coded = {"size": list(SIZE), "counts": runs.tolist()}
        rows.append({"id": number, "video_id": 4, "category_id": 2, "iscrowd": 0, "segmentations": [coded, None]})
    frames = ["v/img_0000001.jpg", "v/img_0000002.jpg"]
    for name in frames:
        picture(root, f"train/{name}")
    video = {"id": 4, "height": SIZE[0], "width": SIZE[1], "length": 2, "file_names": frames}
    text(
        root,
        "annotations_train.json",
        {"annotations": rows, "videos": [video], "categories": [{"id": 2, "name": "bird"}]},
    )


def ppdls(root: Path) -> None:
    picture(root, "Plant_Phenotyping_Datasets/Plant/Ara2012/ara2012_plant001_rgb.png")
    numbers(root, "Plant_Phenotyping_Datasets/Plant/Ara2012/ara2012_plant001_label.png")
    numbers(root, "Plant_Phenotyping_Datasets/Plant/Ara2012/ara2012_plant001_fg.png")


def visor(root: Path) -> None:
    # its tools draw with OpenCV, which takes the pixels of the outline in
    rings = [[5, 5], [14, 5], [14, 14], [5, 14]], [[30, 20], [54, 20], [54, 29], [30, 29]]
    drawn = [{"id": "1", "name": "left hand", "class_id": 300, "segments": [ring]} for ring in rings]
    image = {"name": "P01_01_frame_0000000140.jpg", "image_path": "P01_01/P01_01_frame_0000000140.jpg"}
    data = {"info": {}, "video_annotations": [{"image": image, "annotations": drawn}]}
    text(root, "GroundTruth-SparseAnnotations/annotations/val/P01_01.json", data)
    picture(root, "GroundTruth-SparseAnnotations/rgb_frames/val/P01_01/P01_01_frame_0000000140.jpg")


def woodscape(root: Path) -> None:
    drawn = [{"id": row, "tags": ["car"], "segmentation": ring} for row, ring in enumerate(CORNERS)]
    text(root, "instance_annotations/00000_FV.json", {"00000_FV.json": {"annotation": drawn, "image_height": 40}})
    picture(root, "rgb_images/00000_FV.png")


def maps(image: str, truth: str, values: np.ndarray = NUMBERS) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        picture(root, image)
        numbers(root, truth, values)

    return make


WHITE = (SQUARE | BAR).astype(np.uint8) * 255
URL = "http://images.cocodataset.org/train2017/a.jpg"

MADE: dict[str, Callable[[Path], None]] = {
    "ade20k": ade20k,
    "bbbc038v1": bbbc038v1,
    "cityscapes": cityscapes,
    "dram": maps(
        "DRAM_processed/test/realism/a/1.jpg",
        "DRAM_processed/labels/realism/a/1.png",
        (SQUARE * 15 + BAR * 3 + (np.arange(60) < 2) * 20 + (np.arange(60) > 57) * 255).astype(np.uint8),
    ),
    "doors": maps("Regression/Te1_5000_b/img/1.png", "Regression/Te1_5000_b/Rock_all/1.png", WHITE),
    "egohos": maps("val/image/a.jpg", "val/label/a.png"),
    "gtea": maps("GTEA_GAZE_PLUS/Images/a.jpg", "GTEA_GAZE_PLUS/Masks/a.png", WHITE),
    "hypersim": hypersim,
    "ishape": ishape,
    "lvis": lambda root: coco(root, "lvis_v1_val.json", "train2017", coco_url=URL),
    "ndd20": ndd20,
    "ndispark": lambda root: coco(root, "train/train_coco_annotations.json", "train/imgs"),
    "ovis": ovis,
    "ppdls": ppdls,
    "plittersdorf": lambda root: coco(root, "test.json", "images"),
    "streets": streets,
    "timberseg": lambda root: coco(root, "prescaled/coco_annotation_rotated.json", "prescaled"),
    "trashcan": lambda root: coco(
        root, "dataset/instance_version/instances_val_trashcan.json", "dataset/instance_version/val"
    ),
    "visor": visor,
    "woodscape": woodscape,
    "pidray": lambda root: coco(root, "annotations/xray_test_hard.json", "hard"),
    "zerowaste-f": lambda root: coco(root, "splits_final_deblurred/val/labels.json", "splits_final_deblurred/val/data"),
    "coco2017": lambda root: coco(root, "annotations/instances_val2017.json", "val2017"),
    "dis5k": maps("DIS-VD/im/a.jpg", "DIS-VD/gt/a.png", WHITE),
    "thinobject5k": maps("images_test/a.jpg", "masks_test/a.png", WHITE),
}

WHOLE = {"doors", "dis5k", "thinobject5k"}
"""One mask a picture, of all its pieces."""


@pytest.mark.parametrize("name", MADE)
def test_each_data_set_gives_the_masks_that_were_drawn(name, tmp_path):
    MADE[name](tmp_path)
    sets = open_data(tmp_path, kind=name)
    sample = sets[0][0]
    found = [decode_one(one) for one in sample.masks]
    wanted = [SQUARE | BAR] if name in WHOLE else [SQUARE, BAR]
    assert sorted(one.tolist() for one in found) == sorted(one.tolist() for one in wanted)
    assert sample.pixels().shape == (*SIZE, 3)


def test_bsds500_has_the_regions_of_the_person_in_the_middle(tmp_path):
    scipy = pytest.importorskip("scipy.io")
    people = np.empty((1, 3), object)
    for row, regions in enumerate((NUMBERS + 1, np.ones(SIZE), NUMBERS * 0 + 1 + SQUARE)):
        people[0, row] = {"Segmentation": regions.astype(np.uint16), "Boundaries": SQUARE.astype(np.uint8)}
    picture(tmp_path, "BSDS500/data/images/test/100.jpg")
    (tmp_path / "BSDS500/data/groundTruth/test").mkdir(parents=True)
    scipy.savemat(tmp_path / "BSDS500/data/groundTruth/test/100.mat", {"groundTruth": people})
    (found,) = open_data(tmp_path, kind="bsds500")
    assert [decode_one(one).tolist() for one in found[0].masks] == [(~SQUARE).tolist(), SQUARE.tolist()]


@pytest.mark.parametrize("name", sorted(set(MADE) | {"bsds500"}))
def test_a_folder_of_something_else_is_answered_with_what_was_expected(name, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BadSetting) as told:
        open_data(tmp_path, kind=name)
    assert str(tmp_path) in str(told.value)
    assert "\n" not in str(told.value)
    with pytest.raises(BadSetting, match="is expected as a folder with"):
        open_data(tmp_path / "elsewhere", kind=name)


def test_the_suite_is_the_23_of_the_paper_and_one_of_them_says_why_not(tmp_path):
    assert len(SUITE) == len(set(SUITE)) == 23
    assert set(SUITE) <= set(NAMED)
    assert set(SUITE) - set(MADE) == {"ibd"}
    with pytest.raises(BadSetting, match="is not read"):
        open_data(tmp_path, kind="ibd")


def test_labels_are_kept_where_the_data_has_them(tmp_path):
    for name, wanted in (
        ("cityscapes", ("person", "car")),
        ("dram", ("bird", "person")),
        ("egohos", ("left hand", "right hand")),
        ("ndd20", ("BND", "BND")),
        ("visor", ("left hand", "left hand")),
        ("ovis", ("bird", "bird")),
    ):
        MADE[name](tmp_path / name)
        assert open_data(tmp_path / name, kind=name)[0][0].labels == wanted
    assert open_data(tmp_path / "ovis", kind="ovis")[0][1].masks == ()


def test_via_files_beside_their_pictures_are_recognised(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path, f"{split}/a.jpg")
        text(tmp_path, f"{split}/via_region_data.json", via(listed=True))
    assert [one.name for one in open_data(tmp_path)] == ["train", "val"]


def test_a_damaged_file_of_outlines_is_named(tmp_path):
    streets(tmp_path)
    text(tmp_path, "vehicleannotations/annotations/vehicle-annotations.json", {"a": {"regions": 3}})
    with pytest.raises(BadSetting, match=r"vehicle-annotations\.json is no VIA file"):
        open_data(tmp_path, kind="streets")
