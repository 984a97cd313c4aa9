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


class Cells(Protocol):
    """The cells of one prompt."""

    def look(self, attn: Attention, query: Tensor) -> Tensor:
        """What tokens with (scaled) queries [heads, T, width] read, the values' bias left out, same shape."""
        ...

    def heed(self, block: TwoWayBlock, key: Tensor, written: Tensor) -> Cells:
        """The cells after the block's image-to-token attention and norm.

        key: of the tokens, scaled, [heads, T, width]; written: what a head and token adds to a cell, [heads * T, C].
        """
        ...

    def projected(self, weight: Tensor, bias: Tensor) -> Tensor:
        """A linear layer, its weight perhaps packed, on all cells: [N, out]."""
        ...


class OwnCells:
    """Cells of one prompt as they are, [N, C], and the positions [N, C] that are added for keys and queries."""

    def __init__(self, cells: Tensor, places: Tensor) -> None:
        self.cells, self.places = cells, places
        self._placed: Tensor | None = None

    @property
    def placed(self) -> Tensor:
        """Cells and their positions."""
        if self._placed is None:
            self._placed = self.cells + self.places
        return self._placed

    def look(self, attn: Attention, query: Tensor) -> Tensor:
        weights = linear(folded(query, attn.k_proj), self.placed)
        weights = torch.softmax(weights, -1, out=weights)
        return unfolded(linear(weights, self.cells.t()), attn)

    def heed(self, block: TwoWayBlock, key: Tensor, written: Tensor) -> Cells:
        back = block.cross_attn_image_to_token
        offset = key @ back.q_proj.bias.unflatten(0, (back.heads, -1, 1))
        scores = linear(folded(key, back.q_proj), self.placed).view(*key.shape[:2], -1).add_(offset)
        weights = torch.softmax(scores, 1, out=scores).flatten(0, 1)
        return OwnCells(_normed(block, torch.addmm(self.cells, weights.t(), written)), self.places)

    def projected(self, weight: Tensor, bias: Tensor) -> Tensor:
        return linear(self.cells, weight, bias)


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
    drawing: Tensor | None

    @classmethod
    def of(cls, block: TwoWayBlock, cells: Tensor, places: Tensor, drawing: Tensor | None) -> SharedCells:
        look, back = block.cross_attn_token_to_image, block.cross_attn_image_to_token
        placed = cells + places
        keys, queries = (
            linear(placed, layer.weight, layer.bias).t().contiguous().unflatten(0, (look.heads, -1))
            for layer in (look.k_proj, back.q_proj)
        )
        values = linear(cells, look.v_proj.weight).unflatten(1, (look.heads, -1)).transpose(0, 1).contiguous()
        return cls(cells, places, keys, queries, values, drawing)


class FirstCells:
    """The cells of one prompt before the first block: the shared ones and what is drawn into them.

    memory: [D + heads * T, N], free to be used; its first D rows are what was drawn.
    """

    def __init__(self, shared: SharedCells, memory: Tensor) -> None:
        self.shared, self.memory = shared, memory
        self.drawn = memory[: 0 if shared.drawing is None else shared.drawing.shape[1]]

    def _scores(self, tokens: Tensor, ours: Tensor, layer: nn.Module, out: Tensor) -> Tensor:
        """tokens [heads, T, width] times projected cells [heads, width, N]: [heads * T, N]."""
        scores = torch.bmm(tokens, ours, out=out.unflatten(0, tokens.shape[:2])).flatten(0, 1)
        if self.shared.drawing is not None:
            scores.addmm_(folded(tokens, layer) @ self.shared.drawing, self.drawn)
        return scores

    def look(self, attn: Attention, query: Tensor) -> Tensor:
        scores = self._scores(query, self.shared.keys, attn.k_proj, self.memory[len(self.drawn) :])
        weights = torch.softmax(scores, -1, out=scores)
        read = torch.bmm(weights.unflatten(0, query.shape[:2]), self.shared.values)
        if self.shared.drawing is not None:
            read += unfolded(linear(weights, self.drawn) @ self.shared.drawing.t(), attn)
        return read

    def heed(self, block: TwoWayBlock, key: Tensor, written: Tensor) -> Cells:
        back = block.cross_attn_image_to_token
        scores = self._scores(key, self.shared.queries, back.q_proj, self.memory[len(self.drawn) :])
        scores = scores.unflatten(0, key.shape[:2])
        torch.softmax(scores, 1, out=scores)
        if self.shared.drawing is not None:
            written = torch.cat([self.shared.drawing.t(), written])
        cells = torch.addmm(self.shared.cells, self.memory.t(), written)
        return OwnCells(_normed(block, cells), self.shared.places)

    def projected(self, weight: Tensor, bias: Tensor) -> Tensor:
        own = self.shared.cells
        if self.shared.drawing is not None:
            own = torch.addmm(own, self.drawn.t(), self.shared.drawing.t())
        return linear(own, weight, bias)


def _normed(block: TwoWayBlock, cells: Tensor) -> Tensor:
    return F.layer_norm(cells, cells.shape[1:], block.norm4.weight, block.norm4.bias, block.norm4.eps)


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
