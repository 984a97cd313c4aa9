"""Simulated clicks lie where a person's would."""

from __future__ import annotations

import numpy as np
import pytest

from anymask.errors import BadPrompt
from anymask.prompts.simulate import Click, anywhere, depth, innermost, loose_box, next_click, tight_box


def square(size, x0, y0, x1, y1):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_depth_is_the_exact_distance_to_the_nearest_pixel_outside():
    scipy = pytest.importorskip("scipy.ndimage", reason="needs scipy to compare with")
    mask = np.random.default_rng(0).random((40, 60)) > 0.03
    expected = scipy.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    np.testing.assert_allclose(depth(mask), expected, atol=1e-5)


def test_the_image_border_counts_as_an_edge():
    assert depth(np.ones((3, 5), bool)).tolist() == [[1, 1, 1, 1, 1], [1, 2, 2, 2, 1], [1, 1, 1, 1, 1]]


def test_depth_does_not_depend_on_where_a_mask_lies_in_memory():
    # a root whose last bit moved with memory made equal places unequal, and clicks random
    mask = np.random.default_rng(1).random((61, 83)) > 0.02
    for _ in range(8):
        squares = np.square(depth(mask.copy()), dtype=np.float64)
        assert (depth(mask) == np.sqrt(np.rint(squares)).astype(np.float32)).all()


def test_innermost_is_the_first_of_equals_in_row_order():
    # a 4 x 4 square has four pixels at distance 2
    assert innermost(square((10, 12), 3, 2, 7, 6)) == (4, 3, 2.0)


def test_a_box_is_tight_with_exclusive_far_edges():
    assert tight_box(square((10, 12), 3, 2, 7, 6)) == (3, 2, 7, 6)


@pytest.mark.parametrize("ask", [innermost, tight_box, lambda mask: anywhere(mask, np.random.default_rng(0))])
def test_an_empty_mask_is_refused(ask):
    with pytest.raises(BadPrompt, match="empty"):
        ask(np.zeros((4, 4), bool))


def test_random_clicks_lie_in_the_mask():
    rng = np.random.default_rng(0)
    mask = rng.random((30, 30)) > 0.9
    for _ in range(100):
        x, y = anywhere(mask, rng)
        assert mask[y, x]


def test_loose_boxes_keep_their_area_and_the_image():
    rng = np.random.default_rng(0)
    for _ in range(300):
        x0, y0, x1, y1 = loose_box((1, 2, 4, 60), (64, 64), rng, 0.5, 20.0)
        assert x0 >= 0 and y0 >= 0 and x1 <= 64 and y1 <= 64 and x1 - x0 >= 1 and y1 - y0 >= 1


def test_without_noise_a_loose_box_is_the_box():
    assert loose_box((1, 2, 4, 60), (64, 64), np.random.default_rng(0), 0.0, 20.0) == (1, 2, 4, 60)


def test_the_next_click_is_inside_the_larger_miss():
    truth = square((40, 40), 5, 5, 25, 25)
    answer = square((40, 40), 5, 5, 25, 15)
    # rows 15 to 24 are missed: ten deep, twenty wide, so the distance is 5 at row 19, first at column 9
    assert next_click(answer, truth) == Click(9, 19, True)


def test_the_next_click_is_outside_where_too_much_was_taken():
    truth = square((40, 40), 5, 5, 15, 15)
    answer = square((40, 40), 5, 5, 35, 15)
    click = next_click(answer, truth)
    assert click is not None and not click.inside and answer[click.y, click.x] and not truth[click.y, click.x]


def test_of_equal_errors_the_missed_part_wins():
    truth, answer = square((20, 40), 2, 2, 10, 10), square((20, 40), 22, 2, 30, 10)
    assert next_click(answer, truth) == Click(5, 5, True)


def test_a_perfect_answer_needs_no_click():
    truth = square((20, 20), 2, 2, 10, 10)
    assert next_click(truth, truth) is None


def test_random_corrections_stay_in_the_larger_error():
    rng = np.random.default_rng(0)
    truth, answer = square((40, 40), 5, 5, 25, 25), square((40, 40), 5, 5, 35, 15)
    for _ in range(50):
        click = next_click(answer, truth, rng)
        assert click is not None
        wrong = truth & ~answer if click.inside else answer & ~truth
        assert wrong[click.y, click.x]
