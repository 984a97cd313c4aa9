"""The mask decoder's arithmetic, rearranged for training on a CPU.

The answers are those of `nn.mask_decoder.MaskDecoder` on `nn.dense_prompts.DensePromptEncoder`; what changes is the
order of the products. A few tokens and many cells make ordinary attention a crowd of tiny matrices, so key, query,
value and output projections are multiplied onto the tokens' side first: every product that touches the cells is then
one dense batched matrix product, and no projected copy of the image is stored. Transposed convolutions with kernel and
stride 2 are matrix products too, if their outputs stay grouped by the cell they come from ("blocked" order), which the
loss does not mind. With `torch.compile` a step takes about a quarter of the time of the plain modules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.nn.dense_prompts import LOGIT_SCALE, DensePromptEncoder
from anymask.nn.layers import MLP, LayerNorm2d
from anymask.nn.mask_decoder import MaskDecoder
from anymask.nn.two_way import Attention, TwoWayBlock


def blocked(x: Tensor, height: int, width: int) -> Tensor:
    """[B, C, f*height, f*width] with f of 2 or 4 to blocked order, [B, height*width*f*f, C]."""
    factor = x.shape[-1] // width
    if factor == 2:
        parts = torch.unflatten(torch.unflatten(x, 3, (width, 2)), 2, (height, 2))
        return parts.permute(0, 2, 4, 3, 5, 1).flatten(1, 4)
    parts = torch.unflatten(torch.unflatten(x, 3, (width, 2, 2)), 2, (height, 2, 2))
    return parts.permute(0, 2, 5, 3, 6, 4, 7, 1).flatten(1, 6)


def unblocked(x: Tensor, height: int, width: int) -> Tensor:
    """The inverse for f = 4: [B, height*width*16, C] to [B, C, 4*height, 4*width]."""
    parts = torch.unflatten(x, 1, (height, width, 2, 2, 2, 2))
    return parts.permute(0, 7, 1, 3, 5, 2, 4, 6).flatten(5, 7).flatten(2, 4)


def _heads(linear_weight: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """A projection's weight [inner, C] by heads, [heads, inner / heads, C]."""
    return torch.unflatten(linear_weight.to(dtype), 0, (heads, -1))


def _linear(x: Tensor, layer: nn.Linear) -> Tensor:
    return F.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


def _norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    return F.layer_norm(x.float(), layer.normalized_shape, layer.weight, layer.bias, layer.eps).to(x.dtype)


def _among_tokens(attn: Attention, q: Tensor, v: Tensor) -> Tensor:
    """Self-attention of the tokens, [P, T, C]."""
    heads = attn.heads
    query, key, value = _linear(q, attn.q_proj), _linear(q, attn.k_proj), _linear(v, attn.v_proj)
    query, key, value = (torch.unflatten(x, -1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    scores = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    return _linear((scores.softmax(-1).to(v.dtype) @ value).transpose(1, 2).flatten(2), attn.out_proj)


def tokens_look(attn: Attention, tokens: Tensor, placed: Tensor, values: Tensor) -> Tensor:
    """Tokens [P, T, C] attend to cells: keys from `placed`, values from `values`, both [P, N, C]."""
    heads, dtype = attn.heads, tokens.dtype
    query = torch.unflatten(_linear(tokens, attn.q_proj), -1, (heads, -1)).transpose(1, 2)
    scale = query.shape[-1] ** -0.5
    # the key's bias adds the same to every cell's score, which the softmax removes
    folded = (query @ _heads(attn.k_proj.weight, heads, dtype)).flatten(1, 2)
    scores = folded @ placed.transpose(1, 2)
    weights = (scores.float() * scale).softmax(-1).to(dtype)
    read = torch.unflatten(weights @ values, 1, (heads, -1))
    out = read @ _heads(attn.v_proj.weight, heads, dtype).transpose(-1, -2)
    return _linear(out.transpose(1, 2).flatten(2) + attn.v_proj.bias.to(dtype), attn.out_proj)


def cells_look(attn: Attention, placed: Tensor, tokens: Tensor, values: Tensor) -> Tensor:
    """Cells [P, N, C] attend to tokens: keys from `tokens`, values from `values`, both [P, T, C]."""
    heads, dtype = attn.heads, placed.dtype
    key = torch.unflatten(_linear(tokens, attn.k_proj), -1, (heads, -1)).transpose(1, 2)
    scale = key.shape[-1] ** -0.5
    folded = key @ _heads(attn.q_proj.weight, heads, dtype)
    offset = key @ torch.unflatten(attn.q_proj.bias.to(dtype), 0, (heads, -1, 1))
    value = torch.unflatten(_linear(values, attn.v_proj), -1, (heads, -1)).transpose(1, 2)
    written = value @ torch.unflatten(attn.out_proj.weight.to(dtype), 1, (heads, -1)).permute(1, 2, 0)
    # token-major order puts the heads innermost, where the softmax over tokens runs along whole vectors
    folded = folded.transpose(1, 2).flatten(1, 2)
    written = written.transpose(1, 2).flatten(1, 2)
    scores = (placed @ folded.transpose(1, 2)).float() + offset.transpose(1, 2).flatten(1).float()[:, None]
    weights = torch.unflatten(scores * scale, -1, (-1, heads)).softmax(-2).to(dtype).flatten(-2)
    return weights @ written + attn.out_proj.bias.to(dtype)


def _two_way(
    block: TwoWayBlock, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor
) -> tuple[Tensor, Tensor]:
    if block.first:
        tokens = _among_tokens(block.self_attn, tokens, tokens)
    else:
        tokens = tokens + _among_tokens(block.self_attn, tokens + token_pe, tokens)
    tokens = _norm(tokens, block.norm1)
    placed = image + image_pe
    tokens = _norm(tokens + tokens_look(block.cross_attn_token_to_image, tokens + token_pe, placed, image), block.norm2)
    hidden = F.relu(_linear(tokens, block.mlp.lin1))
    tokens = _norm(tokens + _linear(hidden, block.mlp.lin2), block.norm3)
    looked = cells_look(block.cross_attn_image_to_token, placed, tokens + token_pe, tokens)
    return tokens, _norm(image + looked, block.norm4)


def decode_blocked(
    decoder: MaskDecoder,
    encoder: DensePromptEncoder,
    pe: Tensor,
    features: tuple[Tensor, Tensor, Tensor],
    sparse: Tensor,
    maps: tuple[Tensor, Tensor, Tensor],
    earlier: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What a decoder makes of P prompts on B images, P = 2 * B * M in the order (kind, image, mask).

    pe: [N, C], the cells' positions.
    features: of the images, blocked: [B, N, C], [B, 4N, C/4], [B, 16N, C/8].
    sparse: [P, T, C]. maps: drawn prompts, blocked: [P, N, 8], [P, 4N, 3], [P, 16N, 3].
    earlier: logits of the last round, blocked [P, 16N], or None in the first round.
    Returns pixels [P, 16N, C/8] (blocked), kernels [P, 4, C/8] and scores [P, 4]; logits are pixels times kernels.
    """
    pixels, tokens = pixels_and_tokens(decoder, encoder, pe, features, sparse, maps, earlier)
    answers = [_mlp(tokens[:, 1 + i], mlp) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
    return pixels, torch.stack(answers, 1), _score(decoder, tokens)


def single_blocked(
    decoder: MaskDecoder, pixels: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The single-mask token's answers, of what `pixels_and_tokens` gives: logits [P, 1, 16N], scores [P, 1], the token
    itself [P, C], and presence [P] of a decoder that tells."""
    first = decoder.score_rank + 1
    kernel = _mlp(tokens[:, first], decoder.output_hypernetworks_mlps[0])
    presence = None
    if decoder.pred_obj_score_head is not None:
        presence = _mlp(tokens[:, 0], decoder.pred_obj_score_head).float()[:, 0]
    logits = kernel[:, None] @ pixels.transpose(1, 2)
    return logits, _score(decoder, tokens)[:, :1], tokens[:, first], presence


def _score(decoder: MaskDecoder, tokens: Tensor) -> Tensor:
    score = _mlp(tokens[:, decoder.score_rank], decoder.iou_prediction_head).float()
    return torch.sigmoid(score) if decoder.iou_prediction_head.sigmoid else score


def pixels_and_tokens(
    decoder: MaskDecoder,
    encoder: DensePromptEncoder,
    pe: Tensor,
    features: tuple[Tensor, Tensor, Tensor],
    sparse: Tensor,
    maps: tuple[Tensor, Tensor, Tensor],
    earlier: Tensor | None,
    *,
    kinds: int = 2,
    addition: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """As `decode_blocked`, up to the pixels [P, 16N, C/8] and the tokens [P, T, C] that answers are made of.

    kinds: P = kinds * B * M. addition: [P, N, C] to each prompt's view of the image.
    """
    image, middle, fine = features
    coarse_maps, middle_maps, fine_maps = maps
    dtype, count, images = image.dtype, len(sparse), len(image)
    dense = _dense(encoder, coarse_maps.to(dtype), earlier)
    if earlier is None:
        drawn_fine = fine_maps.new_zeros(*fine_maps.shape[:2], 1)
    else:
        drawn_fine = torch.tanh(earlier.float() / LOGIT_SCALE)[..., None]
    drawn_middle = torch.unflatten(drawn_fine, 1, (-1, 4)).mean(2)
    middle_maps = torch.cat([middle_maps.to(dtype), drawn_middle.to(dtype)], -1)
    fine_maps = torch.cat([fine_maps.to(dtype), drawn_fine.to(dtype)], -1)

    def spread(x: Tensor) -> Tensor:
        """[B, ...] to a view that broadcasts over [kind, B, mask, ...]."""
        return x[None, :, None]

    def grouped(x: Tensor) -> Tensor:
        """[P, ...] to [kind, B, mask, ...]."""
        return torch.unflatten(x, 0, (kinds, images, -1))

    if addition is not None:
        dense = dense + addition.to(dtype)
    own = decoder.own_tokens().to(dtype)
    tokens = torch.cat([own.expand(count, -1, -1), sparse.to(dtype)], 1)
    cells = (spread(image) + grouped(dense)).flatten(0, 2)
    token_pe, pe = tokens, pe.to(dtype)
    for block in decoder.transformer.layers:
        tokens, cells = _two_way(cast(TwoWayBlock, block), tokens, cells, token_pe, pe)
    last = decoder.transformer.final_attn_token_to_image
    tokens = _norm(
        tokens + tokens_look(last, tokens + token_pe, cells + pe, cells), decoder.transformer.norm_final_attn
    )

    first, norm, _, second, _ = decoder.output_upscaling
    up = _grow(cells, first, middle_maps, encoder.draw_middle, spread(middle), grouped)
    up = F.gelu(_channel_norm(up, norm)).to(dtype)
    up = _grow(up, second, fine_maps, encoder.draw_fine, spread(fine), grouped)
    return F.gelu(up.float()).to(dtype), tokens


def _dense(encoder: DensePromptEncoder, coarse_maps: Tensor, earlier: Tensor | None) -> Tensor:
    """The dense prompt embedding [P, N, C]: drawn maps [P, N, 8] plus the network that reads earlier logits."""
    first, _, second = encoder.draw
    dtype = coarse_maps.dtype
    drawn = _each_pixel(F.gelu(_each_pixel(coarse_maps, first)), second)
    if earlier is None:
        return drawn + encoder.no_mask_embed.weight.to(dtype)
    x = torch.unflatten(earlier.to(dtype), 1, (-1, 4))
    for index in (0, 3):
        conv, norm = cast(nn.Conv2d, encoder.mask_downscaling[index]), encoder.mask_downscaling[index + 1]
        # kernel and stride are 2, so a blocked map's groups of four are the kernel's window
        flat = conv.weight.permute(0, 2, 3, 1).flatten(1).to(dtype)
        x = F.linear(x, flat, cast(Tensor, conv.bias).to(dtype))
        x = F.gelu(_channel_norm(x, norm)).to(dtype)
        if index == 0:
            x = torch.unflatten(x, 1, (-1, 4)).flatten(2)
    return drawn + _each_pixel(x, encoder.mask_downscaling[6])


def _each_pixel(x: Tensor, layer: nn.Module) -> Tensor:
    """A 1x1 convolution on pixels in any order, [P, N, C] -> [P, N, C']."""
    conv = cast(nn.Conv2d, layer)
    return F.linear(x, conv.weight.to(x.dtype)[:, :, 0, 0], cast(Tensor, conv.bias).to(x.dtype))


def _channel_norm(x: Tensor, layer: nn.Module) -> Tensor:
    """A LayerNorm2d on pixels in any order, [P, N, C] -> the same, float32."""
    norm = cast(LayerNorm2d, layer)
    return F.layer_norm(x.float(), (x.shape[-1],), norm.weight, norm.bias, norm.eps)


def _mlp(x: Tensor, module: nn.Module) -> Tensor:
    for depth, layer in enumerate(cast(MLP, module).layers):
        x = _linear(x if depth == 0 else F.relu(x), cast(nn.Linear, layer))
    return x


def _grow(
    x: Tensor, layer: nn.Module, maps: Tensor, draw: nn.Module, features: Tensor, grouped: Callable[[Tensor], Tensor]
) -> Tensor:
    """A transposed convolution with kernel and stride 2 in blocked order, [P, N, C] -> [P, 4N, C'], plus what the
    prompts' maps [P, 4N, 4] draw and the images' features."""
    conv, drawing = cast(nn.ConvTranspose2d, layer), cast(nn.Conv2d, draw)
    flat = conv.weight.permute(0, 2, 3, 1).flatten(1).to(x.dtype)
    # one sum of both biases: their gradients are equal, and torch's compiler (2.13 to 2.15) writes C++ that declares
    # a variable twice when it finds two equal ones in bfloat16
    bias = (cast(Tensor, conv.bias) + cast(Tensor, drawing.bias)).to(x.dtype)
    grown = torch.unflatten(x @ flat, -1, (4, conv.weight.shape[1])).flatten(1, 2) + bias
    drawn = F.linear(maps, drawing.weight.to(x.dtype)[:, :, 0, 0])
    return grown + (grouped(drawn) + features).flatten(0, 2)
