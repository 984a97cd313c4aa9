"""The classical baseline of the proposal protocol, on pictures whose objects are known."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from anymask.errors import BadImage, BadSetting
from anymask.evaluate.regions import SAME, WAYS, measure, merge, regions
from anymask.masks.rle import encode_one, iou


@pytest.fixture(scope="module")
def picture():
    """Pixels [120, 160, 3], and the true masks: a disc, a box, and a box of two halves of other colours."""
    y, x = np.indices((120, 160))
    truth = np.zeros((3, 120, 160), bool)
    truth[0] = (x - 40) ** 2 + (y - 40) ** 2 < 25**2
    truth[1, 70:110, 20:60] = True
    truth[2, 30:90, 90:140] = True
    pixels = np.full((120, 160, 3), (60, 90, 60), np.uint8)
    pixels[truth[0]], pixels[truth[1]] = (200, 40, 40), (40, 40, 220)
    pixels[30:60, 90:140], pixels[60:90, 90:140] = (240, 220, 60), (240, 160, 60)
    noise = np.random.default_rng(0).integers(-6, 7, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8), truth


def test_objects_are_found_also_one_of_two_colours(picture):
    pixels, truth = picture
    masks, _ = regions(pixels)
    assert (iou([encode_one(one) for one in truth], masks).max(1) > 0.9).all()


def test_best_come_first_and_no_two_are_nearly_the_same(picture):
    masks, merit = regions(picture[0])
    assert merit.dtype == np.float32
    assert len(merit) == len(masks) > 3
    assert (np.diff(merit) <= 0).all()
    assert np.triu(iou(masks, masks), 1).max() <= SAME
    # objects outrank what is left around them
    truth = [encode_one(one) for one in picture[1]]
    assert (iou(truth, masks[:10]).max(1) > 0.9).all()


def test_same_photo_same_answer_and_a_limit_keeps_the_best(picture):
    masks, merit = regions(picture[0])
    again, values = regions(picture[0], limit=3)
    assert again == masks[:3]
    assert (values == merit[:3]).all()


def test_photo_of_one_colour_is_one_region():
    masks, merit = regions(np.full((40, 50, 3), 120, np.uint8))
    assert masks == [encode_one(np.ones((40, 50), bool))]
    assert merit.shape == (1,)


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (2, 2)])
def test_tiny_photos_have_proposals(size):
    masks, _ = regions(np.zeros((*size, 3), np.uint8))
    assert masks == [encode_one(np.ones(size, bool))]


def test_large_photo_gets_masks_of_its_own_size():
    pixels = np.full((700, 1300, 3), 40, np.uint8)
    pixels[200:400, 300:700] = 220
    masks, _ = regions(pixels)
    truth = np.zeros((700, 1300), bool)
    truth[200:400, 300:700] = True
    assert iou([encode_one(truth)], masks).max() > 0.95


@pytest.mark.parametrize("way", WAYS)
def test_measures_of_merged_regions_are_those_of_their_pixels(way):
    # what is carried up the tree equals what is counted in the mask itself
    generator = np.random.default_rng(1)
    labels = np.repeat(np.repeat(np.arange(48).reshape(6, 8), 5, 0), 4, 1)
    values = generator.integers(0, 256, (30, 32, 3)).astype(np.uint8)
    tree = merge(measure(labels, values, np.ones((30, 32), np.float32)), way)
    assert len(tree.areas) == 2 * 48 - 1
    for region in range(len(tree.areas)):
        mask = np.zeros((30, 32), bool)
        x0, y0, x1, y1 = tree.boxes[region]
        mask[y0:y1, x0:x1] = tree.mask(region)
        assert mask.sum() == tree.areas[region]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert (x0, y0, x1, y1) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        border = (mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum()
        assert tuple(tree.outer[region]) == (border, border)
        assert tree.rims[region] == mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()


def test_weakest_boundary_goes_first_where_only_boundaries_count():
    labels = np.repeat(np.arange(3), 10)[None].repeat(8, 0)
    edges = np.zeros((8, 30), np.float32)
    edges[:, 9:11], edges[:, 19:21] = 0.5, 0.2
    tree = merge(measure(labels, np.zeros((8, 30, 3), np.uint8), edges), (0, 0, 0, 0, 1))
    assert tree.boxes[3].tolist() == [10, 0, 30, 8]
    assert tree.areas.tolist() == [80, 80, 80, 160, 240]


def test_wrong_settings_and_pixels_are_named():
    with pytest.raises(BadSetting, match="limit"):
        regions(np.zeros((8, 8, 3), np.uint8), limit=0)
    with pytest.raises(BadImage, match="uint8"):
        regions(np.zeros((8, 8), np.uint8))


def test_without_scikit_image_the_extra_is_named():
    code = """
        import sys
        sys.modules["skimage"] = None
        import numpy as np
        from anymask.errors import MissingExtra
        from anymask.evaluate.regions import regions
        try:
            regions(np.zeros((8, 8, 3), np.uint8))
        except MissingExtra as error:
            print(error)
    """
    found = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "pip install 'anymask[evaluate]'" in found.stdout
