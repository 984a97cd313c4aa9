"""Everything mode on images of any size: tile by tile, and objects that seams cut put together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.masks.strips import Strips
from anymask.masks.tree import parents
from anymask.models.interface import PromptModel
from anymask.pixels.image import Image, ImageLike
from anymask.pixels.raster import InMemory, Raster
from anymask.pixels.window import Window, tiles
from anymask.session.everything import as_masks, find
from anymask.session.seams import Object, Seams
from anymask.session.session import _loaded
from anymask.session.settings import EverythingSettings

Look = Callable[[NDArray[np.uint8]], Masks]
"""What is done with a tile: uint8 [h, w, 3] RGB to masks on a canvas of the same size."""

Tell = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""


def everything_tiled(
    source: ImageLike | Raster,
    model: PromptModel | str | None = None,
    preset: str = "default",
    *,
    tile: int = 1024,
    overlap: int | None = None,
    bands: Sequence[int] | None = None,
    tell: Tell | None = None,
    **options: Any,
) -> Masks:
    """Masks of all objects in an image of any size, of which one tile at a time is in memory.

    source: what `Raster.open` takes; GeoTIFF and other TIFF files are read by windows. bands: see there.
    model, preset, options: as for `everything`, for each tile; max_masks and max_area_share count for the whole image.
    tile: side of a tile in px; smaller ones show the model smaller things. overlap: px that neighbours share, by
    default an eighth of a tile; an object smaller than that is seen whole by some tile, larger ones are put together
    from what the tiles saw of them (see `seams`).
    tell: called as the work goes on, with tiles done and tiles in all.

    Returns Masks on the whole canvas, best score first, with `everything`'s columns: scores and stability are means
    over an object's pieces by area, point_coords and crop_box those of its largest piece, the crop being the tile; and
    a further column pieces int64 [N], how many masks of tiles an object is made of. Masks mostly on no-data pixels are
    left out. The result does not depend on the order of tiles. Raises BadImage, BadSetting, MissingExtra.
    """
    loaded = _loaded(model)
    settings = EverythingSettings.of(preset, loaded.card, **options)
    in_tile = replace(settings, max_masks=None, max_area_share=None)

    def look(pixels: NDArray[np.uint8]) -> Masks:
        part = Image.open(pixels)
        return as_masks(find(loaded, part, in_tile), part)

    # a raster that the caller opened stays open
    opened = nullcontext(source) if isinstance(source, Raster) else Raster.open(source, bands=bands)
    with opened as raster:
        found = look_tiled(raster, look, tile, overlap, tell)
        image = raster.image if isinstance(raster, InMemory) else None
    height, width = found.size
    if settings.max_area_share is not None:
        found = found.where(found.areas() < settings.max_area_share * height * width)
    if settings.max_masks is not None and len(found) > settings.max_masks:
        stability = found.details.get("stability_score", found.scores)
        best = np.argsort(-(found.scores + stability), kind="stable")[: settings.max_masks]
        found = found[np.sort(best)]
    return found.replace(ids=np.arange(len(found)), image=image, parents=parents(found))


def look_tiled(
    raster: Raster,
    look: Look,
    tile: int = 1024,
    overlap: int | None = None,
    tell: Tell | None = None,
    order: Sequence[int] | None = None,
) -> Masks:
    """The objects that `look` finds in the tiles of a raster; see `everything_tiled`, which this is without a model.

    order: numbers of the tiles in the order to look at them; left out, row by row. Parents are not filled in.
    """
    overlap = tile // 8 if overlap is None else overlap
    windows = tiles(raster.size, tile, overlap)
    seams = Seams(raster.size, windows)
    columns: dict[int, Masks] = {}
    numbers = range(len(windows)) if order is None else order
    if sorted(numbers) != list(range(len(windows))):
        raise BadSetting(f"the order of {len(windows)} tiles is each of their numbers once")
    for done, number in enumerate(numbers, 1):
        masks = _looked(raster, look, windows[number])
        if masks is not None:
            seams.add(number, masks)
            columns[number] = masks.replace(image=None, logits=None)
        if tell is not None:
            tell(done, len(windows))
    return _assembled(seams.objects(), raster.size, windows, columns)


def _looked(raster: Raster, look: Look, window: Window) -> Masks | None:
    """The masks of a tile without those that lie on no-data pixels; None for a tile without data."""
    valid = raster.valid(window)
    if valid is not None and not valid.any():
        return None
    masks = look(raster.read(window))
    if valid is None or not len(masks):
        return masks
    empty = Strips.of(Masks.from_dense(~valid).rle[0])
    keep = []
    for rle in masks.rle:
        strips = Strips.of(rle)
        both = strips.area() + empty.area() - Strips.union([strips, empty]).area()
        keep.append(2 * both < strips.area())
    return masks.where(np.array(keep, np.bool_))


def _assembled(found: list[Object], size: tuple[int, int], windows: list[Window], columns: dict[int, Masks]) -> Masks:
    """Objects as Masks, with the details that every tile's masks have."""
    details: dict[str, NDArray[Any]] = {"pieces": np.array([len(one.pieces) for one in found], np.int64)}
    largest = [one.pieces[0] for one in found]
    boxes = [windows[piece.tile] for piece in largest]
    details["crop_box"] = np.array([(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes], np.int64).reshape(-1, 4)
    given = [masks.details for masks in columns.values() if len(masks)]
    if given and all("stability_score" in one for one in given):
        values = [[columns[piece.tile].details["stability_score"][piece.row] for piece in one.pieces] for one in found]
        weights = [[piece.area for piece in one.pieces] for one in found]
        means = [np.average(value, weights=weight) for value, weight in zip(values, weights, strict=True)]
        details["stability_score"] = np.array(means, np.float32)
    if given and all("point_coords" in one for one in given):
        corners = np.array([(box.x0, box.y0) for box in boxes], np.float64).reshape(-1, 2)
        points = [columns[piece.tile].details["point_coords"][piece.row] for piece in largest]
        details["point_coords"] = np.array(points, np.float64).reshape(-1, 2) + corners
    rles = [one.strips.rle(size) for one in found]
    return Masks(size, rles, scores=[one.score for one in found], details=details)
