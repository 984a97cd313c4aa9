"""Generated scenes by a line of text, wherever a path of data is taken.

    scenes:                                                 1,000 scenes of 512 px
    scenes:count=4000,size=256,seed=7,themes=cells+heap     settings in any order, each may be left out

Nothing lies on a disk: a scene is drawn when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from anymask.data.layout import Layout
from anymask.errors import BadSetting

if TYPE_CHECKING:
    from anymask.data.scenes import Scenes

PREFIX = "scenes:"
COUNT = 1000
"""Scenes of a set that does not say how many."""
EXAMPLE = "scenes:count=4000,size=512,seed=7,themes=cells+heap"


def generated(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a line of text that means generated scenes; a folder called "scenes" is a folder."""
    text = os.fspath(path)
    return text.startswith(PREFIX) or (text == "scenes" and not os.path.exists(text))


def stamp(path: str | os.PathLike[str]) -> str:
    """What changes when the scenes of a line of text do. Raises BadSetting."""
    from anymask.data.scenes import DRAWING

    found = scenes_of(path)
    return f"{found.name} {found.length} {found.side} {DRAWING}"


def scenes_of(path: str | os.PathLike[str]) -> Scenes:
    """The data set that a line of text means, with or without its "scenes:". Raises BadSetting."""
    # torch takes seconds to load, and most data is not generated
    from anymask.data.scenes import Scenes

    given: dict[str, Any] = {"length": COUNT}
    text = os.fspath(path).removeprefix("scenes").removeprefix(":")
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or name.strip() not in _SETTINGS:
            raise BadSetting(f"scenes take {', '.join(_SETTINGS)}, as in {EXAMPLE}; got {part!r}")
        key, read = _SETTINGS[name.strip()]
        try:
            given[key] = read(value.strip())
        except ValueError:
            raise BadSetting(f"{name.strip()} of scenes is a whole number, got {value!r}") from None
    return Scenes(**given)


def _themes(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split("+"))


_SETTINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "count": ("length", int),
    "size": ("side", int),
    "seed": ("seed", int),
    "themes": ("themes", _themes),
}


LAYOUT = Layout(
    "scenes",
    f"no folder: generated scenes, {EXAMPLE}, each setting may be left out",
    generated,
    lambda path: [scenes_of(path)],
)
