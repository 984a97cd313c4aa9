"""Masked pre-training against a large model's features (SAMI).

Source: EfficientSAM (arXiv 2312.00863), section 3. The student's transformer sees a quarter of a picture's patches; a
decoder of cross-attention, asked at the hidden patches, reconstructs what the teacher's image encoder makes of the
whole picture; both together, in their places, go through one linear layer, and the mean squared difference is the loss,
over all patches. The teacher's features are its embedding after the neck, the output of SAM's image encoder. Decoder
and linear layer are thrown away. Hiding patches and the decoder's size are those of masked autoencoders (arXiv
2111.06377).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.errors import BadSetting
from anymask.models.promptable import PromptableModel
from anymask.nn.layers import MLPBlock
from anymask.nn.plain_vit import PlainBlock, PlainViT, attend
from anymask.nn.two_way import Attention
from anymask.nn.vit import Block, ImageEncoderViT
from anymask.train.settings import TrainSettings
from anymask.train.teacher import Frames, Pictures, Teacher

if TYPE_CHECKING:
    from anymask.models.preprocess import Preprocess

HEAD = "head."
"""What the names of the parameters start with that are not the student's."""


@dataclass(frozen=True)
class Masking:
    """share: of the patches that are hidden. width, depth, heads: of the decoder."""

    share: float = 0.75
    width: int = 512
    depth: int = 8
    heads: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.depth < 1 or self.width % (4 * self.heads):
            raise BadSetting("the hidden share must be between 0 and 1, and the width a multiple of 4 times the heads")


@dataclass(frozen=True)
class HiddenFrames(Frames):
    """Frames whose patches are seen or hidden: their numbers in the grid, row by row, int64 [B, V] and [B, H]."""

    seen: Tensor
    hidden: Tensor


class HiddenPictures(Pictures):
    """Pictures with hidden patches, which depend on the seed and the example's number alone."""

    def __init__(
        self,
        files: Sequence[Path],
        settings: TrainSettings,
        student: Preprocess,
        teacher: Preprocess,
        masking: Masking,
        patch: int = 16,
    ) -> None:
        super().__init__(files, settings, student, teacher)
        self.grid = (self.side // patch, self.side // patch)
        cells = self.grid[0] * self.grid[1]
        self._seen = max(1, round(cells * (1 - masking.share)))
        if self._seen >= cells:
            raise BadSetting(f"a frame of {self.side} px has too few patches to hide some; use a larger side")

    def batch(self, step: int, numbers: Sequence[int]) -> HiddenFrames:
        frames = super().batch(step, numbers)
        cells = self.grid[0] * self.grid[1]
        orders = [np.random.default_rng((self.settings.seed, number, 1)).permutation(cells) for number in numbers]
        seen = np.stack([np.sort(order[: self._seen]) for order in orders])
        hidden = np.stack([np.sort(order[self._seen :]) for order in orders])
        return HiddenFrames(
            frames.student, frames.teacher, frames.numbers, torch.from_numpy(seen), torch.from_numpy(hidden)
        )


def start(student: PromptableModel, name: str) -> None:
    """Make a student ready: only what sees patches is trained, and its positions start as sines where they are zero.

    Raises BadSetting for an encoder that is no plain vision transformer.
    """
    encoder = student.image_encoder
    if not isinstance(encoder, (PlainViT, ImageEncoderViT)):
        raise BadSetting(
            f"the image encoder of {name} is no plain vision transformer, so patches cannot be hidden from it; choose "
            "efficient-sam-ti, efficient-sam-s or a sam-vit, or leave out --masked"
        )
    student.requires_grad_(False)
    encoder.patch_embed.requires_grad_(True)
    encoder.blocks.requires_grad_(True)
    encoder.pos_embed.requires_grad_(True)
    for part, parameter in encoder.named_parameters():
        # windows and relative positions have no meaning for a few patches out of many; fine-tuning brings them in
        if "rel_pos" in part:
            parameter.requires_grad_(False)
    with torch.no_grad():
        if not encoder.pos_embed.any():
            table = encoder.pos_embed[:, 1:] if isinstance(encoder, PlainViT) else encoder.pos_embed.flatten(1, 2)
            side = round(table.shape[1] ** 0.5)
            table.copy_(sines(side, side, table.shape[2]))


def sines(height: int, width: int, dim: int) -> Tensor:
    """Sines and cosines of rows and columns, [height * width, dim], row by row; dim: a multiple of 4."""
    rates = 10_000 ** -(torch.arange(dim // 4) / (dim // 4))
    y, x = (torch.arange(side)[:, None] * rates for side in (height, width))
    rows = torch.cat([y.sin(), y.cos()], 1)[:, None].expand(height, width, -1)
    columns = torch.cat([x.sin(), x.cos()], 1)[None].expand(height, width, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)


def encode_seen(encoder: PlainViT | ImageEncoderViT, frames: Tensor, seen: Tensor) -> Tensor:
    """What an encoder makes of the seen patches alone, before its neck: [B, 3, S, S], [B, V] -> [B, V, dim].

    All of them attend to each other, without windows and relative positions, as in the pre-training of SAM's own
    encoder (ViTDet, arXiv 2203.16527, on a masked autoencoder).
    """
    patches = encoder.patch_embed(frames)
    grid = patches.shape[1:3]
    table = encoder.positions(grid) if isinstance(encoder, PlainViT) else encoder.pos_embed
    x = pick((patches + table).flatten(1, 2), seen)
    for block in cast("list[PlainBlock | Block]", list(encoder.blocks)):
        x = x + attend(block.attn, block.norm1(x))
        x = x + block.mlp(block.norm2(x))
    return x


def pick(cells: Tensor, numbers: Tensor) -> Tensor:
    """Some of each row's cells, [B or 1, N, C], [B, K] -> [B, K, C]."""
    index = numbers[..., None].expand(-1, -1, cells.shape[2])
    return cells.expand(len(numbers), -1, -1).gather(1, index)


class Crossing(nn.Module):
    """A block in which hidden patches look at the seen ones and at each other, [B, H, C], [B, V, C] -> [B, H, C]."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.norm_seen = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLPBlock(dim, 4 * dim)

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        asking = self.norm1(hidden)
        around = torch.cat([self.norm_seen(seen), asking], 1)
        hidden = hidden + self.attn(asking, around, around)
        return hidden + self.mlp(self.norm2(hidden))  # type: ignore[no-any-return]


class Reconstruction(nn.Module):
    """The seen patches' tokens to the teacher's features of all patches; it lives as long as the training.

    dim: of the tokens. wanted: channels of the teacher's features. grid: (h, w) of the patches.
    """

    positions: Tensor

    def __init__(self, dim: int, wanted: int, grid: tuple[int, int], masking: Masking) -> None:
        super().__init__()
        width = masking.width
        self.enter = nn.Linear(dim, width)
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.register_buffer("positions", sines(*grid, width)[None], persistent=False)
        self.blocks = nn.ModuleList(Crossing(width, masking.heads) for _ in range(masking.depth))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim))
        self.norm = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, wanted)

    def forward(self, tokens: Tensor, seen: Tensor, hidden: Tensor) -> Tensor:
        """[B, V, dim], [B, V], [B, H] -> [B, V + H, wanted], in the order of the grid."""
        around = self.enter(tokens) + pick(self.positions, seen)
        x = self.query + pick(self.positions, hidden)
        for block in self.blocks:
            x = block(x, around)
        order = torch.cat([seen, hidden], 1).argsort(1)
        merged = pick(torch.cat([tokens, self.leave(x)], 1), order)
        out: Tensor = self.project(self.norm(merged))
        return out


class Masked(nn.Module):
    """The mean squared difference of what is reconstructed and the teacher's features.

    student: trained, after `start`. grid: (h, w) of its patches. dtype: of its arithmetic.
    """

    def __init__(
        self,
        student: PromptableModel,
        teacher: Teacher,
        grid: tuple[int, int],
        masking: Masking,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        encoder = student.image_encoder
        assert isinstance(encoder, (PlainViT, ImageEncoderViT))
        if isinstance(encoder, ImageEncoderViT) and encoder.pos_embed.shape[1:3] != grid:
            raise BadSetting(f"this student works at {encoder.side} px only; leave out the side")
        self.model, self.grid, self.dtype = student, grid, dtype
        # no module: nobody trains, wraps or saves it
        self.teacher = teacher
        dim = encoder.pos_embed.shape[-1]
        self.head = Reconstruction(dim, teacher.model.prompt_encoder.dim, grid, masking)

    def forward(self, frames: HiddenFrames) -> tuple[Tensor, dict[str, float]]:
        """The loss over all patches; over the hidden ones alone the same, and the share of the features' variance
        that is explained there (0: no better than their mean over the step, 1: perfect)."""
        device = self.model.device
        seen, hidden = frames.seen.to(device), frames.hidden.to(device)
        wanted = self.wanted(frames)
        with torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            found = self.head(self.seen(frames.student.to(device), seen), seen, hidden)
        found = found.float()
        loss = F.mse_loss(found, wanted)
        with torch.no_grad():
            true = pick(wanted, hidden)
            missed = F.mse_loss(pick(found, hidden), true)
            spread = (true - true.mean((0, 1))).square().mean()
            report = {"loss": loss.detach(), "hidden": missed, "explained": 1 - missed / spread.clamp(min=1e-12)}
        return loss, {name: float(value) for name, value in report.items()}

    @torch.no_grad()
    def start_from_mean(self, frames: Frames, device: torch.device) -> None:
        """Let the head answer the mean of some pictures' features at first, asked of the teacher on `device`.

        Features lie far from zero; a bias that has to get there by small steps holds up everything else for long.
        """
        nn.init.zeros_(self.head.project.weight)
        self.head.project.bias.copy_(self.teacher.answers(frames, device).mean((0, 2, 3)))

    def seen(self, frames: Tensor, seen: Tensor) -> Tensor:
        """See `encode_seen`."""
        return encode_seen(self.model.image_encoder, frames, seen)  # type: ignore[arg-type]

    def wanted(self, frames: Frames) -> Tensor:
        """The teacher's features on the student's grid, [B, h * w, C]: means where the student's patches are larger."""
        features = self.teacher.answers(frames, self.model.device)
        if features.shape[2:] != self.grid:
            features = F.interpolate(features, self.grid, mode="area")
        return features.flatten(2).transpose(1, 2)


def groups_of(head: Reconstruction, settings: TrainSettings) -> list[dict[str, Any]]:
    """The head's parameters as optimiser groups: no decay of biases, norms and the query."""
    parts = [[p for p in head.parameters() if (p.ndim == 2) == decays] for decays in (True, False)]
    return [
        {"params": part, "lr": settings.rate, "weight_decay": decay}
        for part, decay in zip(parts, (settings.decay, 0.0), strict=True)
    ]
