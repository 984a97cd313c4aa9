"""The cells of an image while prompts are decoded: what tokens read of them and what they take over from tokens.

A few tokens look at thousands of cells, so projections of the cells are multiplied onto the tokens' side first:
`q . (W x + b)` is `(W^T q) . x` plus a constant that the softmax drops, and `a @ (x W^T)` is `(a @ x) W^T`. In the
first block cells differ between prompts by what is drawn into them at most; the shared part is projected once for all.

Everywhere: N cells of C channels; heads of `width` channels; T tokens; weights of tokens stand as rows [heads * T, N].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.cpu import linear

if TYPE_CHECKING:
    from anymask.nn.two_way import Attention, TwoWayBlock


ROWS = 512
"""Cells that are normed at a time: a piece that small stays in the cache, and its memory with the process."""


SUMMED = 512
"""Cells that are added up at a time."""


class Cells(Protocol):
    """The cells of one prompt."""

    def look(self, attn: Attention, query: Tensor) -> Tensor:
        """What tokens with (scaled) queries [heads, T, width] read, the values' bias left out, same shape."""
        ...

    def heed(self, block: TwoWayBlock, key: Tensor, value: Tensor, written: Tensor) -> Cells:
        """The cells after the block's image-to-token attention and norm; these here are used up.

        key, value: of the tokens, the keys scaled, [heads, T, width]; written: what a head and token adds to a cell,
        [heads * T, C].
        """
        ...

    def projected(self, layer: Layer, band: slice) -> Tensor:
        """The layer on some of the cells: fresh memory [len(band), out]."""
        ...


@dataclass(frozen=True)
class Layer:
    """A linear layer for many rows: weight [out, C], the same packed, bias [out]."""

    weight: Tensor
    ready: Tensor
    bias: Tensor


class Room:
    """Memory that prompts work in one after another, for fresh memory is several times slower than memory in use.

    placed: [N, C]. scores: [heads * T, N]. products: [blocks * heads * T, N].
    """

    def __init__(self, cells: int, channels: int, rows: int, blocks: int) -> None:
        self.placed = torch.empty(cells, channels)
        self.scores, self.products = torch.empty(rows, cells), torch.empty(blocks * rows, cells)


class OwnCells:
    """Cells of one prompt as they are, [N, C], and the positions [N, C] that are added for keys and queries.

    ours: whether the cells may be overwritten.
    """

    def __init__(self, cells: Tensor, places: Tensor, room: Room, ours: bool) -> None:
        self.cells, self.places, self.room, self.ours = cells, places, room, ours

    def look(self, attn: Attention, query: Tensor) -> Tensor:
        """See `Cells.look`."""
        weights = linear(folded(query, attn.k_proj), self._placed())
        weights = torch.softmax(weights, -1, out=weights)
        return unfolded(linear(weights, self.cells.t()), attn)

    def _placed(self) -> Tensor:
        return torch.add(self.cells, self.places, out=self.room.placed)

    def heed(self, block: TwoWayBlock, key: Tensor, value: Tensor, written: Tensor) -> Cells:
        """See `Cells.heed`."""
        back = block.cross_attn_image_to_token
        offset = key @ back.q_proj.bias.unflatten(0, (back.heads, -1, 1))
        scores = linear(folded(key, back.q_proj), self._placed()).unflatten(0, key.shape[:2]).add_(offset)
        weights = torch.softmax(scores, 1, out=scores).flatten(0, 1)
        cells = self.cells if self.ours else torch.empty_like(self.cells)
        torch.addmm(self.cells, weights.t(), written, out=cells)
        return OwnCells(_normed(block, cells), self.places, self.room, True)

    def projected(self, layer: Layer, band: slice) -> Tensor:
        """See `Cells.projected`."""
        return linear(self.cells[band], layer.ready, layer.bias)


@dataclass(frozen=True)
class SharedCells:
    """What the cells of all prompts have in common before the first block, projected for it once.

    cells, places: [N, C]. keys, queries: [heads, width, N]; values: [heads, N, width], without bias.
    drawing: the layer [C, D] that turns what is drawn for a prompt into channels; its bias is part of `cells`.
    """

    cells: Tensor
    places: Tensor
    keys: Tensor
    queries: Tensor
    values: Tensor
    drawing: Tensor

    @classmethod
    def of(cls, block: TwoWayBlock, cells: Tensor, places: Tensor, drawing: Tensor | None) -> SharedCells:
        """For a first block; `drawing` is None where nothing is drawn."""
        look, back = block.cross_attn_token_to_image, block.cross_attn_image_to_token
        placed = cells + places
        keys, queries = (
            linear(placed, layer.weight, layer.bias).t().contiguous().unflatten(0, (look.heads, -1))
            for layer in (look.k_proj, back.q_proj)
        )
        values = linear(cells, look.v_proj.weight).unflatten(1, (look.heads, -1)).transpose(0, 1).contiguous()
        return cls(
            cells, places, keys, queries, values, cells.new_empty(cells.shape[1], 0) if drawing is None else drawing
        )


class FirstCells:
    """The cells of one prompt before the first block: the shared ones and what is drawn into them.

    memory: [D + heads * T, N], its first D rows are what was drawn, on the cells of `band` only; cells: [N, C]; both
    are overwritten.
    """

    def __init__(self, shared: SharedCells, memory: Tensor, band: slice, cells: Tensor, room: Room) -> None:
        depth = shared.drawing.shape[1]
        self.shared, self.memory, self.band, self.cells, self.room = shared, memory, band, cells, room
        self.drawn, self.weights = memory[:depth, band], memory[depth:]

    def _scores(self, tokens: Tensor, ours: Tensor, layer: nn.Module) -> Tensor:
        """tokens [heads, T, width] times projected cells [heads, width, N]: [heads * T, N]."""
        torch.bmm(tokens, ours, out=self.weights.unflatten(0, tokens.shape[:2]))
        if len(self.drawn):
            self.weights[:, self.band].addmm_(folded(tokens, layer) @ self.shared.drawing, self.drawn)
        return self.weights

    def look(self, attn: Attention, query: Tensor) -> Tensor:
        """See `Cells.look`."""
        scores = self._scores(query, self.shared.keys, attn.k_proj)
        weights = torch.softmax(scores, -1, out=scores)
        read = weighted(weights.unflatten(0, query.shape[:2]), self.shared.values)
        if len(self.drawn):
            read += unfolded(weights[:, self.band] @ self.drawn.t() @ self.shared.drawing.t(), attn)
        return read

    def heed(self, block: TwoWayBlock, key: Tensor, value: Tensor, written: Tensor) -> Cells:
        """See `Cells.heed`."""
        scores = self._scores(key, self.shared.queries, block.cross_attn_image_to_token.q_proj)
        scores = scores.unflatten(0, key.shape[:2])
        torch.softmax(scores, 1, out=scores)
        every = torch.cat([self.shared.drawing.t(), written])
        below, above = slice(0, self.band.start), slice(self.band.stop, None)
        for rows, memory, added in (
            (below, self.weights, written),
            (self.band, self.memory, every),
            (above, self.weights, written),
        ):
            torch.addmm(self.shared.cells[rows], memory[:, rows].t(), added, out=self.cells[rows])
        return OwnCells(_normed(block, self.cells), self.shared.places, self.room, True)

    def projected(self, layer: Layer, band: slice) -> Tensor:
        """See `Cells.projected`."""
        own = with_drawing(self.shared.cells, self.drawn, self.band, self.shared.drawing)
        return linear(own[band], layer.ready, layer.bias)


def _normed(block: TwoWayBlock, cells: Tensor) -> Tensor:
    """The block's last norm, in place."""
    norm = block.norm4
    for rows in cells.split(ROWS):
        rows.copy_(F.layer_norm(rows, rows.shape[1:], norm.weight, norm.bias, norm.eps))
    return cells


def weighted(weights: Tensor, values: Tensor) -> Tensor:
    """Weights [heads, T, N] times values [heads, N, width], some hundred cells at a time.

    For two tokens, as a single mask has, a single batched product adds up thousands of numbers one after another, which
    loses a digit; and adding to the product so far would be the same again.
    """
    parts = zip(weights.split(SUMMED, 2), values.split(SUMMED, 1), strict=True)
    return torch.stack([torch.bmm(weight, value) for weight, value in parts]).sum(0)


def with_drawing(cells: Tensor, drawn: Tensor, band: slice, drawing: Tensor) -> Tensor:
    """Cells [N, C] to which a layer [C, D] of what was drawn on those of `band`, [D, len(band)], is added."""
    cells = cells.clone()
    cells[band].addmm_(drawn.t(), drawing.t())
    return cells


def by_head(layer: nn.Module, heads: int) -> Tensor:
    """A projection's weight [heads, width, C]."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight.unflatten(0, (heads, -1))


def folded(tokens: Tensor, layer: nn.Module) -> Tensor:
    """Tokens' side [heads, T, width] times the cells' projection: [heads * T, C]; the projection's bias is left out."""
    return (tokens @ by_head(layer, len(tokens))).flatten(0, 1)


def unfolded(read: Tensor, attn: Attention) -> Tensor:
    """Weighted sums of cells [heads * T, C] to sums of their values [heads, T, width], the bias left out."""
    return read.unflatten(0, (attn.heads, -1)) @ by_head(attn.v_proj, attn.heads).transpose(1, 2)
