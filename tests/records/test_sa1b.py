"""SA-1B: as published, and read back whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as official

from anymask import Masks
from anymask.errors import BadSetting
from anymask.records import ImageRef, Record, sa1b

PUBLISHED = {"id", "segmentation", "bbox", "area", "predicted_iou", "stability_score", "point_coords", "crop_box"}


def test_the_file_has_the_published_keys_and_types(record, dense, run):
    out = run("sa1b", {"sub/photo": record})
    data = json.loads((out / "sub/photo.json").read_text())
    assert set(data) == {"image", "annotations"}
    image = data["image"]
    assert set(image) == {"image_id", "width", "height", "file_name"}
    assert (image["width"], image["height"], image["file_name"]) == (64, 48, "Straße 1 – 東.png")
    assert isinstance(image["image_id"], int)
    for row, one in enumerate(data["annotations"]):
        assert set(one) == PUBLISHED | {"parent"}
        assert isinstance(one["segmentation"]["counts"], str)
        np.testing.assert_array_equal(official.decode(one["segmentation"]), dense[row])
        assert one["area"] == dense[row].sum() and isinstance(one["area"], int)
        ys, xs = np.nonzero(dense[row])
        if len(xs):
            box = [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
            assert one["bbox"] == box
        assert one["crop_box"] == [0, 0, 64, 48] and one["point_coords"] == [[2 * row + 0.25, 2 * row + 1.25]]
    assert data["annotations"][0]["parent"] == data["annotations"][4]["id"]
    assert data["annotations"][4]["parent"] is None


def test_everything_is_read_back(record, empty, run):
    out = run("sa1b", {"a": record, "b": empty})
    back = sa1b.read(out / "a.json")
    np.testing.assert_array_equal(back.masks.dense(), record.masks.dense())
    for name in ("scores", "parents"):
        np.testing.assert_array_equal(getattr(back.masks, name), getattr(record.masks, name))
    assert set(back.masks.details) == set(record.masks.details)
    for name, values in record.masks.details.items():
        np.testing.assert_array_equal(back.masks.details[name], values)
    assert len(sa1b.read(out / "b.json").masks) == 0


def test_what_is_not_known_is_left_out(record, tmp_path):
    plain = Record(ImageRef(None, (48, 64)), Masks((48, 64), record.masks.rle[:2], labels=["cup", None]))
    data = json.loads(sa1b.write(plain, tmp_path / "x.json").read_text())
    assert set(data["annotations"][0]) == (PUBLISHED - {"stability_score", "point_coords"}) | {"parent", "label"}
    assert data["annotations"][0]["crop_box"] == [0, 0, 64, 48] and data["image"]["file_name"] == "x"
    back = sa1b.read(tmp_path / "x.json")
    assert back.masks.labels == ("cup", None) and set(back.masks.details) == {"crop_box"}


def test_published_files_are_read(tmp_path):
    rle = official.encode(np.asfortranarray(np.eye(4, 6, dtype=np.uint8)))
    one = {
        "id": 531353704,
        "segmentation": {"size": [4, 6], "counts": rle["counts"].decode()},
        "bbox": [0.0, 0.0, 4.0, 4.0],
        "area": 4,
        "predicted_iou": 0.9494,
        "stability_score": 0.9763,
        "crop_box": [0.0, 0.0, 6.0, 4.0],
        "point_coords": [[2.5, 1.5]],
    }
    image = {"image_id": 223750, "width": 6, "height": 4, "file_name": "sa_223750.jpg"}
    (tmp_path / "sa_223750.json").write_text(json.dumps({"image": image, "annotations": [one]}))
    back = sa1b.read(tmp_path / "sa_223750.json")
    np.testing.assert_array_equal(back.masks.dense()[0], np.eye(4, 6, dtype=bool))
    assert back.masks.details["point_coords"].tolist() == [[2.5, 1.5]] and back.masks.parents.tolist() == [-1]
    assert json.loads(sa1b.as_text(back, "x/sa_223750"))["image"] == image


def test_images_are_numbered_without_counting():
    numbers = {sa1b.image_id(f"{number}") for number in range(20_000)}
    assert len(numbers) == 20_000 and max(numbers) < 2**53
    assert sa1b.image_id("sa_12") == 12 != sa1b.image_id("xsa_12")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("image"),
        lambda data: data.update(annotations=7),
        lambda data: data["annotations"][0].pop("segmentation"),
        lambda data: data["annotations"][0]["segmentation"].update(counts="zz"),
        lambda data: data["annotations"][0].update(predicted_iou=None),
        lambda data: data["annotations"][0].update(parent=999),
        lambda data: data["annotations"][0].update(point_coords=[[1]]),
        lambda data: data["annotations"][0].update(crop_box=[1, 2, 3]),
        lambda data: data["annotations"][0].update(id=2),
        lambda data: data["image"].update(height=7),
        lambda data: data["image"].update(file_name=3),
    ],
)
def test_damaged_files_are_refused_by_name(change, record, tmp_path):
    data = sa1b.as_dict(record)
    change(data)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(data))
    with pytest.raises(BadSetting, match=r"broken\.json"):
        sa1b.read(path)
    path.write_text(json.dumps(data)[:-9])
    with pytest.raises(BadSetting, match=r"broken\.json"):
        sa1b.read(path)
