"""SAM2ImagePredictor: images, encoded once, and masks for prompts on them, under the official names."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anymask.compat.segment_anything.utils.transforms import numbers
from anymask.errors import BadImage, BadPrompt, NoImage
from anymask.models.interface import Decoded, Embedding
from anymask.models.promptable import PromptableModel
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts

LARGEST = 32.0
"""Low-resolution logits are cut off here before they are handed out."""
Arrays = tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]


class SAM2ImagePredictor:
    """The official predictor over any promptable model of the family.

    sam_model: from `build_sam2`, or what `anymask.load` gives. mask_threshold: logits above it are the object.
    max_hole_area, max_sprinkle_area: holes and islands of up to so many low-resolution pixels are filled and dropped.
    """

    def __init__(
        self,
        sam_model: PromptableModel,
        mask_threshold: float = 0.0,
        max_hole_area: float = 0.0,
        max_sprinkle_area: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.model = sam_model
        self.mask_threshold = mask_threshold
        self.max_hole_area, self.max_sprinkle_area = max_hole_area, max_sprinkle_area
        self._transforms = _Transforms(self)
        self.reset_predictor()

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2ImagePredictor:
        """With published weights: "facebook/sam2.1-hiera-tiny". Raises UnknownModel, DownloadFailed."""
        from anymask.compat.sam2.build_sam import build_sam2_hf

        return cls(build_sam2_hf(model_id, **kwargs), **kwargs)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def reset_predictor(self) -> None:
        """Forgets the images."""
        self._embedding: Embedding | None = None
        self._features: dict[str, Any] | None = None
        self._orig_hw: list[tuple[int, int]] | None = None
        self._is_image_set = self._is_batch = False

    def set_image(self, image: Any) -> None:
        """Encodes an image: uint8 [H, W, 3] RGB or a PIL image. Raises BadImage."""
        self._encode([image])

    def set_image_batch(self, image_list: Sequence[NDArray[np.uint8]]) -> None:
        """Encodes several images in one pass, for `predict_batch`. Raises BadImage."""
        if not isinstance(image_list, (list, tuple)) or not image_list:
            raise BadImage("set_image_batch takes a list of images [H, W, 3]")
        self._encode(image_list)
        self._is_batch = True

    @torch.no_grad()
    def _encode(self, images: Sequence[Any]) -> None:
        self.reset_predictor()
        opened = [Image.open(image) for image in images]
        embedding = self.model.encode(opened)
        maps = [embedding.tensors[name] for name in ("high_res_0", "high_res_1") if name in embedding.tensors]
        self._embedding = embedding
        self._features = {"image_embed": embedding.tensors["image"], "high_res_feats": maps}
        self._orig_hw = [image.size for image in opened]
        self._is_image_set = True

    def get_image_embedding(self) -> Tensor:
        """The embedding [B, C, h, w]; raises NoImage (a RuntimeError) before an image is set."""
        return self._embedded("An image must be set with .set_image(...) to generate an embedding.").tensors["image"]

    def predict(
        self,
        point_coords: Any = None,
        point_labels: Any = None,
        box: Any = None,
        mask_input: Any = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> Arrays:
        """Masks for one object or several.

        point_coords: [N, 2] or [B, N, 2] (x, y); point_labels: [N] or [B, N], 1 inside, 0 outside. box: [4] or [B, 4]
        XYXY. mask_input: [1, h, w] or [B, 1, h, w] logits of an earlier answer. normalize_coords: coordinates are
        pixels of the image; else shares of its sides, 0..1. multimask_output: three candidates, or one mask.
        Returns masks float32 [C, H, W] of 0 and 1 (or logits), predicted IoU [C] and low-resolution logits [C, h, w];
        of several objects [B, C, ...]. Raises NoImage (a RuntimeError), BadPrompt.
        """
        self._embedded("An image must be set with .set_image(...) before mask prediction.")
        given = (point_coords, point_labels, box, mask_input)
        return self._predicted(-1, given, multimask_output, return_logits, normalize_coords)

    def predict_batch(
        self,
        point_coords_batch: Sequence[Any] | None = None,
        point_labels_batch: Sequence[Any] | None = None,
        box_batch: Sequence[Any] | None = None,
        mask_input_batch: Sequence[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[list[NDArray[Any]], list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        """`predict` for each image of `set_image_batch`, the prompts as lists with one item an image."""
        embedding = self._embedded("An image must be set with .set_image_batch(...) before mask prediction.")
        if not self._is_batch:
            raise NoImage("predict_batch goes with set_image_batch; for a single image there is predict")
        columns = (point_coords_batch, point_labels_batch, box_batch, mask_input_batch)
        if any(column is not None and len(column) != len(embedding) for column in columns):
            raise BadPrompt(f"prompts are lists with one item for each of {len(embedding)} images")
        answers = [
            self._predicted(
                index,
                tuple(None if column is None else column[index] for column in columns),
                multimask_output,
                return_logits,
                normalize_coords,
            )
            for index in range(len(embedding))
        ]
        masks, scores, low = zip(*answers, strict=True)
        return list(masks), list(scores), list(low)

    @torch.no_grad()
    def _predicted(
        self, index: int, given: tuple[Any, ...], multimask: bool, return_logits: bool, normalize: bool
    ) -> Arrays:
        embedding = self._embedded("")[index]
        points, labels, box, mask = given
        prompts = prompts_of(points, labels, box, mask, embedding.resize[0].original, normalize)
        decoded = self.model.decode(embedding, prompts, multimask=multimask)
        clean = self.cleaned(decoded)
        masks = clean.upscaled()
        shown = masks if return_logits else masks > self.mask_threshold
        low = decoded.logits.float().clamp(-LARGEST, LARGEST)
        return _squeezed(shown.float()), _squeezed(decoded.scores.float()), _squeezed(low)

    def _prep_prompts(
        self,
        point_coords: Any,
        point_labels: Any,
        box: Any,
        mask_logits: Any,
        normalize_coords: bool,
        img_idx: int = -1,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Prompts of `predict` as tensors in the model's frame, as scripts for fine-tuning ask for them.

        Returns mask logits [B, 1, h, w], points [B, N, 2], labels [B, N] and boxes [B, 2, 2], None where not given.
        """
        resize = self._embedded("An image must be set with .set_image(...) before prompts are.")[img_idx].resize[0]
        given = prompts_of(point_coords, point_labels, box, mask_logits, resize.original, normalize_coords)

        def tensor(value: Any) -> Tensor:
            return torch.as_tensor(value, device=self.device)

        mask = None if given.low_res is None else tensor(given.low_res)[:, None]
        xy = None if given.points is None else tensor(resize.points(given.points))
        labels = None if given.point_labels is None else tensor(given.point_labels).int()
        corners = None if given.boxes is None else tensor(resize.boxes(given.boxes)).view(-1, 2, 2)
        return mask, xy, labels, corners

    def cleaned(self, decoded: Decoded) -> Decoded:
        """Answers with small holes filled and small islands dropped, as the options say."""
        logits = decoded.logits.float()
        for area, kind in ((self.max_hole_area, "holes"), (self.max_sprinkle_area, "islands")):
            if area > 0:
                flat = logits.flatten(0, 1)
                fixed = [without(one, area, kind, self.mask_threshold) for one in flat]  # type: ignore[arg-type]
                logits = torch.stack(fixed).view_as(logits)
        return replace(decoded, logits=logits)

    def _embedded(self, message: str) -> Embedding:
        if self._embedding is None:
            raise NoImage(message)
        return self._embedding


class _Transforms:
    """What scripts for fine-tuning reach for by the official private name."""

    def __init__(self, predictor: SAM2ImagePredictor) -> None:
        self._predictor = weakref.proxy(predictor)

    def postprocess_masks(self, masks: Tensor, orig_hw: tuple[int, int]) -> Tensor:
        """Low-resolution logits [B, M, h, w] in an image's size (H, W), holes and islands cleaned."""
        resize = self._predictor.model.preprocess.resize((int(orig_hw[0]), int(orig_hw[1])))
        clean: Decoded = self._predictor.cleaned(Decoded(masks, masks.new_zeros(masks.shape[:2]), resize))
        return clean.upscaled()


def prompts_of(points: Any, labels: Any, box: Any, mask: Any, size: tuple[int, int], normalize: bool = True) -> Prompts:
    """Official prompts as ours. Raises BadPrompt."""
    scale = np.array([1.0, 1.0] if normalize else [size[1], size[0]])
    xy: NDArray[np.float32] | None = None
    kinds: NDArray[np.int64] | None = None
    corners: NDArray[np.float32] | None = None
    logits: NDArray[np.float32] | None = None
    if points is not None:
        if labels is None:
            raise BadPrompt("point_labels must be supplied if point_coords is supplied.")
        xy = (numbers(points, "point_coords") * scale).astype(np.float32)
        kinds = numbers(labels, "point_labels").astype(np.int64)
        if xy.ndim == 2:
            xy, kinds = xy[None], kinds[None]
        if xy.ndim != 3 or xy.shape[-1] != 2 or kinds.shape != xy.shape[:2]:
            raise BadPrompt(
                f"point_coords must be [N, 2] or [B, N, 2] and point_labels alike, got {xy.shape} and {kinds.shape}"
            )
    if box is not None:
        flat = numbers(box, "box")
        if flat.size % 4 or flat.size == 0:
            raise BadPrompt(f"box must be [4] or [B, 4], got {flat.shape}")
        corners = (flat.reshape(-1, 2, 2) * scale).reshape(-1, 4).astype(np.float32)
    if mask is not None:
        logits = numbers(mask, "mask_input").astype(np.float32)
        if logits.ndim not in (3, 4) or (logits.ndim == 4 and logits.shape[1] != 1):
            raise BadPrompt(f"mask_input must be [1, h, w] or [B, 1, h, w], got {logits.shape}")
        logits = logits[:, 0] if logits.ndim == 4 else logits
    count = max(len(one) for one in (xy, corners, logits, [None]) if one is not None)
    if logits is not None and len(logits) == 1 < count:
        logits = np.repeat(logits, count, 0)
    return Prompts(xy, kinds, corners, logits)


def without(logits: Tensor, area: float, kind: Literal["holes", "islands"], threshold: float = 0.0) -> Tensor:
    """Logits [h, w] without regions of up to `area` pixels (8-connected): clearly above the threshold, or below it."""
    looked = (logits <= threshold) if kind == "holes" else (logits > threshold)
    wanted = np.ascontiguousarray(looked.cpu().numpy(), np.uint8)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(wanted, connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= area
    small[0] = False
    if not small.any():
        return logits
    there = torch.as_tensor(small[regions], device=logits.device)
    return torch.where(there, torch.full_like(logits, threshold + (10.0 if kind == "holes" else -10.0)), logits)


def _squeezed(tensor: Tensor) -> NDArray[Any]:
    return tensor.squeeze(0).cpu().numpy()
