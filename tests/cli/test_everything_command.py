"""`anymask everything` as a person uses it, with the tiny model that answers at random."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools.coco import COCO
from typer.testing import CliRunner

from anymask.cli.app import app
from anymask.cli.everything import everything as command
from anymask.records import sa1b
from anymask.records.formats import FORMATS
from anymask.session.settings import PRESETS, EverythingSettings

runner = CliRunner()
ALL = ("--points-per-side", "3", "--pred-iou-thresh", "0", "--stability-score-thresh", "0", "--box-nms-thresh", "1")


@pytest.fixture
def place(tmp_path, photo, monkeypatch):
    """A folder to work in, with photo.jpg and a folder of pictures: a.png, b.png, deep/c.png and bad.png."""
    monkeypatch.chdir(tmp_path)
    Pillow.fromarray(photo).save("photo.jpg")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a", "b", "deep/c"):
        Pillow.fromarray(np.roll(photo, ord(name[-1]), 1)).save(f"in/{name}.png")
    (tmp_path / "in" / "bad.png").write_text("hello")
    return tmp_path


def everything(*line, model="sam-tiny-test"):
    return runner.invoke(app, ["everything", *map(str, line), *ALL, "--model", model])


def files(folder):
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return [name for name in found if not name.startswith(".anymask")]


def test_one_photo_alone_gives_something_to_look_at(place):
    found = everything("photo.jpg")
    assert found.exit_code == 0, found.output
    assert files(place / "anymask-out") == ["photo.json", "photo.overlay.jpg"]
    assert not (place / "anymask-out" / ".anymask").exists(), "one picture is no job"
    assert np.asarray(Pillow.open("anymask-out/photo.overlay.jpg")).shape == (90, 140, 3)
    record = sa1b.read("anymask-out/photo.json")
    assert len(record.masks) > 3
    for text in (
        "photo.jpg",
        "140 x 90",
        "masks",
        str(len(record.masks)),
        "whole",
        "parts",
        "seconds",
        "photo.overlay.jpg",
    ):
        assert text in found.output
    assert everything("photo.jpg", "--format", "svg", "--no-pictures", "-o", "anymask-out").exit_code == 0
    assert "photo.svg" in files(place / "anymask-out"), "and the same folder takes further pictures"


def test_a_folder_becomes_a_data_set_and_is_gone_on_with(place):
    found = everything("in", "-o", "out", "--format", "coco", "--workers", "1")
    assert found.exit_code == 1 and "bad.png is a text file" in found.output and "Traceback" not in found.output
    assert "2 pictures, " in found.output and "2 done, 1 not" in found.output
    assert files(place / "out") == ["annotations.json", "anymask-job.json", "manifest.jsonl", *parts("a", "b")]
    dataset = COCO("out/annotations.json")
    assert [one["file_name"] for one in dataset.loadImgs(dataset.getImgIds())] == ["in/a.png", "in/b.png"]
    again = everything("in", "-o", "out", "--format", "coco", "--recursive")
    assert "3 pictures, " in again.output and "3 of them settled before" in again.output
    assert files(place / "out")[3:] == parts("a", "b", "c"), "the new ones were added"
    other = everything("in", "-o", "out", "--format", "coco", "--min-mask-region-area", "9")
    assert other.exit_code == 2 and "min_mask_region_area was 0 and is 9 now" in other.output
    anew = everything("in/a.png", "-o", "out", "--format", "png", "--overwrite", "--workers", "1")
    assert anew.exit_code == 0 and files(place / "out")[:2] == ["a.png", "anymask-job.json"]


def parts(*titles):
    return [f"parts/{title}.json" for title in titles]


def test_json_lines_are_for_programs_and_quiet_is_quiet(place):
    line = json.loads(everything("photo.jpg", "--json", "-o", "one").stdout)
    assert line["masks"] > 3 and line["files"] == ["photo.json", "photo.overlay.jpg"] and line["seconds"] > 0
    found = everything("in", "--json", "-o", "many", "--workers", "1", "--tree")
    lines = {one["title"]: one for one in map(json.loads, found.stdout.splitlines())}
    assert set(lines) == {"a", "b", "bad"} and "text file" in lines["bad"]["failed"]
    assert len(lines["a"]["parents"]) == lines["a"]["masks"]
    assert everything("photo.jpg", "--quiet", "-o", "two").stdout == ""


def test_the_tree_names_every_mask_once(place):
    found = everything("photo.jpg", "--tree")
    record = sa1b.read("anymask-out/photo.json")
    boxes = [",".join(map(str, box)) for box in record.masks.boxes().astype(int).tolist()]
    for row, box in enumerate(boxes):
        assert sum(f" {row + 1}  " in line and line.endswith(box) for line in found.output.splitlines()) == 1


def test_large_pictures_are_looked_at_in_tiles(place):
    assert everything("photo.jpg", "--tile", "64").exit_code == 0
    crops = sa1b.read("anymask-out/photo.json").masks.details["crop_box"]
    assert len(np.unique(crops, axis=0)) > 1 and crops[:, 2:].max() == 64


def test_a_job_gone_on_with_from_another_folder_keeps_its_names(place, monkeypatch):
    assert everything("in/a.png", "-o", "out", "--format", "yolo", "--workers", "1").exit_code == 0
    monkeypatch.chdir(place / "in")
    found = everything("a.png", "b.png", "-o", "../out", "--format", "yolo", "--workers", "1")
    assert found.exit_code == 0 and "1 of them settled before" in found.output
    assert {"images/a.png", "images/b.png", "labels/a.txt", "labels/b.txt"} <= set(files(place / "out"))
    (place / "out" / "images" / "a.png").unlink()
    assert everything("a.png", "-o", "../out", "--format", "yolo").exit_code == 0
    assert (place / "out" / "images" / "a.png").read_bytes() == (place / "in" / "a.png").read_bytes()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["--format", "coca"], "coco"),
        (["--preset", "best"], "default"),
        (["--crop-n-layers", "9"], "crop_n_layers"),
        (["--tile", "5"], "at least 16"),
        (["--overlap", "5"], "--tile"),
        (["--bands", "x"], "4,3,2"),
        (["--workers", "0"], "without workers"),
        (["--point-grids", "photo.jpg"], "JSON"),
        (["-o", "photo.jpg"], "is a file"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_a_wrong_question_is_one_line_and_exit_code_two(place, line, text):
    found = everything("photo.jpg", *line)
    assert found.exit_code == 2 and text in found.output and "Traceback" not in found.output
    assert not (place / "anymask-out").exists(), "nothing is left behind"


def test_nothing_to_do_and_bad_pictures_are_named(place):
    (place / "empty").mkdir()
    assert "holds no pictures" in everything("empty").output
    for line in (["in/bad.png"], ["none*.png"], ["none.png"]):
        found = everything(*line)
        assert found.exit_code == 1 and line[0] in found.output and "Traceback" not in found.output


def test_every_option_of_everything_mode_and_every_format_and_preset_is_offered():
    offered = inspect.signature(command).parameters
    options = {field.name for field in dataclasses.fields(EverythingSettings)}
    assert options <= set(offered)
    asked = inspect.getsource(command).partition("asked = {")[2].partition("}")[0]
    assert set(re.findall(r'"(\w+)":', asked)) == options, "and no others"
    text = runner.invoke(app, ["everything", "--help"], terminal_width=200).output
    for name in (*FORMATS, *PRESETS):
        assert name in text


def test_results_within_the_searched_folder_are_not_taken_for_pictures(place):
    line = ("in", "-o", "in/deep/out", "--recursive", "--format", "png", "--workers", "1")
    assert "3 pictures" in everything(*line).output
    assert "3 pictures" in everything(*line).output


def test_the_command_works_in_a_process_of_its_own_and_help_loads_nothing_heavy(place):
    line = ["everything", "in/a.png", "in/b.png", "--model", "sam-tiny-test", *ALL, "-o", "out"]
    done = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "anymask"), *line], capture_output=True, text=True, cwd=place
    )
    assert done.returncode == 0, done.stderr
    assert "2 pictures" in done.stdout and "a.json" in files(place / "out")
    code = (
        "import sys\nfrom anymask.cli.app import app\n"
        "try: app(['everything', '--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'PIL', 'cv2'} & set(sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_report_is_made_on_request_and_removed_when_starting_anew(place):
    found = everything("in", "-o", "out", "--report", "--workers", "1")
    pages = {"report.html", "contact-sheet.jpg", "report/a.jpg", "report/b.jpg"}
    assert "look at report.html" in found.output and pages <= set(files(place / "out"))
    everything("in/a.png", "-o", "out", "--overwrite", "--workers", "1")
    assert not pages & set(files(place / "out"))
