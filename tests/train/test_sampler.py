"""Batches: usable targets, prompts that fit them, and nothing that depends on the past."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from anymask.errors import BadSetting
from anymask.train.photos import load_photos
from anymask.train.sampler import SMALLEST_TARGET, Sampler


@pytest.fixture
def sampler(made_up, tmp_path):
    return Sampler(load_photos([made_up], tmp_path / "cache"), seed=3, pasting=0.5)


def test_targets_are_never_below_the_limit(sampler):
    for step in range(40):
        batch = sampler.batch(step, 2, 4, 64, (0.5, 2.5))
        assert batch.images.shape == (2, 64, 64, 3) and batch.targets.shape == (2, 4, 32, 32)
        assert batch.targets.sum((2, 3)).min() >= SMALLEST_TARGET


def test_prompts_belong_to_their_targets(sampler):
    for step in range(20):
        batch = sampler.batch(step, 1, 4, 64, (0.8, 1.5))
        for target, (x0, y0, x1, y1) in zip(batch.targets[0, :2], batch.boxes[0], strict=True):
            rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
            # noise moves an edge by a third of the side at most
            assert x0 < 2 * columns.mean() + 1 < x1 and y0 < 2 * rows.mean() + 1 < y1
        for target, (x, y) in zip(batch.targets[0, 2:], batch.clicks[0], strict=True):
            assert target[int(y / 2), int(x / 2)]


def test_a_batch_depends_on_seed_worker_and_step_alone(sampler):
    first = sampler.batch(7, 2, 4, 64, (0.8, 1.5))
    sampler.batch(8, 2, 4, 64, (0.8, 1.5))
    again = sampler.batch(7, 2, 4, 64, (0.8, 1.5))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.clicks, again.clicks)
    other = Sampler(sampler.photos, seed=3, worker=1, pasting=0.5).batch(7, 2, 4, 64, (0.8, 1.5))
    assert (other.images != first.images).any()


def test_padding_keeps_its_value_whatever_the_colours(sampler):
    sampler.pasting = 0.0
    batch = sampler.batch(0, 4, 2, 64, (0.45, 0.5))
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


def test_a_folder_without_annotations_is_refused(tmp_path):
    with pytest.raises(BadSetting, match=r"annotations\.json"):
        load_photos([tmp_path], tmp_path / "cache")


def test_two_sets_of_one_name_are_refused(made_up, tmp_path):
    with pytest.raises(BadSetting, match="same name"):
        load_photos([made_up, made_up], tmp_path / "cache")
