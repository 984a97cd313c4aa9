"""The work of an image in two stages that may run on different machines: encode, then everything else.

A recipe may have stages of its own: an object with `first()`, which gives a function (item, bytes or None) -> anything
that pickles, and `second()`, a function (item, bytes or None, what the first gave) -> Answer. Any other recipe is one
stage. Both ways give the same bytes as the recipe's step alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from anymask.jobs.manifest import Item
from anymask.jobs.work import Answer, Everything, Recipe

if TYPE_CHECKING:
    from anymask.models.interface import Embedding, PromptModel
    from anymask.pixels.image import Image

First = Callable[[Item, "bytes | None"], Any]
Second = Callable[[Item, "bytes | None", Any], Answer]


class Stages(Protocol):
    """See above. Picklable."""

    def first(self) -> First | None:
        """Makes the first stage, in the process that runs it; None when there is one stage only."""

    def second(self) -> Second:
        """Makes the second stage."""


def stages_of(recipe: Recipe) -> Stages:
    """The stages of a recipe."""
    if isinstance(recipe, Everything):
        return EverythingStages(recipe)
    return cast(Stages, recipe) if hasattr(recipe, "second") else OneStage(recipe)


@dataclass(frozen=True)
class OneStage:
    """A recipe without stages."""

    recipe: Recipe

    def first(self) -> None:
        """See `Stages`."""
        return None

    def second(self) -> Second:
        """See `Stages`."""
        step = self.recipe()
        return lambda item, content, given: step(item)


@dataclass(frozen=True)
class EverythingStages:
    """Everything mode: embeddings of the image and its crops, then prompts, filters and files.

    What goes from one to the other is 4 MiB an image (ViT: 256 x 64 x 64 float32; the model inside 8) and as much for
    each crop. Images that are looked at tile by tile are encoded in the second stage: their tiles are read there,
    window by window.
    """

    how: Everything

    def first(self) -> First:
        """See `Stages`; gives digest -> embedding."""
        looking = self.how()

        def encode(item: Item, content: bytes | None) -> Any:
            from anymask.jobs.work import _stand, _whole
            from anymask.pixels.raster import Raster
            from anymask.pixels.window import Window

            if self.how.tile is not None:
                return {}
            _stand(item)
            with Raster.open(item.source if content is None else content, bands=self.how.bands) as raster:
                image = _whole(raster)
                valid = None if image is None else raster.valid(Window(0, 0, raster.size[1], raster.size[0]))
            if image is None or (valid is not None and not valid.all()):
                return {}
            return _encoded(looking.model, image, self.how.options)

        return encode

    def second(self) -> Second:
        """See `Stages`."""
        looking = self.how()
        model = looking.model

        def look(item: Item, content: bytes | None, given: Any) -> Answer:
            looking.how = self.how if content is None else replace(self.how, fetch=lambda _: content)  # type: ignore[arg-type, return-value]
            looking.model = cast("PromptModel", Encoded(model, given))
            return looking(item)

        return look


class Encoded:
    """A model that need not encode what was encoded elsewhere. ready: digest of an image -> its embedding."""

    def __init__(self, model: PromptModel, ready: Mapping[str, Embedding]) -> None:
        self.model, self.ready = model, ready
        self.card, self.weights = model.card, model.weights

    def encode(self, images: Sequence[Image]) -> Embedding:
        """See `Model.encode`."""
        found = self.ready.get(images[0].digest) if len(images) == 1 and self.ready else None
        return self.model.encode(images) if found is None else _moved(found, getattr(self.model, "device", "cpu"))

    def decode(self, *args: Any, **options: Any) -> Any:
        """See `PromptModel.decode`."""
        return self.model.decode(*args, **options)

    def __getattr__(self, name: str) -> Any:
        # what is loaded from a pickle has no model yet
        if name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)


def _encoded(model: PromptModel, image: Image, options: Mapping[str, Any]) -> dict[str, Embedding]:
    import torch

    from anymask.pixels.image import Image
    from anymask.session.grid import crops
    from anymask.session.settings import EverythingSettings

    settings = EverythingSettings.of("default", model.card, **options)
    found = {}
    for part in crops(image.size, settings.crop_n_layers, settings.crop_overlap_ratio):
        whole = part.size == image.size
        seen = image if whole else Image.open(image.pixels()[part.y0 : part.y1, part.x0 : part.x1])
        with torch.no_grad():
            found[seen.digest] = _moved(model.encode([seen]), "cpu")
    return found


def _moved(embedding: Embedding, device: Any) -> Embedding:
    return replace(embedding, tensors={name: one.to(device) for name, one in embedding.tensors.items()})
