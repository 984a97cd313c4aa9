"""The same numbers as `nn.mask_decoder.MaskDecoder`, in a fraction of the time and memory.

All of it is exact algebra, see `nn.fast_cells` and `nn.fast_upscale`. Tokens of several prompts are worked on together,
since they are so few that calls cost more than their arithmetic; cells of one prompt at a time, so that they stay in
the cache and memory does not grow with the prompts. Only the masks that are asked for are computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anymask.nn.dense_prompts import UndrawnPrompts
from anymask.nn.fast_cells import Cells, FirstCells, OwnCells, Room, SharedCells, with_drawing
from anymask.nn.fast_drawing import Drawing, Patches
from anymask.nn.fast_low_rank import LayeredCells, LayeredImage
from anymask.nn.fast_prepared import Prepared, prepared
from anymask.nn.fast_upscale import Canvas

if TYPE_CHECKING:
    from anymask.nn.mask_decoder import MaskDecoder, Wanted
    from anymask.nn.prompt_encoder import EncodedPrompts
    from anymask.nn.two_way import Attention, TwoWayBlock

FOLDED_TOKENS = 16
"""From so many tokens on, folding costs more than it saves: heads * tokens exceeds the inner width."""

SHARED_PROMPTS = 4
"""From so many prompts on, projecting the shared cells once is cheaper than folding for each."""

LAYERED_PROMPTS = 8
"""From so many prompts on, projecting the image's share of the cells for all blocks is cheaper than prompts' cells."""

GROUP = 8
"""Prompts whose tokens are worked on together."""


def suits(decoder: MaskDecoder, sparse: Tensor) -> bool:
    """Whether the folded form pays for so many tokens."""
    return sparse.shape[1] + decoder.score_rank + 1 + decoder.mask_count < FOLDED_TOKENS


def decode(
    decoder: MaskDecoder,
    image: Tensor,
    pe: Tensor,
    prompts: EncodedPrompts | UndrawnPrompts,
    high_res: tuple[Tensor, Tensor] | None,
    answers: slice,
    wanted: Wanted | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """As `MaskDecoder.answer`: logits, scores and tokens of the rows `answers`, and presence."""
    sparse, made = prompts.sparse, prepared(decoder, image, pe, prompts, high_res)
    count, upscaler = len(sparse), made.upscaler
    asked = range(decoder.mask_count)[answers]
    own, first = decoder.own_tokens(), decoder.score_rank
    canvas, scores = Canvas(count, len(asked), made.grid), torch.empty(count, len(asked))
    read = torch.empty(count, len(asked), sparse.shape[2])
    presence = None if decoder.pred_obj_score_head is None else torch.empty(count)
    source = _Source(decoder, made, prompts, own.shape[0] + sparse.shape[1])
    for start in range(0, count, GROUP):
        rows = slice(start, min(start + GROUP, count))
        tokens = torch.cat([own.expand(rows.stop - start, -1, -1), sparse[rows]], 1)
        cells, patches = source.of(rows)
        # of the tokens only the object's, the score's and the asked masks' are read in the end
        group = _Group(cells)
        tokens = _transform(decoder, tokens, group, [*range(first + 1), *(first + 1 + index for index in asked)])
        if presence is not None and decoder.pred_obj_score_head is not None:
            presence[rows] = decoder.pred_obj_score_head(tokens[:, 0])[:, 0]
        scores[rows] = decoder.iou_prediction_head(tokens[:, first])[:, answers]
        read[rows] = tokens = tokens[:, first + 1 :]
        mlps = [decoder.output_hypernetworks_mlps[index] for index in asked]
        kernels = torch.stack([mlp(tokens[:, rank]) for rank, mlp in enumerate(mlps)], 1)
        for index in group.order:
            row = start + index
            ranks = list(range(len(asked)))
            if wanted is not None:
                good = scores[row] > wanted.above
                ranks = good.nonzero()[:, 0].tolist()
                canvas.logits[row, ~good] = wanted.otherwise
            if ranks:
                here = [(patch, index) for patch in patches]
                upscaler.draw(canvas, row, ranks, group.cells[index], kernels[index][ranks], here)
    return canvas.logits, scores, read, presence


class _Source:
    """The cells that prompts start from, of one prepared image or of several.

    tokens: of a prompt.
    """

    def __init__(
        self, decoder: MaskDecoder, made: Prepared, prompts: EncodedPrompts | UndrawnPrompts, tokens: int
    ) -> None:
        self.cells, self.places, self.drawing = made.cells, made.places, made.drawing
        self.undrawn = prompts if isinstance(prompts, UndrawnPrompts) else None
        self.shared: SharedCells | LayeredImage | None = None
        blocks: list[TwoWayBlock] = list(decoder.transformer.layers)  # type: ignore[arg-type]
        count, (cells, channels) = len(prompts.sparse), self.places.shape
        rows, depth = blocks[0].self_attn.heads * tokens, 0 if self.drawing is None else self.drawing.shape[1]
        if len(self.cells) == 1 and count >= SHARED_PROMPTS:
            if self.drawing is None and count >= LAYERED_PROMPTS and len(blocks) * rows <= channels // 2:
                self.shared, depth = made.layered(decoder), len(blocks) * rows
            else:
                self.shared, depth = made.shared(decoder), depth + rows
        # the same memory for every group: fresh memory is several times slower
        self.room = Room(cells, channels, rows, len(blocks))
        self.memory = list(torch.empty(min(count, GROUP), depth, cells)) if depth else []
        own = isinstance(self.shared, SharedCells)
        self.own = list(torch.empty(min(count, GROUP), cells, channels)) if own else []

    def of(self, rows: slice) -> tuple[list[Cells], tuple[Patches, ...]]:
        """The cells of some prompts, and what is drawn into their fine and middle features."""
        count = rows.stop - rows.start
        patches: tuple[Patches, ...] = ()
        hidden: list[Tensor] = []
        bands = [slice(0, 0)] * count
        if self.undrawn is not None and self.drawing is not None:
            drawing = Drawing(self.undrawn, rows)
            hidden = [memory[: self.drawing.shape[1]] for memory in self.memory[:count]]
            bands = drawing.hidden(hidden)
            patches = drawing.fine(), drawing.middle()
        shared, room = self.shared, self.room
        if isinstance(shared, LayeredImage):
            return [LayeredCells(shared, memory, room) for memory in self.memory[:count]], patches
        if shared is not None:
            parts = zip(self.memory[:count], bands, self.own[:count], strict=True)
            return [FirstCells(shared, *part, room) for part in parts], patches
        own = [self.cells[row if len(self.cells) > 1 else 0] for row in range(rows.start, rows.stop)]
        if self.drawing is not None:
            drawn = zip(own, hidden, bands, strict=True)
            own = [with_drawing(cells, maps[:, band], band, self.drawing) for cells, maps, band in drawn]
        return [OwnCells(cells, self.places, room, self.drawing is not None) for cells in own], patches


class _Group:
    """The cells of some prompts, each of which is worked on as long as it is in the cache."""

    def __init__(self, cells: list[Cells]) -> None:
        self.cells = cells
        self.order = list(range(len(cells)))
        self.pending: tuple[TwoWayBlock, Tensor, Tensor, Tensor] | None = None

    def look(self, attn: Attention, tokens: Tensor) -> Tensor:
        """Tokens [P, T, C] attend to the cells of their prompts, after these have heeded what is pending."""
        queries = _split(attn.q_proj(tokens), attn.heads)
        queries = queries * queries.shape[-1] ** -0.5
        read = torch.empty_like(queries)
        for index in self.order:
            if self.pending is not None:
                block, *rest = self.pending
                self.cells[index] = self.cells[index].heed(block, *(part[index] for part in rest))
            read[index] = self.cells[index].look(attn, queries[index])
        self.pending = None
        # those that were last are still in the cache
        self.order.reverse()
        return attn.out_proj(read.transpose(1, 2).flatten(2) + attn.v_proj.bias)  # type: ignore[no-any-return]

    def heed(self, block: TwoWayBlock, placed: Tensor, tokens: Tensor) -> None:
        """The cells attend to tokens [P, T, C], with and without their positions, before anything looks at them again.

        The tokens go on in the meantime, since their attention to themselves does not wait for the cells.
        """
        back = block.cross_attn_image_to_token
        keys, values = _split(back.k_proj(placed), back.heads), _split(back.v_proj(tokens), back.heads)
        keys = keys * keys.shape[-1] ** -0.5
        # what each head and token would write into a cell; each head's weights over the tokens sum to one, so that a
        # head's share of the bias in every token's value adds it once
        weight = back.out_proj.weight.unflatten(1, (back.heads, -1)).permute(1, 2, 0)
        written = (values @ weight).flatten(1, 2) + back.out_proj.bias / back.heads
        self.pending = block, keys, values, written


def _transform(decoder: MaskDecoder, tokens: Tensor, group: _Group, needed: list[int]) -> Tensor:
    """The two-way transformer for P prompts: tokens [P, T, C], of which the `needed` come back."""
    transformer = decoder.transformer
    original = tokens
    for block in transformer.layers:
        if block.first:
            tokens = block.self_attn(tokens, tokens, tokens)  # type: ignore[operator]
        else:
            q = tokens + original
            tokens = tokens + block.self_attn(q, q, tokens)  # type: ignore[operator]
        tokens = block.norm1(tokens)  # type: ignore[operator]
        looked = group.look(block.cross_attn_token_to_image, tokens + original)  # type: ignore[arg-type]
        tokens = block.norm2(tokens + looked)  # type: ignore[operator]
        tokens = block.norm3(tokens + block.mlp(tokens))  # type: ignore[operator]
        group.heed(block, tokens + original, tokens)  # type: ignore[arg-type]
    tokens, original = tokens[:, needed], original[:, needed]
    looked = group.look(transformer.final_attn_token_to_image, tokens + original)
    return transformer.norm_final_attn(tokens + looked)  # type: ignore[no-any-return]


def _split(x: Tensor, heads: int) -> Tensor:
    """[P, T, heads * width] to [P, heads, T, width]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
