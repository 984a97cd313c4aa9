"""All models by name: the members of the family, and those that other packages add.

A member is any module of `anymask.family` with a tuple CARDS. Another package adds its own through the entry point
group `anymask.models`, each entry a Card or an iterable of Cards:

    [project.entry-points."anymask.models"]
    mine = "my_package.cards:CARDS"
"""

from __future__ import annotations

import difflib
import logging
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType

from anymask.errors import BadSetting, UnknownModel
from anymask.models.card import Card

GROUP = "anymask.models"

_log = logging.getLogger("anymask")


def cards() -> Mapping[str, Card]:
    """Every card by its name: what is inside the package, other available models, those whose code comes later."""
    return _catalogue()[0]


def card(name: str) -> Card:
    """The card of a model by its name or one of its aliases; case, "_" and "-" make no difference.

    Raises UnknownModel, which names the nearest names.
    """
    known, names = _catalogue()
    if not isinstance(name, str):
        raise UnknownModel(f"a model is called by its name, a text like 'sam-vit-b', got {type(name).__name__}")
    found = names.get(_plain(name))
    if found is not None:
        return known[found]
    raise UnknownModel(f"no model is called {name!r}; {_nearest(name, names)}'anymask models' lists them all")


@cache
def _catalogue() -> tuple[Mapping[str, Card], Mapping[str, str]]:
    # one scan a process: importing the family's modules imports torch
    return collect([*_members(), *_guests()])


def collect(found: Iterable[tuple[str, Card]]) -> tuple[Mapping[str, Card], Mapping[str, str]]:
    """(source, card) pairs to cards by name, and plain names and aliases to names.

    Raises BadSetting when two cards claim one name: which of them a user gets must not depend on import order.
    """
    pairs = list(found)
    names: dict[str, str] = {}
    sources: dict[str, str] = {}
    for source, card in pairs:
        for name in (card.name, *card.aliases):
            plain = _plain(name)
            if plain in names and names[plain] != card.name:
                first = f"{names[plain]!r} of {sources[plain]}"
                raise BadSetting(f"two models are called {name!r}: {first} and {card.name!r} of {source}")
            if plain in names and sources[plain] != source:
                raise BadSetting(f"the model {name!r} comes from two places: {sources[plain]} and {source}")
            names[plain], sources[plain] = card.name, source
    ordered = sorted((card for _, card in pairs), key=_rank)
    return MappingProxyType({card.name: card for card in ordered}), MappingProxyType(names)


def _rank(card: Card) -> int:
    if not card.available:
        return 2
    return 0 if any(file.url.startswith("package:") for file in card.files) else 1


def _members() -> Iterator[tuple[str, Card]]:
    # by name, not by import: models/ lies below family/ and must not know what is in it
    package = import_module("anymask.family")
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        for card in getattr(import_module(module.name), "CARDS", ()):
            yield module.name, card


def _guests() -> Iterator[tuple[str, Card]]:
    for entry in entry_points(group=GROUP):
        try:
            value = entry.load()
        except Exception as error:  # whatever a stranger's module raises, the family still works
            _log.warning("the models of entry point %r could not be read: %s", entry.name, error)
            continue
        for card in [value] if isinstance(value, Card) else value:
            yield f"entry point {entry.name!r}", card


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _nearest(name: str, names: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(_plain(name), list(names), n=6, cutoff=0.5)
    unique = list(dict.fromkeys(names[plain] for plain in close))[:3]
    return f"did you mean {' or '.join(unique)}? " if unique else ""
