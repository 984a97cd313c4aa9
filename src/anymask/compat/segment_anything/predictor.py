"""SamPredictor: one image, encoded once, and masks for prompts on it, under the official names."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anymask.compat.segment_anything.modeling import Sam, pixels_checked
from anymask.compat.segment_anything.utils.transforms import image_size, numbers
from anymask.errors import BadImage, BadPrompt, BadSetting, NoImage
from anymask.models.interface import PromptModel
from anymask.pixels.image import Image


class SamPredictor:
    """The official predictor over any promptable model of the family.

    sam_model: from `sam_model_registry`, or what `anymask.load` gives; then points, boxes and pictures are brought into
    that member's own frame, and masks of earlier answers have that member's size.
    """

    def __init__(self, sam_model: Sam | PromptModel) -> None:
        self.model = sam_model if isinstance(sam_model, Sam) else Sam(sam_model)  # type: ignore[arg-type]
        self.transform = self.model.transform()
        self.reset_image()

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def reset_image(self) -> None:
        """Forgets the image."""
        self.is_image_set = False
        self.features: Tensor | None = None
        self.original_size: tuple[int, int] | None = None
        self.input_size: tuple[int, int] | None = None
        self.orig_h = self.orig_w = self.input_h = self.input_w = None

    def set_image(self, image: NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Encodes an image, uint8 [H, W, 3]; `image_format` is "RGB" or "BGR". Raises BadImage, BadSetting."""
        if image_format not in ("RGB", "BGR"):
            raise BadSetting(f"image_format must be 'RGB' or 'BGR', got {image_format!r}")
        pixels = Image.open(image).pixels()
        if image_format != self.model.image_format:
            pixels = pixels[..., ::-1]
        scaled = np.ascontiguousarray(self.transform.apply_image(pixels).transpose(2, 0, 1))
        self.set_torch_image(torch.as_tensor(scaled, device=self.device)[None], pixels.shape[:2])

    @torch.no_grad()
    def set_torch_image(self, transformed_image: Tensor, original_image_size: tuple[int, ...]) -> None:
        """Encodes an image that `transform` resized already: [1, 3, h, w] with values 0..255, not normalised.

        original_image_size: (H, W) before resizing. Raises BadImage, BadSetting.
        """
        side = self.model.image_encoder.img_size
        shape = tuple(pixels_checked(transformed_image).shape)
        if len(shape) != 4 or shape[1] != 3 or max(shape[2:]) != side or 0 in shape:
            raise BadImage(f"set_torch_image takes [1, 3, h, w] with a long side of {side}, got {shape}")
        size = image_size(original_image_size)
        self.reset_image()
        self.features = self.model.image_encoder(self.model.preprocess(transformed_image.to(self.device)))
        self.original_size, self.input_size = size, (shape[2], shape[3])
        self.is_image_set = True

    def get_image_embedding(self) -> Tensor:
        """The embedding [1, C, h, w]; raises NoImage (a RuntimeError) before an image is set."""
        if not self.is_image_set or self.features is None:
            raise NoImage("An image must be set with .set_image(...) to generate an embedding.")
        return self.features

    def predict(
        self,
        point_coords: NDArray[Any] | None = None,
        point_labels: NDArray[Any] | None = None,
        box: NDArray[Any] | None = None,
        mask_input: NDArray[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """Masks for one object, prompts in original pixels.

        point_coords: [N, 2] (x, y); point_labels: [N], 1 inside, 0 outside; box: [4] XYXY; mask_input: [1, h, w] logits
        of an earlier answer. multimask_output: three candidates, or one mask. return_logits: unthresholded.
        Returns masks bool (or float) [C, H, W], predicted IoU [C], low-resolution logits [C, h, w].
        Raises NoImage (a RuntimeError), BadPrompt.
        """
        size = self._size()
        xy = labels = corners = logits = None
        if point_coords is not None:
            if point_labels is None:
                raise BadPrompt("point_labels must be supplied if point_coords is supplied")
            xy = self._floats(self.transform.apply_coords(point_coords, size))
            labels = self._floats(numbers(point_labels, "point_labels"))
            if xy.ndim != 2 or labels.shape != xy.shape[:1]:
                raise BadPrompt(
                    f"point_coords must be [N, 2] and point_labels [N], got {tuple(xy.shape)} and {tuple(labels.shape)}"
                )
            xy, labels = xy[None], labels[None]
        if box is not None:
            corners = self._floats(self.transform.apply_boxes(numbers(box, "box"), size))
            if len(corners) != 1:
                raise BadPrompt(
                    f"predict takes one box of 4 numbers, got {len(corners)}; see predict_torch for several"
                )
        if mask_input is not None:
            logits = self._floats(numbers(mask_input, "mask_input"))
            if logits.ndim != 3:
                raise BadPrompt(f"mask_input must be [1, h, w], got {tuple(logits.shape)}")
            logits = logits[None]
        masks, scores, low_res = self.predict_torch(xy, labels, corners, logits, multimask_output, return_logits)
        return masks[0].cpu().numpy(), scores[0].float().cpu().numpy(), low_res[0].float().cpu().numpy()

    @torch.no_grad()
    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Masks for B objects, prompts already in the model's frame (see `transform.apply_coords_torch`).

        point_coords: [B, N, 2]; point_labels: [B, N]; boxes: [B, 4]; mask_input: [B, 1, h, w].
        Returns masks bool (or float) [B, C, H, W], predicted IoU [B, C], low-resolution logits [B, C, h, w].
        Raises NoImage (a RuntimeError), BadPrompt.
        """
        size = self._size()
        points = None
        if point_coords is not None:
            if point_labels is None:
                raise BadPrompt("point_labels must be supplied if point_coords is supplied")
            points = (self._here(point_coords), self._here(point_labels))
        sparse, dense = self.model.prompt_encoder(points=points, boxes=self._here(boxes), masks=self._here(mask_input))
        low_res, scores = self.model.mask_decoder(
            image_embeddings=self.features,
            image_pe=self.model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask_output,
        )
        input_size = self.input_size or self.transform.get_preprocess_shape(*size, self.transform.target_length)
        masks = self.model.postprocess_masks(low_res, input_size, size)
        return masks if return_logits else masks > self.model.mask_threshold, scores, low_res

    def _size(self) -> tuple[int, int]:
        """(H, W) of the image that is set."""
        if not self.is_image_set or self.features is None or self.original_size is None:
            raise NoImage("An image must be set with .set_image(...) before mask prediction.")
        return self.original_size

    def _here(self, value: Any) -> Any:
        # a tensor without numbers cannot be moved; the prompt encoder refuses it
        return value.to(self.device) if isinstance(value, Tensor) and not value.is_meta else value

    def _floats(self, array: NDArray[Any]) -> Tensor:
        return torch.as_tensor(np.asarray(array, np.float32), device=self.device)
