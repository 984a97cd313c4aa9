"""The names of the sam2 package: a script for it runs by changing the import lines.

from anymask.compat.sam2.build_sam import build_sam2, build_sam2_video_predictor
from anymask.compat.sam2.sam2_image_predictor import SAM2ImagePredictor
"""

from anymask.compat.sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from anymask.compat.sam2.build_sam import (
    build_sam2,
    build_sam2_hf,
    build_sam2_video_predictor,
    build_sam2_video_predictor_hf,
)
from anymask.compat.sam2.sam2_image_predictor import SAM2ImagePredictor
from anymask.compat.sam2.sam2_video_predictor import SAM2VideoPredictor

__all__ = [
    "SAM2AutomaticMaskGenerator",
    "SAM2ImagePredictor",
    "SAM2VideoPredictor",
    "build_sam2",
    "build_sam2_hf",
    "build_sam2_video_predictor",
    "build_sam2_video_predictor_hf",
]
