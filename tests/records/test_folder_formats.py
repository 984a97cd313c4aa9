"""What every format of a folder run promises."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image as Pillow

from anymask import Image, Masks
from anymask.errors import BadSetting
from anymask.records import ImageRef, Record
from anymask.records.formats import FORMATS, format_named


def test_every_format_is_known_by_its_name():
    assert {"sa1b", "coco", "yolo", "voc", "png", "svg", "cutouts", "geojson"} <= set(FORMATS)
    assert [format_named(name).name for name in FORMATS] == list(FORMATS)
    with pytest.raises(BadSetting, match=r"sa1b, coco.*did you mean coco"):
        format_named("coc")


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_record_gives_the_same_bytes(name, record, empty):
    form = format_named(name)
    for one in (record, empty):
        first, again = form.files(one, "a/b c"), form.files(dataclasses.replace(one), "a/b c")
        assert first == again
        for path in first:
            parts = PurePosixPath(path).parts
            assert not path.startswith("/") and ".." not in parts and any(part.startswith("b c") for part in parts)
    assert not set(form.files(record, "one")) & set(form.files(record, "two"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_data_set_finishes_alike_however_often(name, record, empty, run):
    records = {"first": record, "ü/second one": empty, "third": record}
    first, again = run(name, records, "first"), run(name, records, "again")
    files = {path.relative_to(first): path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert files and files == {
        path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()
    }
    # once more over what is there: a run that was killed before it could say that it had finished
    assert run(name, records, "again") == again
    assert files == {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["yolo", "voc"])
def test_pictures_are_copied_as_they_are_where_readers_take_them(name, record, run, tmp_path):
    pixels = np.asarray(record.masks.image.pixels())
    folder = {"yolo": "images", "voc": "JPEGImages"}[name]
    for kind in ("a.png", "b.jpg", "c.bmp"):
        Pillow.fromarray(pixels).save(tmp_path / kind)
    turned = Pillow.Exif()
    turned[0x0112] = 6
    Pillow.fromarray(np.rot90(pixels)).save(tmp_path / "d.jpg", exif=turned)
    for kind, copied in (("a.png", True), ("b.jpg", True), ("c.bmp", False), ("d.jpg", False)):
        picture = Image.open(tmp_path / kind)
        assert picture.size == (48, 64)
        masks = record.masks.replace(image=picture)
        out = run(name, {"x": Record(ImageRef.of(picture), masks)}, f"out of {kind}")
        (file,) = (out / folder).iterdir()
        assert (file.read_bytes() == (tmp_path / kind).read_bytes()) == copied
        with Pillow.open(file) as stored:
            np.testing.assert_array_equal(np.asarray(stored), picture.pixels())
    # from memory, and of a picture that nobody has any more
    masks = record.masks.replace(image=Image.open(pixels))
    (file,) = (run(name, {"x": Record(ImageRef(None, (48, 64)), masks)}, "memory") / folder).iterdir()
    np.testing.assert_array_equal(np.asarray(Pillow.open(file)), pixels)
    gone = Record(ImageRef(str(tmp_path / "gone.jpg"), (48, 64)), masks.replace(image=None))
    assert not (run(name, {"x": gone}, "gone") / folder).exists()


@pytest.mark.parametrize("name", ["yolo", "voc"])
def test_classes_are_named_before_the_first_image(name, record):
    form = format_named(name)
    named = Record(record.image, record.masks.replace(labels=["dog"] * len(record.masks)))
    with pytest.raises(BadSetting, match=r"'dog' is not among.*names="):
        form.files(named, "x")
    assert dataclasses.replace(form, names=("cat", "dog")).files(named, "x")


def test_cut_outs_are_the_picture_inside_each_mask(record, empty, run):
    out = run("cutouts", {"one": record, "none": empty})
    files = sorted(out.rglob("*.png"))
    assert [file.name for file in files] == [f"{number:04d}.png" for number in range(1, 11)]
    for file, expected in zip(files, record.masks.cutouts(), strict=True):
        np.testing.assert_array_equal(np.asarray(Pillow.open(file)), np.asarray(expected))
    alone = Record(ImageRef(None, (48, 64)), Masks((48, 64), record.masks.rle))
    with pytest.raises(BadSetting, match="picture is needed"):
        format_named("cutouts").files(alone, "x")
