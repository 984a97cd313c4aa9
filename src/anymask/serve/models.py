"""The models of a server: the one it was started with, and others of the family whose weights are on this machine."""

from __future__ import annotations

import logging
from collections import OrderedDict
from threading import Lock

from anymask.errors import BadSetting, NotYet, UnknownModel
from anymask.models.card import Card
from anymask.models.catalogue import card as card_named
from anymask.models.catalogue import cards
from anymask.models.download import on_disk
from anymask.models.interface import PromptModel
from anymask.models.load import load

OTHERS = 1
"""Models kept loaded besides the one that the server was started with."""

_log = logging.getLogger("anymask.serve")


class Models:
    """Loads the first model now; raises as `anymask.load` does."""

    def __init__(self, name: str | None, weights: str | None) -> None:
        self.first = _promptable(load(name, weights=weights))
        self._others: OrderedDict[str, PromptModel] = OrderedDict()
        self._lock = Lock()

    @property
    def default(self) -> str:
        """The name of the model that is asked when a request names none."""
        return self.first.card.name

    def resolve(self, name: str | None) -> str:
        """The full name of a model that can be asked here. Raises UnknownModel or NotYet."""
        if name is None or name == self.default:
            return self.default
        card = card_named(name)
        if card.name == self.default:
            return card.name
        if not card.available:
            raise NotYet(f"{card.name} comes in a later release; this server can answer with {', '.join(self.ready())}")
        if not is_here(card):
            raise UnknownModel(
                f"the weights of {card.name} are not on the server's machine; "
                f"start it with: anymask serve --model {card.name}"
            )
        return card.name

    def ready(self) -> list[str]:
        """Names of the models that can be asked at once."""
        return [self.default, *(c.name for c in cards().values() if c.name != self.default and is_here(c))]

    def loaded(self, name: str) -> PromptModel | None:
        """A model that is in memory, or None."""
        if name == self.default:
            return self.first
        with self._lock:
            return self._others.get(name)

    def get(self, name: str) -> PromptModel:
        """A model by the name that `resolve` gave, loaded where needed, which takes seconds."""
        found = self.loaded(name)
        if found is not None:
            return found
        _log.info("loading %s", name)
        model = _promptable(load(name))
        with self._lock:
            self._others[name] = model
            while len(self._others) > OTHERS:
                self._others.popitem(last=False)
        return model


def is_here(card: Card) -> bool:
    """Whether a model can be run without fetching anything."""
    return card.available and any(on_disk(file) is not None for file in card.files)


def _promptable(model: object) -> PromptModel:
    if not isinstance(model, PromptModel):
        raise BadSetting(f"a server needs a model that takes points, boxes or masks, got {type(model).__name__}")
    return model
