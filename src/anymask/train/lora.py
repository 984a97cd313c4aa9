"""Low-rank additions to the layers of an image encoder, by peft.

Source: Hu et al., "LoRA: low-rank adaptation of large language models" (arXiv 2106.09685).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anymask import extras
from anymask.errors import BadSetting
from anymask.models.promptable import PromptableModel

ALPHA = 2
"""The additions count alpha / rank; alpha is this many ranks, so the scale does not depend on the rank."""
NAME = "default"


def add(model: PromptableModel, rank: int) -> None:
    """Add to every linear layer and 1x1 convolution of the image encoder; prompt encoder and decoder are trained whole.

    Raises BadSetting for an encoder that has none of them.
    """
    peft = extras.need("peft", extra="train", to="train with LoRA")
    names = [f"image_encoder.{name}" for name, layer in model.image_encoder.named_modules() if _suits(layer)]
    if not names:
        raise BadSetting("the image encoder of this model has no layer that LoRA can be added to; use another method")
    rest = {name: p.requires_grad for name, p in model.named_parameters()}
    peft.inject_adapter_in_model(
        peft.LoraConfig(r=rank, lora_alpha=ALPHA * rank, target_modules=names, bias="none"), model, NAME
    )
    # peft freezes all that is not its own
    for name, parameter in model.named_parameters():
        if name in rest:
            parameter.requires_grad_(rest[name])


def _suits(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == (1, 1) and layer.groups == 1
    return isinstance(layer, nn.Linear)


def additions(model: nn.Module, values: dict[str, Tensor]) -> tuple[dict[str, tuple[Tensor, Tensor]], float]:
    """Layer -> its (A, B), and the scale of B @ A. values: of the parameters, by their names in the model."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    scale = 1.0
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and NAME in module.lora_A:
            keys = [f"{name}.lora_{side}.{NAME}.weight" for side in "AB"]
            found[name] = (values[keys[0]], values[keys[1]])
            scale = float(module.scaling[NAME])
    return found, scale


def plain_name(name: str) -> str:
    """A parameter's name before `add`: peft moves a layer that it adds to into a shell."""
    return name.replace(".base_layer.", ".")


def is_own(name: str) -> bool:
    """Whether a parameter was added by `add`."""
    return f".lora_A.{NAME}." in name or f".lora_B.{NAME}." in name


@torch.no_grad()
def plain_state(model: nn.Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """A model's state dict with the additions added, as the model had it before `add`.

    values: parameters to take instead of the model's own, for example their moving average.
    """
    state = {**model.state_dict(), **values}
    added, scale = additions(model, state)
    plain = {plain_name(name): tensor for name, tensor in state.items() if not is_own(name)}
    for name, (a, b) in added.items():
        weight = plain[f"{name}.weight"]
        plain[f"{name}.weight"] = weight + scale * (b.flatten(1) @ a.flatten(1)).view_as(weight)
    return plain
