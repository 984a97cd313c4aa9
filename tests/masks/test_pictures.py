"""What a person sees: overlays, cut-outs, notebooks."""

from __future__ import annotations

import base64
import colorsys
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow

from anymask import Image, Masks
from anymask.errors import BadSetting
from anymask.masks.colours import PALETTE, colour


@pytest.fixture
def disc(photo):
    y, x = np.mgrid[:90, :140]
    inside = ((x - 70) / 30) ** 2 + ((y - 45) / 20) ** 2 < 1
    return Masks.from_dense(inside, image=Image.open(photo))


def test_an_overlay_tints_the_mask_and_leaves_the_rest_alone(disc, photo):
    drawn = np.asarray(disc.overlay())
    assert drawn.shape == photo.shape
    np.testing.assert_array_equal(drawn[:20], photo[:20])
    expected = photo[45, 70] * 0.55 + np.array(PALETTE[0]) * 0.45
    assert np.abs(drawn[45, 70] - expected).max() <= 1
    edge = drawn[45, 41]
    assert np.abs(edge - np.array(PALETTE[0], float)).max() < np.abs(expected - PALETTE[0]).max()
    np.testing.assert_array_equal(disc.image.pixels(), photo)


def test_the_picture_may_be_given_or_unknown(disc, photo):
    bare = disc.replace(image=None)
    assert np.array_equal(bare.overlay(photo), disc.overlay())
    assert len(np.unique(np.asarray(bare.overlay())[:20].reshape(-1, 3), axis=0)) == 1
    with pytest.raises(BadSetting, match="the picture is"):
        disc.overlay(photo[:50])


def test_a_mask_that_reaches_the_border_has_no_contour_there(photo):
    whole = Masks.from_dense(np.ones((90, 140), bool), image=Image.open(photo))
    plain = photo * 0.55 + np.array(PALETTE[0]) * 0.45
    assert np.abs(np.asarray(whole.overlay()) - plain).max() <= 1


def test_small_masks_stay_visible_on_large_ones(photo):
    dense = np.zeros((2, 90, 140), bool)
    dense[0, 40:50, 60:70] = True
    dense[1] = True
    drawn = np.asarray(Masks.from_dense(dense).overlay(photo, opacity=1))
    assert tuple(drawn[45, 65]) == PALETTE[0] and tuple(drawn[10, 10]) == PALETTE[1]


def test_prompts_are_marked_green_and_red_and_told_apart_without_colour(disc, photo):
    drawn = np.asarray(disc.overlay(points=[[20, 20], [120, 20]], labels=[1, 0])).astype(int)
    inside, outside = drawn[14:27, 14:27], drawn[14:27, 114:127]
    assert (inside[:, :, 1] - inside[:, :, 0]).max() > 100
    assert (outside[:, :, 0] - outside[:, :, 1]).max() > 100
    # plus and minus: white goes up from the centre only in the first
    assert drawn[18, 20].min() > 150 and drawn[17, 120].min() < 150
    assert not np.array_equal(drawn, np.asarray(disc.overlay(boxes=[10, 10, 50, 50])))


def test_marks_outside_of_the_picture_do_no_harm(disc):
    disc.overlay(points=[[-500, 9e5], [1e18, 0], [140, 90]], labels=[1, 0, -1], boxes=[[-50, -50, 1e9, 1e9]])
    for wrong in ({"points": [[1, 2, 3]]}, {"points": [[np.nan, 0]]}, {"boxes": [1, 2]}, {"points": "ab"}):
        with pytest.raises(BadSetting, match="finite numbers"):
            disc.overlay(**wrong)
    with pytest.raises(BadSetting, match="one label"):
        disc.overlay(points=[[1, 1]], labels=[1, 0])
    with pytest.raises(BadSetting, match="opacity"):
        disc.overlay(opacity=2)


@settings(max_examples=60)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40))))
def test_any_mask_can_be_drawn(dense):
    masks = Masks.from_dense(dense)
    assert masks.overlay(dim=0.5).size == (dense.shape[2], dense.shape[1])
    cuts = masks.cutouts(np.full((*dense.shape[1:], 3), 200, np.uint8))
    for mask, cut in zip(dense, cuts, strict=True):
        assert (np.asarray(cut)[:, :, 3] > 0).sum() == mask.sum()


def test_dimming_darkens_what_lies_outside(disc, photo):
    drawn = np.asarray(disc.overlay(dim=0.5, opacity=0))
    np.testing.assert_array_equal(drawn[:15], (photo[:15] * 0.5).astype(np.uint8))


def test_a_cut_out_holds_the_object_and_nothing_else(disc, photo):
    (cut,) = disc.cutouts()
    assert cut.mode == "RGBA"
    x0, y0, x1, y1 = disc.boxes()[0].astype(int)
    assert cut.size == (x1 - x0, y1 - y0)
    inside = disc.dense()[0, y0:y1, x0:x1]
    pixels = np.asarray(cut)
    np.testing.assert_array_equal(pixels[:, :, 3] == 255, inside)
    np.testing.assert_array_equal(pixels[inside][:, :3], photo[y0:y1, x0:x1][inside])
    assert not pixels[~inside].any()


def test_a_cut_out_of_nothing_is_one_transparent_pixel(photo):
    (cut,) = Masks.from_dense(np.zeros((90, 140), bool)).cutouts(photo)
    assert cut.size == (1, 1) and cut.getpixel((0, 0)) == (0, 0, 0, 0)


def test_cutting_out_needs_the_picture(disc):
    with pytest.raises(BadSetting, match="picture is needed"):
        disc.replace(image=None).cutouts()


def test_a_notebook_shows_the_picture_and_each_candidate(disc):
    three = Masks.join([disc, disc, disc]).replace(scores=[0.9, 0.5, 0.1], labels=["<b>", None, None])
    assert Pillow.open(io.BytesIO(three._repr_png_())).size == (140, 90)
    html = three._repr_html_()
    assert html.count("<img") == 4 and "score 0.50" in html
    assert "<b>" not in html, "labels are text, not HTML"
    data = re.findall(r"base64,([^\"]+)", html)
    assert Pillow.open(io.BytesIO(base64.b64decode(data[0]))).size == (140, 90)
    assert disc._repr_html_().count("<img") == 1


def test_a_large_picture_is_shrunk_for_a_notebook():
    masks = Masks.from_dense(np.ones((3000, 20), bool))
    assert max(Pillow.open(io.BytesIO(masks._repr_png_())).size) <= 900


def seen_by(rgb, kind):
    """A colour as people without one kind of cone see it. Source: Vienot, Brettel and Mollon 1999."""
    linear = (np.array(rgb) / 255) ** 2.2
    lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    without = {
        "protan": [[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]],
        "deutan": [[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]],
    }
    back = np.linalg.inv(lms) @ np.array(without[kind]) @ lms @ linear
    return np.clip(back, 0, 1) ** (1 / 2.2) * 255


@pytest.mark.parametrize("kind", ["protan", "deutan"])
def test_colours_differ_for_colour_blind_people_as_well(kind):
    seen = [seen_by(one, kind) for one in PALETTE]
    gaps = [np.abs(seen[i] - seen[j]).max() for i in range(len(seen)) for j in range(i)]
    assert min(gaps) > 25


def test_colours_of_later_rounds_are_new_ones():
    many = [colour(index) for index in range(28)]
    assert len(set(many)) == 28 and all(0 <= value <= 255 for one in many for value in one)
    light = [colorsys.rgb_to_hls(*(value / 255 for value in colour(7 * turn)))[1] for turn in range(3)]
    assert light[1] > light[0] > light[2]
