"""A prompt encoder that also draws points and boxes as maps.

Prompt tokens alone are learned slowly by a small model: drawn into the dense embedding as well, the same prompts reach
in a thousand images what tokens do not in many thousands. The finest maps keep what a cell of the embedding blurs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from anymask.nn.cpu import lean, parts, untouched
from anymask.nn.prompt_encoder import EncodedPrompts, PromptEncoder

WIDE_SIGMA = 0.06
"""Standard deviations of the drawn points, in sides of the frame: a neighbourhood,"""
NARROW_SIGMA = 0.015
"""the place itself,"""
MIDDLE_SIGMA = 0.012
"""at twice the embedding's resolution,"""
FINE_SIGMA = 0.008
"""and at four times."""
LOGIT_SCALE = 4.0
SQUARE_LIMIT = 4.0


@dataclass(frozen=True)
class UndrawnPrompts:
    """Encoded prompts whose maps are not drawn yet, so that a decoder may draw them where and as it needs them.

    sparse: [P, T, C]. dense: [1, C, h, w], the part of the dense embedding that all prompts share.
    place: where the P prompts point. encoder: holds the layers that maps go through.
    """

    sparse: Tensor
    dense: Tensor
    place: Place
    encoder: DensePromptEncoder

    def drawn(self) -> EncodedPrompts:
        """The same with all maps drawn."""
        return self.encoder.drawn(self.sparse, self.dense, self.place, None)


class DensePromptEncoder(PromptEncoder):
    """SAM's prompt encoder plus maps drawn from points, boxes and earlier logits.

    Dense: eight maps at the embedding's resolution, through two 1x1 convolutions, added to SAM's dense embedding.
    High resolution: four maps each at twice and four times that, added to the image's high-resolution features.
    """

    def __init__(
        self,
        dim: int = 128,
        grid: tuple[int, int] = (64, 64),
        input_size: tuple[int, int] = (512, 512),
        mask_channels: int = 16,
    ) -> None:
        super().__init__(dim, grid, input_size, mask_channels)
        self.draw = nn.Sequential(nn.Conv2d(8, dim // 2, 1), nn.GELU(), nn.Conv2d(dim // 2, dim, 1))
        self.draw_middle = nn.Conv2d(4, dim // 4, 1)
        self.draw_fine = nn.Conv2d(4, dim // 8, 1)
        for layer in (self.draw_middle, self.draw_fine):
            nn.init.normal_(layer.weight, std=0.1)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self._built = parts(self)

    def forward(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> EncodedPrompts:
        """As `PromptEncoder.forward`; `high_res` is always given."""
        sparse, dense, _ = super().forward(points, labels, boxes, masks)
        return self.drawn(sparse, dense, Place.of(points, labels, boxes, self.input_size, len(sparse), sparse), masks)

    def undrawn(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> EncodedPrompts | UndrawnPrompts:
        """As `forward`, the drawing left to the decoder where it can do that with less work."""
        weight = self.no_mask_embed.weight
        plain = masks is not None or torch.is_autocast_enabled(weight.device.type) or not lean(weight)
        if plain or not untouched(self, self._built) or self._forward_hooks or self._forward_pre_hooks:
            out: EncodedPrompts = self(points, labels, boxes, masks)
            return out
        sparse, dense, _ = super().forward(points, labels, boxes)
        place = Place.of(points, labels, boxes, self.input_size, len(sparse), sparse)
        return UndrawnPrompts(sparse, dense, place, self)

    def drawn(self, sparse: Tensor, dense: Tensor, place: Place, masks: Tensor | None) -> EncodedPrompts:
        """SAM's encoding of P prompts, the maps of their places and of earlier logits added."""
        count = len(sparse)
        height, width = self.grid
        coarse = place.coarse(height, width)
        middle = place.fine(2 * height, 2 * width, MIDDLE_SIGMA)
        fine = place.fine(4 * height, 4 * width, FINE_SIGMA)
        if masks is None:
            earlier = sparse.new_zeros(count, 1, 4 * height, 4 * width)
        else:
            earlier = torch.tanh(masks.to(sparse.dtype) / LOGIT_SCALE)
        fine = torch.cat([fine, earlier], 1)
        middle = torch.cat([middle, nn.functional.avg_pool2d(earlier, 2)], 1)
        first, act, second = self.draw
        drawn = _each_pixel(second, act(_each_pixel(first, coarse)))
        return EncodedPrompts(
            sparse, dense + drawn, (_each_pixel(self.draw_fine, fine), _each_pixel(self.draw_middle, middle))
        )


Seen = tuple[Tensor, Tensor]
"""The centres of the rows and columns that are drawn, in sides of the frame, [P or 1, height] and [P or 1, width]."""


class Place:
    """Where P prompts point, in sides of the frame.

    x, y: [P, K]; positive, negative: [P, K] weights 0 or 1; box: [P, 4] XYXY; boxed: [P], 1 where there is a box.
    """

    def __init__(self, x: Tensor, y: Tensor, positive: Tensor, negative: Tensor, box: Tensor, boxed: Tensor) -> None:
        self.x, self.y, self.positive, self.negative, self.box, self.boxed = x, y, positive, negative, box, boxed

    @classmethod
    def of(
        cls,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        size: tuple[int, int],
        count: int,
        like: Tensor,
    ) -> Place:
        """From prompts in pixels of the frame, `size` (H, W), for `count` objects; numbers as `like` has them."""
        side = like.new_tensor([size[1], size[0]])
        if points is None or labels is None:
            points, labels = like.new_zeros(count, 1, 2), torch.full((count, 1), -1, device=like.device)
        unit = (points.to(like.dtype) + 0.5) / side
        if boxes is None:
            box, boxed = like.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(count, 4), like.new_zeros(count)
        else:
            # a box's edges lie between pixels, so they carry no half pixel here
            box, boxed = boxes.to(like.dtype) / side.repeat(2), like.new_ones(count)
        return cls(unit[..., 0], unit[..., 1], (labels == 1).to(like.dtype), (labels == 0).to(like.dtype), box, boxed)

    def dots(self, height: int, width: int, sigma: float, seen: Seen | None = None) -> tuple[Tensor, Tensor]:
        """Gaussians at the positive and at the negative points, each [P, 1, height, width], or only where `seen`."""
        down, across = seen or _whole(height, width, self.x)
        x = torch.exp(-(((across[:, None] - self.x[..., None]) / sigma) ** 2) / 2)
        y = torch.exp(-(((down[:, None] - self.y[..., None]) / sigma) ** 2) / 2)
        rows = y.transpose(1, 2)
        positive = (rows * self.positive[:, None]) @ x
        negative = (rows * self.negative[:, None]) @ x
        return positive.clamp(max=1)[:, None], negative.clamp(max=1)[:, None]

    def _soft_box(self, height: int, width: int, seen: Seen | None = None) -> Tensor:
        """1 inside the box, 0 outside, with edges as soft as half a cell, [P, 1, height, width]."""
        y, x = seen or _whole(height, width, self.box)
        x0, y0, x1, y1 = (side[:, None] for side in self.box.unbind(1))
        along_x = torch.sigmoid((x - x0) * 2 * width) * torch.sigmoid((x1 - x) * 2 * width)
        along_y = torch.sigmoid((y - y0) * 2 * height) * torch.sigmoid((y1 - y) * 2 * height)
        return (self.boxed[:, None, None] * along_y[:, :, None] * along_x[:, None])[:, None]

    def coarse(self, height: int, width: int) -> Tensor:
        """The eight maps of the dense embedding, [P, 8, height, width]."""
        narrow = self.dots(height, width, NARROW_SIGMA)
        wide = self.dots(height, width, WIDE_SIGMA)
        x0, y0, x1, y1 = (side[:, None] for side in self.box.unbind(1))
        across = ((2 * _centres(width, self.box)[None] - x0 - x1) / (x1 - x0).clamp(min=1e-4)) ** 2
        down = ((2 * _centres(height, self.box)[None] - y0 - y1) / (y1 - y0).clamp(min=1e-4)) ** 2
        boxed = self.boxed[:, None]
        shape = (-1, 1, height, width)
        across = (across.clamp(max=SQUARE_LIMIT) * boxed)[:, None, None].expand(shape)
        down = (down.clamp(max=SQUARE_LIMIT) * boxed)[:, None, :, None].expand(shape)
        flag = boxed[:, None, None].expand(shape)
        return torch.cat([*narrow, *wide, self._soft_box(height, width), across, down, flag], 1)

    def fine(self, height: int, width: int, sigma: float, seen: Seen | None = None) -> Tensor:
        """Positive points, negative points and box, [P, 3, height, width], or only where `seen`."""
        return torch.cat([*self.dots(height, width, sigma, seen), self._soft_box(height, width, seen)], 1)

    def __getitem__(self, rows: slice) -> Place:
        """Where some of the prompts point."""
        fields = (self.x, self.y, self.positive, self.negative, self.box, self.boxed)
        return Place(*(field[rows] for field in fields))

    def spread(self, points: float, edges: float) -> tuple[Tensor, Tensor]:
        """The rectangle outside of which nothing is drawn: upper left and lower right (x, y) in sides, [P, 2] each.

        points, edges: how far the drawing of a point and of a box's edge reaches, in sides.
        """
        least, most = [], []
        given = self.positive + self.negative > 0
        for along, first, last in ((self.x, 0, 2), (self.y, 1, 3)):
            low = torch.where(given, along - points, 1.0).amin(1)
            high = torch.where(given, along + points, 0.0).amax(1)
            boxed = self.boxed > 0
            least.append(torch.where(boxed, torch.minimum(low, self.box[:, first] - edges), low))
            most.append(torch.where(boxed, torch.maximum(high, self.box[:, last] + edges), high))
        return torch.stack(least, 1), torch.stack(most, 1)


def _each_pixel(layer: nn.Module, x: Tensor) -> Tensor:
    """A 1x1 convolution [P, C, h, w] -> [P, C', h, w] as a matrix product: many times faster for few channels."""
    weight, bias = cast(Tensor, layer.weight), cast(Tensor, layer.bias)
    return torch.unflatten(torch.matmul(weight.flatten(1), x.flatten(2)), 2, x.shape[2:]) + bias[:, None, None]


def _whole(height: int, width: int, like: Tensor) -> Seen:
    return _centres(height, like)[None], _centres(width, like)[None]


def _centres(cells: int, like: Tensor) -> Tensor:
    """The centres of `cells` equal cells of 0..1, [cells]."""
    return (torch.arange(cells, device=like.device, dtype=like.dtype) + 0.5) / cells
