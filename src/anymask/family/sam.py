"""SAM 1: Segment Anything (arXiv 2304.02643).

ViT-B, ViT-L and ViT-H as published, and a tiny row that has the same structure at a size that tests can afford.
"""

from __future__ import annotations

from collections.abc import Callable

from anymask.models.card import Card, WeightFile
from anymask.models.interface import Model
from anymask.models.preprocess import Preprocess
from anymask.models.promptable import PromptableModel
from anymask.nn.mask_decoder import MaskDecoder
from anymask.nn.prompt_encoder import PromptEncoder
from anymask.nn.vit import ImageEncoderViT

PAPER = "https://arxiv.org/abs/2304.02643"
FACEBOOK = "https://dl.fbaipublicfiles.com/segment_anything/"
BIOIMAGE = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io/"

HUGGING_FACE: tuple[tuple[str, str], ...] = (
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.", "image_encoder."),
    (r"\.patch_embed\.projection\.", ".patch_embed.proj."),
    (r"\.neck\.conv1\.", ".neck.0."),
    (r"\.neck\.layer_norm1\.", ".neck.1."),
    (r"\.neck\.conv2\.", ".neck.2."),
    (r"\.neck\.layer_norm2\.", ".neck.3."),
    (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"\.point_embed\.", ".point_embeddings."),
    # tied weights: a file holds the first, the second or both, as the library that saved it pleased
    (r"^shared_image_embedding\.positional_embedding$", "prompt_encoder.shared_embedding.positional_embedding"),
    (r"\.shared_embedding\.positional_embedding$", ".pe_layer.positional_encoding_gaussian_matrix"),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"(output_hypernetworks_mlps\.\d|iou_prediction_head)\.layers\.0\.", r"\1.layers.1."),
    (r"(output_hypernetworks_mlps\.\d|iou_prediction_head)\.proj_in\.", r"\1.layers.0."),
    (r"(output_hypernetworks_mlps\.\d|iou_prediction_head)\.proj_out\.", r"\1.layers.2."),
)
"""Keys of transformers' SamModel to the official ones, applied in order."""


def build(
    dim: int, depth: int, heads: int, global_blocks: tuple[int, ...], side: int = 1024, window: int = 14, out: int = 256
) -> PromptableModel:
    """A SAM with random weights; `side` is its input frame in pixels."""
    grid = side // 16
    return PromptableModel(
        ImageEncoderViT(side, 16, dim, depth, heads, out=out, window=window, global_blocks=global_blocks),
        PromptEncoder(out, (grid, grid), (side, side)),
        MaskDecoder(out, mlp_dim=8 * out, iou_hidden=out),
        Preprocess(side),
    )


def vit_b() -> PromptableModel:
    """ViT-B: 93.7 M parameters."""
    return build(768, 12, 12, (2, 5, 8, 11))


def vit_l() -> PromptableModel:
    """ViT-L: 312.3 M parameters."""
    return build(1024, 24, 16, (5, 11, 17, 23))


def vit_h() -> PromptableModel:
    """ViT-H: 641.1 M parameters."""
    return build(1280, 32, 16, (7, 15, 23, 31))


def tiny() -> PromptableModel:
    """The same structure at a size that tests can afford; windows do not divide the grid, as in the real ones."""
    return build(32, 4, 2, (1, 3), side=128, window=3, out=32)


def medsam() -> PromptableModel:
    """MedSAM (arXiv 2304.12306): ViT-B on square frames, each picture stretched to 0..1 by its own extremes."""
    model = vit_b()
    model.preprocess = Preprocess(1024, fit="square", normalise="min-max")
    return model


def _micro_sam(size: str, kind: str, what: str, build_it: Callable[[], Model], parameters: int, url: str = "") -> Card:
    file = f"vit_{size}_{kind.replace('-', '_')}"
    return Card(
        name=f"micro-sam-vit-{size}-{kind}",
        title=f"micro-sam ViT-{size.upper()}, {what}",
        build=build_it,
        files=(WeightFile(file, url),),
        parameters=parameters,
        licence="MIT",
        paper="https://doi.org/10.1038/s41592-024-02580-4",
        aliases=(file,),
        page="https://github.com/computational-cell-analytics/micro-sam",
        instead=f"sam-vit-{size}",
        notes="not tried against the published file; its automatic segmentation decoder is not used",
    )


def _card(size: str, title: str, build_it: Callable[[], Model], parameters: int, file: WeightFile, twin: str) -> Card:
    return Card(
        name=f"sam-vit-{size}",
        title=title,
        build=build_it,
        files=(file, WeightFile(f"sam-vit-{twin}.safetensors", f"hf:facebook/sam-vit-{twin}/model.safetensors")),
        rename=HUGGING_FACE,
        parameters=parameters,
        paper=PAPER,
        official="segment-anything 1.0",
        aliases=(f"vit_{size}", f"sam-vit-{twin}", f"facebook/sam-vit-{twin}"),
        page="https://github.com/facebookresearch/segment-anything",
        trained_on="SA-1B (research licence)",
    )


CARDS = (
    _card(
        "b",
        "SAM ViT-B",
        vit_b,
        93_735_472,
        WeightFile(
            "sam_vit_b_01ec64.pth",
            FACEBOOK + "sam_vit_b_01ec64.pth",
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            md5="01ec64d29a2fca3f0661936605ae66f8",
            size=375_042_383,
        ),
        "base",
    ),
    _card(
        "l",
        "SAM ViT-L",
        vit_l,
        312_342_832,
        WeightFile(
            "sam_vit_l_0b3195.pth",
            FACEBOOK + "sam_vit_l_0b3195.pth",
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            md5="0b3195507c641ddb6910d2bb5adee89c",
            size=1_249_524_607,
        ),
        "large",
    ),
    _card(
        "h",
        "SAM ViT-H",
        vit_h,
        641_090_608,
        WeightFile(
            "sam_vit_h_4b8939.pth",
            FACEBOOK + "sam_vit_h_4b8939.pth",
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            md5="4b8939a88964f0f4ff5f5b2642c598a6",
            size=2_564_550_879,
        ),
        "huge",
    ),
    Card(
        name="sam-tiny-test",
        title="SAM, a tiny row for tests (random weights)",
        build=tiny,
        rename=HUGGING_FACE,
        input_side=128,
        paper=PAPER,
        official="segment-anything 1.0",
        notes="no trained weights exist; for tests only",
    ),
    Card(
        name="medsam",
        title="MedSAM ViT-B, for medical images, prompted by boxes",
        build=medsam,
        files=(WeightFile("medsam_vit_b.pth"),),
        rename=HUGGING_FACE,
        can=frozenset({"boxes"}),
        parameters=93_735_472,
        paper="https://arxiv.org/abs/2304.12306",
        official="segment-anything 1.0",
        aliases=("medsam-vit-b",),
        page="https://github.com/bowang-lab/MedSAM",
        trained_on="public medical images of many modalities, box prompts",
        instead="lite-medsam",
        notes="points and masks are accepted, but it was trained with boxes only",
    ),
    _micro_sam("b", "lm", "light microscopy", vit_b, 93_735_472, BIOIMAGE + "diplomatic-bug/1.2/files/vit_b.pt"),
    _micro_sam("l", "lm", "light microscopy", vit_l, 312_342_832, BIOIMAGE + "idealistic-rat/1.2/files/vit_l.pt"),
    _micro_sam(
        "b",
        "em-organelles",
        "organelles in electron microscopy",
        vit_b,
        93_735_472,
        BIOIMAGE + "noisy-ox/1.2/files/vit_b.pt",
    ),
    _micro_sam("l", "em-organelles", "organelles in electron microscopy", vit_l, 312_342_832),
    _micro_sam("b", "histopathology", "histopathology", vit_b, 93_735_472),
    _micro_sam("l", "histopathology", "histopathology", vit_l, 312_342_832),
    _micro_sam("h", "histopathology", "histopathology", vit_h, 641_090_608),
    _micro_sam("b", "medical-imaging", "medical imaging", vit_b, 93_735_472),
)
