"""Cards of SAM 3, SAM 3D and HQ-SAM, whose networks come in later releases.

They say what the weights are, where they lie and what to use until then. Addresses, checksums and sizes are those of
the project's survey of checkpoints; a checksum is left out where none was published or seen twice.
"""

from __future__ import annotations

from anymask.models.card import Card, WeightFile

CLICKS = frozenset({"points", "boxes", "masks"})
VIDEO = CLICKS | {"video"}
CONCEPTS = VIDEO | {"text", "exemplars"}
SAM_LICENSE = "SAM License"


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

CARDS = (*_SAM3, *_HQ)
