"""Low-rank additions to the layers of an image encoder.

Source: Hu et al., "LoRA: low-rank adaptation of large language models" (arXiv 2106.09685). They are parametrizations of
torch: whoever reads a layer's weight, the fast ways through a network among them, reads it with its addition.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from anymask.errors import BadSetting
from anymask.models.promptable import PromptableModel

SCALE = 2.0
"""What an addition B @ A is multiplied by (alpha / rank in the paper); the same for every rank."""

_OWN = ".parametrizations.weight.0."
_ORIGINAL = ".parametrizations.weight.original"


class LowRank(nn.Module):
    """Adds SCALE * b @ a to a weight [out, in, ...]; zero at first. a: [rank, in], b: [out, rank]."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(rank, weight[0].numel()))
        self.b = nn.Parameter(torch.zeros(len(weight), rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + SCALE * (self.b @ self.a).view_as(weight)


def add(model: PromptableModel, rank: int) -> None:
    """Add to every linear layer and 1x1 convolution of the image encoder; what they had themselves is frozen.

    Raises BadSetting for an encoder that has none of them.
    """
    layers = [layer for layer in model.image_encoder.modules() if _suits(layer)]
    if not layers:
        raise BadSetting("the image encoder of this model has no layer that LoRA can be added to; use another method")
    for layer in layers:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        parametrize.register_parametrization(layer, "weight", LowRank(weight, rank))


def _suits(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == (1, 1) and layer.groups == 1
    return isinstance(layer, nn.Linear)


def additions(values: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer -> its (a, b), from parameters by their names in the model."""
    layers = [name.partition(_OWN)[0] for name in values if name.endswith(f"{_OWN}a")]
    return {layer: (values[f"{layer}{_OWN}a"], values[f"{layer}{_OWN}b"]) for layer in layers}


def plain_name(name: str) -> str:
    """A parameter's name before `add`."""
    return name.replace(_ORIGINAL, ".weight")


def is_own(name: str) -> bool:
    """Whether a parameter was added by `add`."""
    return _OWN in name


@torch.no_grad()
def plain_state(model: nn.Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """A model's state dict with the additions added, as the model had it before `add`.

    values: parameters to take instead of the model's own, for example their moving average; what the model has not is
        left out.
    """
    own = model.state_dict()
    state = {**own, **{name: tensor for name, tensor in values.items() if name in own}}
    plain = {plain_name(name): tensor for name, tensor in state.items() if not is_own(name)}
    for layer, (a, b) in additions(state).items():
        weight = plain[f"{layer}.weight"]
        plain[f"{layer}.weight"] = weight + SCALE * (b @ a).view_as(weight)
    return plain
