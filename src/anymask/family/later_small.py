"""Cards of the small and fast members, whose networks come in later releases."""

from __future__ import annotations

from anymask.models.card import Card, WeightFile

CLICKS = frozenset({"points", "boxes", "masks"})
VIDEO = CLICKS | {"video"}


def _small(
    name: str,
    title: str,
    file: WeightFile,
    paper: str,
    page: str,
    *,
    parameters: int = 0,
    side: int = 1024,
    can: frozenset[str] = CLICKS,
    licence: str = "Apache-2.0",
    official: str = "",
    tells: tuple[tuple[str, tuple[int, ...]], ...] = (),
    notes: str = "",
) -> Card:
    later = "video (SAM 2)" if "video" in can else "the other small encoders"
    return Card(
        name=name,
        title=title,
        files=(file,),
        can=can,
        input_side=side,
        parameters=parameters,
        licence=licence,
        paper=paper,
        official=official,
        page=page,
        later=later,
        instead="mobile-sam",
        tells=tells,
        notes=notes,
    )


_EFFICIENT_TAM = "https://github.com/yformer/EfficientTAM"
_EFFICIENT_VIT = "https://github.com/mit-han-lab/efficientvit"
_EDGE_SAM = "https://github.com/chongzhou96/EdgeSAM"
_FAST_SAM = "https://github.com/CASIA-IVA-Lab/FastSAM"
_ULTRALYTICS = "https://github.com/ultralytics/assets/releases/download/v8.4.0/"

CARDS = (
    _small(
        "fast-sam-x",
        "FastSAM x",
        WeightFile("FastSAM-x.pt", _ULTRALYTICS + "FastSAM-x.pt"),
        "https://arxiv.org/abs/2306.12156",
        _FAST_SAM,
        parameters=71_751_811,
        can=frozenset({"points", "boxes", "text", "everything"}),
        licence="AGPL-3.0",
        official="ultralytics",
        notes="its published file is a pickled program, which anymask does not open",
    ),
    _small(
        "fast-sam-s",
        "FastSAM s",
        WeightFile("FastSAM-s.pt", _ULTRALYTICS + "FastSAM-s.pt"),
        "https://arxiv.org/abs/2306.12156",
        _FAST_SAM,
        parameters=11_790_483,
        can=frozenset({"points", "boxes", "text", "everything"}),
        licence="AGPL-3.0",
        official="ultralytics",
        notes="its published file is a pickled program, which anymask does not open",
    ),
    _small(
        "edge-sam",
        "EdgeSAM",
        WeightFile("edge_sam.pth", "hf:spaces/chongzhou/EdgeSAM/weights/edge_sam.pth"),
        "https://arxiv.org/abs/2312.06660",
        _EDGE_SAM,
        parameters=9_600_000,
        licence="S-Lab 1.0 (non-commercial)",
    ),
    _small(
        "edge-sam-3x",
        "EdgeSAM, trained three times as long",
        WeightFile("edge_sam_3x.pth", "hf:spaces/chongzhou/EdgeSAM/weights/edge_sam_3x.pth"),
        "https://arxiv.org/abs/2312.06660",
        _EDGE_SAM,
        parameters=9_600_000,
        licence="S-Lab 1.0 (non-commercial)",
    ),
    _small(
        "edge-tam",
        "EdgeTAM, video on a phone",
        WeightFile("edgetam.pt", "https://github.com/facebookresearch/EdgeTAM/raw/main/checkpoints/edgetam.pt"),
        "https://arxiv.org/abs/2501.07256",
        "https://github.com/facebookresearch/EdgeTAM",
        parameters=13_895_794,
        can=VIDEO,
        official="edgetam-dimos 1.0.1",
        tells=(("image_encoder.neck.convs.0.conv.weight", (256, 384, 1, 1)),),
    ),
    _small(
        "efficient-tam-s",
        "EfficientTAM S",
        WeightFile("efficienttam_s.pt", "hf:yunyangx/efficient-track-anything/efficienttam_s.pt"),
        "https://arxiv.org/abs/2411.18933",
        _EFFICIENT_TAM,
        can=VIDEO,
    ),
    _small(
        "efficient-tam-ti",
        "EfficientTAM Ti",
        WeightFile("efficienttam_ti.pt", "hf:yunyangx/efficient-track-anything/efficienttam_ti.pt"),
        "https://arxiv.org/abs/2411.18933",
        _EFFICIENT_TAM,
        can=VIDEO,
    ),
    *(
        _small(
            f"efficientvit-sam-{size}",
            f"EfficientViT-SAM {size.upper()}",
            WeightFile(
                f"efficientvit_sam_{size}.pt",
                f"hf:mit-han-lab/efficientvit-sam/efficientvit_sam_{size}.pt",
                sha256=sha256,
            ),
            "https://arxiv.org/abs/2402.05008",
            _EFFICIENT_VIT,
            parameters=parameters,
            side=side,
            official="efficientsam 1.0.0",
        )
        for size, parameters, side, sha256 in (
            ("l0", 34_792_784, 512, "c4f994b01a16d48bcf2fbbb089448cfbf58fae5811edfa8113c953b8b8cc64b8"),
            ("l1", 0, 512, ""),
            ("l2", 61_328_592, 512, ""),
            ("xl0", 0, 1024, ""),
            ("xl1", 203_346_128, 1024, ""),
        )
    ),
    _small(
        "repvit-sam",
        "RepViT-SAM",
        WeightFile("repvit_sam.pt", "https://github.com/THU-MIG/RepViT/releases/download/v1.0/repvit_sam.pt"),
        "https://arxiv.org/abs/2312.05760",
        "https://github.com/THU-MIG/RepViT",
        parameters=27_223_480,
    ),
    _small(
        "tiny-sam",
        "TinySAM",
        WeightFile(
            "tinysam.pth",
            "https://github.com/xinghaochen/TinySAM/releases/download/1.0/tinysam.pth",
            sha256="4b8edcf93af46e2a658ae455574de62873778a5cc3fd8e8adf094dcdfa957cf2",
        ),
        "https://arxiv.org/abs/2312.13789",
        "https://github.com/xinghaochen/TinySAM",
    ),
)
