"""anymask: click anything in a picture and get its mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Names are looked up on first use, so that `import anymask` stays instant and torch loads only when a model does.
_WHERE = {
    "load": "anymask.models.load",
    "click": "anymask.widget.click",
    "Session": "anymask.session.session",
    "segment": "anymask.session.segment",
    "video": "anymask.track.session",
    "everything": "anymask.session.everything",
    "connect": "anymask.client.remote",
    "Prompts": "anymask.prompts.prompts",
    "Masks": "anymask.masks.masks",
    "Image": "anymask.pixels.image",
    "AnymaskError": "anymask.errors",
}

__all__ = [
    "AnymaskError",
    "Image",
    "Masks",
    "Prompts",
    "Session",
    "__version__",
    "click",
    "connect",
    "everything",
    "load",
    "segment",
    "video",
]

if TYPE_CHECKING:
    from anymask.client.remote import connect
    from anymask.errors import AnymaskError
    from anymask.masks.masks import Masks
    from anymask.models.load import load
    from anymask.pixels.image import Image
    from anymask.prompts.prompts import Prompts
    from anymask.session.everything import everything
    from anymask.session.segment import segment
    from anymask.session.session import Session
    from anymask.track.session import video
    from anymask.widget.click import click


def __getattr__(name: str) -> Any:
    if name in __all__ and name in _WHERE:
        from importlib import import_module

        value = getattr(import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'anymask' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
