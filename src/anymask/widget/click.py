"""`anymask.click(image)`: the page in a notebook's cell, and its masks in Python."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Any

from anymask.errors import BadSetting
from anymask.extras import need
from anymask.masks.masks import Masks
from anymask.masks.rle import RLE
from anymask.pixels.image import Image, ImageLike


def click(image: ImageLike, model: str | None = None, *, height: int = 560) -> Any:
    """The page with a picture, as a widget; its `masks` are what is marked on it, at any time.

    image: path, bytes, PIL image, numpy HWC or torch CHW array, or an anymask Image. model: name of a model; the model
    inside if left out. height: of the widget, in pixels of the screen.

    The server runs within this Python process and is reached over the notebook's own connection: no port is opened,
    and it works in hosted notebooks. `widget.masks` is a `Masks` with the objects' names as labels; `widget.observe(f,
    "objects")` tells of changes. Raises MissingExtra without the extra `jupyter`, and BadImage.
    """
    if not 200 <= height <= 4000:
        raise BadSetting(f"height is 200 to 4000 pixels of the screen, got {height}")
    opened = Image.open(image)
    name = Path(image).name if isinstance(image, (str, Path)) else "picture"
    return _clicker()(opened, model, name, height)


@lru_cache
def _server(model: str | None) -> Any:
    from anymask.serve.settings import ServeSettings
    from anymask.widget.inside import InsideServer

    return InsideServer(ServeSettings(model=model, memory=1024))


@lru_cache(maxsize=1)
def _clicker() -> Any:
    """The widget's class; made late, for its base class is an optional library."""
    anywidget = need("anywidget", extra="jupyter", to="click in a notebook")
    traitlets = need("traitlets", extra="jupyter", to="click in a notebook")
    need("fastapi", extra="jupyter", to="click in a notebook")
    from anymask.widget import bundle

    class Clicker(anywidget.AnyWidget):  # type: ignore[name-defined]
        """A picture in the page, and what is marked on it."""

        _esm = bundle.module()
        _css = bundle.style()
        picture = traitlets.Unicode().tag(sync=True)
        name = traitlets.Unicode().tag(sync=True)
        height = traitlets.Int().tag(sync=True)
        objects = traitlets.List().tag(sync=True)

        def __init__(self, image: Image, model: str | None, name: str, height: int) -> None:
            self._image = image
            self._server = _server(model)
            file = io.BytesIO()
            image.to_pil().save(file, "PNG", compress_level=1)
            super().__init__(picture=self._server.put(file.getvalue(), name), name=name, height=height)
            self.on_msg(self._asked)

        @property
        def masks(self) -> Masks:
            """What is marked and shown: one row an object, lowest first; labels are the objects' names."""
            rle: list[RLE] = [
                {"size": list(found["mask"]["size"]), "counts": found["mask"]["counts"].encode()}
                for found in self.objects
            ]
            names = [found["name"] for found in self.objects]
            return Masks(self._image.size, rle, labels=names, image=self._image)

        def _asked(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
            def reply(message: dict[str, Any], body: bytes | None) -> None:
                self.send(message, None if body is None else [body])

            self._server.message(id(self), content, buffers, reply)

    return Clicker
