"""Points, boxes and masks to the tokens and maps that the mask decoder reads.

Source: Segment Anything, section 3 and appendix A ("Prompt encoder"); parameter names are the official ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from anymask.nn.layers import LayerNorm2d

if TYPE_CHECKING:
    from anymask.nn.dense_prompts import UndrawnPrompts


class EncodedPrompts(NamedTuple):
    """What the decoder reads of P prompts.

    sparse: [P, T, C], one token a point, box corner or padding.
    dense: [P or 1, C, h, w], added to the image embedding; 1 where it is the same for all prompts.
    high_res: optional maps added to the image's high-resolution features, ([P, C/8, 4h, 4w], [P, C/4, 2h, 2w]).
    """

    sparse: Tensor
    dense: Tensor
    high_res: tuple[Tensor, Tensor] | None = None


class RandomFourierPosition(nn.Module):
    """Positions in 0..1 to sines and cosines of random projections.

    Source: Tancik et al., "Fourier features let networks learn high frequency functions" (arXiv 2006.10739).
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        # a buffer, not a parameter: it is drawn once and travels with the checkpoint
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, features))
        self._latest: tuple[Tensor, int, tuple[int, int], Tensor] | None = None

    def forward(self, unit: Tensor) -> Tensor:
        """(x, y) in 0..1, [..., 2] -> [..., 2 * features]."""
        phase = (2 * unit - 1).to(self.positional_encoding_gaussian_matrix.dtype)
        phase = 2 * math.pi * (phase @ self.positional_encoding_gaussian_matrix)
        return torch.cat([phase.sin(), phase.cos()], -1)

    def grid(self, size: tuple[int, int]) -> Tensor:
        """The encoding of all cell centres of an (h, w) grid, [2 * features, h, w]; not to be written into.

        The latest one is kept, since every click asks for it and it takes a tenth of an answer's time to make.
        """
        matrix = self.positional_encoding_gaussian_matrix
        if torch.compiler.is_compiling() or matrix.is_inference() or torch.is_autocast_enabled(matrix.device.type):
            return self._centres(size)
        latest = self._latest
        if latest is None or latest[0] is not matrix or latest[1:3] != (matrix._version, size):
            # made outside of inference mode, for the next caller may want gradients
            with torch.inference_mode(False), torch.no_grad():
                latest = self._latest = matrix, matrix._version, size, self._centres(size)
        return latest[3]

    def _centres(self, size: tuple[int, int]) -> Tensor:
        matrix = self.positional_encoding_gaussian_matrix
        height, width = size
        y = (torch.arange(height, device=matrix.device, dtype=matrix.dtype) + 0.5) / height
        x = (torch.arange(width, device=matrix.device, dtype=matrix.dtype) + 0.5) / width
        centres = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1)
        encoded: Tensor = self(centres)
        return encoded.permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """SAM's prompt encoder.

    dim: channels of the embedding. grid: (h, w) of the embedding. input_size: (H, W) of the model's frame in pixels.
    mask_channels: hidden channels of the network that reads mask prompts. always_pad: a padding point follows even
    where there is a box, whose corners are points like others (SAM 2); SAM 1 pads only without a box.
    """

    def __init__(
        self,
        dim: int = 256,
        grid: tuple[int, int] = (64, 64),
        input_size: tuple[int, int] = (1024, 1024),
        mask_channels: int = 16,
        always_pad: bool = False,
    ) -> None:
        super().__init__()
        self.always_pad = always_pad
        self.dim = dim
        self.grid = grid
        self.input_size = input_size
        self.mask_size = (4 * grid[0], 4 * grid[1])
        self.pe_layer = RandomFourierPosition(dim // 2)
        # 0: negative point, 1: positive point, 2 and 3: the corners of a box
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, 2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, 2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, dim)

    def dense_pe(self) -> Tensor:
        """The positions of the embedding's cells, [1, C, h, w]."""
        return self.pe_layer.grid(self.grid)[None]

    def _tokens(self, xy: Tensor) -> Tensor:
        """(x, y) model px [..., 2] to position codes [..., C]; pixels count from their centres."""
        size = torch.tensor([self.input_size[1], self.input_size[0]], device=xy.device, dtype=xy.dtype)
        encoded: Tensor = self.pe_layer((xy + 0.5) / size)
        return encoded

    def _points(self, points: Tensor, labels: Tensor, pad: bool) -> Tensor:
        if pad:
            # the decoder was trained with a padding point wherever there is no box
            points = torch.cat([points, points.new_zeros(len(points), 1, 2)], 1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), -1)], 1)
        tokens = self._tokens(points)
        none = (labels == -1)[..., None]
        tokens = torch.where(none, self.not_a_point_embed.weight, tokens)
        for label, weight in enumerate(self._kinds()):
            tokens = tokens + (labels == label)[..., None] * weight
        return tokens

    def _boxes(self, boxes: Tensor) -> Tensor:
        corners = self._tokens(boxes.reshape(-1, 2, 2))
        return corners + torch.cat(self._kinds()[2:])

    def _kinds(self) -> list[Tensor]:
        """The embeddings of negative point, positive point, upper left and lower right corner, [1, C] each."""
        return [embedding.weight for embedding in self.point_embeddings]  # type: ignore[misc]

    def forward(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> EncodedPrompts:
        """Prompts in the model's frame to tokens and maps.

        points: [P, K, 2] (x, y); labels: [P, K] with 1, 0 or -1; boxes: [P, 4] XYXY; masks: [P, 1, 4h, 4w] logits.
        """
        tokens = []
        if points is not None and labels is not None:
            tokens.append(self._points(points, labels, pad=boxes is None or self.always_pad))
        if boxes is not None:
            tokens.append(self._boxes(boxes))
            if points is None and self.always_pad:
                tokens.append(self.not_a_point_embed.weight.expand(len(boxes), 1, -1))
        if tokens:
            sparse = torch.cat(tokens, 1)
        else:
            count = 1 if masks is None else len(masks)
            sparse = self.no_mask_embed.weight.new_zeros(count, 0, self.dim)
        if masks is not None:
            dense = self.mask_downscaling(masks.to(self.no_mask_embed.weight.dtype))
        else:
            dense = self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, *self.grid)
        return EncodedPrompts(sparse, dense)

    def undrawn(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> EncodedPrompts | UndrawnPrompts:
        """As `forward`; an encoder that draws maps of its prompts may leave that to the decoder."""
        out: EncodedPrompts = self(points, labels, boxes, masks)
        return out
