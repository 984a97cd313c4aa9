"""What a light model remembers of an object, cell by cell, and how a frame is told where the object went.

Every cell of a remembered frame keeps a key (how the place looks), a value (what was learned of the object there) and
the object's share of its four quarters. A cell of a new frame looks for the remembered ones that look like it, near
where they were; what it finds are the object's shares, carried along, and values from which two maps are made: logits
of the object, and an addition to the embedding that the mask decoder reads.

Sources: keys shared by frame and memory, as in "Rethinking space-time networks" (arXiv 2106.05210); memories of
prompted and of recent frames, object pointers and the token for presence, as in SAM 2 (arXiv 2408.00714), section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.layers import MLP
from anymask.nn.memory_encoder import Fuser

QUARTERS = 4
"""Of a cell, each with its share of the object."""
PLACES = 4
"""Channels of the keys that tell where a cell lies and how long ago, see `_reminded`."""
SUREST = 6.0
"""The logit of a share of 1."""
POOLED_FROM = 2
"""Memories of frames so long ago or longer are kept in mind at half the resolution."""
FAINTEST = -2.0
"""The least logit of a place that is worth pointing at."""
FEATURES = 16
"""Shares of the object along a cell of which values are made: four by four."""


class Carried(NamedTuple):
    """addition: [B, C, 2h, 2w] to the embedding. logits: [B, 1, 2h, 2w] of the object."""

    addition: Tensor
    logits: Tensor


class CellMemory(nn.Module):
    """dim: channels of the embedding. key: of a key and of a value, for each of two heads. slots: memories of the
    frames before that are told apart, those of prompted frames not counted. depth: blocks that make values, and that
    read.

    Memory maps are [P, 2 * key + key + QUARTERS, h, w] at half the embedding's resolution.
    """

    def __init__(self, dim: int = 128, key: int = 64, slots: int = 5, depth: int = 2) -> None:
        super().__init__()
        self.dim, self.width, self.slots, self.heads = dim, key, slots, 2
        self.look = nn.Conv2d(2 * dim, self.heads * key, 1, bias=False)
        nn.init.orthogonal_(self.look.weight)
        self.sharpness = nn.Parameter(torch.full((self.heads,), math.log(16.0)))
        # how far things move: one head follows, the other finds again; slot 0 is a prompted frame
        reach = torch.tensor([[0.35] + [0.06 + 0.03 * slot for slot in range(1, slots + 1)], [1.5] * (slots + 1)])
        self.nearness = nn.Parameter(-math.log(2) - 2 * reach.log())
        self.weights = nn.Parameter(torch.zeros(self.heads, slots + 1))
        self.trust = nn.Parameter(torch.tensor([1.0, 0.0]))
        self.seen = nn.Conv2d(2 * dim, key, 1)
        self.shape = nn.Conv2d(FEATURES, key, 3, padding=1)
        self.write = Fuser(key, depth)
        self.gone = nn.Parameter(torch.zeros(key))
        self.found = nn.Conv2d(self.heads * key + QUARTERS, dim, 1)
        self.here = nn.Conv2d(2 * dim, dim, 1)
        self.read = Fuser(dim, depth)
        self.addition = nn.Conv2d(dim, dim, 1)
        self.correction = nn.Conv2d(dim, QUARTERS, 1)
        self.pointer = MLP(dim, dim, dim, 2)
        self.no_pointer = nn.Parameter(torch.zeros(dim))
        self.hints = nn.Linear(2 * dim, 2 * dim)
        for fuser in (self.write, self.read):
            for block in fuser.layers:
                nn.init.constant_(block.gamma, 0.1)  # type: ignore[arg-type]
        for layer in (self.addition, self.correction, self.hints):
            # at first nothing is added to what the decoder knows
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def appearance(self, image: Tensor, looks: Tensor) -> Tensor:
        """Embedding [B, C, 2h, 2w] and looks [B, C, h, w] of a frame, together: [B, 2C, h, w]."""
        return torch.cat([F.avg_pool2d(image, 2), looks], 1)

    def keys(self, appearance: Tensor) -> Tensor:
        """[B, 2C, h, w] -> [B, 2 * key, h, w], of length 1 in each head."""
        found: Tensor = self.look(appearance)
        return F.normalize(found.unflatten(1, (self.heads, -1)), dim=2).flatten(1, 2)

    def made(self, appearance: Tensor, keys: Tensor, masks: Tensor, presence: Tensor) -> Tensor:
        """What is kept of P objects on a frame.

        appearance, keys: of the frame, [1 or P, ...]. masks: [P, H, W], 0..1, H a multiple of 4h. presence: [P],
        above 0 the object is there.
        """
        height, width = appearance.shape[2:]
        shares = F.adaptive_avg_pool2d(masks[:, None], (4 * height, 4 * width))
        value = self.seen(appearance) + self.shape(F.pixel_unshuffle(2 * shares - 1, 4))
        value = self.write(value)
        value = value + (presence <= 0).to(value.dtype)[:, None, None, None] * self.gone[:, None, None]
        quarters = F.pixel_unshuffle(F.avg_pool2d(shares, 2), 2)
        return torch.cat([keys.expand(len(masks), -1, -1, -1), value, quarters], 1)

    def forward(self, appearance: Tensor, keys: Tensor, memories: Sequence[tuple[Tensor, int]], cells: int) -> Carried:
        """Where B objects are on a frame, by what is remembered of them.

        appearance, keys: of the frame, [1 or B, ...]. memories: (maps [B, ..., h, w], slot), at least one.
        cells: along the frame's side; maps may show the upper left part of the frame alone, where the picture is.
        """
        count, size = len(memories[0][0]), appearance.shape[2:]
        query = self._asking(keys, 1 / cells).expand(count, -1, -1, -1)
        told = [self._reminded(maps, slot, 1 / cells) for maps, slot in memories]
        remembered = torch.cat([one for one, _ in told], 2)
        values = torch.cat([one for _, one in told], 2)
        with torch.autocast(query.device.type, enabled=False):
            # places need more digits than bfloat16 has
            out = F.scaled_dot_product_attention(query, remembered, values.expand(-1, self.heads, -1, -1), scale=1.0)
        out = out.transpose(2, 3).unflatten(3, (size[0], size[1]))
        shares = torch.einsum("h,bhqyx->bqyx", self.trust.softmax(0), out[:, :, self.width :])
        found = self.found(torch.cat([out[:, :, : self.width].flatten(1, 2), 2 * shares - 1], 1))
        x = self.read(found + self.here(appearance))
        sure = torch.logit(shares.float(), math.exp(-SUREST))
        logits = F.pixel_shuffle(sure + self.correction(x).float(), 2)
        added: Tensor = self.addition(x)
        addition = F.interpolate(added, scale_factor=2.0, mode="bilinear", align_corners=False)
        return Carried(addition, logits)

    def _asking(self, keys: Tensor, step: float) -> Tensor:
        """Keys of a frame as they ask, float32 [B, heads, cells, key + PLACES]."""
        cells = keys.float().unflatten(1, (self.heads, -1)).flatten(3).transpose(2, 3)
        place = _places((keys.shape[2], keys.shape[3]), keys.device, step)
        far = (place * place).sum(1, keepdim=True)
        where = torch.cat([place, torch.ones_like(far), far], 1).expand(len(cells), self.heads, -1, -1)
        return torch.cat([cells * self.sharpness.exp()[:, None, None], where], 3)

    def _reminded(self, maps: Tensor, slot: int, step: float) -> tuple[Tensor, Tensor]:
        """A memory as it is asked: keys [B, heads, cells, key + PLACES], values [B, 1, cells, key + QUARTERS].

        With q = (.., p, 1, |p|^2) and k = (.., 2 a p', b - a |p'|^2, -a) their product holds b - a |p - p'|^2: nearness
        a and weight b of the slot, at no cost.
        """
        maps = maps.float()
        pooled = slot >= POOLED_FROM
        if pooled:
            maps, step = F.avg_pool2d(maps, 2, ceil_mode=True, count_include_pad=False), 2 * step
        kept = maps.flatten(2).transpose(1, 2)
        split = self.heads * self.width
        cells = kept[..., :split].unflatten(2, (self.heads, -1)).transpose(1, 2)
        row = min(slot, self.slots)
        near, weight = self.nearness[:, row].exp()[:, None, None], self.weights[:, row][:, None, None]
        place = _places((maps.shape[2], maps.shape[3]), maps.device, step)
        far = (place * place).sum(1, keepdim=True)
        # a cell of half the resolution stands for four
        weight = weight + math.log(4.0) * pooled
        where = torch.cat([2 * near * place, weight - near * far, (-near).expand(self.heads, len(place), 1)], 2)
        return torch.cat([cells, where.expand(len(cells), -1, -1, -1)], 3), kept[:, None, :, split:]

    def pointers(self, tokens: Tensor, presence: Tensor) -> Tensor:
        """Mask tokens [..., C] after the decoder to object pointers [..., C]; presence: logits that broadcast."""
        return torch.where(presence[..., None] > 0, self.pointer(tokens), self.no_pointer)

    def hinted(self, pointers: Tensor, nearest: Tensor) -> Tensor:
        """What pointers tell the decoder, as two tokens.

        pointers: [B, K, C], K from 1; nearest: [B, C], the latest of them. [B, 2, C].
        """
        out: Tensor = self.hints(torch.cat([pointers.mean(1), nearest], 1))
        return out.unflatten(1, (2, -1))


def peaks(logits: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Where objects seem to be deepest, as clicks: points [P, 1, 2] (x, y) in model px, labels [P, 1], -1 for none.

    logits: [P, 1, h, w], `stride` pixels of the frame each. A decoder for pictures answers logits alone with nothing;
    with a click among them it goes on from there, untrained as it may be.
    """
    with torch.no_grad():
        deep, at = F.avg_pool2d(logits.float(), 3, 1, 1).flatten(1).max(1)
        width = logits.shape[3]
        xy = torch.stack([at % width, at // width], 1)
        points = (xy.float() + 0.5) * stride - 0.5
        return points[:, None], torch.where(deep > FAINTEST, 1, -1)[:, None]


def _places(size: tuple[int, int], device: torch.device, step: float) -> Tensor:
    """Centres (x, y) of all cells of a grid, row by row, [cells, 2]; step: from one cell to the next."""
    y, x = ((torch.arange(count, device=device) + 0.5) * step for count in size)
    return torch.stack([x.expand(*size), y[:, None].expand(*size)], -1).flatten(0, 1)
