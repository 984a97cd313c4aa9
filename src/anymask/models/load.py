"""anymask.load: a model by its name or its weights file, ready to use."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from anymask.errors import BadSetting, BadWeights, NotYet, UnknownModel
from anymask.models import adapters
from anymask.models.card import Card
from anymask.models.catalogue import card as card_of
from anymask.models.digest import digest
from anymask.models.download import Progress, fetch, find
from anymask.models.layout import build_bare, not_yet, recognise
from anymask.models.onnx_files import DECODER, ENCODER
from anymask.models.weights import apply, read

if TYPE_CHECKING:
    from anymask.models.interface import Model

DEFAULT = "anymask-lite"
"""The model inside the package."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

FREE = frozenset({"Apache-2.0", "MIT", "BSD-3-Clause"})
"""Licences that let people do what they expect; any other is named when its weights are loaded."""

_SUFFIXES = (".pth", ".pt", ".safetensors", ".ckpt", ".bin")

_log = logging.getLogger("anymask")


def load(
    name: str | os.PathLike[str] | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype | None = None,
    progress: Progress | None = None,
) -> Model:
    """A model of the family, in evaluation mode.

    name: as listed by `anymask models` ("sam-vit-b"), or the path of a weights file, or of a folder (or a file in it)
        that `anymask export` wrote; left out, the model inside.
    weights: a file to take the tensors from; the network is then never touched, and without a name the model is
        recognised by its tensors.
    device: "auto" is the best there is (cuda, mps, cpu), else any torch device.
    dtype: "float32" (default), "bfloat16" or "float16"; the precision that images are encoded in.
    progress: called with (bytes so far, bytes in all) during a download; left out, a bar is drawn on a terminal.
    Raises UnknownModel, NotYet, BadSetting, BadWeights or DownloadFailed, each saying what to do.

    Example:
        model = anymask.load("sam-vit-b", device="cpu")
    """
    exported = _exported(name, weights)
    if exported is not None:
        return _from_onnx(exported, name if weights is not None else None, device, dtype)
    place = pick_device(device)
    precision = pick_dtype(dtype)
    card, path = _wanted(name, weights)
    if card is not None and not card.available:
        raise NotYet(not_yet(card))
    if card is not None and path is None:
        if not card.files:
            return _random(card, place, precision)
        path = locate(card, progress)
    if path is None:
        raise BadSetting("name a model or a weights file")
    tensors = read(path)
    fingerprint = digest(path)
    adapter = adapters.about(path)
    if adapter is not None:
        return _adapted(path, tensors, adapter, card, place, precision, progress)
    if card is None:
        card = recognise(path, tensors, fingerprint)
        if not card.available:
            raise NotYet(not_yet(card))
    if card.licence not in FREE:
        _log.warning("the weights of %s are under the %s licence; %s", card.name, card.licence, card.page or card.paper)
    if card.base:
        tensors = {**beside(card, path, progress), **tensors}
    model = build_bare(card)
    apply(model, card, tensors)
    _log.info("%s from %s on %s in %s", card.name, path, place, str(precision).removeprefix("torch."))
    return _ready(model, card, fingerprint, place, precision)


def identify(
    name: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> tuple[Card, Path | None, str]:
    """(card, weights file, its digest) of what `load` would load, downloaded if need be, and no network built.

    File and digest are None and "random" for a card without weights. Raises as `load` does.
    """
    exported = _exported(name, weights)
    if exported is not None:
        found = _from_onnx(exported, name if weights is not None else None, "cpu", None)
        return found.card, exported, found.weights
    card, path = _wanted(name, weights)
    if card is not None and not card.available:
        raise NotYet(not_yet(card))
    if card is not None and path is None:
        if not card.files:
            return card, None, "random"
        path = locate(card, progress)
    if path is None:
        raise BadSetting("name a model or a weights file")
    fingerprint = digest(path)
    adapter = adapters.about(path)
    if adapter is not None:
        return card_of(adapter.model), path, fingerprint
    return (recognise(path, read(path), fingerprint) if card is None else card), path, fingerprint


def locate(card: Card, progress: Progress | None = None) -> Path:
    """The card's weights on this machine: any of its files that is here, else the first one, downloaded."""
    for file in card.files:
        found = find(file)
        if found is not None:
            return found
    return fetch(card.files[0], progress=progress, card=card)


def beside(card: Card, path: Path | None, progress: Progress | None = None) -> dict[str, torch.Tensor]:
    """The weights that the model of `card` holds as well, see `Card.base`.

    path: its own file, which says beside which weights it was made; None where it has none yet. Raises BadWeights for
    other weights than those, and as `load` does.
    """
    whole = locate(card_of(card.base), progress)
    said = adapters.header_of(path).get("base", "") if path is not None else digest(whole)
    if said != digest(whole):
        raise BadWeights(
            f"{path} was made beside other weights of {card.base} ({said[:12] or 'it does not say which'}) than those "
            f"here ({digest(whole)[:12]}); train it again with 'anymask train --recipe video-inside'"
        )
    return read(whole)


def begun(card: Card) -> Model:
    """The model of a card with a `Card.base`, what it adds beside those weights not trained yet; float32 on the CPU.

    Raises as `load` does.
    """
    if card.build is None or not card.base:
        raise BadSetting(f"{card.name} has nothing beside the weights of another model")
    model = cast(torch.nn.Module, card.build())
    model.load_state_dict(beside(card, None), strict=False)
    model.begin()  # type: ignore[operator]
    return _ready(model, card, f"{digest(locate(card_of(card.base)))}-begun", torch.device("cpu"), torch.float32)


def pick_device(device: str | torch.device) -> torch.device:
    """The torch device to use; raises BadSetting if it does not exist here."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        if place.type != "meta":
            torch.empty(1, device=place)
            return place
        reason = "it holds no numbers"
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    raise BadSetting(f"the device {str(device)!r} cannot be used here ({reason}); use 'auto', 'cpu', 'cuda' or 'mps'")


def pick_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """One of float32, bfloat16 and float16; raises BadSetting for others."""
    if dtype is None:
        return torch.float32
    if isinstance(dtype, str) and dtype in DTYPES:
        return DTYPES[dtype]
    if isinstance(dtype, torch.dtype) and dtype in DTYPES.values():
        return dtype
    raise BadSetting(f"dtype is 'float32', 'bfloat16' or 'float16' (or the torch dtype), got {dtype!r}")


def _wanted(
    name: str | os.PathLike[str] | None, weights: str | os.PathLike[str] | None
) -> tuple[Card | None, Path | None]:
    """The card that was named, if one was, and the file that was named, if one was."""
    for value, what in ((name, "name"), (weights, "weights")):
        if value is not None and not isinstance(value, (str, os.PathLike)):
            raise BadSetting(f"{what} must be a text or a path, got {type(value).__name__}")
    path = None if weights is None else Path(weights).expanduser()
    if name is None:
        return (card_of(DEFAULT), None) if path is None else (None, path)
    text = os.fspath(name)
    if not isinstance(text, str):
        raise BadSetting("paths are texts, not bytes")
    try:
        return card_of(text), path
    except UnknownModel:
        if path is None and (isinstance(name, os.PathLike) or text.endswith(_SUFFIXES) or Path(text).is_file()):
            return None, Path(text).expanduser()
        raise


def _exported(name: str | os.PathLike[str] | None, weights: str | os.PathLike[str] | None) -> Path | None:
    """What was named, if it is a folder or file that `anymask export` wrote."""
    named = name if weights is None else weights
    if not isinstance(named, (str, os.PathLike)) or not isinstance(os.fspath(named), str):
        return None
    path = Path(named).expanduser()
    with suppress(OSError, ValueError):
        if path.suffix.lower() == ".onnx" or any((path / file).is_file() for file in (ENCODER, DECODER)):
            return path
    return None


def _from_onnx(
    path: Path,
    name: str | os.PathLike[str] | None,
    device: str | torch.device,
    dtype: str | torch.dtype | None,
) -> Model:
    """An exported model, checked against the name it was asked for by, if by one."""
    from anymask.models.onnx_model import OnnxModel

    if pick_dtype(dtype) != torch.float32:
        raise BadSetting("an exported model keeps the precision of its export; leave dtype out")
    model = OnnxModel(path, str(device))
    if name is not None and card_of(os.fspath(name)).name != model.card.name:
        raise BadWeights(f"{path} is an export of {model.card.name}, not of {os.fspath(name)}")
    return model


def _adapted(
    path: Path,
    tensors: dict[str, torch.Tensor],
    about: adapters.About,
    card: Card | None,
    place: torch.device,
    precision: torch.dtype,
    progress: Progress | None,
) -> Model:
    """The model that an adapter was made for, from its own weights, with the adapter put on."""
    if card is not None and card.name != card_of(about.model).name:
        raise BadWeights(f"{path} is an adapter for {about.model}, not for {card.name}")
    model = load(about.model, device="cpu", progress=progress)
    if model.weights != about.base:
        raise BadWeights(
            f"{path} was made on other weights of {about.model} ({about.base[:12]}) than those here "
            f"({model.weights[:12]}); merge the two with 'anymask merge ADAPTER --base WEIGHTS -o FILE'"
        )
    adapters.put_on(cast(torch.nn.Module, model), tensors, about.scale)
    return _ready(cast(torch.nn.Module, model), model.card, digest(path), place, precision)


def _random(card: Card, place: torch.device, precision: torch.dtype) -> Model:
    if card.build is None:
        raise NotYet(not_yet(card))
    model = cast(torch.nn.Module, card.build())
    _log.warning("%s has no trained weights; it answers at random", card.name)
    return _ready(model, card, "random", place, precision)


def _ready(module: torch.nn.Module, card: Card, fingerprint: str, place: torch.device, precision: torch.dtype) -> Model:
    module.to(place).eval()
    model = cast("Model", module)
    model.card, model.weights = card, fingerprint
    use = getattr(module, "use", None)
    if use is not None:
        use(precision)
    elif precision != torch.float32:
        raise BadSetting(f"{card.name} runs in float32 only")
    return model
