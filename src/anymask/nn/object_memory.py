"""All that SAM 2 adds to a promptable model for following objects: what is remembered, and how it is read.

Source: SAM 2 (arXiv 2408.00714), section 4 and appendix D.1. Parameter names are the official ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.fpn_neck import kept_sine_positions, sine_times
from anymask.nn.layers import MLP
from anymask.nn.memory_attention import MemoryAttention, Remembered
from anymask.nn.memory_encoder import MemoryEncoder

MASK_SCALE, MASK_SHIFT = 20.0, -10.0
"""Masks of 0..1 are read as -10..10."""


class ObjectMemory(nn.Module):
    """Memories of objects: made of a frame and a mask, read by the frames that follow.

    dim: channels of the frame's features. width: channels of memories; dim is a multiple of it. slots: memories that
    are read, those of prompted frames not counted. stride: pixels of the frame a cell. mask_stride: pixels of the frame
    a pixel of low-resolution logits.
    occluded: memories of frames without the object are marked (2.1). timed: pointers carry their distance (2.1).
    """

    def __init__(
        self,
        dim: int = 256,
        width: int = 64,
        slots: int = 6,
        depth: int = 4,
        hidden: int = 2048,
        stride: int = 16,
        mask_stride: int = 4,
        occluded: bool = True,
        timed: bool = True,
    ) -> None:
        super().__init__()
        self.dim, self.width, self.slots = dim, width, slots
        self.attention = MemoryAttention(dim, width, depth, hidden)
        self.encoder = MemoryEncoder(dim, width, stride)
        # in order of slots 1, 2, ...; the last row is for prompted frames
        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(slots + 1, 1, 1, width))
        self.no_mem_pos_enc = nn.Parameter(torch.zeros(1, 1, dim))  # in every file, read by no published model
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, dim))
        self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, width)) if occluded else None
        self.mask_downsample = nn.Conv2d(1, 1, mask_stride, mask_stride)
        self.obj_ptr_proj = MLP(dim, dim, dim, 3)
        self.obj_ptr_tpos_proj = nn.Linear(dim, width) if timed else None
        for table in (self.maskmem_tpos_enc, self.no_obj_ptr, self.no_obj_embed_spatial):
            if table is not None:
                nn.init.trunc_normal_(table, std=0.02)

    def made(self, image: Tensor, masks: Tensor, presence: Tensor) -> Tensor:
        """What is kept of P objects on a frame, [P, width, h, w].

        image: [1, C, h, w]. masks: [P, H, W] at the frame's size, 0..1. presence: [P], above 0 the object is there.
        """
        features: Tensor = self.encoder(image, (masks * MASK_SCALE + MASK_SHIFT)[:, None])
        if self.no_obj_embed_spatial is None:
            return features
        gone = (presence <= 0).to(features.dtype)[:, None, None, None]
        return features + gone * self.no_obj_embed_spatial[..., None, None]

    def pointers(self, tokens: Tensor, presence: Tensor) -> Tensor:
        """Mask tokens [P, M, C] after the decoder to object pointers [P, M, C]; presence: [P]."""
        there = (presence > 0)[:, None, None]
        return torch.where(there, self.obj_ptr_proj(tokens), self.no_obj_ptr)

    def gathered(
        self,
        features: Sequence[Sequence[Tensor]],
        slots: Sequence[int],
        pointers: Sequence[Sequence[Tensor]],
        times: Tensor,
    ) -> Remembered:
        """Memories of B objects as the attention reads them.

        features: of each object as many maps [width, h, w] as there are `slots`. pointers: of each object K vectors
        [C]; times: [B, K], their distances as shares of the longest.
        """
        like = self.maskmem_tpos_enc
        count = len(features)
        keys, values, cells = [], [], 0
        if slots:
            maps = torch.stack([torch.stack(list(own)) for own in features]).to(like)
            size = (maps.shape[-2], maps.shape[-1])
            flat = maps.flatten(3).transpose(2, 3)
            where = kept_sine_positions(size, self.width, like.device).flatten(1).t()
            when = torch.stack([like[slot - 1, 0, 0] for slot in slots])
            # slot 0 is row -1, the last one
            keys.append((flat + (where + when[:, None])).flatten(1, 2))
            values.append(flat.flatten(1, 2))
            cells = values[0].shape[1]
        if times.shape[1]:
            parts = self.dim // self.width
            split = torch.stack([torch.stack(list(own)) for own in pointers]).to(like).unflatten(-1, (parts, -1))
            codes = torch.zeros_like(split[:, :, :1])
            if self.obj_ptr_tpos_proj is not None:
                code = sine_times(times.flatten().to(like), self.dim)
                codes = self.obj_ptr_tpos_proj(code).view(count, -1, 1, self.width)
            keys.append((split + codes).flatten(1, 2))
            values.append(split.flatten(1, 2))
        return Remembered(torch.cat(keys, 1), torch.cat(values, 1), cells)

    def read(self, image: Tensor, remembered: Remembered) -> Tensor:
        """A frame's features [1, C, h, w] in the light of B objects' memories, [B, C, h, w]."""
        places = kept_sine_positions((image.shape[2], image.shape[3]), self.dim, image.device)
        out: Tensor = self.attention(image, places, remembered)
        return out

    def prompt_of(self, masks: Tensor) -> Tensor:
        """Masks [P, H, W] at the frame's size, 0 or 1, to low-resolution logits [P, 1, h, w] for the prompt encoder."""
        out: Tensor = self.mask_downsample(masks[:, None])
        return out


def at_frame(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Low-resolution logits [P, h, w] at the frame's size, [P, H, W]."""
    return F.interpolate(logits[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]
