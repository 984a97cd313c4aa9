"""`anymask data`: counts as they are, all that is broken with its reason, and a page of pictures."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

from anymask.cli.app import app
from anymask.masks.masks import Masks
from anymask.records import coco, sa1b
from anymask.records.record import ImageRef, Record

SIZE = (120, 160)


def drawn(number: int) -> np.ndarray:
    """bool [2, H, W]: a small square of 10 x 10 and a large one of 100 x 100."""
    dense = np.zeros((2, *SIZE), bool)
    dense[0, 5:15, 5 + number : 15 + number] = True
    dense[1, 15:115, 40:140] = True
    return dense


@pytest.fixture
def sets(tmp_path) -> Path:
    """Two COCO sets of three photos and one."""
    for name, count in (("cats", 3), ("dogs", 1)):
        folder = tmp_path / "data" / name
        (folder / "images").mkdir(parents=True)
        records = []
        for number in range(count):
            Pillow.new("RGB", SIZE[::-1], (90, 120, 40 * number)).save(folder / "images" / f"{number}.png")
            masks = Masks.from_dense(drawn(number), labels=["ear", name])
            records.append(Record(ImageRef(f"{number}.png", SIZE), masks))
        coco.write(records, folder / "annotations.json")
    return tmp_path / "data"


def run(*words: object, code: int = 0) -> tuple[str, str]:
    """(stdout, stderr) of the command."""
    found = CliRunner().invoke(app, ["data", *map(str, words)])
    assert found.exit_code == code, found.output
    return found.stdout, found.stderr


def rows(text: str) -> dict[str, dict]:
    return {one["set"]: one for one in map(json.loads, text.splitlines())}


def test_counts_and_sizes_are_those_of_the_data(sets):
    found = rows(run(sets, "--json")[0])
    assert list(found) == ["cats", "dogs"]
    cats = found["cats"]
    assert (cats["images"], cats["seen"], cats["masks"], cats["most_in_one"]) == (3, 3, 6, 2)
    assert (cats["small"], cats["medium"], cats["large"]) == (0.5, 0, 0.5)
    assert cats["median_share"] == pytest.approx((100 + 10000) / 2 / (120 * 160), abs=1e-6)
    assert cats["labels"] == {"ear": 3, "cats": 3}
    assert cats["sizes"] == {"160x120": 3}
    text, _ = run(sets, "--only", "dogs")
    assert "dogs" in text and "cats" not in text


def test_broken_pictures_are_all_told_by_check_and_end_with_1(sets):
    (sets / "cats" / "images" / "0.png").write_bytes(b"no picture")
    Pillow.new("RGB", (160, 121)).save(sets / "cats" / "images" / "2.png")
    assert rows(run(sets, "--json")[0])["cats"]["problems"] == []
    out, told = run(sets, "--check", code=1)
    assert "0.png" in told and "2.png is 121 x 160" in told
    assert "dogs" in out
    problems = rows(run(sets, "--check", "--json", code=1)[0])["cats"]["problems"]
    assert [one["name"] for one in problems] == ["0.png", "2.png"]


def test_broken_annotations_are_told_without_check(sets):
    file = sets / "cats" / "annotations.json"
    data = json.loads(file.read_text())
    data["annotations"][0]["segmentation"]["counts"] = "hello"
    file.write_text(json.dumps(data))
    _, told = run(sets, code=1)
    assert "annotation 1" in told


def test_the_report_is_a_page_of_samples_of_every_set(sets, tmp_path):
    text, _ = run(sets, "-o", tmp_path / "out" / "report.png")
    assert "report.png" in text
    with Pillow.open(tmp_path / "out" / "report.png") as page:
        colours = np.asarray(page).reshape(-1, 3)
        assert min(page.size) > 300
    # masks are drawn: there is more than photos and ground
    assert len(np.unique(colours, axis=0)) > 20


def test_shards_are_summarised_too_and_their_broken_samples_passed_over(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(3):
            buffer = io.BytesIO()
            Pillow.new("RGB", SIZE[::-1]).save(buffer, "PNG")
            record = Record(ImageRef(f"{number}.png", SIZE), Masks.from_dense(drawn(number)))
            text = b"{}" if number == 1 else sa1b.as_text(record).encode()
            for name, content in ((f"{number}.png", buffer.getvalue()), (f"{number}.json", text)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    out = tmp_path / "report.png"
    found = rows(run(tmp_path, "--json", "--check", "-o", out, code=1)[0])[tmp_path.name]
    assert (found["images"], found["seen"], found["masks"]) == (None, 2, 4)
    assert len(found["problems"]) == 1
    assert "1.json" in found["problems"][0]["reason"]
    assert out.is_file()


def test_some_samples_of_a_large_set_are_enough(sets):
    found = rows(run(sets, "--json", "--most", 1)[0])
    assert (found["cats"]["images"], found["cats"]["seen"]) == (3, 1)


def test_without_a_path_the_layouts_are_listed():
    text, _ = run()
    for name in ("coco", "sa1b", "nifti", "cityscapes", "gtFine"):
        assert name in text


def test_wrong_questions_end_with_2(sets, tmp_path):
    for words, reason in (
        ((tmp_path / "nowhere",), "there is no data"),
        ((sets, "--kind", "cityscape"), "did you mean cityscapes"),
        ((sets, "--only", "cows"), "sets are cats, dogs"),
        ((sets, "--most", "0"), "at least one"),
    ):
        assert reason in run(*words, code=2)[1]
