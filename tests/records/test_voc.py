"""Pascal VOC: XML, palette pictures, and what their readers see."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import supervision
from PIL import Image as Pillow

from anymask import Masks
from anymask.errors import BadSetting
from anymask.records import ImageRef, Record, voc


def painted(dense):
    """The numbers that show: smaller masks over larger ones, empty ones left out."""
    kept = dense[dense.any((1, 2))]
    labels = np.zeros(dense.shape[1:], int)
    for row in sorted(range(len(kept)), key=lambda row: -kept[row].sum()):
        labels[kept[row]] = row + 1
    return labels


def test_the_pictures_hold_object_and_class_numbers_in_pascal_colours(record, dense, run):
    out = run("voc", {"Straße 1": record})
    objects, classes = (
        Pillow.open(out / name / "Straße 1.png") for name in ("SegmentationObject", "SegmentationClass")
    )
    assert objects.mode == classes.mode == "P"
    # the first colours of the devkit's colour map
    assert objects.getpalette()[:18] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128]
    assert objects.getpalette()[-3:] == [224, 224, 192]
    np.testing.assert_array_equal(np.asarray(objects), painted(dense))
    np.testing.assert_array_equal(np.asarray(classes), dense.any(0))
    assert (out / "ImageSets/Segmentation/trainval.txt").read_text("utf-8") == "Straße 1\n"


def test_the_xml_describes_the_objects_in_order(record, dense, run):
    out = run("voc", {"sub/a": record})
    tree = ET.parse(out / "Annotations/sub/a.xml").getroot()
    assert (tree.findtext("folder"), tree.findtext("filename")) == ("JPEGImages/sub", "a.png")
    assert [tree.findtext(f"size/{side}") for side in ("width", "height", "depth")] == ["64", "48", "3"]
    kept = dense[dense.any((1, 2))]
    found = tree.findall("object")
    assert len(found) == len(kept) == 9
    for mask, one in zip(kept, found, strict=True):
        ys, xs = np.nonzero(mask)
        box = [int(one.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
        assert box == [xs.min() + 1, ys.min() + 1, xs.max() + 1, ys.max() + 1]
        border = mask[[0, -1]].any() or mask[:, [0, -1]].any()
        assert (one.findtext("name"), one.findtext("truncated")) == ("object", str(int(border)))
    assert found[0].findtext("parent") == "5" and found[4].find("parent") is None


def test_supervision_sees_the_same_boxes(record, empty, dense, run):
    out = run("voc", {"a": record, "b": empty})
    data = supervision.DetectionDataset.from_pascal_voc(str(out / "JPEGImages"), str(out / "Annotations"))
    found = {path.rsplit("/", 1)[1]: one for path, _, one in data}
    np.testing.assert_array_equal(found["a.png"].xyxy, record.masks[dense.any((1, 2))].boxes())
    assert len(found["b.png"]) == 0 and data.classes == ["object"]


def test_the_own_reader_gives_what_shows(record, empty, dense, run):
    first, second = voc.read(run("voc", {"a": record, "b": empty}))
    expected = painted(dense)
    np.testing.assert_array_equal(first.masks.dense(), [expected == number for number in range(1, 10)])
    kept = record.masks[dense.any((1, 2))]
    np.testing.assert_allclose(first.masks.scores, kept.scores, atol=1e-6)
    np.testing.assert_array_equal(first.masks.parents, kept.parents)
    assert first.image.path == "JPEGImages/a.png" and first.masks.labels == (None,) * 9 and len(second.masks) == 0


@pytest.mark.parametrize("count, mode", [(254, "P"), (255, "I;16"), (300, "I;16")])
def test_more_objects_than_eight_bits_hold_get_sixteen(count, mode, run):
    dense = np.zeros((count, 20, 20), bool)
    dense[np.arange(count), np.arange(count) // 20, np.arange(count) % 20] = True
    record = Record(ImageRef(None, (20, 20)), Masks.from_dense(dense))
    out = run("voc", {"x": record})
    with Pillow.open(out / "SegmentationObject/x.png") as objects:
        assert objects.mode == mode
        assert np.asarray(objects).reshape(-1)[:count].tolist() == list(range(1, count + 1))
    (back,) = voc.read(out)
    np.testing.assert_array_equal(back.masks.dense(), dense)


def test_classes_have_their_own_numbers(record, run):
    masks = record.masks[[1, 0]].replace(labels=["dog & <cat>", None])
    out = run(voc.Voc(("object", "dog & <cat>")), {"x": Record(record.image, masks)})
    classes = np.asarray(Pillow.open(out / "SegmentationClass/x.png"))
    assert classes[6, 6] == 1 and classes[47, 63] == 2
    (back,) = voc.read(out)
    assert back.masks.labels == ("dog & <cat>", None)


@pytest.mark.parametrize(
    "file, text, told",
    [
        ("Annotations/x.xml", "<annotation>", r"x\.xml is damaged"),
        ("Annotations/x.xml", "<annotation></annotation>", "no size/height"),
        ("Annotations/x.xml", "<a><size><height>2</height><width>2</width></size></a>", r"the image \(2, 2\)"),
        ("Annotations/x.xml", "<a><size><height>48</height><width>64</width></size><filename/></a>", "shows object"),
        ("SegmentationObject/x.png", "no picture", r"x\.png is damaged"),
    ],
)
def test_damaged_files_are_refused_by_name(file, text, told, record, run):
    out = run("voc", {"x": record})
    (out / file).write_text(text)
    with pytest.raises(BadSetting, match=told):
        list(voc.read(out))
    with pytest.raises(BadSetting, match="no VOC data set"):
        list(voc.read(out / "Annotations"))
