"""The page's modules as one, for places that take a single module and know no addresses."""

from __future__ import annotations

import json
import posixpath
import re
from functools import lru_cache
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "page"

_IMPORT = re.compile(r'^((?:import|export)\b[^"\';]*?\bfrom\s+|import\s+)"(\.[^"]+)"', re.MULTILINE)

STYLES = ("tokens", "layout", "parts", "lists", "sheets", "phone")
"""All but `page`, which is about a whole window."""

_START = """
const modules = %s;
const addresses = {};
for (const [name, text] of modules) {
  const linked = text.replace(/"@@([^"]+)@@"/g, (_, other) => JSON.stringify(addresses[other]));
  addresses[name] = URL.createObjectURL(new Blob([linked], { type: "text/javascript" }));
}
const loaded = import(addresses[%s]);
export default { render: async (given) => (await loaded).render(given) };
"""


@lru_cache(maxsize=1)
def module(entry: str = "widget.js") -> str:
    """A module that loads `entry` and all it imports from addresses made on the spot."""
    ordered: dict[str, str] = {}
    _add(entry, ordered, ())
    return _START % (json.dumps(list(ordered.items())), json.dumps(entry))


@lru_cache(maxsize=1)
def style() -> str:
    """The page's styles but for those of a whole window."""
    return "\n".join((PAGE / "css" / f"{name}.css").read_text("utf-8") for name in STYLES)


def _add(name: str, ordered: dict[str, str], above: tuple[str, ...]) -> None:
    """Put what a module imports before it, and its imports' names into its text."""
    if name in ordered:
        return
    if name in above:
        raise ValueError(f"the page's modules import each other in a circle: {' > '.join((*above, name))}")
    text = (PAGE / name).read_text("utf-8")

    def linked(found: re.Match[str]) -> str:
        other = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[2]))
        _add(other, ordered, (*above, name))
        return f'{found[1]}"@@{other}@@"'

    text = _IMPORT.sub(linked, text)
    ordered[name] = text
