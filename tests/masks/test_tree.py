"""Whole, part and subpart."""

import numpy as np

from anymask import Masks
from anymask.masks.tree import Branch, branches, levels, parents


def boxes(*corners):
    dense = np.zeros((len(corners), 100, 120), bool)
    for mask, (x0, y0, x1, y1) in zip(dense, corners, strict=True):
        mask[y0:y1, x0:x1] = True
    return Masks.from_dense(dense)


def test_a_mask_lies_in_the_smallest_that_holds_it():
    masks = boxes((20, 20, 30, 30), (0, 0, 100, 90), (10, 10, 50, 50), (60, 60, 80, 80), (105, 0, 119, 9))
    found = parents(masks)
    assert found.tolist() == [2, -1, 1, 1, -1]
    assert levels(found).tolist() == [2, 0, 1, 1, 0]


def test_a_part_may_stick_out_a_little_but_not_far():
    whole = (10, 10, 60, 60)
    assert parents(boxes(whole, (9, 20, 29, 40)))[1] == 0
    assert parents(boxes(whole, (5, 20, 25, 40)))[1] == -1


def test_two_sights_of_one_object_are_no_parent_and_child():
    assert parents(boxes((10, 10, 60, 60), (11, 10, 60, 60), (10, 10, 60, 59))).tolist() == [-1, -1, -1]


def test_what_lies_in_a_hole_is_not_inside():
    dense = np.zeros((2, 50, 50), bool)
    dense[0, 5:45, 5:45] = True
    dense[0, 15:35, 15:35] = False
    dense[1, 20:30, 20:30] = True
    assert parents(Masks.from_dense(dense)).tolist() == [-1, -1]


def test_empty_masks_and_none_at_all_lie_nowhere():
    assert parents(boxes((0, 0, 50, 50), (3, 3, 3, 3))).tolist() == [-1, -1]
    assert parents(Masks((5, 5), [])).tolist() == []


def test_many_random_masks_agree_with_the_definition():
    random = np.random.default_rng(0)
    corners = random.integers(0, 70, (60, 2))
    masks = boxes(*np.concatenate([corners, corners + random.integers(2, 50, (60, 2))], 1).clip(0, 100))
    dense, areas, found = masks.dense(), masks.areas(), parents(masks)
    for row in range(60):
        held = [
            other
            for other in range(60)
            if areas[other] >= 1.2 * areas[row] and (dense[row] & dense[other]).sum() >= 0.9 * areas[row]
        ]
        assert found[row] == (min(held, key=lambda other: (areas[other], other)) if held else -1)


def test_branches_are_ordered_by_size():
    masks = boxes((20, 20, 30, 30), (0, 0, 100, 90), (10, 10, 50, 50), (60, 60, 80, 80), (105, 0, 119, 9))
    inner = Branch(2, (Branch(0, ()),))
    assert branches(parents(masks), masks.areas()) == (Branch(1, (inner, Branch(3, ()))), Branch(4, ()))
