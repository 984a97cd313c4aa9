"""Everything mode as a user meets it; equality with the official generator is in tests/parity."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import anymask
from anymask.errors import BadSetting, NotEnoughMemory
from anymask.pixels.image import Image
from anymask.session import batches
from anymask.session.everything import everything, find
from anymask.session.settings import PRESETS, EverythingSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
from everything_cases import Ours, blobs, rounded


@pytest.fixture
def made_up():
    return Ours(rounded(blobs()))


def test_a_picture_gives_masks_with_scores_and_where_each_came_from(photo, made_up):
    masks = everything(photo, made_up, points_per_side=6)
    assert len(masks) > 3
    assert masks.size == photo.shape[:2]
    assert masks.image is not None
    assert (masks.scores > 0.88).all()
    assert (np.diff(masks.scores) <= 0).all()
    assert (masks.details["stability_score"] >= 0.95).all()
    assert masks.details["crop_box"].tolist() == [[0, 0, 140, 90]] * len(masks)
    for mask, (x, y) in zip(masks, masks.details["point_coords"], strict=True):
        assert mask.dense()[0, int(y), int(x)]


def test_the_model_inside_finds_the_bright_ellipse_without_a_prompt(photo):
    masks = anymask.everything(photo, points_per_side=5, pred_iou_thresh=0.5, stability_score_thresh=0.5)
    y, x = np.mgrid[:90, :140]
    ellipse = ((x - 70) / 30) ** 2 + ((y - 45) / 20) ** 2 < 1
    dense = masks.dense()
    overlap = (dense & ellipse).sum((1, 2)) / (dense | ellipse).sum((1, 2))
    assert overlap.max() > 0.9


def test_a_mask_inside_another_names_it_as_its_parent(photo, made_up):
    masks = everything(photo, made_up, points_per_side=8)
    inside = np.flatnonzero(masks.parents >= 0)
    assert len(inside)
    for row in inside:
        child, parent = masks[[row]].dense()[0], masks[[masks.parents[row]]].dense()[0]
        assert (child & parent).sum() >= 0.9 * child.sum()
        assert parent.sum() > child.sum()


def test_batches_of_any_size_find_the_same(photo, made_up):
    found = [everything(photo, made_up, points_per_side=6, points_per_batch=size) for size in (1, 5, 36, 1000)]
    for other in found[1:]:
        assert other.rle == found[0].rle
        assert other.scores.tolist() == found[0].scores.tolist()


def test_running_out_of_memory_halves_the_batch_and_loses_nothing(photo, made_up):
    asked = []

    class Small(Ours):
        def decode(self, embedding, prompts, **options):
            asked.append(len(prompts))
            if len(prompts) > 3:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried")
            return super().decode(embedding, prompts, **options)

    masks = everything(photo, Small(rounded(blobs())), points_per_side=6, points_per_batch=16)
    assert masks.rle == everything(photo, made_up, points_per_side=6).rle
    assert asked[:4] == [16, 8, 4, 2]
    assert max(asked[4:]) == 2


def test_too_little_memory_for_a_single_prompt_is_said(photo):
    class None_(Ours):
        def decode(self, *_, **__):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(NotEnoughMemory, match="single prompt"):
        everything(photo, None_(blobs()), points_per_side=2)


def test_other_errors_are_not_taken_for_lack_of_memory(photo):
    class Broken(Ours):
        def decode(self, *_, **__):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        everything(photo, Broken(blobs()), points_per_side=2)


def test_the_batch_size_follows_the_free_memory(monkeypatch):
    monkeypatch.setattr(batches, "free_memory", lambda device: 10 * 4 * batches.PROMPT_BYTES)
    assert batches.Batches(SimpleNamespace(device="cpu"), None, 1).size == 10
    monkeypatch.setattr(batches, "free_memory", lambda device: 1)
    assert batches.Batches(SimpleNamespace(device="cpu"), None, 1).size == 1
    monkeypatch.setattr(batches, "free_memory", lambda device: None)
    assert batches.Batches(SimpleNamespace(device="cpu"), None, 1).size == batches.ON_CPU


def test_progress_counts_every_prompt_of_every_crop(photo, made_up):
    said = []
    everything(
        photo,
        made_up,
        points_per_side=4,
        crop_n_layers=1,
        points_per_batch=7,
        tell=lambda done, total: said.append((done, total)),
    )
    assert said[-1] == (80, 80)
    assert [done for done, _ in said] == sorted({done for done, _ in said})


def test_masks_that_fill_the_picture_are_dropped_when_asked(photo):
    def answers(size, points):
        logits = np.full((len(points), 3, 64, 64), 9, np.float32)
        logits[:, 1, 20:] = -9
        return logits, np.full((len(points), 3), 0.95, np.float32)

    whole = everything(photo, Ours(answers), points_per_side=2)
    assert sorted(whole.areas().tolist())[-1] == 90 * 140
    assert max(everything(photo, Ours(answers), points_per_side=2, max_area_share=0.95).areas()) < 90 * 140


def test_only_the_best_masks_are_kept_when_asked(photo, made_up):
    every = everything(photo, made_up, points_per_side=8)
    few = everything(photo, made_up, points_per_side=8, max_masks=4)
    merit = every.scores + every.details["stability_score"]
    assert sorted(few.scores + few.details["stability_score"]) == sorted(np.sort(merit)[-4:])


def test_an_image_without_objects_gives_no_masks(made_up):
    masks = everything(np.zeros((40, 50, 3), np.uint8), made_up, points_per_side=3, pred_iou_thresh=1.0)
    assert len(masks) == 0
    assert masks.size == (40, 50)
    assert masks.details["crop_box"].shape == (0, 4)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2)])
def test_tiny_pictures_are_no_trouble(size, made_up):
    assert everything(np.zeros((*size, 3), np.uint8), made_up, points_per_side=3).size == size


def test_point_grids_of_ones_own_take_the_place_of_the_regular_one(photo, made_up):
    grid = np.array([[0.5, 0.5], [0.2, 0.7]])
    masks = everything(photo, made_up, point_grids=[grid], stability_score_thresh=0.5)
    asked = {tuple(point) for point in masks.details["point_coords"].round(6).tolist()}
    assert asked <= {(70.0, 45.0), (28.0, 63.0)}
    assert asked


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"points_per_side": 0}, "points_per_side"),
        ({"points_per_side": None}, "exactly one"),
        ({"points_per_side": 4, "point_grids": [np.zeros((1, 2))]}, "exactly one"),
        ({"point_grids": [np.array([[0.5, 1.5]])]}, "0 to 1"),
        ({"point_grids": [np.zeros((0, 2))]}, "at least one point"),
        ({"point_grids": [np.zeros((1, 2))], "crop_n_layers": 1}, "2 point_grids"),
        ({"pred_iou_thresh": float("nan")}, "pred_iou_thresh"),
        ({"pred_iou_thresh": "high"}, "pred_iou_thresh"),
        ({"mask_nms_thresh": -0.1}, "mask_nms_thresh"),
        ({"crop_n_layers": 1.5}, "crop_n_layers"),
        ({"crop_overlap_ratio": 1.0}, "crop_overlap_ratio"),
        ({"crop_n_layers": 2, "crop_n_points_downscale_factor": 8}, "leaves no point"),
        ({"points_per_side": True}, "points_per_side"),
        ({"granularity": 3}, "no option granularity"),
        ({"preset": "best"}, "no preset"),
    ],
)
def test_options_that_make_no_sense_are_named(photo, made_up, options, said):
    with pytest.raises(BadSetting, match=said):
        everything(photo, made_up, **options)


def test_masks_that_cover_the_same_are_one_in_spite_of_a_stray_speck(photo):
    """The speck lies so far off that the boxes have nothing in common."""

    def answers(size, points):
        logits = np.full((len(points), 3, 64, 64), -9, np.float32)
        logits[:, :, 10:30, 8:24] = 9
        logits[:, 1, 36:38, 60:62] = 9
        logits[:, 2, 10:30, 8:14] = 9
        logits[:, 2, 10:30, 14:24] = -9
        return logits, np.tile(np.array([0.9, 0.95, 0.8], np.float32), (len(points), 1))

    def found(**options):
        asked = {"points_per_side": 2, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.5, **options}
        return [round(score, 2) for score in everything(photo, Ours(answers), **asked).scores.tolist()]

    assert found() == [0.95, 0.9, 0.8]
    assert found(mask_nms_thresh=0.7) == [0.95, 0.8]
    # the smaller part is 6 of 16 columns: it stays until little in common is enough to go
    assert found(mask_nms_thresh=0.4) == [0.95, 0.8]
    assert found(mask_nms_thresh=0.3) == [0.95]


def test_presets_are_the_papers():
    sa1b = EverythingSettings.of("sa1b")
    assert [len(sa1b.grid(layer)) for layer in range(3)] == [32**2, 16**2, 8**2]
    assert (sa1b.min_mask_region_area, sa1b.max_area_share, sa1b.pred_iou_thresh) == (100, 0.95, 0.88)
    lvis = EverythingSettings.of("lvis")
    assert (lvis.points_per_side, lvis.box_nms_thresh, lvis.max_masks) == (64, 0.9, 1000)
    assert set(PRESETS) >= {"default", "sa1b", "lvis"}


def test_a_card_may_set_the_thresholds_that_suit_its_model_and_options_win():
    card = SimpleNamespace(everything=(("pred_iou_thresh", 0.7), ("stability_score_thresh", 0.8)))
    assert EverythingSettings.of("default", card).pred_iou_thresh == 0.7
    assert EverythingSettings.of("sa1b", card).stability_score_thresh == 0.8
    assert EverythingSettings.of("default", card, pred_iou_thresh=0.9).pred_iou_thresh == 0.9


def test_settings_can_be_written_down_and_made_again():
    settings = EverythingSettings(points_per_side=None, point_grids=[[[0.25, 0.5]]], max_masks=7)
    again = EverythingSettings(**settings.described())
    assert again.described() == settings.described()


def test_the_working_memory_does_not_grow_with_the_picture(made_up):
    from anymask.session.full_size import STRIP, FullSize

    large = made_up.encode([Image.open(np.zeros((3000, 4000, 3), np.uint8))]).resize[0]
    assert FullSize(large, (64, 64))._values.numel() == STRIP
    assert len(find(made_up, Image.open(np.zeros((3000, 4000, 3), np.uint8)), EverythingSettings(points_per_side=2)))


def test_the_quick_preset_asks_between_promising_points_only(photo):
    """Something is found in the left half alone."""
    asked = []

    def answers(size, points):
        asked.extend(map(tuple, np.round(points * 8 - 0.5).astype(int)))
        logits = np.full((len(points), 3, 64, 64), -9, np.float32)
        logits[:, :, 10:30, 8:24] = 9
        return logits, np.where(points[:, :1] < 0.5, 0.95, 0.1).astype(np.float32).repeat(3, 1)

    said = []
    masks = everything(
        photo, Ours(answers), "quick", points_per_side=8, stability_score_thresh=0.5, tell=lambda *now: said.append(now)
    )
    assert len(masks) == 1
    assert len(set(asked)) == len(asked)
    coarse = {(x, y) for x in range(0, 8, 2) for y in range(0, 8, 2)}
    near = {(x, y) for x in range(4) for y in range(8)}
    assert set(asked[:16]) == coarse
    assert set(asked) == coarse | near
    assert said[-1] == (len(asked), len(asked))


def test_the_quick_preset_with_a_promising_answer_everywhere_is_the_full_grid(photo, made_up):
    quick = everything(photo, made_up, points_per_side=6, coarse_score_thresh=0.01)
    full = everything(photo, made_up, points_per_side=6)
    assert sorted(map(str, quick.rle)) == sorted(map(str, full.rle))
    for side in (1, 2, 3, 5):
        few = {"points_per_side": side, "stability_score_thresh": 0.5}
        assert len(everything(photo, made_up, **few, coarse_score_thresh=0.01)) == len(
            everything(photo, made_up, **few)
        )


@pytest.mark.parametrize("seed", range(30))
def test_cleaning_the_box_is_cleaning_the_picture(seed):
    """Random blotches, some at the picture's edges, some nearly as large as it."""
    from anymask.masks.clean import without_small
    from anymask.masks.rle import decode_one, edges
    from anymask.session.everything import _clean, coded
    from anymask.session.full_size import Sight

    random = np.random.default_rng(seed)
    size = (int(random.integers(5, 40)), int(random.integers(5, 40)))
    mask = np.zeros(size, bool)
    y, x = (np.sort(random.integers(0, side + 1, 2)) for side in size)
    mask[y[0] : y[1] + 1, x[0] : x[1] + 1] = random.random((*mask[y[0] : y[1] + 1, x[0] : x[1] + 1].shape,)) < 0.6
    if not mask.any():
        mask[0, 0] = True
    least = int(random.integers(1, 30))
    expected, filled = without_small(mask, least, "holes")
    expected, dropped = without_small(expected, least, "islands")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    found = _clean(Sight(edges(mask), box, int(mask.sum()), 0, 0), size, least)
    assert (found is None) == (not filled and not dropped)
    if found is not None:
        assert (decode_one(coded(found.edges, size)) == expected).all()
        assert found.area == expected.sum()
        rows, columns = np.flatnonzero(expected.any(1)), np.flatnonzero(expected.any(0))
        assert found.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
