"""The official registry: a Sam by its size, with the weights of a checkpoint or random ones."""

from __future__ import annotations

import os
from typing import cast

from anymask.compat.segment_anything.modeling import Sam
from anymask.errors import NotYet
from anymask.models.catalogue import card as card_of
from anymask.models.load import load
from anymask.models.promptable import PromptableModel

Checkpoint = str | os.PathLike[str] | None
"""Path of a weights file; None for random weights."""


def build_sam_vit_h(checkpoint: Checkpoint = None) -> Sam:
    """SAM ViT-H on the CPU, in evaluation mode; raises BadWeights where the file is of another model."""
    return _build("sam-vit-h", checkpoint)


def build_sam_vit_l(checkpoint: Checkpoint = None) -> Sam:
    """SAM ViT-L, as `build_sam_vit_h`."""
    return _build("sam-vit-l", checkpoint)


def build_sam_vit_b(checkpoint: Checkpoint = None) -> Sam:
    """SAM ViT-B, as `build_sam_vit_h`."""
    return _build("sam-vit-b", checkpoint)


def build_sam_vit_t(checkpoint: Checkpoint = None) -> Sam:
    """MobileSAM, which its authors added to the registry, as `build_sam_vit_h`."""
    return _build("mobile-sam", checkpoint)


build_sam = build_sam_vit_h

sam_model_registry = {
    "default": build_sam,
    "vit_h": build_sam_vit_h,
    "vit_l": build_sam_vit_l,
    "vit_b": build_sam_vit_b,
    "vit_t": build_sam_vit_t,
}


def _build(name: str, checkpoint: Checkpoint) -> Sam:
    if checkpoint is not None:
        return Sam(cast(PromptableModel, load(name, weights=checkpoint, device="cpu")))
    card = card_of(name)
    if card.build is None:
        raise NotYet(f"{card.name} is in the catalogue, but its network comes later")
    model = cast(PromptableModel, card.build())
    model.card = card
    return Sam(model.eval())
