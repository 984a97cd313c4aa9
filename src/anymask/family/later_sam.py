"""Cards of SAM 2, SAM 3, SAM 3D and HQ-SAM, whose networks come in later releases.

They say what the weights are, where they lie and what to use until then. Addresses, checksums and sizes are those of
the project's survey of checkpoints; a checksum is left out where none was published or seen twice.
"""

from __future__ import annotations

from anymask.models.card import Card, WeightFile

FACEBOOK = "https://dl.fbaipublicfiles.com/segment_anything_2/"
CLICKS = frozenset({"points", "boxes", "masks"})
VIDEO = CLICKS | {"video"}
CONCEPTS = VIDEO | {"text", "exemplars"}
SAM_LICENSE = "SAM License"

SAM2_LATER = "video (SAM 2)"


def _sam2(
    version: str,
    size: str,
    short: str,
    parameters: int,
    embed: int,
    last: int,
    sha256: str,
    bytes_: int = 0,
) -> Card:
    """One SAM 2 or 2.1; `last` is the index of the last trunk block, whose width tells the sizes apart."""
    prefix = "sam2" if version == "2" else "sam2.1"
    date = "072824" if version == "2" else "092824"
    long = size.replace("-", "_")
    file = f"{prefix}_hiera_{long}.pt"
    tells: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("image_encoder.trunk.patch_embed.proj.weight", (embed, 3, 7, 7)),
        (f"image_encoder.trunk.blocks.{last}.norm1.weight", (8 * embed,)),
    )
    if version != "2":
        tells += (("no_obj_embed_spatial", (1, 64)),)
    return Card(
        name=f"{prefix}-hiera-{size}",
        title=f"SAM {version} Hiera {size}",
        files=(
            WeightFile(
                file,
                f"{FACEBOOK}{date}/{file}",
                sha256=sha256,
                size=bytes_,
                mirrors=(f"hf:facebook/{prefix}-hiera-{size}/{file}",),
            ),
        ),
        can=VIDEO,
        parameters=parameters,
        paper="https://arxiv.org/abs/2408.00714",
        official="sam2 1.1.0",
        aliases=(
            f"{prefix}_hiera_{short}",
            f"configs/{prefix}/{prefix}_hiera_{short}.yaml",
            f"facebook/{prefix}-hiera-{size}",
        ),
        page="https://github.com/facebookresearch/sam2",
        trained_on="SA-V (CC BY 4.0), SA-1B (research licence) and internal data",
        later=SAM2_LATER,
        instead="sam-vit-b",
        tells=tells,
    )


_SAM2 = (
    _sam2(
        "2.1",
        "tiny",
        "t",
        38_962_498,
        96,
        11,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        156_008_466,
    ),
    _sam2(
        "2.1",
        "small",
        "s",
        46_060_354,
        96,
        15,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        184_416_285,
    ),
    _sam2(
        "2.1",
        "base-plus",
        "b+",
        80_850_178,
        112,
        23,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        323_606_802,
    ),
    _sam2(
        "2.1",
        "large",
        "l",
        224_446_642,
        144,
        47,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        898_083_611,
    ),
    _sam2("2", "tiny", "t", 38_945_986, 96, 11, "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125"),
    _sam2("2", "small", "s", 46_043_842, 96, 15, "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3"),
    _sam2(
        "2", "base-plus", "b+", 80_833_666, 112, 23, "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071"
    ),
    _sam2(
        "2",
        "large",
        "l",
        224_430_130,
        144,
        47,
        "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
        897_952_466,
    ),
)

_SAM3 = (
    Card(
        name="sam3",
        title="SAM 3, concepts in images and video",
        files=(
            WeightFile(
                "sam3.pt",
                "hf:facebook/sam3/sam3.pt",
                sha256="9999e2341ceef5e136daa386eecb55cb414446a00ac2b55eb2dfd2f7c3cf8c9e",
                size=3_450_062_241,
            ),
            WeightFile("sam3.safetensors", "hf:facebook/sam3/model.safetensors"),
        ),
        can=CONCEPTS,
        input_side=1008,
        parameters=860_055_224,
        licence=SAM_LICENSE,
        gated=True,
        paper="https://arxiv.org/abs/2511.16719",
        official="sam3 0.1.4",
        aliases=("facebook/sam3",),
        page="https://huggingface.co/facebook/sam3",
        later="concepts (SAM 3)",
        instead="sam-vit-h",
        tells=(("detector.backbone.vision_backbone.trunk.pos_embed", (1, 577, 1024)),),
    ),
    Card(
        name="sam3.1",
        title="SAM 3.1, many objects at once",
        files=(WeightFile("sam3.1_multiplex.pt", "hf:facebook/sam3.1/sam3.1_multiplex.pt"),),
        can=CONCEPTS,
        input_side=1008,
        licence=SAM_LICENSE,
        gated=True,
        aliases=("facebook/sam3.1",),
        page="https://huggingface.co/facebook/sam3.1",
        later="concepts (SAM 3)",
        instead="sam-vit-h",
    ),
    Card(
        name="sam-3d-objects",
        title="SAM 3D Objects, a mesh or splats from one photo and a mask",
        can=frozenset({"masks"}),
        licence=SAM_LICENSE,
        gated=True,
        page="https://huggingface.co/facebook/sam-3d-objects",
        later="lifting to 3D",
        instead="sam-vit-h",
        notes="a folder of checkpoints rather than one file; needs a large GPU upstream",
    ),
    Card(
        name="sam-3d-body-dinov3",
        title="SAM 3D Body, DINOv3 backbone",
        files=(WeightFile("sam_3d_body_dinov3.ckpt", "hf:facebook/sam-3d-body-dinov3/model.ckpt"),),
        can=frozenset({"masks"}),
        parameters=840_000_000,
        licence=SAM_LICENSE,
        gated=True,
        page="https://huggingface.co/facebook/sam-3d-body-dinov3",
        later="lifting to 3D",
        instead="sam-vit-h",
    ),
    Card(
        name="sam-3d-body-vith",
        title="SAM 3D Body, ViT-H backbone",
        files=(WeightFile("sam_3d_body_vith.ckpt", "hf:facebook/sam-3d-body-vith/model.ckpt"),),
        can=frozenset({"masks"}),
        parameters=631_000_000,
        licence=SAM_LICENSE,
        gated=True,
        page="https://huggingface.co/facebook/sam-3d-body-vith",
        later="lifting to 3D",
        instead="sam-vit-h",
    ),
)


def _hq(size: str, parameters: int, width: int, instead: str, sha256: str = "", md5: str = "") -> Card:
    file = f"sam_hq_vit_{size}.pth"
    return Card(
        name=f"sam-hq-vit-{size}",
        title=f"HQ-SAM ViT-{size.upper() if len(size) == 1 else size}, crisp thin structures",
        files=(WeightFile(file, f"hf:lkeab/hq-sam/{file}", sha256=sha256, md5=md5),),
        parameters=parameters,
        paper="https://arxiv.org/abs/2306.01567",
        official="segment-anything-hq 0.3",
        aliases=(f"sam_hq_vit_{size}", *(("vit_tiny", "light-hq-sam") if size == "tiny" else ())),
        page="https://github.com/SysCV/sam-hq",
        trained_on="HQSeg-44K (mixed terms) on top of SAM",
        later="HQ-SAM",
        instead=instead,
        tells=(
            ("mask_decoder.hf_token.weight", (1, 256)),
            ("mask_decoder.compress_vit_feat.0.weight", (width, 256, 2, 2)),
        ),
    )


_HQ = (
    _hq("b", 94_806_576, 768, "sam-vit-b", md5="c6b8953247bcfdc8bb8ef91e36a6cacc"),
    _hq("l", 313_676_080, 1024, "sam-vit-l", md5="08947267966e4264fb39523eccc33f86"),
    _hq(
        "h",
        642_686_000,
        1280,
        "sam-vit-h",
        sha256="a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35",
        md5="3560f6b6a5a6edacd814a1325c39640a",
    ),
    _hq(
        "tiny",
        10_578_604,
        160,
        "mobile-sam",
        sha256="0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196",
    ),
    Card(
        name="sam2.1-hq-hiera-large",
        title="HQ-SAM 2 Hiera large",
        files=(WeightFile("sam2.1_hq_hiera_large.pt", "hf:lkeab/hq-sam/sam2.1_hq_hiera_large.pt"),),
        can=VIDEO,
        parameters=224_623_794,
        paper="https://arxiv.org/abs/2306.01567",
        page="https://github.com/SysCV/sam-hq",
        later="HQ-SAM",
        instead="sam-vit-h",
        tells=(
            ("sam_mask_decoder.hf_token.weight", (1, 256)),
            ("image_encoder.trunk.patch_embed.proj.weight", (144, 3, 7, 7)),
            ("image_encoder.trunk.blocks.47.norm1.weight", (1152,)),
            ("no_obj_embed_spatial", (1, 64)),
        ),
    ),
)

CARDS = (*_SAM2, *_SAM3, *_HQ)
