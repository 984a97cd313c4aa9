"""The names of the segment-anything package: a script for it runs by changing the import line.

from anymask.compat.segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
"""

from anymask.compat.segment_anything.automatic_mask_generator import SamAutomaticMaskGenerator
from anymask.compat.segment_anything.build_sam import (
    build_sam,
    build_sam_vit_b,
    build_sam_vit_h,
    build_sam_vit_l,
    build_sam_vit_t,
    sam_model_registry,
)
from anymask.compat.segment_anything.predictor import SamPredictor

__all__ = [
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "build_sam_vit_t",
    "sam_model_registry",
]
