"""The prompt encoder and mask decoder of a model as one graph, under the names of SAM's official ONNX decoder.

The arithmetic is exact and arranged for a runtime that multiplies matrices well: cells lie row by row, the few tokens
are folded into the projections of the many cells (q . (W k) = (W^T q) . k), and transposed convolutions of 2x2 are
matrix products whose four results are moved into place in the end.

Source: Segment Anything, appendix A; contract of its scripts/export_onnx_model.py (image_embeddings ... orig_im_size).
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.export.graph import about_of, exportable, label, trace
from anymask.models.onnx_files import EMBEDDING
from anymask.models.preprocess import Preprocess
from anymask.models.promptable import PromptableModel
from anymask.nn.dense_prompts import DensePromptEncoder, Place
from anymask.nn.layers import LayerNorm2d
from anymask.nn.mask_decoder import steady
from anymask.nn.two_way import Attention, TwoWayBlock

CORNERS = (2, 3)
"""Labels of a box's upper left and lower right corner among the points."""

INPUTS = ("image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size")
OUTPUTS = ("masks", "iou_predictions", "low_res_masks")
"""The official names, in the official order."""

DYNAMIC: dict[str, dict[int, str]] = {
    "point_coords": {0: "num_prompts", 1: "num_points"},
    "point_labels": {0: "num_prompts", 1: "num_points"},
    "mask_input": {0: "num_masks"},
    "has_mask_input": {0: "num_flags"},
    "masks": {0: "num_prompts", 2: "height", 3: "width"},
    "iou_predictions": {0: "num_prompts"},
    "low_res_masks": {0: "num_prompts"},
}

_KEPT = 4
_kept: OrderedDict[str, bytes] = OrderedDict()
_lock = threading.Lock()


def decoder_graph(model: object, *, single: bool = False, full_size: bool = True) -> Any:
    """The decoder of a model as onnx.ModelProto, in float32.

    single: one mask an object. full_size: with the output `masks` and the input `orig_im_size`.
    Raises BadSetting for a model that cannot be exported, MissingExtra.
    """
    model = exportable(model)
    module = DecoderGraph(model, single, full_size)
    height, width = model.prompt_encoder.grid
    dim, side = model.prompt_encoder.dim, model.preprocess.side
    arguments = [
        torch.randn(1, dim, height, width),
        torch.rand(1, 2, 2) * side,
        torch.tensor([[1.0, -1.0]]),
        torch.zeros(1, 1, *model.prompt_encoder.mask_size),
        torch.zeros(1),
        torch.tensor([side * 0.75, side * 1.0]),
    ]
    names = list(INPUTS)
    if model.high_res:
        arguments.append(torch.randn(1, dim // 8, 4 * height, 4 * width))
        arguments.append(torch.randn(1, dim // 4, 2 * height, 2 * width))
        names += list(EMBEDDING)[1:]
    outputs = OUTPUTS if full_size else OUTPUTS[1:]
    dynamic = {name: axes for name, axes in DYNAMIC.items() if name in (*names, *outputs)}
    graph = trace(module, arguments, names, outputs, dynamic)
    return label(graph, about_of(model, part="decoder", dtype="fp32", single=single, full_size=full_size))


def browser_decoder(model: object) -> bytes:
    """The decoder without masks in the photo's size, as an ONNX file's bytes; kept for the next caller.

    Raises BadSetting for a model that cannot be exported, MissingExtra.
    """
    model = exportable(model)
    key = f"{model.card.name}-{model.weights}"
    with _lock:
        if key not in _kept:
            _kept[key] = decoder_graph(model, full_size=False).SerializeToString()
            if len(_kept) > _KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        return _kept[key]


class DecoderGraph(nn.Module):
    """What is traced.

    single: one mask an object, chosen by the number of points as the official export's --return-single-mask does.
    full_size: answer `masks` in the photo's own size as well, which takes `orig_im_size`.
    """

    def __init__(self, model: PromptableModel, single: bool = False, full_size: bool = True) -> None:
        super().__init__()
        # copies, since tracing marks parameters as fixed
        self.prompts, self.decoder = copy.deepcopy(model.prompt_encoder), copy.deepcopy(model.mask_decoder)
        self.preprocess = model.preprocess
        self.single, self.full_size = single, full_size

    def forward(
        self,
        image: Tensor,
        points: Tensor,
        labels: Tensor,
        mask: Tensor,
        has_mask: Tensor,
        size: Tensor,
        fine: Tensor | None = None,
        middle: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """image [1, C, h, w]; points [P, N, 2] in the frame; labels [P, N] of -1 to 3; mask [1 or P, 1, 4h, 4w];
        has_mask [1 or P]; size [2]; fine and middle: the high-resolution features -> masks, scores and logits."""
        own, rank = self.decoder.own_tokens()[None], self.decoder.score_rank
        # a sum over no point or many: how a graph repeats something as often as there are prompts
        each = 0 * labels.sum(1)
        sparse = self._points(points, labels)
        tokens = torch.cat([own + each[:, None, None], sparse], 1)
        has = has_mask.reshape(-1, 1, 1, 1)
        no_mask = self.prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
        dense = has * self.prompts.mask_downscaling(mask) + (1 - has) * no_mask
        if isinstance(self.prompts, DensePromptEncoder) and fine is not None and middle is not None:
            place = _place(points, labels, self.prompts.input_size)
            drawn = self.prompts.drawn(sparse, dense, place, mask * has + each[:, None, None, None])
            assert drawn.high_res is not None
            dense, fine, middle = drawn.dense, fine + drawn.high_res[0], middle + drawn.high_res[1]
        tokens, cells = self._transform(tokens, _rows(image + dense))
        logits = self._masks(tokens[:, rank + 1 :], cells, fine, middle)
        scores = self.decoder.iou_prediction_head(tokens[:, rank])
        if self.decoder.steady:
            logits, scores = steady(logits, scores)
        if self.single:
            logits, scores = _chosen(logits, scores, points)
        if not self.full_size:
            return scores, logits
        return upscaled(logits, size, self.preprocess), scores, logits

    def _points(self, points: Tensor, labels: Tensor) -> Tensor:
        """One token for each point, [P, N, C]; one more after a box where the model was trained so."""
        if self.prompts.always_pad:
            # callers pad where there is no box, as SAM wants it
            boxed = (labels == CORNERS[0]).any().long()
            points = torch.cat([points, (0 * points.sum(1, keepdim=True))[:, :boxed]], 1)
            labels = torch.cat([labels, (0 * labels.sum(1, keepdim=True) - 1)[:, :boxed]], 1)
        height, width = self.prompts.input_size
        codes = self.prompts.pe_layer((points + 0.5) / torch.tensor([width, height], dtype=points.dtype))
        kinds = torch.cat([self.prompts.not_a_point_embed.weight, *self.prompts._kinds()])  # type: ignore[list-item]
        # one row a label, so that a product picks the embedding: [P, N, 5] @ [5, C]
        which = (labels[..., None] == torch.arange(-1, 4, dtype=labels.dtype)).to(points.dtype)
        return codes * (labels != -1)[..., None].to(points.dtype) + which @ kinds

    def _transform(self, tokens: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """The two-way transformer, [P, T, C] and [1 or P, h * w, C] -> [P, T, C] and [P, h * w, C]."""
        transformer, original = self.decoder.transformer, tokens
        places = _rows(self.prompts.pe_layer._centres(self.prompts.grid)[None])
        for layer in transformer.layers:
            block = cast(TwoWayBlock, layer)
            if block.first:
                tokens = _attend(block.self_attn, tokens, tokens)
            else:
                tokens = tokens + _attend(block.self_attn, tokens + original, tokens)
            tokens = block.norm1(tokens)
            placed = cells + places
            tokens = block.norm2(tokens + _look(block.cross_attn_token_to_image, tokens + original, placed, cells))
            tokens = block.norm3(tokens + block.mlp(tokens))
            cells = block.norm4(cells + _heed(block.cross_attn_image_to_token, placed, tokens + original, tokens))
        looked = _look(transformer.final_attn_token_to_image, tokens + original, cells + places, cells)
        return transformer.norm_final_attn(tokens + looked), cells

    def _masks(self, tokens: Tensor, cells: Tensor, fine: Tensor | None, middle: Tensor | None) -> Tensor:
        """Logits [P, M, 4h, 4w] of the mask tokens, which `tokens` [P, T, C] begin with."""
        first, norm, act, second, last_act = self.decoder.output_upscaling
        height, width = self.prompts.grid
        pixels = _transposed(cast(nn.ConvTranspose2d, first), cells)
        norm = cast(LayerNorm2d, norm)
        if middle is not None:
            pixels = _in_place(pixels, height, width) + _rows(middle)
        pixels = act(F.layer_norm(pixels, norm.weight.shape, norm.weight, norm.bias, norm.eps))
        pixels = _transposed(cast(nn.ConvTranspose2d, second), pixels)
        if fine is not None:
            pixels = _in_place(pixels, 2 * height, 2 * width) + _rows(fine)
        mlps = self.decoder.output_hypernetworks_mlps
        kernels = torch.stack([mlp(tokens[:, index]) for index, mlp in enumerate(mlps)], 1)
        logits = kernels @ last_act(pixels).transpose(1, 2)
        if fine is None:
            # four numbers are moved in place of 32: row, column, and twice a step down and to the right
            logits = logits.reshape(-1, len(mlps), height, width, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
        return logits.reshape(-1, len(mlps), 4 * height, 4 * width)


def upscaled(logits: Tensor, size: Tensor, preprocess: Preprocess) -> Tensor:
    """Low-resolution logits [P, M, h, w] to [P, M, H, W], (H, W) = `size`, as the official export does."""
    side = preprocess.side
    frame = logits
    if preprocess.fit != "direct":
        frame = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
    if preprocess.fit == "long-side":
        inner = torch.floor(size * (side / size.max()) + 0.5).clamp(min=1).to(torch.int64)
        frame = frame[:, :, : inner[0], : inner[1]]
    whole = size.to(torch.int64)
    return F.interpolate(frame, (whole[0], whole[1]), mode="bilinear", align_corners=False)  # type: ignore[arg-type]


def _place(points: Tensor, labels: Tensor, size: tuple[int, int]) -> Place:
    """Where prompts point; a box is a point of label 2 and one of label 3."""
    # one point of padding more: products over no point at all are not the same in every runtime
    points, labels = F.pad(points, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=-1.0)
    side = torch.tensor([size[1], size[0]], dtype=points.dtype)
    unit = (points + 0.5) / side
    is_kind = [(labels == kind).to(points.dtype) for kind in (0, 1, *CORNERS)]
    boxed = is_kind[2].amax(1)
    # whoever has no box gets the whole frame, which its `boxed` of zero then wipes out
    first, last = (((points / side) * kind[..., None]).sum(1) for kind in is_kind[2:])
    box = torch.cat([first, last + (1 - boxed)[:, None]], 1)
    return Place(unit[..., 0], unit[..., 1], is_kind[1], is_kind[0], box, boxed)


def _chosen(logits: Tensor, scores: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """One mask an object: from three points on (a box counts two) the single-mask token's, else the best other."""
    count = torch.tensor(points.shape[1], dtype=scores.dtype)
    first = torch.cat([torch.full((1, 1), 1000.0), torch.zeros(1, scores.shape[1] - 1)], 1)
    rank = (scores + (count - 2.5) * first).argmax(1)
    which = (rank[:, None] == torch.arange(scores.shape[1])).to(scores.dtype)
    return (logits * which[..., None, None]).sum(1, keepdim=True), (scores * which).sum(1, keepdim=True)


def _split(x: Tensor, heads: int) -> Tensor:
    """[P, T, heads * width] to [P, heads, T, width]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _by_head(layer: nn.Linear, heads: int) -> Tensor:
    """The weight of a projection to heads, [heads, width, C]."""
    return layer.weight.unflatten(0, (heads, -1))


def _attend(attn: Attention, placed: Tensor, tokens: Tensor) -> Tensor:
    """Self-attention of the few tokens."""
    q, k, v = (_split(x, attn.heads) for x in (attn.q_proj(placed), attn.k_proj(placed), attn.v_proj(tokens)))
    weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)).softmax(-1)
    return cast(Tensor, attn.out_proj((weights @ v).transpose(1, 2).flatten(2)))


def _look(attn: Attention, tokens: Tensor, placed: Tensor, cells: Tensor) -> Tensor:
    """Tokens [P, T, C] attend to cells [1 or P, N, C]; the key's bias shifts all cells alike and falls out."""
    queries = _split(attn.q_proj(tokens), attn.heads)
    folded = (queries * queries.shape[-1] ** -0.5) @ _by_head(attn.k_proj, attn.heads)
    weights = (folded.flatten(1, 2) @ placed.transpose(1, 2)).softmax(-1)
    read = (weights @ cells).unflatten(1, (attn.heads, -1)) @ _by_head(attn.v_proj, attn.heads).transpose(1, 2)
    return cast(Tensor, attn.out_proj(read.transpose(1, 2).flatten(2) + attn.v_proj.bias))


def _heed(attn: Attention, placed: Tensor, keyed: Tensor, tokens: Tensor) -> Tensor:
    """Cells [1 or P, N, C] attend to tokens [P, T, C]."""
    keys = _split(attn.k_proj(keyed), attn.heads)
    keys = keys * keys.shape[-1] ** -0.5
    folded = (keys @ _by_head(attn.q_proj, attn.heads)).flatten(1, 2)
    shift = (keys @ attn.q_proj.bias.unflatten(0, (attn.heads, -1))[..., None]).flatten(1)
    written = _split(attn.v_proj(tokens), attn.heads) @ attn.out_proj.weight.unflatten(1, (attn.heads, -1)).permute(
        1, 2, 0
    )
    weights = (placed @ folded.transpose(1, 2) + shift[:, None]).unflatten(2, (attn.heads, -1)).softmax(-1)
    return weights.flatten(2) @ written.flatten(1, 2) + attn.out_proj.bias


def _rows(x: Tensor) -> Tensor:
    """A map [P, C, h, w] as rows of pixels, [P, h * w, C]."""
    return x.flatten(2).transpose(1, 2)


def _transposed(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """A transposed convolution of 2x2, stride 2: [P, N, C] -> [P, 4 * N, C'], the four pixels of a cell in a row."""
    count, out = x.shape[1], layer.weight.shape[1]
    weight = layer.weight.permute(0, 2, 3, 1).flatten(1)
    assert layer.bias is not None
    return (x @ weight + layer.bias.repeat(4)).reshape(-1, 4 * count, out)


def _in_place(x: Tensor, height: int, width: int) -> Tensor:
    """The pixels of `_transposed` in rows of the picture."""
    return x.reshape(-1, height, width, 2, 2, x.shape[2]).transpose(2, 3).flatten(1, 4)
