"""Adapters: what a fine-tune changed, as a small file that is put on top of a model's weights when it is loaded.

Layout, safetensors: "lora.<layer>.A" [r, in] and ".B" [out, r] add scale * B @ A to a layer's weight; "set.<parameter>"
replaces one. The header holds "anymask_adapter" (the version of this layout), "model", "base" (digest of the weights
that it was made on) and "scale".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from anymask.errors import BadWeights

VERSION = "1"


@dataclass(frozen=True)
class About:
    """What an adapter says of itself. model: the card's name. base: digest of the weights below it."""

    model: str
    base: str
    scale: float


def about(path: Path) -> About | None:
    """What an adapter file says of itself; None for any other file. Raises BadWeights for a damaged header."""
    header = header_of(path)
    if "anymask_adapter" not in header:
        return None
    try:
        if header["anymask_adapter"] != VERSION:
            raise BadWeights(f"{path} is an adapter of a later anymask; upgrade with pip install -U anymask")
        return About(header["model"], header["base"], float(header["scale"]))
    except (KeyError, ValueError):
        raise BadWeights(f"{path} is an adapter with a damaged header") from None


def header_of(path: Path) -> dict[str, str]:
    """What the header of a safetensors file says; nothing of any other file."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, ValueError):
        return {}


@torch.no_grad()
def put_on(model: nn.Module, tensors: Mapping[str, Tensor], scale: float) -> None:
    """Add an adapter's tensors to a model that holds the weights it was made on. Raises BadWeights if they misfit."""
    parameters = dict(model.named_parameters()) | dict(model.named_buffers())
    for name, tensor in tensors.items():
        kind, _, place = name.partition(".")
        if kind == "set":
            _fits(parameters, place, tensor.shape)
            parameters[place].copy_(tensor)
        elif kind == "lora" and place.endswith(".A"):
            layer = place.removesuffix(".A")
            up = tensors.get(f"lora.{layer}.B")
            weight = parameters.get(f"{layer}.weight")
            if up is None or weight is None or (len(up), tensor.shape[1]) != (len(weight), weight[0].numel()):
                raise BadWeights(f"the adapter has no place for {layer} in this model; was it made for another one?")
            weight += scale * (up.float() @ tensor.float()).view_as(weight)
        elif kind != "lora":
            raise BadWeights(f"the adapter holds {name}, which is neither a low-rank addition nor a parameter")


def _fits(parameters: Mapping[str, Tensor], name: str, shape: torch.Size) -> None:
    if name not in parameters or parameters[name].shape != shape:
        raise BadWeights(
            f"the adapter sets {name} {list(shape)}, which this model has not; was it made for another one?"
        )
