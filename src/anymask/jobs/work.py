"""The step of one image: read it, find everything in it, and turn that into the bytes of its files. Nothing is written.

A job's worker makes its step once, from a recipe, and calls it for each image. A recipe is any picklable function
without arguments that gives a step: `Everything` below, or a function of a test.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from anymask.errors import BadSetting
from anymask.jobs.manifest import Item

if TYPE_CHECKING:
    from PIL import Image as Pillow

    from anymask.masks.masks import Masks
    from anymask.models.interface import PromptModel
    from anymask.pixels.image import Image
    from anymask.pixels.raster import Raster
    from anymask.records.formats import Format
    from anymask.records.record import Record

TILED_FROM = 64_000_000
"""Pixels from which an image is looked at tile by tile unless a tile's side is given: beyond what cameras take."""

TILE = 1024
"""Side of a tile in px, when the image is so large that it is tiled unasked."""


@dataclass(frozen=True)
class Answer:
    """What a step made of an image.

    files: relative path -> content. facts, cost: see `manifest.Entry`. show: what a person is to see now and nobody
    keeps.
    """

    files: Mapping[str, bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    show: Mapping[str, Any] = field(default_factory=dict)


Step = Callable[[Item], Answer]
"""Raises for an image that cannot be done; the error's text is what a person reads of it."""

Recipe = Callable[[], Step]


@dataclass(frozen=True)
class Everything:
    """The recipe of everything mode.

    model, weights, device: as `models.load` takes them. options: of everything mode, all resolved.
    format: as `records.formats` names it. tile, overlap, bands: see `session.tiles`; without a tile, images of
    TILED_FROM pixels are tiled. pictures: also draw TITLE.overlay.jpg. tree: answers show the containment tree,
    and with pictures it is drawn as TITLE.tree.jpg.
    report: also draw the small picture that the report shows.
    fetch: gives the bytes of an image that is no file of this machine.
    """

    format: str
    model: str | None = None
    weights: str | None = None
    device: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    tile: int | None = None
    overlap: int | None = None
    bands: tuple[int, ...] | None = None
    pictures: bool = False
    tree: bool = False
    report: bool = False
    fetch: Callable[[str], bytes] | None = None

    def __call__(self) -> Looking:
        """Loads the model; raises as `models.load` does."""
        import torch

        from anymask.models.interface import PromptModel
        from anymask.models.load import load
        from anymask.records.formats import format_named

        # a row without weights answers at random, but in every worker alike
        torch.manual_seed(0)
        model = load(self.model, weights=self.weights, device=self.device)
        if not isinstance(model, PromptModel):
            raise BadSetting(f"{model.card.name} takes no points, so it cannot look for everything")
        return Looking(self, model, format_named(self.format))


class Looking:
    """The step of everything mode, with its model. tell: called as an image goes on, with parts done and in all."""

    def __init__(self, how: Everything, model: PromptModel, form: Format) -> None:
        self.how, self.model, self.form = how, model, form
        self.tell: Callable[[int, int], None] | None = None

    def __call__(self, item: Item) -> Answer:
        """The files of an image and what is to be known of it. Raises BadImage, NotEnoughMemory."""
        import numpy as np

        # not above: a worker says how many threads there are to be before numpy is loaded
        from anymask.jobs.report import FOLDER, thumbnail
        from anymask.jobs.report import facts as spread
        from anymask.masks.tree import levels

        _stand(item)
        start = time.perf_counter()
        record = self.record(item)
        found = time.perf_counter()
        files = dict(self.form.files(record, item.title))
        if self.how.pictures and record.masks.image is not None:
            files[f"{item.title}.overlay.jpg"] = overlay(record.masks)
            if self.how.tree:
                files[f"{item.title}.tree.jpg"] = drawn_tree(record.masks)
        masks = record.masks
        if self.how.report and masks.image is not None:
            files[f"{FOLDER}/{item.title}.jpg"] = thumbnail(masks)
        height, width = masks.size
        facts: dict[str, Any] = {"height": height, "width": width, "sha256": record.image.sha256, "masks": len(masks)}
        facts.update(spread(masks))
        # how many are whole, parts, parts of parts and so on
        facts["levels"] = np.bincount(levels(masks.parents)).tolist()
        show: dict[str, Any] = {}
        if self.how.tree:
            show["parents"], show["areas"] = masks.parents.tolist(), masks.areas().tolist()
            show["scores"], show["boxes"] = masks.scores.tolist(), masks.boxes().astype(int).tolist()
        cost = {"seconds": round(found - start, 3), "writing": round(time.perf_counter() - found, 3)}
        return Answer(files, facts, cost, show)

    def record(self, item: Item) -> Record:
        """The masks of an image, and how they were made; without the hour, so that every run gives the same."""
        from anymask.pixels.raster import Raster
        from anymask.records.record import ImageRef, Provenance, Record

        how = self.how
        source = item.source if how.fetch is None else how.fetch(item.at)
        with Raster.open(source, bands=how.bands) as raster:
            image = _whole(raster)
            reference = ImageRef.of_raster(raster) if image is None else ImageRef.of(image)
            reference = replace(reference, path=item.source, geo=raster.geo)
            masks = self._masks(raster, image)
            if image is not None:
                masks = masks.replace(image=image)
        settings = {**how.options, "tile": how.tile, "overlap": how.overlap}
        return Record(reference, masks, Provenance(self.model.card.name, self.model.weights, {}, settings, time=""))

    def _masks(self, raster: Raster, image: Image | None) -> Masks:
        """Of the image at once, or tile by tile where it is too large for that or a tile's side is given."""
        from anymask.pixels.window import Window
        from anymask.session.everything import everything
        from anymask.session.tiles import everything_tiled

        how = self.how
        side = how.tile
        if side is None and image is not None:
            height, width = raster.size
            valid = raster.valid(Window(0, 0, width, height))
            if valid is None or valid.all():
                return everything(image, self.model, tell=self.tell, **how.options)
            # tiles know what to do about places without data; one tile is all of it
            side = max(16, *raster.size)
        look: dict[str, Any] = {"tile": side or TILE, "overlap": how.overlap, "tell": self.tell}
        return everything_tiled(raster, self.model, **look, **how.options)


def _stand(item: Item) -> None:
    """Goes where the image's name leads to it: a job that is gone on with from another folder keeps its first names."""
    if item.at and os.path.abspath(item.source) != item.at:
        name = os.path.normpath(item.source)
        if item.at.endswith(os.sep + name):
            os.chdir(item.at[: -len(name)])


def _whole(raster: Raster) -> Image | None:
    """The raster as an ordinary image, None where it is too large for one."""
    from anymask.pixels.image import Image
    from anymask.pixels.raster import InMemory
    from anymask.pixels.window import Window

    height, width = raster.size
    if isinstance(raster, InMemory):
        return raster.image if height * width < TILED_FROM else None
    return Image.open(raster.read(Window(0, 0, width, height))) if height * width < TILED_FROM else None


def overlay(masks: Masks) -> bytes:
    """The picture with its masks, as JPEG."""
    return _jpeg(masks.overlay())


def drawn_tree(masks: Masks) -> bytes:
    """The picture with wholes, parts and parts of parts side by side, as JPEG."""
    from anymask.masks.nested import nested

    return _jpeg(nested(masks))


def _jpeg(picture: Pillow.Image) -> bytes:
    import io

    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()
