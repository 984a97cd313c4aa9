"""Cards of SAM 2 and 2.1: where the weights lie, and how keys of other layouts are called here."""

from __future__ import annotations

from functools import partial

from anymask.family.sam2.model import SIZES
from anymask.models.card import Card, WeightFile

FACEBOOK = "https://dl.fbaipublicfiles.com/segment_anything_2/"
PAPER = "https://arxiv.org/abs/2408.00714"

OFFICIAL: tuple[tuple[str, str], ...] = (
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^(sam_)?mask_decoder\.conv_s([01])\.", r"image_encoder.conv_s\2."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"\.mlp\.layers\.0\.", ".mlp.lin1."),
    (r"\.mlp\.layers\.1\.", ".mlp.lin2."),
    (r"^no_mem_embed$", "image_encoder.no_mem_embed"),
    (r"^memory_attention\.", "memory.attention."),
    (r"^memory_encoder\.", "memory.encoder."),
    (r"^(maskmem_tpos_enc|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial)$", r"memory.\1"),
    (r"^(mask_downsample|obj_ptr_proj|obj_ptr_tpos_proj)\.", r"memory.\1."),
)
"""Keys of the published files to ours, applied in order."""

_HEADS = r"(output_hypernetworks_mlps\.\d|iou_prediction_head|pred_obj_score_head|obj_ptr_proj)"

HUGGING_FACE: tuple[tuple[str, str], ...] = (
    (r"^no_memory_embedding$", "no_mem_embed"),
    (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
    (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
    (r"^no_object_pointer$", "no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
    (r"^object_pointer_proj\.", "obj_ptr_proj."),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"\.patch_embed\.projection\.", ".patch_embed.proj."),
    (r"\.mlp\.proj_in\.", ".mlp.lin1."),
    (r"\.mlp\.proj_out\.", ".mlp.lin2."),
    (_HEADS + r"\.layers\.0\.", r"\1.layers.1."),
    (_HEADS + r"\.proj_in\.", r"\1.layers.0."),
    (_HEADS + r"\.proj_out\.", r"\1.layers.2."),
    (r"\.o_proj\.", ".out_proj."),
    (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
    (r"\.point_embed\.", ".point_embeddings."),
    (r"^shared_image_embedding\.positional_embedding$", "prompt_encoder.shared_embedding.positional_embedding"),
    (r"\.shared_embedding\.positional_embedding$", ".pe_layer.positional_encoding_gaussian_matrix"),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    *(
        (rf"\.mask_downsampler\.layers\.{stage}\.{name}\.", f".mask_downsampler.encoder.{3 * stage + place}.")
        for stage in range(4)
        for place, name in enumerate(("conv", "layer_norm"))
    ),
    (r"\.mask_downsampler\.final_conv\.", ".mask_downsampler.encoder.12."),
    (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
    (r"\.memory_fuser\.layers\.(\d)\.scale$", r".fuser.layers.\1.gamma"),
    (r"\.memory_fuser\.layers\.(\d)\.depthwise_conv\.", r".fuser.layers.\1.dwconv."),
    (r"\.memory_fuser\.layers\.(\d)\.pointwise_conv([12])\.", r".fuser.layers.\1.pwconv\2."),
    (r"\.memory_fuser\.", ".fuser."),
    (r"\.layer_norm(\d?)\.", r".norm\1."),
    *OFFICIAL,
)
"""Keys of transformers' Sam2Model and Sam2VideoModel to ours, by way of the published ones."""

ROWS = (r"^prompt_encoder\.point_embed\.weight$",)
"""One table there, four of one row each here."""

EVERYTHING = (("pred_iou_thresh", 0.8),)
"""The published default of SAM 2's generator of masks."""


def _sam2(version: str, size: str, short: str, parameters: int, sha256: str, bytes_: int = 0) -> Card:
    prefix = "sam2" if version == "2" else "sam2.1"
    date = "072824" if version == "2" else "092824"
    long = size.replace("-", "_")
    file = f"{prefix}_hiera_{long}.pt"
    return Card(
        name=f"{prefix}-hiera-{size}",
        title=f"SAM {version} Hiera {size}",
        build=partial(SIZES[size], version),
        files=(
            WeightFile(
                file,
                f"{FACEBOOK}{date}/{file}",
                sha256=sha256,
                size=bytes_,
                mirrors=(f"hf:facebook/{prefix}-hiera-{size}/{file}",),
            ),
            WeightFile(f"{prefix}-hiera-{size}.safetensors", f"hf:facebook/{prefix}-hiera-{size}/model.safetensors"),
        ),
        rename=OFFICIAL,
        layouts=(HUGGING_FACE,),
        rows=ROWS,
        optional="memory",
        can=frozenset({"points", "boxes", "masks", "video"}),
        parameters=parameters,
        paper=PAPER,
        official="sam2 1.1.0",
        aliases=(
            f"{prefix}_hiera_{short}",
            f"configs/{prefix}/{prefix}_hiera_{short}.yaml",
            f"facebook/{prefix}-hiera-{size}",
        ),
        page="https://github.com/facebookresearch/sam2",
        trained_on="SA-V (CC BY 4.0), SA-1B (research licence) and internal data",
        everything=EVERYTHING,
    )


def _for_tests(version: str) -> Card:
    return Card(
        name=f"sam{version}-tiny-test",
        title=f"SAM {version}, a tiny row for tests (random weights)",
        build=partial(SIZES["tiny-test"], version),
        rename=OFFICIAL,
        layouts=(HUGGING_FACE,),
        rows=ROWS,
        optional="memory",
        can=frozenset({"points", "boxes", "masks", "video"}),
        input_side=128,
        paper=PAPER,
        official="sam2 1.1.0",
        everything=EVERYTHING,
        notes="no trained weights exist; for tests only",
    )


_PUBLISHED = (
    _sam2(
        "2.1",
        "tiny",
        "t",
        38_962_498,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        156_008_466,
    ),
    _sam2(
        "2.1",
        "small",
        "s",
        46_060_354,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        184_416_285,
    ),
    _sam2(
        "2.1",
        "base-plus",
        "b+",
        80_850_178,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        323_606_802,
    ),
    _sam2(
        "2.1",
        "large",
        "l",
        224_446_642,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        898_083_611,
    ),
    _sam2("2", "tiny", "t", 38_945_986, "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125"),
    _sam2("2", "small", "s", 46_043_842, "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3"),
    _sam2("2", "base-plus", "b+", 80_833_666, "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071"),
    _sam2(
        "2",
        "large",
        "l",
        224_430_130,
        "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
        897_952_466,
    ),
)

CARDS = (*_PUBLISHED, _for_tests("2.1"), _for_tests("2"))
