"""Clips with true masks in the layouts in which they are published."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from anymask.data.clip_layouts import open_clips
from anymask.errors import BadImage, BadSetting
from anymask.masks.rle import decode_one


@pytest.fixture
def lay(tmp_path):
    """Lays out pictures: path -> a label map, or None for a photo; 20 x 30."""

    def put(files):
        for name, levels in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if levels is None:
                Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
            elif isinstance(levels, str):
                path.write_text(levels)
            else:
                picture = Image.fromarray(levels.astype(np.uint8), "P" if levels.max() < 100 else "L")
                if picture.mode == "P":
                    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
                picture.save(path)
        return tmp_path

    return put


def _labels(*rows):
    """A map with the numbers in bands of 5 columns."""
    found = np.zeros((20, 30), np.uint8)
    for place, number in enumerate(rows):
        found[5:10, 5 * place : 5 * place + 5] = number
    return found


def _columns(rle):
    return np.flatnonzero(decode_one(rle).any(0)).tolist()


@pytest.fixture
def davis(lay):
    files = {"ImageSets/2017/val.txt": "bear\n", "ImageSets/2017/train.txt": "cow\n"}
    files["ImageSets/2016/val.txt"] = "/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png\n" * 2
    for frame in range(3):
        for clip in ("bear", "cow"):
            files[f"JPEGImages/480p/{clip}/0000{frame}.jpg"] = None
            files[f"Annotations/480p/{clip}/0000{frame}.png"] = _labels(1, 2 if frame else 0)
    return lay(files)


def test_davis_2017_has_a_clip_a_name_of_its_list_and_an_object_a_number(davis):
    (clip,) = open_clips(davis)
    assert (clip.dataset, clip.name, len(clip), clip.size, clip.rate) == ("davis2017", "bear", 3, (20, 30), 24)
    assert clip.annotated == [0, 1, 2] and clip.apart and dict(clip.first) == {1: 0, 2: 1}
    assert _columns(clip.truth(1)[2]) == [5, 6, 7, 8, 9]
    assert [one.name for one in open_clips(davis, split="train")] == ["cow"]
    with pytest.raises(BadSetting, match=r"test-dev.*train, val"):
        open_clips(davis, split="test-dev")


def test_davis_2016_merges_all_objects_and_lists_frames(davis):
    (clip,) = open_clips(davis, "davis2016")
    assert dict(clip.first) == {1: 0} and _columns(clip.truth(2)[1]) == list(range(10))


def test_youtube_vos_names_objects_and_takes_the_split_for_validation(lay):
    files = {"valid/meta.json": json.dumps({"videos": {"a1": {"objects": {"1": {"category": "ape"}}}}})}
    for split in ("train", "valid"):
        for frame in (0, 5, 10):
            files[f"{split}/JPEGImages/a1/{frame:05}.jpg"] = None
        files[f"{split}/Annotations/a1/00000.png"] = files[f"{split}/Annotations/a1/00010.png"] = _labels(1)
    root = lay(files)
    (clip,) = open_clips(root)
    assert clip.dataset.endswith("-valid") and clip.names == {1: "ape"} and clip.annotated == [0, 2]
    assert open_clips(root / "train")[0].dataset == "train"


def test_sa_v_has_a_folder_an_object_which_may_overlap(lay):
    files = {"sav_val/sav_val.txt": "sav_000001\n"}
    for frame in range(9):
        files[f"sav_val/JPEGImages_24fps/sav_000001/{frame:05}.jpg"] = None
    for frame in (0, 4, 8):
        files[f"sav_val/Annotations_6fps/sav_000001/000/{frame:05}.png"] = 255 * _labels(1, 1)
        files[f"sav_val/Annotations_6fps/sav_000001/001/{frame:05}.png"] = 255 * _labels(0, 1 if frame else 0)
    (clip,) = open_clips(lay(files))
    assert clip.annotated == [0, 4, 8] and not clip.apart and dict(clip.first) == {1: 0, 2: 4}
    assert _columns(clip.truth(8)[1]) == list(range(10)) and _columns(clip.truth(8)[2]) == list(range(5, 10))


def test_the_provided_clips_are_as_their_description_says(shared):
    clips = {clip.name: clip for clip in open_clips(shared / "data/video")}
    assert {name: len(clip) for name, clip in clips.items()} == {
        "blackswan": 20, "bmx-trees": 30, "dog": 24, "horsejump-high": 26, "kite-surf": 30, "parkour": 26,
        "schoolgirls": 52, "chair": 36, "bmx-bike": 36,
    }  # fmt: skip
    girls = clips["schoolgirls"]
    assert sorted(girls.first) == list(range(1, 8)) and girls.size == (240, 432) and girls.names[7] == "small girl"


def test_what_is_no_data_is_told_in_a_sentence(lay, tmp_path):
    with pytest.raises(BadSetting, match="no folder"):
        open_clips(tmp_path / "nothing")
    with pytest.raises(BadSetting, match="davis2017, davis2016, sa-v, vos, clips"):
        open_clips(tmp_path)
    with pytest.raises(BadSetting, match=r"davis2017\?"):
        open_clips(tmp_path, "davis17")
    root = lay({"JPEGImages/a/0.jpg": None, "Annotations/a/0.png": np.ones((5, 5), np.uint8)})
    with pytest.raises(BadImage, match="20, 30"):
        open_clips(root)[0].truth(0)


def test_changed_masks_change_the_digest(lay):
    before = open_clips(lay({"JPEGImages/a/0.jpg": None, "Annotations/a/0.png": _labels(1)}))[0].digest
    assert open_clips(lay({"Annotations/a/0.png": _labels(2)}))[0].digest != before
