"""The same numbers as `nn.mask_decoder.MaskDecoder`, in a fraction of the time and memory.

All of it is exact algebra:
- a few tokens look at thousands of cells, so projections of the cells are multiplied onto the tokens' side first:
  `q . (W x + b)` is `(W^T q) . x` plus a constant that the softmax drops, and `a @ (x W^T)` is `(a @ x) W^T`;
- in the first block the cells are the same for all prompts, and with several prompts they are projected once;
- a transposed convolution of kernel and stride 2 is a linear layer, if the four pixels of a cell stay together until
  the end ("blocked" order); then only the few mask rows are brought into reading order;
- only the masks that are asked for are computed; prompts go one by one, so that memory does not grow with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.cpu import linear, packed

if TYPE_CHECKING:
    from anymask.nn.layers import LayerNorm2d
    from anymask.nn.mask_decoder import MaskDecoder
    from anymask.nn.prompt_encoder import EncodedPrompts
    from anymask.nn.two_way import Attention, TwoWayBlock

FOLDED_TOKENS = 16
"""From so many tokens on, folding costs more than it saves: heads * tokens exceeds the inner width."""

SHARED_PROMPTS = 4
"""From so many prompts on, projecting the shared cells once is cheaper than folding for each."""


def suits(decoder: MaskDecoder, sparse: Tensor) -> bool:
    """Whether the folded form pays for so many tokens."""
    return sparse.shape[1] + 1 + decoder.mask_count < FOLDED_TOKENS


@dataclass(frozen=True)
class _Shared:
    """The cells of the first block, projected once for all prompts: keys, values and queries [heads, N, width]."""

    keys: Tensor
    values: Tensor
    queries: Tensor


def decode(
    decoder: MaskDecoder,
    image: Tensor,
    pe: Tensor,
    prompts: EncodedPrompts,
    high_res: tuple[Tensor, Tensor] | None,
    answers: slice,
) -> tuple[Tensor, Tensor]:
    """As `MaskDecoder.forward`, only the rows `answers` of masks and scores."""
    sparse, dense, maps = prompts
    count, (height, width) = len(sparse), image.shape[-2:]
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    places = _cells(pe)[0]
    same = len(image) == 1 and len(dense) == 1
    cells = _cells(image + dense)
    shared = _share(decoder, cells[0], places) if same and count >= SHARED_PROMPTS else None
    features = None
    if high_res is not None and maps is None and len(high_res[0]) == 1:
        features = _features(high_res, 0)
    wanted = range(decoder.mask_count)[answers]
    # of the tokens only the score's and the wanted masks' are read in the end
    needed = torch.tensor([0, *(1 + index for index in wanted)])
    logits = torch.empty(count, len(wanted), 4 * height, 4 * width)
    # the two pixels of a pair stay together and move as one number of twice the width
    pairs = logits.view(torch.float64).view(count, len(wanted), height, 2, 2, width, 2)
    grow = _grown(decoder.output_upscaling[0], len(places)), _grown(decoder.output_upscaling[3], 4 * len(places))
    scores = torch.empty(count, len(wanted))
    for row in range(count):
        tokens = torch.cat([own, sparse[row]])
        tokens, pixels = _transform(decoder, tokens, cells[row if len(cells) > 1 else 0], places, shared, needed)
        own_features = features
        if high_res is not None and features is None:
            own_features = _features(high_res, row, maps)
        pixels = _upscale(decoder, pixels, own_features, grow)
        mlps = [decoder.output_hypernetworks_mlps[index] for index in wanted]
        kernels = torch.cat([mlp(token[None]) for mlp, token in zip(mlps, tokens[1:], strict=True)])
        drawn = linear(kernels, pixels).view(torch.float64).view(len(wanted), height, width, 2, 2, 2)
        pairs[row] = drawn.permute(0, 1, 3, 5, 2, 4)
        scores[row] = decoder.iou_prediction_head(tokens[0])[answers]
    return logits, scores


def _cells(maps: Tensor) -> Tensor:
    """[B, C, h, w] to contiguous rows [B, h * w, C]."""
    return maps.flatten(2).transpose(1, 2).contiguous()


def _blocked(x: Tensor, factor: int) -> Tensor:
    """[C, f * h, f * w] with f of 2 or 4 to rows of a cell's pixels together, [h * w * f * f, C]."""
    channels, height, width = x.shape
    if factor == 2:
        parts = x.view(channels, height // 2, 2, width // 2, 2).permute(1, 3, 2, 4, 0)
    else:
        parts = x.view(channels, height // 4, 2, 2, width // 4, 2, 2).permute(1, 4, 2, 5, 3, 6, 0)
    return parts.reshape(-1, channels)


def _features(
    high_res: tuple[Tensor, Tensor], row: int, maps: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """One prompt's high-resolution features in blocked order, the finer first."""
    fine, middle = (feature[row if len(feature) > 1 else 0] for feature in high_res)
    if maps is not None:
        fine, middle = fine + maps[0][row], middle + maps[1][row]
    return _blocked(fine, 4), _blocked(middle, 2)


def _split(x: Tensor, heads: int) -> Tensor:
    """[N, heads * width] to [heads, N, width]."""
    return x.unflatten(-1, (heads, -1)).transpose(0, 1)


def _by_head(projection: torch.nn.Linear, heads: int) -> Tensor:
    """A projection's weight [heads, width, C]."""
    return projection.weight.unflatten(0, (heads, -1))


def _share(decoder: MaskDecoder, cells: Tensor, places: Tensor) -> _Shared:
    block: TwoWayBlock = decoder.transformer.layers[0]  # type: ignore[assignment]
    look, back = block.cross_attn_token_to_image, block.cross_attn_image_to_token
    placed = cells + places
    keys = linear(placed, look.k_proj.weight, look.k_proj.bias)
    values = linear(cells, look.v_proj.weight, look.v_proj.bias)
    queries = linear(placed, back.q_proj.weight, back.q_proj.bias)
    return _Shared(*(_split(x, look.heads).contiguous() for x in (keys, values, queries)))


def _transform(
    decoder: MaskDecoder,
    tokens: Tensor,
    cells: Tensor,
    places: Tensor,
    shared: _Shared | None,
    needed: Tensor,
) -> tuple[Tensor, Tensor]:
    """The two-way transformer for one prompt: tokens [T, C], of which the `needed` come back, and cells [N, C]."""
    transformer = decoder.transformer
    original = tokens
    for index, block in enumerate(transformer.layers):
        tokens, cells = _block(block, tokens, cells, original, places, shared if index == 0 else None)  # type: ignore[arg-type]
    last, norm = transformer.final_attn_token_to_image, transformer.norm_final_attn
    tokens, original = tokens[needed], original[needed]
    return norm(tokens + _tokens_look(last, tokens + original, cells + places, cells)), cells


def _block(
    block: TwoWayBlock, tokens: Tensor, cells: Tensor, original: Tensor, places: Tensor, shared: _Shared | None
) -> tuple[Tensor, Tensor]:
    if block.first:
        tokens = block.self_attn(tokens[None], tokens[None], tokens[None])[0]
    else:
        q = (tokens + original)[None]
        tokens = tokens + block.self_attn(q, q, tokens[None])[0]
    tokens = block.norm1(tokens)
    look, back = block.cross_attn_token_to_image, block.cross_attn_image_to_token
    if shared is None:
        placed = cells + places
        tokens = block.norm2(tokens + _tokens_look(look, tokens + original, placed, cells))
    else:
        q = _split(look.q_proj(tokens + original), look.heads)
        read = F.scaled_dot_product_attention(q, shared.keys, shared.values)
        tokens = block.norm2(tokens + look.out_proj(read.transpose(0, 1).flatten(1)))
    tokens = block.norm3(tokens + block.mlp(tokens))
    key = _split(back.k_proj(tokens + original), back.heads)
    key = key * key.shape[-1] ** -0.5
    scores = _scores(back, key, placed) if shared is None else key @ shared.queries.transpose(1, 2)
    # each head's weights over the tokens sum to one, so a head's share of the bias in every token's value adds it once
    written = _written(back, tokens) + back.out_proj.bias / back.heads
    cells = torch.addmm(cells, torch.softmax(scores, 1).flatten(0, 1).t(), written)
    return tokens, F.layer_norm(cells, cells.shape[1:], block.norm4.weight, block.norm4.bias)


def _tokens_look(attn: Attention, tokens: Tensor, placed: Tensor, values: Tensor) -> Tensor:
    """Tokens [T, C] attend to cells, keys from `placed` and values from `values`, both [N, C]."""
    heads = attn.heads
    q = _split(attn.q_proj(tokens), heads)
    # the key's bias adds the same to every cell's score, which the softmax removes
    folded = (q * q.shape[-1] ** -0.5 @ _by_head(attn.k_proj, heads)).flatten(0, 1)
    weights = torch.softmax(linear(folded, placed), -1)
    read = linear(weights, values.t()).unflatten(0, (heads, -1))
    out = read @ _by_head(attn.v_proj, heads).transpose(1, 2)
    return attn.out_proj(out.transpose(0, 1).flatten(1) + attn.v_proj.bias)  # type: ignore[no-any-return]


def _scores(attn: Attention, key: Tensor, placed: Tensor) -> Tensor:
    """How much cells [N, C] heed tokens with (scaled) keys [heads, T, width]: [heads, T, N]."""
    heads, tokens, _ = key.shape
    folded = (key @ _by_head(attn.q_proj, heads)).flatten(0, 1)
    offset = (key @ attn.q_proj.bias.unflatten(0, (heads, -1, 1))).flatten(0, 1)
    return torch.addmm(offset, folded, placed.t()).view(heads, tokens, -1)


def _written(attn: Attention, values: Tensor) -> Tensor:
    """What each head and token, values [T, C], would write into a cell: [heads * T, C]."""
    value = _split(attn.v_proj(values), attn.heads)
    return (value @ attn.out_proj.weight.unflatten(1, (attn.heads, -1)).permute(1, 2, 0)).flatten(0, 1)


def _upscale(
    decoder: MaskDecoder,
    cells: Tensor,
    features: tuple[Tensor, Tensor] | None,
    grow: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> Tensor:
    """Cells [N, C] to pixels in blocked order, [16 N, C / 8]."""
    norm: LayerNorm2d = decoder.output_upscaling[1]  # type: ignore[assignment]
    channels = len(norm.weight)
    up = linear(cells, *grow[0]).view(-1, channels)
    if features is not None:
        up += features[1]
    up = F.gelu(F.layer_norm(up, (channels,), norm.weight, norm.bias, norm.eps))
    if features is None:
        return linear(up, *grow[1], gelu=True).view(-1, channels // 2)
    return F.gelu(linear(up, *grow[1]).view(-1, channels // 2).add_(features[0]))


def _grown(layer: nn.Module, rows: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of a transposed convolution of kernel and stride 2 as a linear layer for about `rows` cells.

    In blocked order it takes [N, C] to [N, 4 C'], the same memory as [4 N, C'].
    """
    weight: Tensor = layer.weight  # type: ignore[assignment]
    bias: Tensor = layer.bias  # type: ignore[assignment]
    flat = weight.permute(2, 3, 1, 0).reshape(4 * weight.shape[1], -1)
    return packed(flat, rows), bias.repeat(4)
