"""Cards of members for text, medicine, video objects and editing, whose networks come in later releases.

Those without a file have no weights of their own: they are ways of using other members.
"""

from __future__ import annotations

from anymask.models.card import Card, WeightFile

CLICKS = frozenset({"points", "boxes", "masks"})
TEXT_LATER = "text prompts"
MEDICAL_LATER = "medical images and volumes"

_DINO = "https://github.com/IDEA-Research/GroundingDINO"
_SEEM = "https://github.com/UX-Decoder/Segment-Everything-Everywhere-All-At-Once"
_SEMANTIC_SAM = "https://github.com/UX-Decoder/Semantic-SAM"
_MED2D = "https://github.com/OpenGVLab/SAM-Med2D"


def _dino(size: str, title: str, release: str, file: str, width: int, parameters: int = 0) -> Card:
    return Card(
        name=f"grounding-dino-{size}",
        title=f"Grounding DINO {title}, the detector of Grounded SAM",
        files=(
            WeightFile(
                file, f"{_DINO}/releases/download/{release}/{file}", mirrors=(f"hf:ShilongLiu/GroundingDINO/{file}",)
            ),
        ),
        can=frozenset({"text"}),
        input_side=800,
        parameters=parameters,
        paper="https://arxiv.org/abs/2303.05499",
        official="groundingdino-py 0.4.0",
        page=_DINO,
        later=TEXT_LATER,
        instead="sam-vit-b",
        tells=(("transformer.level_embed", (4, 256)), ("backbone.0.patch_embed.proj.weight", (width, 3, 4, 4))),
    )


def _seem(variant: str, title: str) -> Card:
    return Card(
        name=f"seem-{variant}",
        title=f"SEEM {title}",
        files=(WeightFile(f"seem_{variant}_v1.pt", f"hf:xdecoder/SEEM/seem_{variant}_v1.pt"),),
        can=CLICKS | {"text", "exemplars"},
        paper="https://arxiv.org/abs/2304.06718",
        page=_SEEM,
        later=TEXT_LATER,
        instead="sam-vit-b",
    )


def _semantic_sam(variant: str, title: str) -> Card:
    file = f"{variant}_only_sam_many2many.pth"
    return Card(
        name=f"semantic-sam-{variant}",
        title=f"Semantic-SAM {title}, masks of several granularities",
        files=(WeightFile(file, f"{_SEMANTIC_SAM}/releases/download/checkpoint/{file}"),),
        can=frozenset({"points", "everything"}),
        licence="none stated",
        paper="https://arxiv.org/abs/2307.04767",
        page=_SEMANTIC_SAM,
        later=TEXT_LATER,
        instead="sam-vit-b",
        notes="its repository states no licence: treat it as all rights reserved",
    )


def _med2d(name: str, title: str, file: str, tells: tuple[tuple[str, tuple[int, ...]], ...]) -> Card:
    return Card(
        name=name,
        title=title,
        files=(WeightFile(file),),
        input_side=256,
        parameters=271_241_776 if tells else 0,
        paper="https://arxiv.org/abs/2308.16184",
        page=_MED2D,
        later=MEDICAL_LATER,
        instead="lite-medsam",
        tells=tells,
    )


def _way(name: str, title: str, can: frozenset[str], paper: str, page: str, later: str, licence: str) -> Card:
    """A method without weights of its own."""
    return Card(
        name=name,
        title=title,
        can=can,
        licence=licence,
        paper=paper,
        page=page,
        later=later,
        instead="sam-vit-h",
        notes="no weights of its own",
    )


CARDS = (
    _dino("t", "Swin-T", "v0.1.0-alpha", "groundingdino_swint_ogc.pth", 96, 172_839_682),
    _dino("b", "Swin-B", "v0.1.0-alpha2", "groundingdino_swinb_cogcoor.pth", 128),
    _seem("focalt", "Focal-T"),
    _seem("focall", "Focal-L"),
    _seem("samvitb", "SAM ViT-B"),
    _seem("samvitl", "SAM ViT-L"),
    _semantic_sam("swint", "Swin-T"),
    _semantic_sam("swinl", "Swin-L"),
    _med2d(
        "sam-med2d-b",
        "SAM-Med2D with adapters",
        "sam-med2d_b.pth",
        (("image_encoder.blocks.0.Adapter.norm.weight", (768,)),),
    ),
    _med2d("sam-med2d-b-plain", "SAM-Med2D without adapters", "sam-med2d_b_without_adapter.pth", ()),
    Card(
        name="sam-med3d-turbo",
        title="SAM-Med3D, volumes",
        files=(WeightFile("sam_med3d_turbo.pth", "hf:blueyo0/SAM-Med3D/sam_med3d_turbo.pth"),),
        can=frozenset({"points", "masks", "volume"}),
        input_side=128,
        parameters=100_509_232,
        paper="https://arxiv.org/abs/2310.15161",
        page="https://github.com/uni-medical/SAM-Med3D",
        later=MEDICAL_LATER,
        instead="lite-medsam",
        tells=(("image_encoder.pos_embed", (1, 8, 8, 8, 768)),),
    ),
    Card(
        name="xmem",
        title="XMem, mask propagation for Track Anything",
        files=(WeightFile("XMem-s012.pth", "https://github.com/hkchengrex/XMem/releases/download/v1.0/XMem-s012.pth"),),
        can=frozenset({"masks", "video"}),
        input_side=480,
        parameters=62_185_224,
        licence="MIT",
        paper="https://arxiv.org/abs/2207.07115",
        page="https://github.com/hkchengrex/XMem",
        later="Track Anything",
        instead="sam-vit-b",
        tells=(("key_proj.key_proj.weight", (64, 1024, 3, 3)),),
    ),
    Card(
        name="big-lama",
        title="Big-LaMa, fills what a mask removes, for Inpaint Anything",
        files=(WeightFile("big-lama.pt"),),
        can=frozenset({"masks"}),
        input_side=512,
        parameters=50_975_875,
        paper="https://arxiv.org/abs/2109.07161",
        page="https://github.com/advimman/lama",
        later="editing",
        instead="anymask-lite",
        tells=(("generator.model.34.weight", (3, 64, 7, 7)),),
    ),
    _way(
        "persam",
        "PerSAM, one example to many images",
        frozenset({"exemplars"}),
        "https://arxiv.org/abs/2305.03048",
        "https://github.com/ZrrSkywalker/Personalize-SAM",
        "exemplar prompts",
        "MIT",
    ),
    _way(
        "sam-pt",
        "SAM-PT, tracking by points",
        frozenset({"points", "video"}),
        "https://arxiv.org/abs/2307.01197",
        "https://github.com/SysCV/sam-pt",
        "video by tracked points",
        "Apache-2.0",
    ),
    _way(
        "track-anything",
        "Track Anything: SAM, then XMem",
        CLICKS | {"video"},
        "https://arxiv.org/abs/2304.11968",
        "https://github.com/gaomingqi/Track-Anything",
        "Track Anything",
        "MIT",
    ),
    _way(
        "inpaint-anything",
        "Inpaint Anything: SAM, then LaMa",
        CLICKS,
        "https://arxiv.org/abs/2304.06790",
        "https://github.com/geekyutao/Inpaint-Anything",
        "editing",
        "Apache-2.0",
    ),
    _way(
        "sam2long",
        "SAM2Long, a tree of memories over SAM 2",
        CLICKS | {"video"},
        "https://arxiv.org/abs/2410.16268",
        "https://github.com/Mark12Ding/SAM2Long",
        "video (SAM 2)",
        "CC BY-NC 4.0 (code)",
    ),
    _way(
        "samurai",
        "SAMURAI, motion-aware memory over SAM 2",
        CLICKS | {"video"},
        "https://arxiv.org/abs/2411.11922",
        "https://github.com/yangchris11/samurai",
        "video (SAM 2)",
        "Apache-2.0",
    ),
)
