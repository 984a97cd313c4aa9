"""The protocols by name. A new one is a file with a Protocol, and a line here."""

from __future__ import annotations

from importlib import import_module

from anymask.errors import BadSetting
from anymask.evaluate.protocol import Protocol

PROTOCOLS = {
    "clicks": ("clicks:Clicks", "this project's own: a box, and one to five clicks"),
    "points": ("points:Points", "1, 2, 3, 5 and 9 clicks as in the papers"),
    "box": ("box:Box", "the true box"),
    "noc": ("noc:Noc", "number of clicks to IoU 85 and 90"),
    "sizes": ("sizes:Sizes", "quality by mask size"),
    "boxes-ap": ("boxes_ap:BoxesAp", "instance AP from a detector's boxes, or the true ones"),
    "edges": ("edges:Edges", "contours on BSDS500"),
    "proposals": ("proposals:Proposals", "recall of everything mode"),
    "video": ("video:Video", "J&F of objects followed through clips"),
}
"""Name -> (module and class in this room, what it measures)."""


def protocol_of(name: str) -> type[Protocol]:
    """The protocol of a name. Raises BadSetting, naming all, where there is none."""
    if name not in PROTOCOLS:
        raise BadSetting(f"the protocols are: {', '.join(PROTOCOLS)}; got {name!r}")
    module, _, kind = PROTOCOLS[name][0].partition(":")
    found: type[Protocol] = getattr(import_module(f"anymask.evaluate.{module}"), kind)
    return found
