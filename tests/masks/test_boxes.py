"""Suppression of boxes."""

import numpy as np
import pytest

from anymask.masks.boxes import nms


def plainly(boxes, scores, threshold):
    """The definition, one pair at a time."""
    order = sorted(range(len(boxes)), key=lambda row: -scores[row])
    kept = []
    for row in order:
        for other in kept:
            x0, y0 = np.maximum(boxes[row][:2], boxes[other][:2])
            x1, y1 = np.minimum(boxes[row][2:], boxes[other][2:])
            inside = max(np.float32(0), x1 - x0) * max(np.float32(0), y1 - y0)
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (boxes[other], boxes[row])]
            union = areas[0] + areas[1] - inside
            if union and float(inside / union) > threshold:
                break
        else:
            kept.append(row)
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_the_best_of_overlapping_boxes_stay_in_the_order_of_their_scores(seed):
    random = np.random.default_rng(seed)
    corners = random.integers(0, 60, (80, 2))
    boxes = np.concatenate([corners, corners + random.integers(0, 40, (80, 2))], 1).astype(np.float32)
    scores = random.integers(0, 20, 80).astype(np.float32)
    assert nms(boxes, scores, 0.4).tolist() == plainly(boxes, scores, 0.4)


def test_an_overlap_of_exactly_the_threshold_is_kept():
    boxes = np.array([[0, 0, 4, 1], [2, 0, 4, 1]], np.float32)
    assert nms(boxes, np.array([2, 1]), 0.5).tolist() == [0, 1]
    assert nms(boxes, np.array([2, 1]), 0.49).tolist() == [0]


def test_no_boxes_and_boxes_without_area_are_no_trouble():
    assert nms(np.zeros((0, 4), np.float32), np.zeros(0), 0.5).tolist() == []
    assert nms(np.zeros((3, 4), np.float32), np.array([1, 3, 2]), 0.5).tolist() == [1, 2, 0]
