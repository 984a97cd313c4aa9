"""Members of the family at a size that tests can afford: every build, with noise in every parameter."""

from __future__ import annotations

from dataclasses import replace

import torch

DIM = 32


def tiny_vit(side, **preprocess):
    """MobileSAM's and LiteMedSAM's build at a size that tests can afford."""
    from anymask.models.preprocess import Preprocess
    from anymask.models.promptable import PromptableModel
    from anymask.nn.mask_decoder import MaskDecoder
    from anymask.nn.prompt_encoder import PromptEncoder
    from anymask.nn.tiny_vit import TinyViT

    stem = preprocess.pop("stem", "stride-4")
    grid = side // (16 if stem == "stride-4" else 4)
    encoder = TinyViT((16, 24, 32, 32), (1, 1, 2, 1), (1, 1, 2, 2), (3, 3, 3, 3), stem=stem, out=DIM)
    decoder = MaskDecoder(DIM, mlp_dim=64, iou_hidden=DIM)
    return PromptableModel(
        encoder, PromptEncoder(DIM, (grid, grid), (side, side)), decoder, Preprocess(side, **preprocess)
    )


def lite():
    from anymask.family.lite import LiteModel

    return LiteModel("lite0", dim=DIM, side=96)


def medsam():
    from anymask.family.sam import tiny
    from anymask.models.preprocess import Preprocess

    model = tiny()
    model.preprocess = Preprocess(128, fit="square", normalise="min-max")
    return model


def sam():
    from anymask.family.sam import tiny

    return tiny()


def sam2():
    from anymask.family.sam2.model import for_tests

    return for_tests()


FAMILY = {
    "anymask-lite": lite,
    "sam-vit": sam,
    "mobile-sam": lambda: tiny_vit(128),
    "lite-medsam": lambda: tiny_vit(32, stem="pointwise", resample="area", normalise="min-max"),
    "medsam": medsam,
    "sam2": sam2,
}


def build(name):
    """A member with noise in every parameter and statistics of its own."""
    from anymask.models.card import Card

    torch.manual_seed(sum(map(ord, name)))
    model = FAMILY[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for key, buffer in model.named_buffers():
            if key.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    model.card = replace(Card(f"tiny-{name}", f"a tiny {name}"), build=FAMILY[name], licence="MIT")
    model.weights = f"weights-of-{name}"
    return model
