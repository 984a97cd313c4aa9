"""The cells of many prompts on one image, never computed: what the image gives and what tokens wrote is kept apart.

After every block the cells of a prompt are

    cells = gain * (scale * E + U^T P) + bias

E [N, C] is the image's alone, scale [N] and U [r, N] come of the norms and of the attention weights, and P [r, C] of
what the few tokens wrote. So the projections of E are made once for all prompts, and a prompt costs products with r
rows in place of C channels. Centring the channels of E and of P makes the mean of the norm vanish, and its variance
follows from the Gram matrix of P. All of it is exact; only the order of sums differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anymask.nn.cpu import linear
from anymask.nn.fast_cells import Layer, Room, by_head, weighted

if TYPE_CHECKING:
    from anymask.nn.mask_decoder import MaskDecoder
    from anymask.nn.two_way import Attention, TwoWayBlock


@dataclass(frozen=True)
class Attended:
    """An attention's projection of E * gain and of what is the same for every prompt, positions and bias.

    own, fixed: [heads, width, N].
    """

    own: Tensor
    fixed: Tensor | None

    @classmethod
    def of(cls, layer: nn.Module, heads: int, level: Level, places: Tensor, first: bool) -> Attended:
        """A projection `layer` of a level; before the `first` block there is no norm, and both are one."""
        weight: Tensor = layer.weight  # type: ignore[assignment]
        bias: Tensor = layer.bias  # type: ignore[assignment]
        if first:
            return cls(_by_head(linear(level.cells + places, weight, bias), heads), None)
        fixed = linear(places + level.bias, weight, bias)
        return cls(_by_head(linear(level.cells * level.gain, weight), heads), _by_head(fixed, heads))


@dataclass(frozen=True)
class Level:
    """The image's share of the cells before a block or the last attention.

    cells: E [N, C]; squares: of its rows, [N]. gain, bias: of the norm that made these cells, [C].
    overlaps: for each block so far, E times what a head's values write, [heads, width, N], and times what every token
    writes, [N].
    """

    cells: Tensor
    squares: Tensor
    gain: Tensor
    bias: Tensor
    overlaps: list[tuple[Tensor, Tensor]]


class LayeredImage:
    """All that prompts on one image share.

    cells, places: [N, C]. finish: the layer that the cells go through in the end.
    """

    def __init__(self, decoder: MaskDecoder, cells: Tensor, places: Tensor, finish: Layer) -> None:
        transformer = decoder.transformer
        blocks: list[TwoWayBlock] = list(transformer.layers)  # type: ignore[arg-type]
        last = transformer.final_attn_token_to_image
        one = torch.ones(cells.shape[1])
        level = Level(cells, cells.square().sum(1), one, torch.zeros_like(one), [])
        self.keys: list[Attended] = []
        self.queries: list[Attended] = []
        self.values: list[Tensor] = []
        self.levels = [level]
        for index in range(len(blocks) + 1):
            look = blocks[index].cross_attn_token_to_image if index < len(blocks) else last
            self.keys.append(Attended.of(look.k_proj, look.heads, level, places, index == 0))
            values = linear(level.cells * level.gain, look.v_proj.weight)
            self.values.append(values.unflatten(1, (look.heads, -1)).transpose(0, 1).contiguous())
            if index == len(blocks):
                break
            back = blocks[index].cross_attn_image_to_token
            self.queries.append(Attended.of(back.q_proj, back.heads, level, places, index == 0))
            level = _next(self.levels, blocks[: index + 1])
            self.levels.append(level)
        self.finished = linear(level.cells * level.gain, finish.ready)
        self.fixed = linear(level.bias[None], finish.weight, finish.bias)[0]


def _next(levels: list[Level], blocks: list[TwoWayBlock]) -> Level:
    """The level after the last of some blocks."""
    cells = _centred(levels[-1].cells * levels[-1].gain)
    overlaps = []
    pulled = cells
    for block, level in zip(reversed(blocks), reversed(levels), strict=True):
        back = block.cross_attn_image_to_token
        out: Tensor = back.out_proj.weight
        common = (back.out_proj.bias + level.bias) / back.heads
        overlaps.append((_by_head(linear(pulled, out.t()), back.heads), pulled @ common))
        pulled = _centred(pulled * level.gain)
    norm = blocks[-1].norm4
    return Level(cells, cells.square().sum(1), norm.weight, norm.bias, overlaps[::-1])


class LayeredCells:
    """The cells of one prompt, see above.

    memory: [blocks * heads * T, N], U, is overwritten.
    """

    def __init__(self, image: LayeredImage, memory: Tensor, room: Room) -> None:
        self.image, self.memory, self.room = image, memory, room
        self.level = 0
        self.rows = 0
        self.scale: Tensor | None = None
        self.written = torch.empty(0)
        self.values: list[Tensor] = []
        self.finished: Tensor | None = None

    @property
    def _here(self) -> Level:
        return self.image.levels[self.level]

    def _scores(self, tokens: Tensor, layer: nn.Module, attended: Attended, out: Tensor) -> Tensor:
        """tokens [heads, T, width] times the projected cells, [heads * T, N]."""
        by_heads = out.unflatten(0, tokens.shape[:2])
        torch.bmm(tokens, attended.own, out=by_heads)
        if self.scale is None or attended.fixed is None:
            return out
        out.mul_(self.scale)
        folded = (tokens @ by_head(layer, len(tokens))).flatten(0, 1) * self._here.gain
        out.addmm_(folded @ self.written.t(), self.memory[: self.rows])
        by_heads.baddbmm_(tokens, attended.fixed)
        return out

    def look(self, attn: Attention, query: Tensor) -> Tensor:
        """See `Cells.look`."""
        rows = query.shape[0] * query.shape[1]
        scores = self._scores(query, attn.k_proj, self.image.keys[self.level], self.room.scores[:rows])
        weights = torch.softmax(scores, -1, out=scores)
        values = self.image.values[self.level]
        if self.scale is None:
            return weighted(weights.unflatten(0, query.shape[:2]), values)
        scaled = torch.mul(weights, self.scale, out=self.room.products[:rows])
        read = weighted(scaled.unflatten(0, query.shape[:2]), values)
        # torch's own product adds up more exactly than oneDNN's
        more = weights @ self.memory[: self.rows].t() @ (self.written * self._here.gain) + self._here.bias
        return read + more.unflatten(0, query.shape[:2]) @ by_head(attn.v_proj, attn.heads).transpose(1, 2)

    def heed(self, block: TwoWayBlock, key: Tensor, value: Tensor, written: Tensor) -> LayeredCells:
        """See `Cells.heed`."""
        rows = slice(self.rows, self.rows + key.shape[0] * key.shape[1])
        back, here = block.cross_attn_image_to_token, self._here
        scores = self._scores(key, back.q_proj, self.image.queries[self.level], self.memory[rows])
        scores = scores.unflatten(0, key.shape[:2])
        torch.softmax(scores, 1, out=scores)
        self.values.append(value)
        # a head's weights over the tokens sum to one: so its share of what all cells get is added once
        fresh = _centred(written + here.bias / back.heads)
        self.written = torch.cat([_centred(self.written * here.gain), fresh]) if self.rows else fresh
        self.rows, self.level = rows.stop, self.level + 1
        squares = self._squares() / self.written.shape[1]
        deviation = torch.rsqrt(squares.clamp_(min=0).add_(block.norm4.eps))
        self.memory[: self.rows].mul_(deviation)
        self.scale = deviation if self.scale is None else self.scale * deviation
        return self

    def _squares(self) -> Tensor:
        """Sums of squares of scale * E + U^T P, [N]."""
        level, weights = self._here, self.memory[: self.rows]
        products = self.room.products[: self.rows]
        start = 0
        for value, (overlap, common) in zip(self.values, level.overlaps, strict=True):
            stop = start + value.shape[0] * value.shape[1]
            part = products[start:stop]
            torch.bmm(value, overlap, out=part.unflatten(0, value.shape[:2]))
            part.add_(common)
            start = stop
        products.mul_(2 if self.scale is None else 2 * self.scale)
        # the Gram matrix is symmetric: what earlier blocks and this one share is counted twice in the earlier rows
        gram = self.written @ self.written.t()
        fresh = start - self.values[-1].shape[0] * self.values[-1].shape[1]
        gram[:fresh, fresh:] *= 2
        products[:fresh].addmm_(gram[:fresh], weights)
        products[fresh:].addmm_(gram[fresh:, fresh:], weights[fresh:])
        own = level.squares if self.scale is None else level.squares * self.scale.square()
        return own + products.mul_(weights).sum(0)

    def projected(self, layer: Layer, band: slice) -> Tensor:
        """See `Cells.projected`; the layer is that of the image."""
        own = self.image.finished[band]
        out = (
            own + self.image.fixed
            if self.scale is None
            else torch.addcmul(self.image.fixed, own, self.scale[band, None])
        )
        if self.finished is None:
            self.finished = linear(self.written * self._here.gain, layer.weight)
        return out.addmm_(self.memory[: self.rows, band].t(), self.finished)


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(1, keepdim=True)


def _by_head(x: Tensor, heads: int) -> Tensor:
    """[N, heads * width] to [heads, width, N]."""
    return x.t().contiguous().unflatten(0, (heads, -1))
