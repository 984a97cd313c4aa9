"""EfficientNet-Lite: the pretrained backbone of the model inside.

Source: Tan and Le, "EfficientNet" (arXiv 1905.11946); the Lite variants of github.com/tensorflow/tpu
(models/official/efficientnet/lite): no squeeze-and-excitation, ReLU6, stem and head of fixed width, first and last
stage of fixed depth.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.errors import BadWeights


@dataclass(frozen=True)
class Stage:
    """Repeated inverted bottlenecks: depthwise kernel, stride of the first, expansion, output width, repeats."""

    kernel: int
    stride: int
    expand: int
    width: int
    repeats: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)
SCALING = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""(width, depth) factors."""
STEM = 32
HEAD = 1280


def scaled_stages(variant: str) -> tuple[Stage, ...]:
    """The stages of "lite0", "lite1" or "lite2"."""
    width, depth = SCALING[variant]
    last = len(STAGES) - 1
    return tuple(
        Stage(
            s.kernel,
            s.stride,
            s.expand,
            round_to_8(s.width * width),
            s.repeats if i in (0, last) else math.ceil(s.repeats * depth),
        )
        for i, s in enumerate(STAGES)
    )


def round_to_8(width: float) -> int:
    """The nearest multiple of 8 that is not more than a tenth smaller."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "same" padding along one axis, (before, after): the odd pixel goes after."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class DepthwiseFrozen(torch.autograd.Function):
    """Depthwise convolution whose kernel gets no gradient; the input's is a convolution with the flipped kernel.

    PyTorch's own bfloat16 depthwise backward on a CPU takes 150 to 200 ms where this takes 1 to 30.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, stride: int, pads: tuple[int, int, int, int]) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(weight)
        ctx.settings = (x.shape, stride, pads)
        return depthwise(x, weight, bias, stride, pads)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        (weight,) = ctx.saved_tensors
        shape, stride, pads = ctx.settings
        return (
            depthwise_input_gradient(gradient, weight, shape, stride, pads),
            None,
            gradient.sum((0, 2, 3)),
            None,
            None,
        )


class DepthwiseTrained(torch.autograd.Function):
    """As `DepthwiseFrozen`, with the kernel's gradient taken in float32."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, stride: int, pads: tuple[int, int, int, int]) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight)
        ctx.settings = (stride, pads)
        return depthwise(x, weight.to(x.dtype), bias.to(x.dtype), stride, pads)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        x, weight = ctx.saved_tensors
        stride, pads = ctx.settings
        to_input = depthwise_input_gradient(gradient, weight.to(gradient.dtype), x.shape, stride, pads)
        left, right, above, below = pads
        kernel = weight.shape[-1]
        padded = F.pad(x.float(), (left, right, above, below)).contiguous(memory_format=torch.channels_last)
        full = gradient.float().contiguous(memory_format=torch.channels_last)
        to_weight = torch.ops.aten.convolution_backward(
            full,
            padded,
            weight,
            None,
            [stride, stride],
            [0, 0],
            [1, 1],
            False,
            [0, 0],
            len(weight),
            [False, True, False],
        )[1]
        assert kernel == to_weight.shape[-1]
        return to_input, to_weight, full.sum((0, 2, 3)), None, None


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, pads: tuple[int, int, int, int]) -> Tensor:
    """x [B, C, H, W], weight [C, 1, k, k], pads (left, right, above, below) -> [B, C, H', W']."""
    left, right, above, below = pads
    if left == right == above == below:
        return F.conv2d(x, weight, bias, stride, left, groups=len(weight))
    return F.conv2d(F.pad(x, pads), weight, bias, stride, groups=len(weight))


def depthwise_input_gradient(
    gradient: Tensor, weight: Tensor, shape: torch.Size, stride: int, pads: tuple[int, int, int, int]
) -> Tensor:
    """The gradient at the input of `depthwise`: spread by the stride, then convolved with the flipped kernel."""
    left, right, above, below = pads
    kernel = weight.shape[-1]
    height, width = shape[-2] + above + below - kernel + 1, shape[-1] + left + right - kernel + 1
    if stride > 1:
        spread = gradient.new_zeros(len(gradient), gradient.shape[1], height, width).contiguous(
            memory_format=torch.channels_last
        )
        spread[:, :, ::stride, ::stride] = gradient
        gradient = spread
    edge = kernel - 1
    flipped = weight.flip(2, 3)
    return depthwise(gradient, flipped, None, 1, (edge - left, edge - right, edge - above, edge - below))


class ConvNorm(nn.Module):
    """Convolution and batch norm with running statistics; `fold()` makes one convolution of the two."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm: nn.BatchNorm2d | None = nn.BatchNorm2d(outputs, eps=1e-3)
        self.act = act
        self.train_kernel = True

    @torch.no_grad()
    def fold(self) -> None:
        """Fold the norm's running statistics into the convolution, which gains a bias."""
        if self.norm is None:
            return
        norm, conv = self.norm, self.conv
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        conv.weight.mul_(scale[:, None, None, None])
        conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
        self.norm = None

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        if self.conv.groups > 1 and torch.is_grad_enabled() and x.requires_grad and self.norm is None:
            x = self._depthwise_training(x, kernel, stride)
        else:
            above, below = same_padding(x.shape[-2], kernel, stride)
            left, right = same_padding(x.shape[-1], kernel, stride)
            if kernel > 1 and not left == right == above == below:
                x = F.pad(x, (left, right, above, below))
                left = 0
            x = F.conv2d(x, self.conv.weight, self.conv.bias, stride, left, groups=self.conv.groups)
            if self.norm is not None:
                x = self.norm(x)
        return F.relu6(x, inplace=not torch.is_grad_enabled()) if self.act else x

    def _depthwise_training(self, x: Tensor, kernel: int, stride: int) -> Tensor:
        pads = (*same_padding(x.shape[-1], kernel, stride), *same_padding(x.shape[-2], kernel, stride))
        assert self.conv.bias is not None
        if self.train_kernel and self.conv.weight.requires_grad:
            trained: Tensor = DepthwiseTrained.apply(x, self.conv.weight, self.conv.bias, stride, pads)
            return trained
        weight, bias = self.conv.weight.to(x.dtype), self.conv.bias.to(x.dtype)
        frozen: Tensor = DepthwiseFrozen.apply(x, weight, bias, stride, pads)
        return frozen


class Bottleneck(nn.Module):
    """Inverted bottleneck: widen, depthwise, narrow; added to its input where the shapes agree."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expand
        self.expand = ConvNorm(inputs, wide, 1) if stage.expand > 1 else None
        self.depthwise = ConvNorm(wide, wide, stage.kernel, stride, groups=wide)
        self.project = ConvNorm(wide, stage.width, 1, act=False)
        self.residual = stride == 1 and inputs == stage.width

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else self.expand(x)
        narrow: Tensor = self.project(self.depthwise(wide))
        return x + narrow if self.residual else narrow


class EfficientNetLite(nn.Module):
    """The backbone, answering the maps at strides 2, 4, 8, 16 and 32.

    variant: "lite0", "lite1" or "lite2". classes: above 0 adds the classification head of the pretrained file.
    Input: RGB [B, 3, H, W], (value - 127) / 128, of any size; padding follows the real size.
    """

    def __init__(self, variant: str = "lite2", classes: int = 0) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM, 3, 2)
        stages = scaled_stages(variant)
        blocks: list[Bottleneck] = []
        width = STEM
        self.taps: list[int] = []
        self.widths: list[int] = []
        for index, stage in enumerate(stages):
            for repeat in range(stage.repeats):
                blocks.append(Bottleneck(width, stage, stage.stride if repeat == 0 else 1))
                width = stage.width
            if index == len(stages) - 1 or stages[index + 1].stride == 2:
                self.taps.append(len(blocks) - 1)
                self.widths.append(width)
        self.blocks = nn.ModuleList(blocks)
        self.head = ConvNorm(width, HEAD, 1) if classes else None
        self.classifier = nn.Linear(HEAD, classes) if classes else None

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> maps [B, widths[i], ceil(H / 2^(i+1)), ...] at strides 2, 4, 8, 16, 32."""
        maps = []
        x = self.stem(x)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                maps.append(x)
        return maps

    def classify(self, x: Tensor) -> Tensor:
        """Class logits [B, classes], as the pretrained network answers them."""
        if self.head is None or self.classifier is None:
            raise ValueError("this backbone was built without its classification head")
        logits: Tensor = self.classifier(self.head(self.forward(x)[-1]).mean((2, 3)))
        return logits

    def fold(self) -> None:
        """Fold every batch norm into its convolution, for training with frozen statistics and for inference."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()


_RENAME = (
    (r"^_conv_stem\.", "stem.conv."),
    (r"^_bn0\.", "stem.norm."),
    (r"^_blocks\.(\d+)\._expand_conv\.", r"blocks.\1.expand.conv."),
    (r"^_blocks\.(\d+)\._bn0\.", r"blocks.\1.expand.norm."),
    (r"^_blocks\.(\d+)\._depthwise_conv\.", r"blocks.\1.depthwise.conv."),
    (r"^_blocks\.(\d+)\._bn1\.", r"blocks.\1.depthwise.norm."),
    (r"^_blocks\.(\d+)\._project_conv\.", r"blocks.\1.project.conv."),
    (r"^_blocks\.(\d+)\._bn2\.", r"blocks.\1.project.norm."),
    (r"^_conv_head\.", "head.conv."),
    (r"^_bn1\.", "head.norm."),
    (r"^_fc\.", "classifier."),
)


def rename_pretrained(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys of the published .pth files to ours; BadWeights on a key that is none of theirs."""
    renamed = {}
    for key, tensor in tensors.items():
        for pattern, replacement in _RENAME:
            new, hits = re.subn(pattern, replacement, key)
            if hits:
                renamed[new] = tensor
                break
        else:
            raise BadWeights(f"{key!r} is no tensor of a published EfficientNet-Lite file")
    return renamed


def load_pretrained(variant: str, tensors: Mapping[str, Tensor]) -> EfficientNetLite:
    """The classifier with the published tensors, loaded strictly, in eval mode."""
    model = EfficientNetLite(variant, classes=1000)
    try:
        model.load_state_dict(rename_pretrained(tensors), strict=True)
    except RuntimeError as error:
        raise BadWeights(f"this file is no {variant}: {error}") from None
    return model.eval()
