"""Tiles put together: every object once and whole, wherever seams cut it. Most tests give tiles the exact masks."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest

from anymask.errors import BadImage, BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import encode_one, iou
from anymask.masks.strips import Strips
from anymask.pixels.raster import Raster
from anymask.pixels.window import Window, tiles
from anymask.session.everything import everything
from anymask.session.seams import Seams
from anymask.session.tiles import everything_tiled, look_tiled

SIZE = (400, 460)
Y, X = np.mgrid[: SIZE[0], : SIZE[1]]


class Scene(Raster):
    """A picture whose pixels say where they are, and what a perfect model sees in a window of it."""

    def __init__(self, objects, size=SIZE, scores=None, empty=None):
        self.size, self.objects, self.empty = size, objects, empty
        self.scores = scores or [1 - 0.001 * place for place in range(len(objects))]

    def read(self, window):
        self.window = window
        return np.zeros((*window.size, 3), np.uint8)

    def valid(self, window):
        return None if self.empty is None else ~self.empty[window.y0 : window.y1, window.x0 : window.x1]

    def look(self, pixels):
        x0, y0, x1, y1 = self.window
        seen = [(mask[y0:y1, x0:x1], score) for mask, score in zip(self.objects, self.scores, strict=True)]
        seen = [(mask, score) for mask, score in seen if mask.any()]
        # rows come in another order in each tile, and a model gives nearly equal masks once
        random.Random(x0 * 1000 + y0).shuffle(seen)
        kept = []
        for mask, score in seen:
            if not any((mask & other).sum() > 0.9 * (mask | other).sum() for other, _ in kept):
                kept.append((mask, score))
        dense = np.array([mask for mask, _ in kept]).reshape(-1, *self.window.size)
        return Masks(self.window.size, [encode_one(mask) for mask in dense], scores=[score for _, score in kept])


def found(objects, tile=96, overlap=24, **options):
    scene = Scene(objects, **options)
    return look_tiled(scene, scene.look, tile, overlap)


def same(masks, objects):
    """Whether the masks are these objects, each once, in any order."""
    ours = sorted(rle["counts"] for rle in masks.rle)
    return ours == sorted(encode_one(mask)["counts"] for mask in objects)


def disk(x, y, radius):
    return (X - x) ** 2 + (Y - y) ** 2 <= radius**2


def block(x0, y0, x1, y1):
    return (x0 <= X) & (x1 > X) & (y0 <= Y) & (y1 > Y)


# seams lie at 72..96, 144..168, ... with tiles of 96 px that share 24
ACROSS = {
    "one seam": disk(84, 40, 15),
    "one seam, far out": block(30, 30, 160, 60),
    "the corner of four tiles": disk(84, 84, 20),
    "two corners": disk(120, 120, 60),
    "inside an overlap": disk(84, 40, 8),
    "inside a corner": disk(84, 84, 8),
    "ends in the overlap": block(20, 20, 90, 50),
    "just touches the overlap": block(20, 20, 73, 50),
    "just touches the next tile's edge": block(20, 20, 97, 50),
    "wider than a tile": block(10, 20, 400, 50),
    "larger than nine tiles": disk(230, 200, 170),
    "everything": block(0, 0, 460, 400),
    "a thin line": np.abs(X - Y) < 4,
    "a ring": disk(230, 200, 150) & ~disk(230, 200, 120),
    "a U upside down": block(60, 20, 200, 180) & ~block(80, 40, 180, 180),
    "a comb": block(60, 20, 300, 60) | (block(60, 20, 300, 130) & (X % 30 < 15)),
    "two islands": disk(60, 60, 15) | disk(110, 60, 15),
}


@pytest.mark.parametrize("kind", ACROSS)
def test_an_object_that_seams_cut_is_one_mask(kind):
    assert same(found([ACROSS[kind]]), [ACROSS[kind]])


@pytest.mark.parametrize("overlap", [16, 24, 40, 48])
def test_a_whole_and_its_parts_stay_apart_across_seams(overlap):
    car = block(30, 30, 250, 130)
    objects = [car, block(60, 50, 130, 110), block(140, 50, 220, 110), block(75, 60, 95, 100), disk(300, 250, 80)]
    objects.append(disk(300, 250, 40))
    assert same(found(objects, overlap=overlap), objects)


def test_a_mask_that_ends_a_whole_and_its_part_belongs_to_both():
    """The right tile sees only the end of the trailer, which is the end of the lorry too."""
    trailer = block(50, 20, 130, 60)
    lorry = trailer | block(10, 20, 50, 60)
    assert same(found([lorry, trailer]), [lorry, trailer])


def test_neighbours_that_touch_stay_apart():
    fields = [block(x, y, x + 100, y + 80) for x in range(0, 400, 100) for y in range(0, 400, 80)]
    assert same(found(fields), fields)


def test_the_order_of_tiles_and_of_masks_changes_nothing():
    objects = [*ACROSS.values(), *(disk(x, y, 9) for x in range(20, 460, 44) for y in range(15, 400, 44))]
    scene = Scene(objects[5:])
    first = look_tiled(scene, scene.look, 96, 24)
    count = len(tiles(SIZE, 96, 24))
    for seed in range(3):
        order = random.Random(seed).sample(range(count), count)
        again = look_tiled(scene, scene.look, 96, 24, order=order)
        assert again.rle == first.rle and np.array_equal(again.scores, first.scores)
        assert all(np.array_equal(again.details[name], first.details[name]) for name in first.details)
    with pytest.raises(BadSetting, match="each of their numbers once"):
        look_tiled(scene, scene.look, 96, 24, order=[0, 0])


@pytest.mark.parametrize("seed", range(6))
def test_scenes_of_many_objects_are_found_exactly(seed):
    rng = np.random.default_rng(seed)
    objects: list[np.ndarray] = []
    used = np.zeros(SIZE, np.bool_)
    for _ in range(60):
        x, y, radius = rng.integers(0, 460), rng.integers(0, 400), rng.choice([5, 9, 20, 60, 110])
        shape = disk(x, y, radius)
        kind = rng.integers(0, 4)
        if kind == 1:
            shape &= ~disk(x, y, radius * 0.6)
        if kind == 2:
            shape &= ~((np.abs(X - x) < radius * 0.3) & (y < Y))
        if shape.sum() < 60 or (cv2.dilate(shape.astype(np.uint8), np.ones((9, 9))) * used).any():
            continue
        used |= shape
        objects.append(shape)
        if kind == 0 and radius > 15:
            objects.append(disk(x + radius * 0.2, y, radius * 0.5) & shape)
    overlap = int(rng.choice([16, 24, 40]))
    assert len(objects) >= 10 and same(found(objects, overlap=overlap), objects)


def coast(rng):
    """Islands of smooth noise, some larger than any tile."""
    coarse = rng.random((30, 34)).astype(np.float32)
    land = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC) > 0.5
    return parted(land)


def fields(rng):
    """The cells that are nearest to each of some points: everything touches."""
    points = rng.random((25, 2)) * SIZE[::-1]
    nearest = ((X[None] - points[:, 0, None, None]) ** 2 + (Y[None] - points[:, 1, None, None]) ** 2).argmin(0)
    return [nearest == place for place in range(25)]


def roads(rng):
    """Crooked lines that leave tiles and come back."""
    drawn = np.zeros(SIZE, np.uint8)
    for _ in range(4):
        corners = np.cumsum(rng.normal(0, 40, (10, 2)), 0) + rng.random(2) * SIZE[::-1]
        cv2.polylines(drawn, [corners.astype(np.int32)], False, 1, int(rng.integers(6, 14)))
    return parted(drawn > 0)


def parted(mask, least=30):
    """The connected parts of a mask."""
    count, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    parts = [numbers == number for number in range(1, count)]
    return [part for part in parts if part.sum() > least]


@pytest.mark.parametrize("overlap", [8, 24, 48])
@pytest.mark.parametrize("made", [coast, fields, roads])
def test_what_a_tile_shows_in_pieces_is_put_together_too(made, overlap):
    """As a model does, each tile gives a mask for every piece of an object that it sees."""
    objects = made(np.random.default_rng(overlap))
    scene = Scene(objects)

    def look(pixels):
        pieces = [piece for mask in scene.look(pixels).dense() for piece in parted(mask, 0)]
        return Masks.from_dense(np.array(pieces, np.bool_).reshape(-1, *scene.window.size))

    assert same(look_tiled(scene, look, 96, overlap), objects)


def test_tiles_that_see_an_outline_a_little_differently_still_see_one_object():
    objects = [disk(84 + 150 * column, 84 + 150 * row, 40) for column in range(3) for row in range(2)]
    scene = Scene(objects)

    def look(pixels):
        exact = scene.look(pixels).dense().astype(np.uint8)
        change = cv2.dilate if (scene.window.x0 + scene.window.y0) // 8 % 2 else cv2.erode
        moved = [change(mask, np.ones((3, 3), np.uint8)) for mask in exact]
        return Masks.from_dense(np.array(moved, np.uint8).reshape(-1, *scene.window.size))

    masks = look_tiled(scene, look, 96, 24)
    assert len(masks) == len(objects)
    assert iou([encode_one(one) for one in objects], masks.rle).max(1).min() > 0.9


def test_a_cut_end_gives_way_to_the_tile_that_saw_it_whole_and_otherwise():
    windows = tiles((96, 168), 96, 24)
    seams = Seams((96, 168), windows)
    end = np.zeros((96, 96), np.bool_)
    end[30:60, 80:96] = True  # what the left tile sees of it, up to its edge
    whole = np.zeros((96, 96), np.bool_)
    whole[36:54, 6:60] = True  # the right tile: lower and longer
    seams.add(0, Masks.from_dense(end))
    seams.add(1, Masks.from_dense(whole))
    assert [one.strips.box() for one in seams.objects()] == [(78, 36, 132, 54)]
    # nor is it an object if the other tile, which sees further, finds nothing there
    seams.add(1, Masks((96, 96), []))
    assert seams.objects() == []
    # what reaches out of the shared zone stays: nobody saw it better
    end[30:60, 60:80] = True
    seams.add(0, Masks.from_dense(end))
    assert [one.strips.box() for one in seams.objects()] == [(60, 30, 96, 60)]


def test_masks_of_one_tile_that_look_alike_both_stay():
    """What a tile's own suppression let pass is not suppressed by tiling."""
    pair = np.zeros((2, 96, 96), np.bool_)
    pair[0, 10:60, 10:60] = pair[1, 10:60, 10:56] = True
    seams = Seams((96, 168), tiles((96, 168), 96, 24))
    seams.add(0, Masks.from_dense(pair))
    assert len(seams.objects()) == 2


def test_scores_and_details_come_from_the_pieces():
    scene = Scene([block(40, 20, 150, 60)])

    def look(pixels):
        masks = scene.look(pixels)
        value = np.float32(0.5 if scene.window.x0 == 0 else 0.8)
        details = {"stability_score": np.full(len(masks), value), "point_coords": np.full((len(masks), 2), 11.0)}
        return masks.replace(scores=np.full(len(masks), value), details=details)

    masks = look_tiled(scene, look, 96, 24)
    # 56 columns in the first tile, 78 in the second, 6 in the third, all of which the second has too
    mean = (56 * 0.5 + 78 * 0.8) / 134
    assert len(masks) == 1 and np.isclose(masks.scores[0], mean) and np.isclose(masks.details["stability_score"], mean)
    assert masks.details["pieces"].tolist() == [2]
    assert masks.details["crop_box"].tolist() == [[72, 0, 96, 96]]
    assert masks.details["point_coords"].tolist() == [[83.0, 11.0]]


def test_places_without_data_give_no_masks():
    empty = block(0, 0, 230, 400)
    objects = [disk(100, 100, 30), disk(225, 200, 20), disk(240, 100, 15), disk(400, 300, 30)]
    looked = []
    scene = Scene(objects, empty=empty)

    def look(pixels):
        looked.append(scene.window)
        return scene.look(pixels)

    masks = look_tiled(scene, look, 96, 24)
    kept = [disk(240, 100, 15), disk(400, 300, 30)]
    assert all(iou([encode_one(one)], masks.rle).max() == 1 for one in kept)
    assert min(window.x1 for window in looked) > 230  # tiles without data are not looked at


def test_progress_is_told():
    told = []
    scene = Scene([])
    look_tiled(scene, scene.look, 96, 24, tell=lambda done, count: told.append((done, count)))
    count = len(tiles(SIZE, 96, 24))
    assert told == [(done, count) for done in range(1, count + 1)]


def test_nothing_at_all_is_found_in_nothing():
    masks = found([])
    assert len(masks) == 0 and masks.size == SIZE


def test_the_largest_canvas_is_never_decoded():
    """Two stripes across 20,000 x 20,000 pixels: 400 MB each if anything decoded them."""
    side, width = 20000, 40

    class Large(Raster):
        size = (side, side)

        def read(self, window):
            self.window = window
            return np.zeros((1, 1, 3), np.uint8)

    raster = Large()

    def look(pixels):
        x0, y0, x1, y1 = raster.window
        parts = []
        x = np.arange(x0, x1)
        # a falling diagonal, and a level stripe on the last rows
        for top, bottom in ((x, np.minimum(x + width, side)), (np.full_like(x, side - width), np.full_like(x, side))):
            top, bottom = np.maximum(top, y0), np.minimum(bottom, y1)
            keep = bottom > top
            if keep.any():
                parts.append(Strips(x[keep] - x0, top[keep] - y0, bottom[keep] - y0).rle(raster.window.size))
        return Masks(raster.window.size, parts)

    masks = look_tiled(raster, look, 1024, 128)
    assert sorted(masks.areas().tolist()) == sorted([side * width, side * width - width * (width - 1) // 2])
    assert {tuple(box) for box in masks.boxes().tolist()} == {(0, side - width, side, side), (0, 0, side, side)}


# with a model


OPTIONS = {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}


def test_a_small_image_is_one_tile_and_gives_what_everything_gives(tiny, photo):
    whole = everything(photo, tiny, **OPTIONS)
    masks = everything_tiled(photo, tiny, tile=256, **OPTIONS)
    assert len(masks) > 3 and sorted(rle["counts"] for rle in masks.rle) == sorted(rle["counts"] for rle in whole.rle)
    assert (np.diff(masks.scores) <= 0).all()
    for name in whole.details:
        order, mine = np.lexsort(whole.details["point_coords"].T), np.lexsort(masks.details["point_coords"].T)
        assert np.array_equal(whole.details[name][order], masks.details[name][mine])
    assert masks.image is not None and masks.ids.tolist() == list(range(len(masks)))


def test_a_model_is_asked_tile_by_tile(tiny, photo):
    masks = everything_tiled(photo, tiny, tile=64, overlap=16, **OPTIONS)
    assert masks.size == (90, 140) and len(masks) > 3
    assert {tuple(box[2:]) for box in masks.details["crop_box"].tolist()} == {(64, 64)}
    best = everything_tiled(photo, tiny, tile=64, overlap=16, max_masks=3, **OPTIONS)
    assert len(best) == 3 and set(best.scores.tolist()) <= set(masks.scores.tolist())
    small = everything_tiled(photo, tiny, tile=64, overlap=16, max_area_share=0.2, **OPTIONS)
    assert len(small) == (masks.areas() < 0.2 * 90 * 140).sum()


def test_bad_images_and_settings_get_a_sentence(tiny, photo):
    with pytest.raises(BadImage):
        everything_tiled(np.zeros((0, 5, 3)), tiny)
    for options in [{"tile": 4}, {"overlap": 600}, {"tile": 64, "overlap": -1}, {"preset": "best"}, {"nonsense": 1}]:
        with pytest.raises(BadSetting):
            everything_tiled(photo, tiny, **options)
    seams = Seams((100, 100), [Window(0, 0, 100, 100)])
    with pytest.raises(BadSetting, match="masks of a tile"):
        seams.add(0, Masks((50, 100), []))
