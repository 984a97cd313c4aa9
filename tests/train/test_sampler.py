"""Batches: usable targets, prompts that fit them, and nothing that depends on the past."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from anymask.errors import BadSetting
from anymask.train.photos import load_photos
from anymask.train.sampler import SMALLEST_TARGET, Batches, Sampler
from anymask.train.settings import Phase, TrainSettings


def sampler_of(made_up, tmp_path, scales, **changes) -> Sampler:
    settings = TrainSettings(phases=(Phase(1.0, 64, scales),), **{"masks": 4, "pasting": 0.5, "seed": 3} | changes)
    return Sampler(load_photos([made_up], tmp_path / "cache"), settings, side=64, ratio=2)


def test_targets_are_never_below_the_limit(made_up, tmp_path):
    sampler = sampler_of(made_up, tmp_path, (0.5, 2.5))
    for step in range(40):
        batch = sampler.batch(step, [2 * step, 2 * step + 1])
        assert batch.images.shape == (2, 64, 64, 3) and batch.targets.shape == (2, 4, 32, 32)
        assert batch.targets.sum((2, 3)).min() >= SMALLEST_TARGET and batch.ratio == 2


def test_prompts_belong_to_their_targets(made_up, tmp_path):
    sampler = sampler_of(made_up, tmp_path, (0.8, 1.5))
    for step in range(20):
        batch = sampler.batch(step, [step])
        for target, (x0, y0, x1, y1) in zip(batch.targets[0, :2], batch.boxes[0], strict=True):
            rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
            # noise moves an edge by a third of the side at most
            assert x0 < 2 * columns.mean() + 1 < x1 and y0 < 2 * rows.mean() + 1 < y1
        for target, (x, y) in zip(batch.targets[0, 2:], batch.clicks[0], strict=True):
            assert target[int(y / 2), int(x / 2)]


def test_an_example_depends_on_seed_and_number_alone(made_up, tmp_path):
    sampler = sampler_of(made_up, tmp_path, (0.8, 1.5))
    both = sampler.batch(7, [14, 15])
    alone = sampler.batch(7, [15])
    np.testing.assert_array_equal(both.images[1], alone.images[0])
    np.testing.assert_array_equal(both.clicks[1], alone.clicks[0])
    other = sampler_of(made_up, tmp_path, (0.8, 1.5), seed=4).batch(7, [15])
    assert (other.images != alone.images).any()


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_a_step_holds_the_same_examples_however_it_is_shared_out(made_up, tmp_path, processes):
    sampler = sampler_of(made_up, tmp_path, (0.8, 1.5), images=4, at_once=1, steps=3)
    found = []
    for rank in range(processes):
        batches = Batches(sampler, rank=rank, processes=processes)
        assert len(batches) == 3 * batches.parts == 3 * 4 // processes
        found += [number for batch in batches.starting(2) for number in batch.numbers]
    assert sorted(found) == [8, 9, 10, 11]


def test_images_that_cannot_be_shared_evenly_are_refused(made_up, tmp_path):
    sampler = sampler_of(made_up, tmp_path, (0.8, 1.5), images=3)
    with pytest.raises(BadSetting, match="3 images a step cannot be shared by 2 processes"):
        Batches(sampler, rank=0, processes=2)


def test_batches_drawn_ahead_are_the_same(made_up, tmp_path):
    sampler = sampler_of(made_up, tmp_path, (0.8, 1.5), images=1, steps=4)
    ahead = sampler_of(made_up, tmp_path, (0.8, 1.5), images=1, steps=4, loaders=1)
    for here, there in zip(Batches(sampler), Batches(ahead), strict=True):
        np.testing.assert_array_equal(here.images, there.images)
        assert here.step == there.step


def test_padding_keeps_its_value_whatever_the_colours(made_up, tmp_path):
    batch = sampler_of(made_up, tmp_path, (0.45, 0.5), pasting=0.0).batch(0, range(4))
    # a photo of 3:4 at half size leaves the lower right corner free
    assert (batch.images[:, -1, -1] == 127).all()


def test_the_cache_is_written_once_and_read_again(made_up, tmp_path):
    first = load_photos([made_up], tmp_path / "cache")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    second = load_photos([made_up], tmp_path / "cache")
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert len(first) == len(second) == 3 and first.mask_count == 6
    photo = second.sets["shapes"][0]
    stored = np.asarray(Image.open(made_up / "shapes" / "images" / "1.png"))
    np.testing.assert_array_equal(second.pixels(photo), stored)


def test_polygons_and_plain_run_lengths_are_read_too(made_up, tmp_path):
    file = made_up / "shapes" / "annotations.json"
    coco = json.loads(file.read_text())
    coco["annotations"][0]["segmentation"] = [[10, 10, 50, 10, 50, 40, 10, 40]]
    dense = np.zeros((96, 128), np.uint8)
    dense[:, :64] = 1
    coco["annotations"][1]["segmentation"] = {"size": [96, 128], "counts": [0, 96 * 64, 96 * 64]}
    file.write_text(json.dumps(coco))
    photos = load_photos([made_up], tmp_path / "other")
    first = photos.sets["shapes"][0]
    assert coco_mask.area(first.masks[0]) == 40 * 30
    np.testing.assert_array_equal(photos.mask(first, 1), dense)


def test_other_layouts_are_read_too(made_up, tmp_path):
    coco = json.loads((made_up / "shapes" / "annotations.json").read_text())
    folder = tmp_path / "sa1b"
    folder.mkdir()
    Image.open(made_up / "shapes" / "images" / "1.png").save(folder / "sa_1.jpg")
    more = {"predicted_iou": 1, "stability_score": 1, "point_coords": [[1, 1]], "crop_box": [0, 0, 128, 96]}
    rows = [row | more | {"area": 1, "bbox": [0, 0, 1, 1]} for row in coco["annotations"] if row["image_id"] == 1]
    image = {"image_id": 1, "file_name": "sa_1.jpg", "height": 96, "width": 128}
    (folder / "sa_1.json").write_text(json.dumps({"image": image, "annotations": rows}))
    photos = load_photos([folder], tmp_path / "cache")
    assert len(photos) == 1 and photos.mask_count == 2


def test_changed_data_are_read_again(made_up, tmp_path):
    assert load_photos([made_up], tmp_path / "cache").mask_count == 6
    file = made_up / "shapes" / "annotations.json"
    coco = json.loads(file.read_text())
    file.write_text(json.dumps(coco | {"annotations": coco["annotations"][:4]}))
    assert load_photos([made_up], tmp_path / "cache").mask_count == 4


def test_a_folder_without_annotations_is_refused(tmp_path):
    with pytest.raises(BadSetting, match=r"annotations\.json"):
        load_photos([tmp_path], tmp_path / "cache")


def test_two_sets_of_one_name_are_refused(made_up, tmp_path):
    with pytest.raises(BadSetting, match="same name"):
        load_photos([made_up, made_up], tmp_path / "cache")
