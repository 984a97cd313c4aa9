"""The containment tree as a picture."""

import numpy as np
import pytest

from anymask import Masks
from anymask.errors import BadSetting
from anymask.masks.colours import distances
from anymask.masks.nested import nested
from anymask.masks.tree import parents


def family(high=120, wide=100) -> Masks:
    """Two wholes; in the first two parts that touch, in one of these a part of its own."""
    dense = np.zeros((5, high, wide), bool)
    for mask, (x0, y0, x1, y1) in zip(
        dense, ((10, 10, 60, 90), (70, 10, 95, 90), (12, 20, 58, 50), (12, 50, 58, 80), (20, 25, 40, 40)), strict=True
    ):
        mask[y0:y1, x0:x1] = True
    masks = Masks.from_dense(dense)
    return masks.replace(parents=parents(masks))


def coloured(picture) -> np.ndarray:
    """Which pixels have a colour: paper, ink and the photo are grey."""
    pixels = np.asarray(picture).astype(int)
    return pixels.max(2) - pixels.min(2) > 24


def test_each_level_of_the_tree_has_its_own_picture():
    picture = nested(family(), np.full((120, 100, 3), 90, np.uint8))
    wide = picture.width / 3
    shares = [
        coloured(picture.crop((round(n * wide), 0, round((n + 1) * wide), picture.height))).sum() for n in range(3)
    ]
    assert shares[0] > shares[1] > shares[2] > 0


def test_parts_that_touch_differ_for_every_kind_of_colour_vision():
    masks = family()
    picture = np.asarray(nested(masks, np.full((120, 100, 3), 90, np.uint8)))
    left, top = 13 + 100 + 13, 27
    upper, lower = picture[top + 45, left + 50], picture[top + 65, left + 50]
    assert distances([tuple(upper.tolist()), tuple(lower.tolist())])[0, 1] > 8


def test_levels_without_masks_are_left_out_and_wide_pictures_lie_below_each_other():
    flat = nested(family()[:2])
    assert flat.width < 1.5 * flat.height
    wide = family(100, 300)
    assert nested(wide).height > 3 * 100
    assert nested(Masks((5, 5), [])).width > 5


def test_pictures_of_any_size_become_panels_of_a_sensible_one():
    picture = nested(family(), side=64)
    assert picture.height < 120
    with pytest.raises(BadSetting, match="at least 64"):
        nested(family(), side=3)
