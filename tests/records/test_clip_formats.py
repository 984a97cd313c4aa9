"""Masks of clips as DAVIS PNGs, SA-V and COCO video JSON: written, read back, and read by others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import encode_one
from anymask.records import coco_video, davis, sav
from anymask.records.clip import ClipRecord, ClipRef

SIZE = (40, 60)


def _square(x, side=8):
    mask = np.zeros(SIZE, bool)
    mask[10 : 10 + side, x : x + side] = True
    return mask


@pytest.fixture
def record():
    """Object 2 moves and hides on frame 2; object 7 is there from frame 1 on; frame 4 is not known."""
    frames = {}
    for frame in (0, 1, 2, 3, 5):
        two = np.zeros(SIZE, bool) if frame == 2 else _square(3 * frame)
        seven = _square(40, 12) if frame else np.zeros(SIZE, bool)
        frames[frame] = Masks.from_dense(np.stack([two, seven]), ids=[2, 7], scores=[0.5, 0.75])
    clip = ClipRef("sav_000012", SIZE, 6, 24.0, tuple(f"{number:05}.jpg" for number in range(6)))
    return ClipRecord(clip, frames, {2: "dog"})


def _dense(record, frame):
    """object -> mask of what is to be seen"""
    masks = record.frames.get(frame)
    if masks is None:
        return {}
    found = zip(masks.ids.tolist(), masks.dense(), strict=True)
    return {one: mask for one, mask in found if mask.any()}


def _same(first, second, frames=range(6)):
    for frame in frames:
        a, b = _dense(first, frame), _dense(second, frame)
        assert a.keys() == b.keys() and all(np.array_equal(a[one], b[one]) for one in a), frame


def _decoded(rle):
    return coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode()}).astype(bool)


def test_davis_pngs_have_the_objects_numbers_and_the_published_colours(record, tmp_path):
    for frame, masks in record.frames.items():
        davis.write(masks, tmp_path / davis.name(frame))
    with Image.open(tmp_path / "00003.png") as picture:
        assert picture.mode == "P" and np.unique(np.asarray(picture)).tolist() == [0, 2, 7]
        # of the data set's own files: dark red, green, olive, blue, purple, teal, grey
        published = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, 0, 128, 128, 128, 128, 128]
        assert picture.getpalette()[:24] == published
    found = davis.read(tmp_path)
    _same(found, record)
    assert (found.clip.count, found.clip.size, found.objects) == (6, SIZE, (2, 7))


def test_davis_pngs_of_the_provided_clips_come_back(shared, tmp_path):
    folder = shared / "data/video/davis2017/schoolgirls/masks"
    found = davis.read(folder)
    for frame in (0, 30):
        again = davis.write(found.frames[frame], tmp_path / davis.name(frame))
        with Image.open(again) as ours, Image.open(folder / again.name) as theirs:
            assert np.array_equal(np.asarray(ours), np.asarray(theirs))
            assert ours.getpalette()[: 8 * 3] == theirs.getpalette()[: 8 * 3]


def test_davis_pngs_show_the_smaller_of_two_and_nothing_but_256_objects():
    small, large = _square(12, 4), _square(10, 20)
    found = davis.parse(_levels(davis.as_bytes(Masks.from_dense(np.stack([small, large]), ids=[1, 2]))))
    assert found.ids.tolist() == [1, 2] and found.areas().tolist() == [16, 400 - 16]
    assert not len(davis.parse(_levels(davis.as_bytes(Masks(SIZE, [])))))
    for number in (0, 256):
        with pytest.raises(BadSetting, match="1 to 255"):
            davis.as_bytes(Masks.from_dense(small, ids=[number]))


def _levels(content):
    import io

    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture).astype(np.int64)


def test_sa_v_has_the_published_keys_and_comes_back(record, tmp_path):
    path = sav.write(record, tmp_path / "sav_000012_auto.json")
    said = json.loads(path.read_text())
    assert set(said) - {"masklet_frame_step"} == {
        "video_id", "video_duration", "video_frame_count", "video_height", "video_width", "video_resolution",
        "video_environment", "video_split", "masklet", "masklet_id", "masklet_size_rel", "masklet_size_abs",
        "masklet_size_bucket", "masklet_visibility_changes", "masklet_first_appeared_frame", "masklet_frame_count",
        "masklet_edited_frame_count", "masklet_type", "masklet_stability_score", "masklet_num",
    }  # fmt: skip
    assert said["masklet_id"] == [2, 7] and len(said["masklet"]) == 6
    assert np.array_equal(_decoded(said["masklet"][3][0]), _square(9))
    # gone on frames 2 and 4, back on 3 and 5
    assert said["masklet_visibility_changes"] == [4, 2] and said["masklet_first_appeared_frame"] == [0, 1]
    assert said["masklet_size_abs"] == [64, 144] and said["masklet_size_bucket"] == ["small", "small"]
    assert (said["video_duration"], said["video_resolution"]) == (0.25, 2400)
    found = sav.read(path)
    _same(found, record)
    assert found.clip.rate == 24 and found.clip.name == "sav_000012"


def test_sa_v_of_every_fourth_frame_as_published(record, tmp_path):
    path = sav.write(record, tmp_path / "a.json", step=4)
    said = json.loads(path.read_text())
    assert len(said["masklet"]) == 2
    del said["masklet_frame_step"]
    said["video_frame_count"] = 8.0
    path.write_text(json.dumps(said))
    assert sorted(sav.read(path).frames) == [0, 4]


def test_coco_video_is_as_youtube_vis_has_it_and_comes_back(record, tmp_path):
    path = coco_video.write(record, tmp_path / "annotations.json")
    said = json.loads(path.read_text())
    (video,) = said["videos"]
    assert (video["length"], video["height"], video["width"], video["file_names"][5]) == (6, 40, 60, "00005.jpg")
    first, second = said["annotations"]
    assert [one is None for one in first["segmentations"]] == [False, False, True, False, True, False]
    assert first["bboxes"][1] == [3, 10, 8, 8] and first["areas"][3] == 64 and first["scores"][0] == 0.5
    assert np.array_equal(_decoded(second["segmentations"][5]), _square(40, 12))
    names = {one["id"]: one["name"] for one in said["categories"]}
    assert [names[one["category_id"]] for one in said["annotations"]] == ["dog", "object"]
    (found,) = coco_video.read(path)
    _same(found, record)
    assert found.names == {2: "dog"} and found.clip == record.clip
    assert found.frames[1].scores.tolist() == [0.5, 0.75]


def test_coco_video_is_read_by_our_own_reader_of_data(record, tmp_path):
    from anymask.data.ytvis import FrameSet

    path = coco_video.write(record, tmp_path / "annotations.json")
    frames = FrameSet(path, [tmp_path], "made")
    assert [len(frames[frame].masks) for frame in range(6)] == [1, 2, 1, 2, 0, 2]


def test_a_clip_without_any_mask_is_written_too(tmp_path):
    nothing = ClipRecord(ClipRef("empty", SIZE, 3), {})
    (found,) = coco_video.read(coco_video.write(nothing, tmp_path / "a.json"))
    assert found.clip.count == 3 and not found.frames
    assert not sav.read(sav.write(nothing, tmp_path / "b.json")).objects


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"videos": [{"id": 1}]}', '{"masklet": [[1]], "masklet_id": [1]}'])
def test_damaged_files_are_told_in_a_sentence(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    for read in (sav.read, coco_video.read):
        with pytest.raises(BadSetting, match=r"a\.json is"):
            read(tmp_path / "a.json")
    with pytest.raises(BadSetting, match="no label maps"):
        davis.read(tmp_path)


def test_masks_that_do_not_fit_the_clip_are_refused(record):
    with pytest.raises(BadSetting, match="frame 9"):
        ClipRecord(record.clip, {9: record.frames[0]})
    with pytest.raises(BadSetting, match="40, 60"):
        ClipRecord(record.clip, {0: Masks((3, 3), [encode_one(np.ones((3, 3), bool))])})
    with pytest.raises(BadSetting, match="in order"):
        b"".join(sav.pieces(record.clip, [2], [(1, record.frames[1]), (1, record.frames[1])]))
    with pytest.raises(BadSetting, match="in order"):
        b"".join(coco_video.pieces(record.clip, [2], [(1, record.frames[1]), (0, record.frames[0])]))
