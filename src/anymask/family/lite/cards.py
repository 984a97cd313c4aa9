"""Cards of the models inside the package."""

from __future__ import annotations

from anymask.family.lite.model import SIDE, LiteModel
from anymask.family.lite.video import LiteVideo
from anymask.models.card import Card, WeightFile

EVERYTHING = (
    ("pred_iou_thresh", 0.5),
    ("stability_score_thresh", 0.5),
    ("mask_nms_thresh", 0.5),
    ("min_mask_region_area", 200),
)
"""Calibrated on training photos (benchmarks/thresholds.py, docs/model-inside.md); by SAM's own little passes."""

CARDS = (
    Card(
        name="anymask-lite",
        title="the model inside",
        build=LiteModel,
        files=(
            WeightFile(
                "anymask-lite.safetensors",
                "package:weights/anymask-lite.safetensors",
                sha256="02afc8d017b17cf76ebf02198cd6604c49c0046eb302252b95b2795748b84c3a",
                size=12_118_576,
            ),
        ),
        input_side=SIDE,
        parameters=6_039_240,
        everything=EVERYTHING,
        trained_on="2,858 photographs of 27 sets with reusable licences, 800 generated scenes: docs/model-inside.md",
        aliases=("lite",),
        notes="comes with the package; card and training log in docs/model-inside.md",
    ),
    Card(
        name="anymask-lite-video",
        title="the model inside, for clips",
        build=LiteVideo,
        base="anymask-lite",
        files=(
            WeightFile(
                "anymask-lite-video.safetensors",
                "package:weights/anymask-lite-video.safetensors",
                sha256="0150163e3a8c99a0334c909893ce8b6f95ccb819c540cf7c37a809b290908e69",
                size=3_409_898,
            ),
        ),
        can=frozenset({"points", "boxes", "masks", "video"}),
        input_side=SIDE,
        parameters=7_732_765,
        everything=EVERYTHING,
        trained_on="clips made of 2,820 photographs of 26 sets with reusable licences: docs/model-inside.md",
        aliases=("lite-video",),
        tells=(("memory.look.weight", (128, 256, 1, 1)),),
        notes="comes with the package, a memory beside the model inside; docs/model-inside.md",
    ),
)
