"""The report of a run."""

import io
import re

import numpy as np
from PIL import Image as Pillow

from anymask import Masks
from anymask.jobs.manifest import Entry
from anymask.jobs.places import LocalFolder
from anymask.jobs.report import BINS, SHOWN, WITHIN, counts, facts, thumbnail, write_report, write_sheet


def masks() -> Masks:
    dense = np.zeros((3, 300, 900), bool)
    dense[0, 50:200, 100:500], dense[1, 60:90, 150:200], dense[2, 250:280, 600:700] = True, True, True
    return Masks.from_dense(dense, scores=[0.9, 0.5, 0.62], details={"stability_score": [1.0, 0.97, 0.2]})


def entry(title: str, **more) -> Entry:
    found = {"width": 900, "height": 300, "masks": 3, **facts(masks())}
    return Entry(title, files=(f"report/{title}.jpg",), facts=found, cost={"seconds": 1.25}, **more)


def page(tmp_path, entries, **about) -> str:
    place = LocalFolder(tmp_path)
    for one in entries:
        if one.failed is None:
            place.write(f"report/{one.title}.jpg", thumbnail(masks()))
    return place.read(write_report(place, entries, about, 9.5)).decode()


def test_counts_pictures_and_settings_are_on_the_page(tmp_path):
    text = page(tmp_path, [entry("a"), entry("b")], model="anymask-lite", points_per_side=32)
    for said in (
        "6 masks in 2 pictures",
        "<b>3.0</b>",
        "<b>10 s</b>",
        "anymask-lite",
        "points_per_side",
        "3 masks, 1.2 s",
    ):
        assert said in text
    assert text.count("data:image/jpeg;base64") == 2
    assert text.count("<svg") == 3


def test_histograms_add_up_over_pictures(tmp_path):
    text = page(tmp_path, [entry("a"), entry("b")])
    plot = text[text.index("Predicted IoU") :].split("</svg>")[0]
    heights = [int(value) for value in re.findall(r"<title>(\d+)</title>", plot)]
    assert len(heights) == BINS
    assert [place for place, value in enumerate(heights) if value == 2] == [10, 12, 18]
    assert counts(np.array([-0.2, 0.0, 0.99, 1.0, 1.7]))[:: BINS - 1] == [2, 3]


def test_many_pictures_stay_beside_the_page(tmp_path):
    text = page(tmp_path, [entry(f"set one/{number}") for number in range(WITHIN + 1)])
    assert "base64" not in text
    assert 'src="./report/set%20one/7.jpg"' in text


def test_names_and_errors_cannot_write_into_the_page(tmp_path):
    bad = Entry("<script>alert(1)</script>", failed="not & read <b>")
    text = page(tmp_path, [bad], model="<i>x")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "not &amp; read &lt;b&gt;" in text
    assert "&lt;i&gt;x" in text


def test_a_name_that_is_no_unicode_and_a_run_without_pictures_are_no_trouble(tmp_path):
    assert "not done" in page(tmp_path, [Entry("a\udcff", failed="gone")])
    assert "0 masks in 0 pictures" in page(tmp_path, [])
    lost = Entry("lost", files=(), facts={"masks": 0})
    assert "no picture" in LocalFolder(tmp_path).read(write_report(LocalFolder(tmp_path), [lost], {})).decode()


def test_large_pictures_are_linked_whatever_their_name(tmp_path):
    one = entry("c: d#\udcff")
    one = Entry(one.title, files=("c: d#\udcff.overlay.jpg",), facts={**one.facts, "levels": [1, 2]})
    text = page(tmp_path, [one])
    assert 'href="./c%3A%20d%23%FF.overlay.jpg"' in text
    table = text[text.index("as a table") :]
    assert [part.split("<")[0] for part in table.split("<td class=n>")[1:6]] == ["900 x 300", "3", "1", "2", "0"]


def test_pictures_that_failed_are_named_and_counted(tmp_path):
    text = page(tmp_path, [entry("a"), Entry("b", failed="b.jpg is cut off")])
    assert "b.jpg is cut off" in text
    assert "3 masks in 1 picture<" in text
    assert re.search(r'class="tile bad"><b>1</b>', text)


def test_thumbnails_are_small_pictures_with_the_masks_on_them():
    picture = Pillow.open(io.BytesIO(thumbnail(masks())))
    assert picture.size == (480, 160)
    pixels = np.asarray(picture).astype(int)
    assert np.abs(pixels[53, 80] - pixels[150, 13]).sum() > 60


def test_a_contact_sheet_shows_an_even_choice_of_many_pictures(tmp_path):
    place = LocalFolder(tmp_path)
    assert write_sheet(place, [Entry("bad", failed="gone")]) is None
    entries = [entry(str(number)) for number in range(SHOWN + 30)]
    for one in entries:
        place.write(f"report/{one.title}.jpg", thumbnail(masks()) if one is entries[0] else place.read("report/0.jpg"))
    name = write_sheet(place, entries)
    assert name is not None
    sheet = Pillow.open(io.BytesIO(place.read(name)))
    assert sheet.size[0] > 3000
    assert sheet.size[1] > 1500
