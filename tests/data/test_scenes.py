"""Generated scenes: the same whenever drawn, and masks that are exactly what the picture was made of."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from anymask.data.sample import Dataset
from anymask.data.scene_paint import SMALLEST, SceneBatch, painted
from anymask.data.scene_themes import THEMES
from anymask.data.scene_things import Plan
from anymask.data.scenes import Scenes, _plan, draw
from anymask.errors import BadSetting
from anymask.masks.rle import area, decode

COUNT = 40


@functools.lru_cache(maxsize=1)
def scenes() -> SceneBatch:
    return draw([(3, i) for i in range(COUNT)], 128)


def family_of(parents: list[int], index: int) -> set[int]:
    """The thing and all that contain it."""
    found = {index}
    while parents[index] >= 0:
        index = parents[index]
        found.add(index)
    return found


def test_a_scene_is_the_same_in_any_batch():
    alone, among = draw([(3, 11)], 128), scenes()
    count = alone.counts[0]
    assert torch.equal(alone.images[0], among.images[11])
    assert torch.equal(alone.visible[0], among.visible[11, :count])
    assert torch.equal(alone.amodal[0], among.amodal[11, :count])
    assert torch.equal(alone.parents[0], among.parents[11, :count])
    assert alone.labels[0] == among.labels[11]
    assert not among.visible[11, count:].any()


def test_threads_do_not_change_a_scene():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        several = draw([(3, 5)], 128)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(several.images[0], scenes().images[5])


def test_other_numbers_and_seeds_give_other_scenes():
    pictures = {draw([(seed, i)], 64).images.numpy().tobytes() for seed in (0, 1) for i in range(6)}
    assert len(pictures) == 12


def test_only_a_whole_and_its_part_share_pixels():
    for b, count in enumerate(scenes().counts):
        parents = scenes().parents[b].tolist()
        visible = scenes().visible[b, :count].flatten(1).float()
        common = visible @ visible.T
        for i, j in (common > 0).nonzero().tolist():
            assert i in family_of(parents, j) or j in family_of(parents, i)


def test_what_is_seen_belongs_to_the_whole_thing():
    assert not (scenes().visible & ~scenes().amodal).any()


def test_a_whole_contains_its_parts():
    for b, count in enumerate(scenes().counts):
        for i in range(count):
            parent = int(scenes().parents[b, i])
            if parent >= 0:
                assert not (scenes().amodal[b, i] & ~scenes().amodal[b, parent]).any()
                assert not (scenes().visible[b, i] & ~scenes().visible[b, parent]).any()


def test_what_is_hidden_is_hidden_by_something_in_front():
    """Where a thing is there but not seen, another is seen, or a thing that has no mask of its own stands there."""
    hidden = scenes().amodal & ~scenes().visible
    shown = scenes().visible.any(1, keepdim=True)
    share = (hidden & ~shown).sum() / hidden.sum()
    assert hidden.any()
    assert share < 0.02  # things of fewer than SMALLEST pixels


def test_every_mask_is_large_enough_to_be_meant():
    for b, count in enumerate(scenes().counts):
        assert int(scenes().visible[b, :count].flatten(1).sum(1).min(initial=SMALLEST) if count == 0 else 0) == 0
        assert bool((scenes().visible[b, :count].flatten(1).sum(1) >= SMALLEST).all())
        assert len(scenes().labels[b]) == count


def test_scenes_hold_parts_hidden_things_and_many_masks():
    counts = np.array(scenes().counts)
    assert 5 <= counts.mean() <= 40
    assert bool((scenes().parents >= 0).any())


def test_pictures_use_their_range_and_differ_from_each_other():
    images = scenes().images.float()
    assert float(images.mean((1, 2)).std()) > 20
    assert float(images.flatten(1).std(1).median()) > 15


@pytest.mark.parametrize("theme", THEMES)
def test_every_theme_gives_things_within_the_frame(theme: str):
    seen = 0
    for number in range(5):
        plan = Plan(np.random.default_rng(number), 96)
        THEMES[theme][0](plan)
        assert all(thing.parent < place for place, thing in enumerate(plan.things))
        seen += len(plan.things)
    assert seen >= 10


def test_scenes_are_a_data_set():
    data = Scenes(seed=3, length=50, side=128)
    assert isinstance(data, Dataset)
    assert len(data) == 50
    sample = data[11]
    assert sample.name == "scenes-3/11"
    assert np.array_equal(sample.pixels(), scenes().images[11].numpy())
    count = scenes().counts[11]
    assert np.array_equal(decode(sample.masks), scenes().visible[11, :count].numpy())
    assert len(sample.labels) == len(sample.masks) == count
    assert (area(data.amodal(11)) >= area(sample.masks)).all()
    assert data.scene(11).parents.tolist() == scenes().parents[11, :count].tolist()
    with pytest.raises(IndexError):
        data[50]


def test_a_side_that_cannot_be_drawn_is_refused():
    with pytest.raises(BadSetting, match="even"):
        Scenes(side=33)
    with pytest.raises(BadSetting, match="at least one"):
        draw([], 64)
    with pytest.raises(BadSetting, match="length"):
        Scenes(length=0)


def test_scenes_painted_together_are_those_painted_alone():
    """The way of a GPU, many scenes at once and no windows, gives the scenes of the CPU."""
    together = painted([_plan(3, i, 128) for i in range(16)], torch.device("cpu"))
    for b, count in enumerate(together.counts):
        assert together.labels[b] == scenes().labels[b]
        assert torch.equal(together.visible[b, :count], scenes().visible[b, :count])
        assert torch.equal(together.amodal[b, :count], scenes().amodal[b, :count])
        change = (together.images[b].int() - scenes().images[b].int()).abs()
        assert float((change > 2).float().mean()) < 0.01


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same_scenes_whatever_the_batch():
    together, alone = draw([(3, i) for i in range(8)], 128, "cuda"), draw([(3, 5)], 128, "cuda")
    assert together.images.is_cuda
    assert torch.equal(together.images[5], alone.images[0])
    assert torch.equal(together.visible[5, : alone.counts[0]], alone.visible[0])
    change = (together.images[5].cpu().int() - scenes().images[5].int()).abs()
    assert float((change > 8).float().mean()) < 0.02
