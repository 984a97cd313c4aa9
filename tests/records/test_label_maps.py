"""Label maps: numbers that every reader of PNG sees, whatever their count."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from anymask import Masks
from anymask.errors import BadSetting
from anymask.records import ImageRef, Record, labelmap


def record_of(dense):
    return Record(ImageRef(None, dense.shape[1:]), Masks.from_dense(dense))


def test_smaller_masks_lie_on_larger_ones(record, dense, run):
    out = run("png", {"Straße 1": record})
    expected = np.zeros((48, 64), int)
    for row in sorted(range(10), key=lambda row: -dense[row].sum()):
        expected[dense[row]] = row + 1
    with Pillow.open(out / "Straße 1.png") as picture:
        assert picture.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(picture), expected)
    content = np.frombuffer((out / "Straße 1.png").read_bytes(), np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(content, cv2.IMREAD_UNCHANGED), expected)
    back = labelmap.read(out / "Straße 1.png")
    seen = np.unique(expected[expected > 0])
    assert back.masks.ids.tolist() == (seen - 1).tolist()
    np.testing.assert_array_equal(back.masks.dense(), [expected == number for number in seen])


def test_masks_that_do_not_overlap_come_back(tmp_path):
    dense = np.zeros((3, 1100, 7), bool)
    dense[0, 500:600] = True
    dense[0, 520:530, 2:4] = False
    dense[1, 520:530, 2:4] = True
    dense[2, 0, 0] = dense[2, -1, -1] = True
    back = labelmap.read(labelmap.write(record_of(dense), tmp_path / "x.png"))
    np.testing.assert_array_equal(back.masks.dense(), dense)
    none = labelmap.read(labelmap.write(record_of(dense[:0]), tmp_path / "none.png"))
    assert len(none.masks) == 0 and none.image.size == (1100, 7)


def test_more_masks_than_sixteen_bits_hold_get_three_bytes(tmp_path, monkeypatch):
    # 65,536 masks take a quarter of a minute to make
    monkeypatch.setattr(labelmap, "DEEP", 300)
    dense = np.zeros((400, 20, 20), bool)
    dense[np.arange(400), np.arange(400) // 20, np.arange(400) % 20] = True
    path = labelmap.write(record_of(dense[:399]), tmp_path / "x.png")
    with Pillow.open(path) as picture:
        assert picture.mode == "RGB"
        red, green, blue = (np.asarray(channel, int) for channel in picture.split())
    expected = np.arange(1, 401).reshape(20, 20)
    expected[-1, -1] = 0
    np.testing.assert_array_equal(red + 256 * green + 65_536 * blue, expected)
    np.testing.assert_array_equal(labelmap.levels(path), expected)
    path = labelmap.write(record_of(dense[:299]), tmp_path / "y.png")
    with Pillow.open(path) as stored:
        assert stored.mode == "I;16"


@pytest.mark.parametrize("kind", ["L", "P"])
def test_label_maps_of_other_programs_are_read(kind, tmp_path):
    values = np.array([[0, 1, 7], [7, 7, 0]], np.uint8)
    picture = Pillow.fromarray(values)
    if kind == "P":
        picture.putpalette(list(range(24)))
    picture.save(tmp_path / "x.png")
    back = labelmap.read(tmp_path / "x.png")
    assert back.masks.ids.tolist() == [0, 6] and back.masks.areas().tolist() == [1, 3]


def test_what_is_no_label_map_is_refused_by_name(record, tmp_path):
    path = tmp_path / "x.png"
    Pillow.new("RGBA", (2, 2)).save(path)
    with pytest.raises(BadSetting, match=r"x\.png has colours"):
        labelmap.read(path)
    whole = labelmap.as_bytes(record)
    for content in (b"", b"text", whole[:60], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(BadSetting, match=r"x\.png is damaged"):
            labelmap.read(path)
    with pytest.raises(FileNotFoundError):
        labelmap.read(tmp_path / "none.png")
