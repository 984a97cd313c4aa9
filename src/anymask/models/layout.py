"""Which tensors a model is made of, and which model a set of tensors belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anymask.errors import BadWeights, NotYet
from anymask.models.card import Card
from anymask.models.catalogue import cards

PREFIXES = ("module.", "_orig_mod.", "model.", "sam.", "network.")
"""What data-parallel training, torch.compile and wrappers put before every key."""

Shapes = Mapping[str, tuple[int, ...]]


def expected_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Key -> shape of everything that a strict load sets."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def arrange(card: Card, tensors: Mapping[str, Tensor], expected: Shapes) -> dict[str, Tensor]:
    """`tensors` under the card's own keys, from whichever known layout comes nearest to `expected`."""
    plain = _drop(card, _without_prefix(tensors))
    layouts = [plain]
    for rename in (card.rename, *card.layouts):
        renamed = _renamed(_by_rows(card, plain), rename)
        if renamed is not None:
            layouts.append(_drop(card, renamed))
    return min(layouts, key=lambda layout: len(layout.keys() ^ expected.keys()))


def complaint(card: Card, arranged: Mapping[str, Tensor], expected: Shapes, tensors: Mapping[str, Tensor]) -> str:
    """What keeps `arranged` from fitting, in one or two sentences; "" if it fits."""
    missing = [name for name in expected if name not in arranged]
    unexpected = [name for name in arranged if name not in expected]
    misshapen = [
        f"{name} is {list(tensor.shape)}, expected {list(expected[name])}"
        for name, tensor in arranged.items()
        if name in expected and tuple(tensor.shape) != expected[name]
    ]
    parts = [
        f"{len(names)} {what} ({_first(names)})"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
        if names
    ]
    if not parts:
        return ""
    text = f"the file does not fit {card.name}, which has {len(expected)} tensors: {', '.join(parts)}"
    other = looks_like(tensors)
    if other is not None and other.name != card.name:
        text += f"; this looks like {other.name}" + ("" if other.available else f" ({other.title}, not yet available)")
    return text


def recognise(path: Path, tensors: Mapping[str, Tensor], sha256: str) -> Card:
    """The card that a file belongs to: by its checksum, else by its tensors, its name deciding between twins.

    Raises BadWeights if no member is made of these tensors, NotYet if one is whose code is still to come.
    """
    for card in cards().values():
        if card.available and any(file.sha256 == sha256 for file in card.files):
            return card
    card_or_none = looks_like(tensors, path.name)
    if card_or_none is None:
        raise BadWeights(
            f"no known model is made of the {len(tensors)} tensors in {path} ({_first(list(tensors))}); "
            "name the model it was made for, or see 'anymask models'"
        )
    if not card_or_none.available:
        raise NotYet(not_yet(card_or_none, f"{path} looks like {card_or_none.name}. "))
    return card_or_none


def looks_like(tensors: Mapping[str, Tensor], filename: str = "") -> Card | None:
    """The model whose layout these tensors have; of twins the one the file name tells, else the first."""
    fits = []
    for card in cards().values():
        if card.build is not None:
            expected = _shapes_of(card.build)
            arranged = arrange(card, tensors, expected)
            if leaves_out(card, arranged):
                expected = without(card.optional, expected)
            if {name: tuple(tensor.shape) for name, tensor in arranged.items()} == dict(expected):
                fits.append(card)
    named = [card for card in fits if any(filename in (file.name, Path(file.url).name) for file in card.files)]
    if fits:
        return (named or fits)[0]
    shapes = {name: tuple(tensor.shape) for name, tensor in _without_prefix(tensors).items()}
    told = [card for card in cards().values() if card.tells and all(shapes.get(key) == of for key, of in card.tells)]
    return max(told, key=lambda card: len(card.tells), default=None)


def not_yet(card: Card, before: str = "") -> str:
    """The sentence for a model whose code is still to come."""
    text = f"{before}{card.name} ({card.title}) is in the catalogue, but its network comes later"
    text += f", with {card.later}" if card.later else ""
    return text + (f"; {card.instead} does the nearest job today" if card.instead else "")


class _Bare(torch.overrides.TorchFunctionMode):
    """Skips random initialisation, which a strict load overwrites anyway: 6 of 8 seconds for ViT-H."""

    _random = (
        Tensor.uniform_,
        Tensor.normal_,
        nn.init.uniform_,
        nn.init.normal_,
        nn.init.trunc_normal_,
        nn.init.kaiming_uniform_,
        nn.init.kaiming_normal_,
        nn.init.xavier_uniform_,
        nn.init.xavier_normal_,
    )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self._random:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def build_bare(card: Card) -> nn.Module:
    """The card's network, its random numbers left out; only for a strict load to fill."""
    if card.build is None:
        raise NotYet(not_yet(card))
    with _Bare():
        model = card.build()
    if not isinstance(model, nn.Module):
        raise BadWeights(f"{card.name} takes no weights file: it builds a {type(model).__name__}, not a torch module")
    return model


@cache
def _shapes_of(build: Callable[[], Any]) -> Shapes:
    # on the meta device: the shapes of ViT-H without its 2.5 GB; by function, as twins share theirs
    with torch.device("meta"), _Bare():
        return expected_shapes(build())


def _without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = dict(tensors)
    while prefix := next((p for p in PREFIXES if names and all(name.startswith(p) for name in names)), ""):
        names = {name.removeprefix(prefix): tensor for name, tensor in names.items()}
    return names


def _drop(card: Card, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t for name, t in tensors.items() if not any(re.search(pattern, name) for pattern in card.drop)}


def _by_rows(card: Card, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with some tables taken apart, see `Card.rows`."""
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim > 1 and any(re.search(pattern, name) for pattern in card.rows):
            stem, _, last = name.rpartition(".")
            apart |= {f"{stem}.{index}.{last}": tensor[index : index + 1] for index in range(len(tensor))}
        else:
            apart[name] = tensor
    return apart


def without(part: str, shapes: Shapes) -> Shapes:
    """What is expected of a file that leaves out a part of the network, see `Card.optional`."""
    return {name: shape for name, shape in shapes.items() if not name.startswith(part + ".")}


def leaves_out(card: Card, arranged: Mapping[str, Tensor]) -> bool:
    """Whether a file has nothing of the part that it may leave out."""
    return bool(card.optional) and not any(name.startswith(card.optional + ".") for name in arranged)


def _renamed(tensors: Mapping[str, Tensor], rename: tuple[tuple[str, str], ...]) -> dict[str, Tensor] | None:
    """The same under other names; None where two different tensors would be in one place."""
    found: dict[str, Tensor] = {}
    for name, tensor in zip(_new_names(tuple(tensors), rename), tensors.values(), strict=True):
        if name in found and not torch.equal(found[name], tensor):
            return None
        found[name] = tensor
    return found


@lru_cache(maxsize=16)
def _new_names(names: tuple[str, ...], rename: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    # kept, since a file is compared with all sizes of a member, and their layouts are the same
    new = list(names)
    for pattern, replacement in rename:
        find = re.compile(pattern)
        new = [find.sub(replacement, name) for name in new]
    return tuple(new)


def _first(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
