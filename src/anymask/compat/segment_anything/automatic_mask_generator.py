"""SamAutomaticMaskGenerator: everything mode under the official names, for any member of the family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.compat.segment_anything.modeling import Sam
from anymask.compat.segment_anything.predictor import SamPredictor
from anymask.errors import BadImage, BadSetting
from anymask.masks.rle import between, decode_one
from anymask.models.interface import PromptModel
from anymask.pixels.image import Image
from anymask.session.everything import Candidate, coded, find
from anymask.session.settings import EverythingSettings

MODES = ("binary_mask", "uncompressed_rle", "coco_rle")


class SamAutomaticMaskGenerator:
    """The official generator over any promptable model of the family.

    model: from `sam_model_registry`, or what `anymask.load` gives. The other arguments are those of
    `EverythingSettings`, with SAM's own thresholds whatever the model. output_mode: what "segmentation" is in a record:
    "binary_mask" (bool [H, W]), "uncompressed_rle" or "coco_rle". Arguments are attributes and may be changed between
    calls of `generate`. Raises BadSetting for values out of range.
    """

    def __init__(
        self,
        model: Sam | PromptModel,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[NDArray[np.float64]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
    ) -> None:
        self.predictor = SamPredictor(model)
        self.points_per_batch = points_per_batch
        self.pred_iou_thresh = pred_iou_thresh
        self.stability_score_thresh = stability_score_thresh
        self.stability_score_offset = stability_score_offset
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.crop_n_points_downscale_factor = crop_n_points_downscale_factor
        self.min_mask_region_area = min_mask_region_area
        self.output_mode = output_mode
        if (points_per_side is None) == (point_grids is None):
            raise BadSetting("Exactly one of points_per_side or point_grids must be provided.")
        if point_grids is None:
            probe = EverythingSettings(
                points_per_side=points_per_side,
                crop_n_layers=crop_n_layers,
                crop_n_points_downscale_factor=crop_n_points_downscale_factor,
            )
            point_grids = [probe.grid(layer) for layer in range(crop_n_layers + 1)]
        self.point_grids = list(point_grids)
        self._settings()

    def _settings(self) -> EverythingSettings:
        """The attributes as they are now, checked."""
        if self.output_mode not in MODES:
            raise BadSetting(f"output_mode must be one of {', '.join(MODES)}, got {self.output_mode!r:.40}")
        return EverythingSettings(
            points_per_side=None,
            points_per_batch=self.points_per_batch,
            pred_iou_thresh=self.pred_iou_thresh,
            stability_score_thresh=self.stability_score_thresh,
            stability_score_offset=self.stability_score_offset,
            box_nms_thresh=self.box_nms_thresh,
            crop_n_layers=self.crop_n_layers,
            crop_nms_thresh=self.crop_nms_thresh,
            crop_overlap_ratio=self.crop_overlap_ratio,
            point_grids=self.point_grids,
            min_mask_region_area=self.min_mask_region_area,
        )

    def generate(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """Records of all masks in an image, uint8 [H, W, 3] RGB.

        Each is a dictionary: segmentation (see output_mode), area in pixels, bbox [x, y, w, h] (of pixel centres: w is
        one less than the number of columns, as officially), predicted_iou, point_coords [[x, y]], stability_score,
        crop_box [x, y, w, h]. Raises BadImage.
        """
        settings = self._settings()
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise BadImage("generate takes an image as a numpy array uint8 [H, W, 3] in RGB")
        opened = Image.open(image)
        model = self.predictor.model
        found = find(model.network, opened, settings, threshold=model.mask_threshold)
        return [self._record(one, opened.size) for one in found]

    def _record(self, one: Candidate, size: tuple[int, int]) -> dict[str, Any]:
        if self.output_mode == "uncompressed_rle":
            shape: Any = {"size": list(size), "counts": between(one.sight.edges, size).tolist()}
        else:
            rle = coded(one.sight.edges, size)
            packed = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
            shape = decode_one(rle) if self.output_mode == "binary_mask" else packed
        x0, y0, x1, y1 = one.box
        return {
            "segmentation": shape,
            "area": one.sight.area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "predicted_iou": float(one.score),
            "point_coords": [list(one.point)],
            "stability_score": float(one.stability),
            "crop_box": [one.crop.x0, one.crop.y0, one.crop.size[1], one.crop.size[0]],
        }
