"""Generated scenes wherever a path of data is taken: opened, written as COCO with whole masks, trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from typer.testing import CliRunner

from anymask.cli.app import app
from anymask.data.open import open_data
from anymask.data.scene_themes import THEMES
from anymask.data.scenes import Scenes
from anymask.data.write import write_set
from anymask.errors import BadImage, BadSetting
from anymask.masks.rle import decode
from anymask.train.photos import load_photos


def run(*words: object, code: int = 0) -> tuple[str, str]:
    found = CliRunner().invoke(app, ["data", *map(str, words)])
    assert found.exit_code == code, found.output
    return found.stdout, found.stderr


def test_settings_in_the_place_of_a_path_are_scenes():
    for path, kind in (("scenes:count=5,size=96,seed=7", None), (Path("scenes:seed=7,size=96,count=5"), "coco")):
        (found,) = open_data(path, kind)
        assert len(found) == 5
        same = Scenes(seed=7, length=5, side=96)[3]
        assert found[3] == same
        assert np.array_equal(found[3].pixels(), same.pixels())
    assert len(open_data("scenes:")[0]) == 1000


def test_a_folder_called_scenes_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_data("scenes")[0].name == "scenes-0"
    Path("scenes").mkdir()
    with pytest.raises(BadSetting, match="no layout"):
        open_data("scenes")


def test_themes_are_drawn_from_those_that_are_named():
    (cells,) = open_data("scenes:count=6,size=96,themes=cells")
    assert {label for number in range(6) for label in cells[number].labels} <= {"cell", "nucleus", "object", "part"}
    assert cells.name == "scenes-0-cells"
    every = "+".join(reversed(THEMES))
    (all_of_them,) = open_data(f"scenes:count=6,size=96,themes={every}")
    assert np.array_equal(all_of_them[2].pixels(), Scenes(side=96)[2].pixels())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("cuont=4", "count, size, seed, themes"),
        ("count", "count, size, seed, themes"),
        ("count=many", "whole number"),
        ("count=0", "length of at least 1"),
        ("size=33", "even"),
        ("themes=cows", "table, sheets"),
        ("themes=cells+", "themes of scenes are"),
    ],
)
def test_wrong_settings_are_told_in_a_sentence(settings: str, reason: str):
    assert reason in run(f"scenes:{settings}", code=2)[1]


def test_scenes_are_written_as_coco_with_their_whole_masks(tmp_path):
    text, _ = run("scenes:count=4,size=96,seed=5", "--write", tmp_path, "-o", tmp_path / "page.png")
    assert "scenes-5" in text and (tmp_path / "page.png").is_file()
    place, scenes = tmp_path / "scenes-5", Scenes(seed=5, length=4, side=96)
    (written,) = open_data(place)
    (whole,) = open_data(place / "amodal.json")
    official, official_whole = COCO(str(place / "annotations.json")), COCO(str(place / "amodal.json"))
    assert written.licence == scenes.licence
    assert list(official.anns) == list(official_whole.anns)
    for number in range(4):
        sample = scenes[number]
        assert np.array_equal(written[number].pixels(), sample.pixels())
        assert np.array_equal(decode(written[number].masks), decode(sample.masks))
        assert np.array_equal(decode(whole[number].masks), decode(scenes.amodal(number)))
        assert written[number].labels == sample.labels
        rows = official.imgToAnns[number + 1]
        place_of = {row["id"]: at for at, row in enumerate(rows)}
        assert [place_of.get(row.get("parent"), -1) for row in rows] == scenes.parents(number).tolist()


def test_any_data_is_written_without_loss_and_what_is_broken_is_told(tmp_path):
    run("scenes:count=3,size=64,seed=1", "--write", tmp_path / "one")
    source = tmp_path / "one" / "scenes-1"
    (source / "images" / "scenes-1" / "1.png").write_bytes(b"no picture")
    _, told = run(source, "--write", tmp_path / "two", code=1)
    assert "not written" in told and "1.png" in told
    (written,) = open_data(tmp_path / "two")
    assert [one.name for one in (written[0], written[1])] == ["scenes-1/0.png", "scenes-1/2.png"]
    assert np.array_equal(written[1].pixels(), Scenes(seed=1, side=64)[2].pixels())
    assert not (tmp_path / "two" / "scenes-1" / "amodal.json").exists()
    assert "holds a data set already" in run(source, "--write", tmp_path / "two", code=2)[1]
    out, _ = run(source, "--only", "scenes-1", "--write", tmp_path / "three", "--json", code=1)
    assert json.loads(out)["images"] == 2


def test_names_lead_to_no_other_folder_and_meet_in_no_file(tmp_path):
    class Odd:
        name, licence = "../odd: set", ""
        names = ("../../a.jpg", "a.png", "A.PNG", "b/c.tif", "b/c.jpg", "..")

        def __len__(self) -> int:
            return len(self.names)

        def __getitem__(self, index: int, /):
            sample = Scenes(side=32)[index]
            return type(sample)(self.names[index], sample.size, sample.masks, sample.labels, sample.read)

    place, problems = write_set(Odd(), tmp_path / "out")
    assert not problems and place.parent == tmp_path / "out"
    files = list(tmp_path.rglob("*.png"))
    assert len(files) == len({str(file).lower() for file in files}) == len(Odd.names)
    assert all(place / "images" in file.parents for file in files)


def test_a_set_of_which_nothing_can_be_read_is_an_error(tmp_path):
    class Broken:
        name, licence = "broken", ""

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int, /):
            raise BadImage("it is torn")

    with pytest.raises(BadSetting, match="it is torn"):
        write_set(Broken(), tmp_path)


def test_training_keeps_scenes_in_its_cache_and_draws_them_once(tmp_path, monkeypatch):
    text = Path("scenes:count=4,size=96,seed=2")
    photos = load_photos([text], tmp_path)
    scenes = Scenes(seed=2, side=96)
    assert list(photos.sets) == ["scenes-2"] and len(photos) == 4
    assert np.array_equal(photos.pixels(photos.sets["scenes-2"][1]), scenes[1].pixels())
    monkeypatch.setattr(Scenes, "__getitem__", lambda *_: pytest.fail("drawn again"))
    again = load_photos([Path("scenes:size=96,seed=2,count=4")], tmp_path)
    assert again.mask_count == photos.mask_count
    with pytest.raises(pytest.fail.Exception):
        load_photos([Path("scenes:count=4,size=64,seed=2")], tmp_path)
