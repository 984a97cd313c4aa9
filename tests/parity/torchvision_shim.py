"""Lets the torchvision wheel import beside a CPU build of torch, for the official packages that insist on it.

The wheel's compiled part is for CUDA and stays unloaded; its Python part registers fake kernels for operators that then
do not exist. Declaring the operators is enough to import it. Two of them get a plain torch kernel, as everything mode
uses them. For tests only: anymask itself needs no torchvision.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_POOL = "float spatial_scale, {n} pooled_height, {n} pooled_width"
_BACK = "int batch_size, int channels, int height, int width"
_ALIGN = _POOL + ", int sampling_ratio"
_DEFORM = (
    "Tensor mask, Tensor bias, {n} stride_h, {n} stride_w, {n} pad_h, {n} pad_w, {n} dilation_h, {n} dilation_w, "
    "{n} groups, {n} offset_groups, bool use_mask"
)

_OPERATORS = {
    "nms": ("Tensor dets, Tensor scores, float iou_threshold", "Tensor"),
    "qnms": ("Tensor dets, Tensor scores, float iou_threshold", "Tensor"),
    "roi_align": (f"Tensor input, Tensor rois, {_ALIGN}, bool aligned", "Tensor"),
    "qroi_align": (f"Tensor input, Tensor rois, {_ALIGN}, bool aligned", "Tensor"),
    "_roi_align_backward": (f"Tensor grad, Tensor rois, {_POOL}, {_BACK}, int sampling_ratio, bool aligned", "Tensor"),
    "roi_pool": (f"Tensor input, Tensor rois, {_POOL}", "(Tensor, Tensor)"),
    "_roi_pool_backward": (f"Tensor grad, Tensor rois, Tensor argmax, {_POOL}, {_BACK}", "Tensor"),
    "ps_roi_align": (f"Tensor input, Tensor rois, {_ALIGN}", "(Tensor, Tensor)"),
    "_ps_roi_align_backward": (
        f"Tensor grad, Tensor rois, Tensor channel_mapping, {_POOL}, int sampling_ratio, {_BACK}",
        "Tensor",
    ),
    "ps_roi_pool": (f"Tensor input, Tensor rois, {_POOL}", "(Tensor, Tensor)"),
    "_ps_roi_pool_backward": (f"Tensor grad, Tensor rois, Tensor channel_mapping, {_POOL}, {_BACK}", "Tensor"),
    "deform_conv2d": (f"Tensor input, Tensor weight, Tensor offset, {_DEFORM}", "Tensor"),
    "_deform_conv2d_backward": (
        f"Tensor grad, Tensor input, Tensor weight, Tensor offset, {_DEFORM}",
        "(Tensor, Tensor, Tensor, Tensor, Tensor)",
    ),
}

_library: torch.library.Library | None = None


def install() -> None:
    """Declare the operators and import torchvision; a second call does nothing.

    Raises ImportError where torchvision is not installed.
    """
    global _library
    if _library is not None:
        return
    library = torch.library.Library("torchvision", "DEF")
    for name, (arguments, result) in _OPERATORS.items():
        size = "int" if "backward" in name and "deform" not in name else "SymInt"
        library.define(f"{name}({arguments.format(n=size)}) -> {result}")
    library.impl("nms", non_maximum_suppression, "CPU")
    library.impl("roi_align", roi_align, "CPU")
    # the library forgets its operators when it is collected
    _library = library
    import torchvision.extension

    torchvision.extension._has_ops = lambda: True


def non_maximum_suppression(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of kept boxes, best first; boxes [N, 4] XYXY, scores [N]."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    left = scores.argsort(descending=True, stable=True)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[left, :2])
        high = torch.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        left = left[shared / (area[best] + area[left] - shared) <= threshold]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.long)


def roi_align(
    features: Tensor, rois: Tensor, scale: float, height: int, width: int, samples: int, aligned: bool
) -> Tensor:
    """Mean of bilinear samples in each cell of each box; rois [N, 5] as (image, x0, y0, x1, y1)."""
    pooled = [_pool(features, roi, scale, (height, width), samples, aligned) for roi in rois]
    return torch.stack(pooled) if pooled else features.new_zeros(0, features.shape[1], height, width)


def _pool(features: Tensor, roi: Tensor, scale: float, cells: tuple[int, int], samples: int, aligned: bool) -> Tensor:
    image = features[int(roi[0])]
    x0, y0, x1, y1 = (roi[1:] * scale - (0.5 if aligned else 0.0)).tolist()
    weights = []
    for start, length, count, size in (
        (y0, y1 - y0, cells[0], image.shape[1]),
        (x0, x1 - x0, cells[1], image.shape[2]),
    ):
        length = length if aligned else max(length, 1.0)
        many = samples if samples > 0 else max(1, math.ceil(length / count))
        place = start + (torch.arange(count * many) + 0.5) * length / (count * many)
        inside = (place >= -1) & (place <= size)
        place = place.clamp(0, size - 1)
        low = place.floor().long()
        # one row a sample: how much each cell of the map gives to it
        row = torch.zeros(count * many, size, dtype=image.dtype)
        part = (place - low).to(image.dtype)
        row.scatter_add_(1, low[:, None], (1 - part)[:, None])
        row.scatter_add_(1, (low + 1).clamp(max=size - 1)[:, None], part[:, None])
        weights.append((row * inside[:, None]).view(count, many, size).mean(1))
    return torch.einsum("ih,chw,jw->cij", weights[0], image, weights[1])
