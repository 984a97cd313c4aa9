"""SAM2AutomaticMaskGenerator: everything mode under SAM 2's official names, for any member of the family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from anymask.compat.sam2.sam2_image_predictor import LARGEST, SAM2ImagePredictor
from anymask.compat.segment_anything.automatic_mask_generator import SamAutomaticMaskGenerator
from anymask.errors import BadImage
from anymask.models.interface import Decoded, Embedding
from anymask.models.promptable import PromptableModel
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts
from anymask.session.everything import find


class SAM2AutomaticMaskGenerator(SamAutomaticMaskGenerator):
    """The official generator over any promptable model of the family.

    model: from `build_sam2`, or what `anymask.load` gives. Arguments as in `SamAutomaticMaskGenerator`, besides:
    min_mask_region_area: holes and islands of up to so many pixels of the low-resolution answer are filled and dropped.
    mask_threshold: logits above it are the object. use_m2m: each answer is refined once by being fed back.
    multimask_output: three candidates for each point, or one. Raises BadSetting for values out of range.
    """

    def __init__(
        self,
        model: PromptableModel,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.8,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        mask_threshold: float = 0.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[NDArray[np.float64]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
        use_m2m: bool = False,
        multimask_output: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model,
            points_per_side,
            points_per_batch,
            pred_iou_thresh,
            stability_score_thresh,
            stability_score_offset,
            box_nms_thresh,
            crop_n_layers,
            crop_nms_thresh,
            crop_overlap_ratio,
            crop_n_points_downscale_factor,
            point_grids,
            min_mask_region_area,
            output_mode,
        )
        self.mask_threshold, self.use_m2m, self.multimask_output = mask_threshold, use_m2m, multimask_output
        self.network = model
        self.predictor = SAM2ImagePredictor(model)  # type: ignore[assignment]

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2AutomaticMaskGenerator:
        """With published weights: "facebook/sam2.1-hiera-tiny". Raises UnknownModel, DownloadFailed."""
        from anymask.compat.sam2.build_sam import build_sam2_hf

        return cls(build_sam2_hf(model_id, **kwargs), **kwargs)

    def generate(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """Records of all masks in an image, as `SamAutomaticMaskGenerator.generate`. Raises BadImage."""
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise BadImage("generate takes an image as a numpy array uint8 [H, W, 3] in RGB")
        opened = Image.open(image)
        # cleaned as low-resolution answers, before anything is looked at in full size
        settings = replace(self._settings(), min_mask_region_area=0)
        asked = _Asked(self.network, self.min_mask_region_area, self.use_m2m, self.multimask_output)
        found = find(asked, opened, settings, threshold=self.mask_threshold)
        return [self._record(one, opened.size) for one in found]


class _Asked:
    """A model whose answers to a grid of points come as SAM 2's generator asks for them."""

    def __init__(self, model: PromptableModel, area: int, again: bool, several: bool) -> None:
        self.model, self.again, self.several = model, again, several
        self.card, self.device, self.weights = model.card, model.device, model.weights
        self._clean = SAM2ImagePredictor(model, max_hole_area=area, max_sprinkle_area=area)

    def encode(self, images: Sequence[Image]) -> Embedding:
        return self.model.encode(images)

    def decode(
        self,
        embedding: Embedding,
        prompts: Prompts,
        *,
        multimask: Any = None,
        min_score: float | None = None,
    ) -> Decoded:
        least = None if self.again else min_score
        decoded = self.model.decode(embedding, prompts, multimask=self.several, min_score=least)
        if self.again:
            decoded = self._refined(embedding, prompts, decoded)
        return self._clean.cleaned(decoded)

    def _refined(self, embedding: Embedding, prompts: Prompts, decoded: Decoded) -> Decoded:
        """Each candidate fed back with its point, for one mask each."""
        count, planes, height, width = decoded.logits.shape
        earlier = decoded.logits.float().clamp(-LARGEST, LARGEST).reshape(-1, height, width).cpu().numpy()
        assert prompts.points is not None and prompts.point_labels is not None
        points, labels = np.repeat(prompts.points, planes, 0), np.repeat(prompts.point_labels, planes, 0)
        parts = []
        step = max(1, len(earlier) // planes)
        for start in range(0, len(earlier), step):
            rows = slice(start, start + step)
            again = Prompts(points[rows], labels[rows], None, earlier[rows])
            parts.append(self.model.decode(embedding, again, multimask=False))
        logits = torch.cat([part.logits for part in parts]).view(count, planes, height, width)
        return Decoded(logits, torch.cat([part.scores for part in parts]).view(count, planes), decoded.resize)
