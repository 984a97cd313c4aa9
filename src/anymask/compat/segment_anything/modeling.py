"""Sam: any promptable model behind the attributes and calls of the official class.

The three parts are thin faces of our own modules: they share their parameters, buffers and submodules, so that
`state_dict()` has the official keys, `parameters()` are the ones that are trained, and replacing or hooking a submodule
does what it does with the official class. Only the way of calling differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.compat.segment_anything.utils.transforms import ResizeLongestSide, image_size
from anymask.errors import BadImage, BadPrompt, BadSetting
from anymask.models.promptable import PromptableModel
from anymask.nn.mask_decoder import ALL, CANDIDATES, SINGLE
from anymask.nn.mask_decoder import MaskDecoder as OwnDecoder
from anymask.nn.prompt_encoder import EncodedPrompts
from anymask.nn.prompt_encoder import PromptEncoder as OwnPromptEncoder

NO_EMBEDDING = 9.0
"""A label that no embedding is added for, as the official code treats all labels but -1, 0 and 1."""


class _Face(nn.Module):
    """A module that is called in the official way and consists of another module's parts."""

    inner: Any

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        # not as an attribute of nn.Module: the inner module must not appear in state_dict() a second time
        self.__dict__["inner"] = inner
        self.__dict__["_modules"] = inner._modules
        self.__dict__["_parameters"] = inner._parameters
        self.__dict__["_buffers"] = inner._buffers
        self.training = inner.training

    def train(self, mode: bool = True) -> _Face:
        self.inner.train(mode)
        self.training = mode
        return self


class ImageEncoder(_Face):
    """Frames float [B, 3, side, side] to the embedding [B, C, h, w].

    A member with high-resolution features hangs them onto the embedding as `high_res`, where its decoder looks.
    """

    network: PromptableModel

    def __init__(self, network: PromptableModel) -> None:
        super().__init__(network.image_encoder)
        self.__dict__["network"] = network

    @property
    def img_size(self) -> int:
        """Pixels of the frame's side."""
        return self.network.preprocess.side

    def forward(self, x: Tensor) -> Tensor:
        network, side = self.network, self.img_size
        if x.ndim != 4 or x.shape[1] != 3 or x.shape[2:] != (side, side):
            raise BadImage(f"the image encoder takes frames [B, 3, {side}, {side}], got {tuple(x.shape)}")
        # in float32 the module is called as it is, so that the caller's autocast stays in force
        out = self.inner(x) if network.compute_dtype == torch.float32 else network.encode_frames(x)
        if isinstance(out, Tensor):
            return out
        return with_maps(out["image"], (out["high_res_0"], out["high_res_1"]) if "high_res_0" in out else None)


class PromptEncoder(_Face):
    """Prompts in the model's frame to (sparse [B, T, C], dense [B, C, h, w]).

    The maps that a member draws of its prompts as well hang onto dense as `high_res`.
    """

    @property
    def _own(self) -> OwnPromptEncoder:
        return cast(OwnPromptEncoder, self.inner)

    @property
    def embed_dim(self) -> int:
        """Channels of the embedding."""
        return self._own.dim

    @property
    def input_image_size(self) -> tuple[int, int]:
        """(H, W) of the model's frame."""
        return self._own.input_size

    @property
    def image_embedding_size(self) -> tuple[int, int]:
        """(h, w) of the embedding."""
        return self._own.grid

    @property
    def mask_input_size(self) -> tuple[int, int]:
        """(h, w) of the logits that are taken as a mask prompt."""
        return self._own.mask_size

    def get_dense_pe(self) -> Tensor:
        """The positions of the embedding's cells, [1, C, h, w]."""
        return self._own.dense_pe()

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """points: (coordinates [B, N, 2], labels [B, N]); boxes: [B, 4]; masks: logits [B, 1, 4h, 4w]. BadPrompt."""
        xy, labels, boxes = _checked(points, boxes, masks, self.mask_input_size)
        sparse, dense, maps = self.inner(xy, labels, boxes, masks)
        return sparse, with_maps(dense.expand(len(sparse), -1, -1, -1), maps)


class MaskDecoder(_Face):
    """Embeddings to low-resolution logits [B, M, 4h, 4w] and predicted IoU [B, M]."""

    @property
    def num_mask_tokens(self) -> int:
        """Answers in all: one for unambiguous prompts and the candidates."""
        return cast(OwnDecoder, self.inner).mask_count

    @property
    def num_multimask_outputs(self) -> int:
        """Candidates answered to an ambiguous prompt."""
        return self.num_mask_tokens - 1

    @property
    def transformer_dim(self) -> int:
        """Channels of the embedding."""
        return cast(OwnDecoder, self.inner).dim

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        """The candidates (M = 3) or the single-mask answer (M = 1) of B prompts on one image, or on B images."""
        answers = CANDIDATES if multimask_output else SINGLE
        return self._answers(image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings, answers)

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """All answers, the single-mask one first."""
        return self._answers(image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings, ALL)

    def _answers(
        self, image: Tensor, pe: Tensor, sparse: Tensor, dense: Tensor, answers: slice
    ) -> tuple[Tensor, Tensor]:
        maps, prompt_maps = getattr(image, "high_res", None), getattr(dense, "high_res", None)
        if maps is None and prompt_maps is not None:
            raise BadSetting(
                "this model's decoder also reads high-resolution features, which were lost between image_encoder and "
                "mask_decoder; pass on the very tensor that image_encoder returned, or use SamPredictor"
            )
        if len(image) not in (1, len(sparse)) or len(dense) not in (1, len(sparse)):
            raise BadPrompt(
                f"{len(sparse)} prompts need one image embedding or one each and as many dense embeddings, got "
                f"{len(image)} and {len(dense)}"
            )
        if len(dense) > 1 and dense.stride(0) == 0:
            # the same for all prompts: said so, the decoder works on it once
            dense = dense[:1]
        # with gradients all answers are computed, as officially: distributed training wants one for each parameter
        asked = ALL if torch.is_grad_enabled() else answers
        logits, scores = self.inner(image, pe, EncodedPrompts(sparse, dense, prompt_maps), maps, answers=asked)
        return (logits[:, answers], scores[:, answers]) if asked != answers else (logits, scores)


class Sam(nn.Module):
    """A promptable model with the official interface; `model` is what `anymask.load` gives."""

    mask_threshold: float = 0.0
    image_format: str = "RGB"
    network: PromptableModel
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, model: PromptableModel) -> None:
        super().__init__()
        if not isinstance(model, PromptableModel):
            raise BadSetting(
                "Sam and SamPredictor take a model of sam_model_registry or of anymask.load, with an image encoder, "
                f"a prompt encoder and a mask decoder, got {type(model).__name__}"
            )
        self.__dict__["network"] = model
        self.image_encoder = ImageEncoder(model)
        self.prompt_encoder = PromptEncoder(model.prompt_encoder)
        self.mask_decoder = MaskDecoder(model.mask_decoder)
        way = model.preprocess
        stretched = way.normalise == "min-max"
        mean, std = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)) if stretched else (way.mean, way.std)
        for name, values in (("pixel_mean", mean), ("pixel_std", std)):
            # not in state_dict(), as officially
            self.register_buffer(name, torch.tensor(values, device=model.device).view(-1, 1, 1), persistent=False)
        self.training = model.training

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.pixel_mean.device

    def transform(self) -> ResizeLongestSide:
        """What brings pictures, points and boxes into this model's frame."""
        return ResizeLongestSide.of(self.network.preprocess)

    def preprocess(self, x: Tensor) -> Tensor:
        """Resized pixels 0..255, [..., 3, h, w], normalised and padded to the frame."""
        side = self.image_encoder.img_size
        if x.ndim < 3 or x.shape[-3] != 3 or min(x.shape[-2:]) < 1 or max(x.shape[-2:]) > side:
            raise BadImage(f"preprocess takes pixels [3, h, w] with sides of 1 to {side}, got {tuple(x.shape)}")
        # a picture in double precision would not fit the network's own
        x = x.to(self.pixel_mean.dtype)
        if self.network.preprocess.normalise == "min-max":
            low, high = x.amin((-3, -2, -1), keepdim=True), x.amax((-3, -2, -1), keepdim=True)
            x = (x - low) / (high - low).clamp(min=1e-8)
        else:
            x = (x - self.pixel_mean) / self.pixel_std
        return F.pad(x, (0, side - x.shape[-1], 0, side - x.shape[-2]))

    def postprocess_masks(self, masks: Tensor, input_size: tuple[int, ...], original_size: tuple[int, ...]) -> Tensor:
        """Low-resolution logits [B, M, h, w] to the original image's size, their padding cut off.

        input_size: (H, W) of the resized image before padding; original_size: (H, W) before resizing.
        """
        if masks.ndim != 4:
            raise BadPrompt(f"postprocess_masks takes logits [B, M, h, w], got {tuple(masks.shape)}")
        height, width = image_size(input_size)
        side = self.image_encoder.img_size
        if max(height, width) > side:
            raise BadSetting(f"input_size is the size after resizing, at most {side}, got {(height, width)}")
        frame = F.interpolate(masks, (side, side), mode="bilinear", align_corners=False)[..., :height, :width]
        return F.interpolate(frame, image_size(original_size), mode="bilinear", align_corners=False)

    @torch.no_grad()
    def forward(self, batched_input: Sequence[Mapping[str, Any]], multimask_output: bool) -> list[dict[str, Tensor]]:
        """Masks of several images, each with its own prompts, all in the model's frame.

        batched_input: one mapping an image: "image" [3, h, w] resized, "original_size" (H, W), and where there are any
            "point_coords" [B, N, 2] with "point_labels" [B, N], "boxes" [B, 4], "mask_inputs" [B, 1, 4h, 4w].
        Returns one mapping an image: "masks" bool [B, M, H, W], "iou_predictions" [B, M], "low_res_logits"
            [B, M, h, w].
        """
        if not isinstance(batched_input, Sequence) or isinstance(batched_input, (str, bytes)):
            raise BadSetting(f"batched_input is a list of dictionaries, got {type(batched_input).__name__}")
        records = [_record(record) for record in batched_input]
        if not records:
            return []
        embeddings = self.image_encoder(torch.stack([self.preprocess(record["image"]) for record in records]))
        answers = []
        for index, record in enumerate(records):
            points = (record["point_coords"], record["point_labels"]) if "point_coords" in record else None
            sparse, dense = self.prompt_encoder(
                points=points, boxes=record.get("boxes"), masks=record.get("mask_inputs")
            )
            logits, scores = self.mask_decoder(
                image_embeddings=one_of(embeddings, index),
                image_pe=self.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=multimask_output,
            )
            masks = self.postprocess_masks(logits, record["image"].shape[-2:], record["original_size"])
            answers.append({"masks": masks > self.mask_threshold, "iou_predictions": scores, "low_res_logits": logits})
        return answers


def with_maps(tensor: Tensor, maps: tuple[Tensor, Tensor] | None) -> Tensor:
    """The tensor with high-resolution features hung onto it, if there are any."""
    if maps is not None:
        tensor.high_res = maps  # type: ignore[attr-defined]
    return tensor


def one_of(embeddings: Tensor, index: int) -> Tensor:
    """The embedding of one image, [1, C, h, w], with its high-resolution features."""
    maps: tuple[Tensor, Tensor] | None = getattr(embeddings, "high_res", None)
    rows = slice(index, index + 1)
    return with_maps(embeddings[rows], None if maps is None else (maps[0][rows], maps[1][rows]))


def pixels_checked(image: Any) -> Tensor:
    """The tensor itself when it holds finite real numbers; raises BadImage."""
    if not isinstance(image, Tensor):
        raise BadImage(f"an image must be a torch tensor here, got {type(image).__name__}")
    if image.is_meta or image.is_complex() or image.layout != torch.strided or image.is_quantized:
        raise BadImage(f"an image must hold real numbers, got {image.dtype} ({image.layout}, {image.device})")
    if image.is_floating_point() and not bool(torch.isfinite(image).all()):
        raise BadImage("the image holds NaN or infinity")
    return image


def _record(record: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise BadSetting(f"batched_input holds one dictionary an image, got {type(record).__name__}")
    for key in ("image", "original_size"):
        if key not in record:
            raise BadSetting(f"each image of batched_input needs the key {key!r}, got {sorted(map(str, record))}")
    if pixels_checked(record["image"]).ndim != 3:
        raise BadImage(f"each 'image' must be [3, h, w], got {tuple(record['image'].shape)}")
    image_size(record["original_size"])
    if ("point_coords" in record) != ("point_labels" in record):
        raise BadPrompt("'point_coords' and 'point_labels' come together")
    return record


def _checked(
    points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None, mask_size: tuple[int, int]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Coordinates, labels and boxes as our own encoder takes them; raises BadPrompt."""
    counts = []
    xy = labels = None
    if points is not None:
        xy, labels = points
        _numbers(xy, "point_coords")
        _numbers(labels, "point_labels")
        if xy.ndim != 3 or xy.shape[-1] != 2 or labels.shape != xy.shape[:2]:
            raise BadPrompt(
                f"points must be [B, N, 2] with labels [B, N], got {tuple(xy.shape)} and {tuple(labels.shape)}"
            )
        labels = labels.float()
        labels = torch.where((labels == -1) | (labels == 0) | (labels == 1), labels, NO_EMBEDDING)
        counts.append(len(xy))
    if boxes is not None:
        _numbers(boxes, "boxes")
        if boxes.shape[-1:] != (4,) and boxes.shape[-2:] != (2, 2):
            raise BadPrompt(f"boxes must be [B, 4] XYXY, got {tuple(boxes.shape)}")
        boxes = boxes.reshape(-1, 4)
        counts.append(len(boxes))
    if masks is not None:
        _numbers(masks, "mask_input")
        if masks.ndim != 4 or tuple(masks.shape[1:]) != (1, *mask_size):
            raise BadPrompt(f"mask logits must be [B, 1, {mask_size[0]}, {mask_size[1]}], got {tuple(masks.shape)}")
        counts.append(len(masks))
    if len(set(counts)) > 1:
        raise BadPrompt(f"points, boxes and masks must be for the same number of objects, got {counts}")
    if counts and counts[0] == 0:
        raise BadPrompt("the prompts are empty; give at least one object")
    return xy, labels, boxes


def _numbers(value: Any, what: str) -> None:
    if not isinstance(value, Tensor):
        raise BadPrompt(f"{what} must be a torch tensor here, got {type(value).__name__}")
    if value.is_meta or value.is_complex() or value.layout != torch.strided or value.is_quantized:
        raise BadPrompt(f"{what} must hold real numbers, got {value.dtype} ({value.layout}, {value.device})")
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise BadPrompt(f"{what} must be finite, got NaN or infinity")
