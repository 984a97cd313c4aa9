"""Pictures of many masks."""

import numpy as np
import pytest
from PIL import Image as Pillow

from anymask import Masks
from anymask.errors import BadSetting
from anymask.masks.colours import distances, palette, seen
from anymask.masks.mosaic import colours, label_map, mosaic
from anymask.masks.sheet import Cell, contact_sheet


def squares(side=6, size=20) -> Masks:
    """A chequered field of side x side masks, and a large one under all."""
    dense = np.zeros((side * side + 1, side * size, side * size), bool)
    for place in range(side * side):
        y, x = divmod(place, side)
        dense[place, y * size : (y + 1) * size, x * size : (x + 1) * size] = True
    dense[-1] = True
    return Masks.from_dense(dense)


def test_every_pixel_shows_the_smallest_mask_over_it():
    masks = squares()
    labels = label_map(masks)
    assert set(np.unique(labels)) == set(range(1, 37))
    assert labels[5, 25] == 2
    assert label_map(masks[[36, 7]])[25, 25] == 2


def test_neighbours_are_told_apart_by_every_kind_of_colour_vision():
    masks = squares()
    chosen = colours(label_map(masks), len(masks))
    lab = seen(chosen)
    for place in range(36):
        for other in (place + 1, place + 6):
            if other < 36 and (other % 6 or other == place + 6):
                # a difference of about 2 is just seen by a trained eye side by side
                assert np.linalg.norm(lab[:, place] - lab[:, other], axis=-1).min() > 20


def test_reduced_vision_confuses_what_it_is_known_to_confuse():
    lab = seen([(200, 60, 60), (110, 120, 50), (60, 60, 200), (255, 255, 255)])
    normal, _, deuteranopia, _ = np.linalg.norm(lab[:, 0] - lab[:, 1], axis=-1)
    assert deuteranopia < normal / 2
    assert np.allclose(lab[:, 3], [100, 0, 0], atol=0.5)
    assert (distances(palette(7)) + 100 * np.eye(7)).min() > 9


def test_a_mosaic_tints_masks_and_leaves_the_rest_alone():
    pixels = np.full((60, 80, 3), 90, np.uint8)
    dense = np.zeros((2, 60, 80), bool)
    dense[0, 10:50, 10:40], dense[1, 20:30, 20:30] = True, True
    picture = np.asarray(mosaic(Masks.from_dense(dense), pixels))
    assert picture.shape == (60, 80, 3)
    assert (picture[5, 60] == 90).all()
    assert (picture[40, 15] != 90).any()
    assert (picture[25, 25] != picture[40, 15]).any()


def test_large_pictures_are_painted_in_bands_without_seams():
    masks = squares(3, 500)
    whole = np.asarray(mosaic(masks))
    # the same row of squares looks the same wherever the bands fall
    assert whole.shape == (1500, 1500, 3)
    for row in (200, 700, 1200):
        assert len(np.unique(whole[row, 100:400], axis=0)) == 1


def test_many_masks_are_drawn_as_a_mosaic_and_few_as_ever():
    masks = squares()
    assert masks.overlay().tobytes() == mosaic(masks).tobytes()
    assert masks[:3].overlay().tobytes() != mosaic(masks[:3]).tobytes()
    assert mosaic(Masks((5, 5), [])).size == (5, 5)
    with pytest.raises(BadSetting, match="opacity"):
        mosaic(masks, opacity=2)


def test_a_contact_sheet_shows_every_picture_in_order():
    tints = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    cells = [Cell(Pillow.new("RGB", (200, 100 + 90 * n), tint), f"{n}.jpg", "4 masks") for n, tint in enumerate(tints)]
    page = np.asarray(contact_sheet(cells, columns=2, side=100)).astype(int)
    found = [np.argwhere(np.abs(page - tint).sum(2) < 20).mean(0) for tint in tints]
    assert abs(found[0][0] - found[1][0]) < 25 < found[1][1] - found[0][1]
    assert found[2][0] - found[0][0] > 60
    assert abs(found[2][1] - found[0][1]) < 20


def test_a_sheet_takes_long_and_strange_names_and_refuses_nothing_at_all():
    cell = Cell(Pillow.new("L", (3, 900)), "a very long name " * 9 + "\x07.tif", "")
    assert contact_sheet([cell], side=64).width == 64 + 2 * 16
    with pytest.raises(BadSetting, match="at least one picture"):
        contact_sheet([])
    with pytest.raises(BadSetting, match="at least 1 column"):
        contact_sheet([cell], columns=0)


def test_a_small_mosaic_is_the_same_picture_with_thin_lines():
    masks = squares(3, 500)
    picture = mosaic(masks, side=300)
    assert picture.size == (300, 300)
    large = np.asarray(mosaic(masks))
    for place in range(9):
        y, x = divmod(place, 3)
        assert (np.asarray(picture)[y * 100 + 50, x * 100 + 50] == large[y * 500 + 250, x * 500 + 250]).all()
    assert mosaic(masks[:1], side=9000).size == (1500, 1500)
    with pytest.raises(BadSetting, match="at least 1 px"):
        mosaic(masks, side=0)


def test_colours_stay_apart_where_a_mask_has_many_neighbours():
    """A wheel: every spoke touches the hub and the two beside it; and masks that touch nothing stay plain."""
    labels = np.zeros((200, 200), np.int32)
    y, x = np.mgrid[:200, :200] - 99.5
    labels[np.hypot(x, y) < 90] = (np.floor((np.arctan2(y, x) + np.pi) / (2 * np.pi) * 9).clip(0, 8) + 2)[
        np.hypot(x, y) < 90
    ]
    labels[np.hypot(x, y) < 30] = 1
    chosen = colours(labels, 10)
    apart = distances(chosen)
    assert min(apart[0, 1:]) > 20
    assert min(apart[1 + spoke, 1 + (spoke + 1) % 9] for spoke in range(9)) > 20
    alone = np.zeros((5, 20), np.int32)
    alone[2, ::4] = range(1, 6)
    assert set(colours(alone, 5)) <= set(palette(7))
