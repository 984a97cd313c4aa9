"""Pictures and prompts that SAM is compared on, and the comparison; benchmarks/parity_full.py uses them too."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

SIZES = {
    "landscape": (480, 640),
    "portrait": (400, 270),
    "square": (256, 256),
    "tiny": (37, 51),
    "large": (3000, 4000),
}
"""(H, W) in pixels."""


def picture(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Waves, an ellipse and noise, uint8 [H, W, 3]."""
    height, width = size
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 110 + 70 * np.sin(13 * x / width)[..., None] * np.cos(9 * y / height)[..., None] * [1, 0.5, -0.7]
    waves[((x / width - 0.5) / 0.25) ** 2 + ((y / height - 0.5) / 0.3) ** 2 < 1] = [200, 150, 60]
    return (waves + rng.normal(0, 15, (height, width, 3))).clip(0, 255).astype(np.uint8)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Noise in every parameter, scaled by fan-in; tables that start at zero (positions, relative positions) too."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            noise = torch.randn(tensor.shape, generator=draw)
            if "gaussian_matrix" in name:
                tensor.copy_(noise)
            elif tensor.ndim == 1 and name.endswith("weight"):
                tensor.copy_(1 + 0.2 * noise)
            elif tensor.ndim > 1 and name.endswith("weight") and "embed" not in name.split(".")[-2]:
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
            elif name.endswith("weight"):
                tensor.copy_(noise)
            else:
                tensor.copy_(0.2 * noise)
    return model.eval()


def official_tiny(room: ModuleType) -> nn.Module:
    """The official classes (`segment_anything.modeling`) at the size of our tiny row."""
    torch.manual_seed(0)
    return room.Sam(
        room.ImageEncoderViT(
            img_size=128,
            embed_dim=32,
            depth=4,
            num_heads=2,
            out_chans=32,
            qkv_bias=True,
            norm_layer=lambda dim: torch.nn.LayerNorm(dim, eps=1e-6),
            use_rel_pos=True,
            window_size=3,
            global_attn_indexes=(1, 3),
        ),
        room.PromptEncoder(32, (8, 8), (128, 128), 16),
        room.MaskDecoder(
            transformer_dim=32,
            transformer=room.TwoWayTransformer(depth=2, embedding_dim=32, num_heads=8, mlp_dim=256),
            iou_head_hidden_dim=32,
        ),
    )


@dataclass(frozen=True)
class Case:
    """Prompts for P objects in original pixels; `mask` feeds back the low-resolution logits of a first answer."""

    name: str
    points: NDArray[np.float64] | None = None  # [P, K, 2]
    labels: NDArray[np.int64] | None = None  # [P, K]
    boxes: NDArray[np.float64] | None = None  # [P, 4]
    mask: bool = False

    def __len__(self) -> int:
        return next((len(column) for column in (self.points, self.boxes) if column is not None), 1)


def cases(size: tuple[int, int]) -> list[Case]:
    """Every kind of prompt and their combinations, on an image of this size."""
    scale = np.array([size[1], size[0]], np.float64)
    one = np.array([[[0.4, 0.55]]]) * scale
    three = np.array([[[0.4, 0.55], [0.1, 0.2], [0.93, 0.9]]]) * scale
    box = np.array([[0.2, 0.15, 0.7, 0.83]]) * np.tile(scale, 2)
    yes, mixed = np.array([[1]]), np.array([[1, 0, 1]])
    shifts = np.array([[[0.0, 0.0]], [[0.3, -0.2]], [[-0.3, 0.1]], [[0.2, 0.3]], [[0.5, 0.4]]]) * scale
    boxes = np.concatenate([box, box * 0.5, box + np.tile(0.1 * scale, 2)])
    return [
        Case("point", one, yes),
        Case("points", three, mixed),
        Case("box", boxes=box),
        Case("box + point", one, yes, box),
        Case("box + points", three, mixed, box),
        Case("mask", mask=True),
        Case("point + mask", one, yes, mask=True),
        Case("points + mask", three, mixed, mask=True),
        Case("box + mask", boxes=box, mask=True),
        Case("box + points + mask", three, mixed, box, mask=True),
        Case("5 points in a batch", np.clip(one + shifts, 0, scale), np.tile(yes, (5, 1))),
        Case("5 x 3 points in a batch", np.clip(three + shifts, 0, scale), np.tile(mixed, (5, 1))),
        Case("3 boxes in a batch", boxes=boxes),
        Case("3 boxes + points in a batch", np.clip(one + shifts[:3], 0, scale), np.array([[1], [0], [1]]), boxes),
        Case("3 boxes + masks in a batch", boxes=boxes, mask=True),
    ]


@dataclass
class Differences:
    """The largest absolute differences seen, the largest logit, and the smallest IoU of full-size masks."""

    embedding: float = 0.0
    logits: float = 0.0
    scores: float = 0.0
    largest: float = 0.0
    iou: float = 1.0
    masks: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str, ours: tuple[Any, Any, Any], theirs: tuple[Any, Any, Any]) -> None:
        """(masks bool [..., H, W], scores [...], logits [..., h, w]) of both."""
        ours, theirs = tuple(map(_array, ours)), tuple(map(_array, theirs))
        for own, other in zip(ours, theirs, strict=True):
            assert own.shape == other.shape, f"{name}: {own.shape} instead of {other.shape}"
        assert ours[0].dtype == theirs[0].dtype == bool
        self.scores = max(self.scores, float(np.abs(ours[1] - theirs[1]).max()))
        self.logits = max(self.logits, float(np.abs(ours[2] - theirs[2]).max()))
        self.largest = max(self.largest, float(np.abs(theirs[2]).max()))
        both = (ours[0] & theirs[0]).sum((-1, -2))
        either = (ours[0] | theirs[0]).sum((-1, -2))
        # where both are empty they are the same
        self.iou = min(self.iou, float(np.where(either > 0, both / np.maximum(either, 1), 1.0).min()))
        self.masks += either.size
        self.names.append(name)


def _array(value: Any) -> NDArray[Any]:
    return np.asarray(value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value)


def ask(predictor: Any, case: Case, logits: torch.Tensor | None, multimask: bool) -> tuple[Any, Any, Any]:
    """predict_torch of either package's predictor; logits: [1, 1, h, w] of an earlier answer."""
    size = predictor.original_size
    points = labels = boxes = back = None
    if case.points is not None:
        points = predictor.transform.apply_coords_torch(torch.as_tensor(case.points), size)
        labels = torch.as_tensor(case.labels)
    if case.boxes is not None:
        boxes = predictor.transform.apply_boxes_torch(torch.as_tensor(case.boxes), size)
    if case.mask:
        assert logits is not None
        back = logits.expand(len(case), -1, -1, -1)
    return predictor.predict_torch(points, labels, boxes, back, multimask_output=multimask)


def ask_plainly(predictor: Any, case: Case, logits: torch.Tensor | None, multimask: bool) -> tuple[Any, Any, Any]:
    """predict of either package's predictor, for one object."""
    return predictor.predict(
        point_coords=None if case.points is None else case.points[0],
        point_labels=None if case.labels is None else case.labels[0],
        box=None if case.boxes is None else case.boxes[0],
        mask_input=None if not case.mask or logits is None else logits[0].numpy(),
        multimask_output=multimask,
    )


def tiny_sam_model(transformers):
    """transformers' SamModel at the size of our tiny row; `transformers` is the imported package."""
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "image_size": 128,
            "patch_size": 16,
            "window_size": 3,
            "global_attn_indexes": [1, 3],
            "output_channels": 32,
            "num_pos_feats": 16,
            "mlp_dim": 128,
            "initializer_range": 0.02,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 128},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 256, "iou_head_hidden_dim": 32},
    )
    return transformers.SamModel(config)
