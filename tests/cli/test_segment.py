"""`anymask segment` as a person uses it, with the tiny model that answers at random."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools.coco import COCO
from typer.testing import CliRunner

from anymask.cli.app import app
from anymask.records import coco
from anymask.records import json as result

runner = CliRunner()


@pytest.fixture
def place(tmp_path, photo, monkeypatch):
    """A folder to work in, with a photo.jpg and a drawing.png of 140 x 90 px."""
    monkeypatch.chdir(tmp_path)
    Pillow.fromarray(photo).save("photo.jpg")
    Pillow.fromarray(photo).save("drawing.png")
    return tmp_path


def segment(*line, model="sam-tiny-test"):
    return runner.invoke(app, ["segment", *map(str, line), "--model", model])


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_click_leaves_everything_there_is_to_look_at(place):
    found = segment("drawing.png", "--point", "70,45", "-o", "out")
    assert found.exit_code == 0, found.output
    names = ["cutout.png", "json", "mask.1.png", "mask.2.png", "mask.3.png", "mask.png", "overlay.png"]
    assert files(place / "out") == [f"drawing.{name}" for name in names]
    record = result.read(place / "out" / "drawing.json")
    assert record.image.path == "drawing.png" and record.image.size == (90, 140) and len(record.image.sha256) == 64
    assert record.made_by.model == "sam-tiny-test" and record.made_by.weights
    assert record.made_by.prompts == {"points": [[[70, 45]]], "labels": [[1]]}
    assert len(record.masks) == 3 and list(record.masks.scores) == sorted(record.masks.scores, reverse=True)
    for row in range(3):
        pixels = np.asarray(Pillow.open(place / "out" / f"drawing.mask.{row + 1}.png"))
        np.testing.assert_array_equal(pixels > 0, record.masks.dense()[row])
    best = np.asarray(Pillow.open(place / "out" / "drawing.mask.png"))
    np.testing.assert_array_equal(best > 0, record.masks.dense()[0])
    assert np.asarray(Pillow.open(place / "out" / "drawing.overlay.png")).shape == (90, 140, 3)
    assert np.asarray(Pillow.open(place / "out" / "drawing.cutout.png")).shape[2] == 4
    for text in ("drawing.png", "score", f"{record.masks.scores[0]:.3f}", "drawing.overlay.png"):
        assert text in found.output


def test_an_unambiguous_question_has_one_answer(place):
    assert (
        segment("photo.jpg", "--point", "70,45", "--point", "5,5,0", "--box", "30,20,110,70", "-o", "out").exit_code
        == 0
    )
    assert files(place / "out") == ["photo.cutout.png", "photo.json", "photo.mask.png", "photo.overlay.jpg"]
    prompts = result.read(place / "out" / "photo.json").made_by.prompts
    assert prompts == {"points": [[[70, 45], [5, 5]]], "labels": [[1, 0]], "boxes": [[30, 20, 110, 70]]}


def test_several_boxes_are_one_object_each(place):
    boxes = ("--box", "10,10,60,60", "--box", "70,20,120,80")
    assert segment("photo.jpg", *boxes, "-o", "out").exit_code == 0
    names = ["cutout.1.png", "cutout.2.png", "json", "mask.1.png", "mask.2.png", "mask.png", "overlay.jpg"]
    assert files(place / "out") == [f"photo.{name}" for name in names]
    assert result.read(place / "out" / "photo.json").masks.ids.tolist() == [0, 1]


def test_three_answers_or_one_can_be_asked_for(place):
    for flag, count in (("--multimask", 3), ("--single", 1)):
        assert segment("photo.jpg", "--point", "70,45", flag, "-o", flag.strip("-")).exit_code == 0
        assert len(result.read(place / flag.strip("-") / "photo.json").masks) == count


def test_a_rough_mask_is_a_prompt(place):
    drawn = np.zeros((90, 140), np.uint8)
    drawn[20:60, 30:90] = 255
    Pillow.fromarray(drawn).save("rough.png")
    assert segment("photo.jpg", "--mask", "rough.png", "-o", "out").exit_code == 0
    prompts = result.read(place / "out" / "photo.json").made_by.prompts
    assert list(prompts) == ["masks"]
    np.save("logits.npy", np.zeros((32, 32), np.float32))
    assert segment("photo.jpg", "--mask", "logits.npy", "--point", "70,45", "-o", "out").exit_code == 0
    np.save("evil.npy", np.array([{}], object), allow_pickle=True)
    for name, text in (("photo.jpg", "shades"), ("none.png", "no file"), ("evil.npy", "NumPy"), ("none.npy", "NumPy")):
        found = segment("drawing.png", "--mask", name, "-o", "out")
        assert found.exit_code in (1, 2) and text in found.output and "Traceback" not in found.output


def test_a_bad_picture_is_reported_and_the_rest_are_done(place):
    (place / "in").mkdir()
    (place / "in" / "bad.png").write_text("hello")
    data = (place / "photo.jpg").read_bytes()
    (place / "in" / "cut.jpg").write_bytes(data[: len(data) // 2])
    (place / "in" / "good.jpg").write_bytes(data)
    found = segment("in", "none*.png", "missing.png", "drawing.png", "--box", "10,10,90,80", "-o", "out")
    assert found.exit_code == 1
    for text in ("bad.png is a text file", "cut.jpg is damaged", "no file matches none*.png", "no file missing.png"):
        assert text in found.output
    assert "2 done, 4 not" in found.output and "Traceback" not in found.output
    assert {name.split(".")[0] for name in files(place / "out")} == {"good", "drawing"}


def test_a_surprise_with_one_picture_does_not_cost_the_others(place, monkeypatch):
    from anymask.session.session import Session

    answer = Session.answer

    def sometimes(self, prompts, multimask=None):
        if "photo" in str(self.image.source):
            raise RuntimeError("out of memory")
        return answer(self, prompts, multimask)

    monkeypatch.setattr(Session, "answer", sometimes)
    found = segment("photo.jpg", "drawing.png", "--point", "9,9", "-o", "out")
    assert found.exit_code == 1 and "photo.jpg: RuntimeError: out of memory" in found.output
    assert "drawing.json" in files(place / "out")
    assert isinstance(segment("photo.jpg", "--point", "9,9", "--debug").exception, RuntimeError)


def test_pictures_of_one_name_do_not_overwrite_each_other(place, photo):
    for folder in ("a", "b"):
        (place / folder).mkdir()
        Pillow.fromarray(photo).save(f"{folder}/cat.png")
    assert segment("a", "b", "--single", "--point", "9,9", "-o", "out").exit_code == 0
    assert [result.read(place / "out" / f"{name}_cat.json").image.path for name in "ab"] == ["a/cat.png", "b/cat.png"]


def test_svg_and_coco_on_request(place):
    assert segment("photo.jpg", "drawing.png", "--point", "70,45", "--svg", "--coco", "-o", "out").exit_code == 0
    assert {"photo.svg", "drawing.svg", "annotations.json"} <= set(files(place / "out"))
    dataset = COCO(str(place / "out" / "annotations.json"))
    assert [image["file_name"] for image in dataset.loadImgs([1, 2])] == ["photo.jpg", "drawing.png"]
    records = coco.read(place / "out" / "annotations.json")
    assert [len(record.masks) for record in records] == [1, 1], "the best of the candidates"


def test_json_lines_are_for_programs_and_quiet_is_quiet(place):
    found = segment("photo.jpg", "drawing.png", "--point", "70,45", "--json", "-o", "out")
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert [line["image"] for line in lines] == ["photo.jpg", "drawing.png"]
    assert set(lines[0]["masks"][0]) == {"id", "score", "area", "box"} and lines[0]["encode_ms"] > 0
    assert all((place / name).is_file() for line in lines for name in line["files"])
    assert segment("photo.jpg", "--point", "70,45", "--quiet", "-o", "out").stdout == ""


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ([], "say what to segment"),
        (["--point", "7"], "a point is X,Y"),
        (["--point", "700,5"], "outside the image: x is 0 to 140"),
        (["--box", "5,5,1,1"], "XYWH"),
        (["--box", "1,2,3,4", "--box", "1,2,3,4", "--point", "1,1"], "which belongs to which"),
        (["--point", "1,1", "--nonsense"], "--nonsense"),
        (["--point", "1,1", "-o", "photo.jpg"], "is a file"),
        (["--point", "1,1", "--device", "abacus"], "abacus"),
    ],
)
def test_a_wrong_question_is_one_line_and_exit_code_two(place, line, text):
    found = segment("photo.jpg", *line)
    assert found.exit_code == 2 and text in found.output and "Traceback" not in found.output
    assert not (place / "anymask-out").exists(), "nothing is left behind"


def test_an_unknown_model_names_the_near_ones(place):
    found = segment("photo.jpg", "--point", "1,1", model="sam-vit-q")
    assert found.exit_code == 2 and "sam-vit" in found.output
    assert segment("photo.jpg", "--point", "1,1", "--weights", "none.pth").exit_code == 1


def test_a_folder_that_cannot_be_written_is_a_failed_picture(place):
    (place / "wall").write_text("")
    found = segment("photo.jpg", "--point", "1,1", "-o", "wall/out")
    assert found.exit_code == 1 and "photo.jpg" in found.output and "wall" in found.output


def test_the_command_works_in_a_process_of_its_own_on_a_name_with_spaces_and_umlauts(place, photo):
    (place / "größe 1.png").write_bytes((place / "drawing.png").read_bytes())
    code = "from anymask.cli.app import main; main()"
    line = ["segment", "größe 1.png", "--box", "10,10,90,80", "--model", "sam-tiny-test", "-o", "out"]
    done = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "größe 1.png" in done.stdout and "größe 1.json" in files(place / "out")
