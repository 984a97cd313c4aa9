"""EfficientSAM (arXiv 2312.00863): a plain ViT-Ti or ViT-S, and a decoder much like SAM's.

What its published code does otherwise than SAM: pictures are stretched to a square; a background click carries its
position alone; padding points keep a position, and there are always at least six tokens; earlier logits and drawn
masks are not read; the tokens' first self-attention adds to them, and the later one carries their positions on; GELU
instead of ReLU, and one group norm over the whole map instead of a layer norm per pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.errors import BadPrompt
from anymask.models.card import Card, WeightFile
from anymask.models.interface import Model
from anymask.models.preprocess import Preprocess
from anymask.models.promptable import PromptableModel
from anymask.nn.layers import MLP
from anymask.nn.mask_decoder import MaskDecoder
from anymask.nn.plain_vit import PlainViT
from anymask.nn.prompt_encoder import EncodedPrompts, PromptEncoder
from anymask.nn.two_way import TwoWayBlock
from anymask.pixels.resize import Resize
from anymask.prompts.prompts import Prompts

PAGE = "https://github.com/yformer/EfficientSAM"
PAPER = "https://arxiv.org/abs/2312.00863"
TOKENS = 6
"""Points and corners that the decoder was trained with; fewer are padded, more are taken as they are."""

OFFICIAL: tuple[tuple[str, str], ...] = (
    (r"\.mlp\.fc1\.", ".mlp.lin1."),
    (r"\.mlp\.fc2\.", ".mlp.lin2."),
    (r"\.mlp\.layers\.0\.0\.", ".mlp.lin1."),
    (r"\.mlp\.fc\.", ".mlp.lin2."),
    (r"\.final_output_upscaling_layers\.0\.0\.", ".output_upscaling.0."),
    (r"\.final_output_upscaling_layers\.0\.1\.", ".output_upscaling.1."),
    (r"\.final_output_upscaling_layers\.1\.0\.", ".output_upscaling.3."),
    (r"(output_hypernetworks_mlps\.\d|iou_prediction_head)\.layers\.(\d)\.0\.", r"\1.layers.\2."),
    (r"(output_hypernetworks_mlps\.\d|iou_prediction_head)\.fc\.", r"\1.layers.2."),
)
"""Keys of the published files to ours."""


class PointEncoder(PromptEncoder):
    """Points and box corners to tokens; there is no network for masks and no dense embedding."""

    def __init__(self, dim: int, grid: tuple[int, int], input_size: tuple[int, int]) -> None:
        super().__init__(dim, grid, input_size)
        del self.not_a_point_embed, self.mask_downscaling, self.no_mask_embed, self.point_embeddings
        self.invalid_points = nn.Embedding(1, dim)
        self.point_embeddings = nn.Embedding(1, dim)  # type: ignore[assignment]
        self.bbox_top_left_embeddings = nn.Embedding(1, dim)
        self.bbox_bottom_right_embeddings = nn.Embedding(1, dim)

    def forward(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> EncodedPrompts:
        """As `PromptEncoder.forward`; `masks` (earlier logits) are left aside. Raises BadPrompt for masks alone."""
        like = self.invalid_points.weight
        xy, kinds = [], []
        if points is not None and labels is not None:
            xy.append(points)
            kinds.append(labels)
        if boxes is not None:
            xy.append(boxes.reshape(-1, 2, 2))
            kinds.append(boxes.new_tensor([2, 3]).long().expand(len(boxes), 2))
        if not xy:
            raise BadPrompt("EfficientSAM answers points and boxes, not masks; add a point or a box")
        lack = max(0, TOKENS - sum(part.shape[1] for part in xy))
        xy.append(xy[0].new_full((len(xy[0]), lack, 2), -1.0))
        kinds.append(kinds[0].new_full((len(kinds[0]), lack), -1))
        places, kind = torch.cat(xy, 1), torch.cat(kinds, 1)
        # an invalid point lies at (-1, -1), wherever it was said to be
        places = places.masked_fill((kind == -1)[..., None], -1.0)
        tokens = self._tokens(places.to(like.dtype))
        for label, embedding in (
            (-1, self.invalid_points),
            (1, self.point_embeddings),
            (2, self.bbox_top_left_embeddings),
            (3, self.bbox_bottom_right_embeddings),
        ):
            tokens = tokens + (kind == label)[..., None] * embedding.weight  # type: ignore[operator]
        return EncodedPrompts(tokens, like.new_zeros(1, 1, 1, 1).expand(1, self.dim, *self.grid))

    @torch.no_grad()
    def take(self, other: PromptEncoder) -> None:
        """The weights of SAM's prompt encoder, as far as there is a place for them.

        The embeddings of background clicks and of masks have none.
        """
        _, positive, upper_left, lower_right = other._kinds()
        self.pe_layer.load_state_dict(other.pe_layer.state_dict())
        self.point_embeddings.weight.copy_(positive)  # type: ignore[operator, union-attr]
        self.bbox_top_left_embeddings.weight.copy_(upper_left)
        self.bbox_bottom_right_embeddings.weight.copy_(lower_right)
        # SAM replaces the position of a padding point, which is added to here
        nowhere = self._tokens(self.invalid_points.weight.new_full((1, 2), -1.0))
        self.invalid_points.weight.copy_(other.not_a_point_embed.weight - nowhere)


class GeluMLP(MLP):
    """SAM's MLP with GELU between its layers."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.gelu(layer(x))
        out: Tensor = self.layers[-1](x)
        return out


class AddingBlock(TwoWayBlock):
    """SAM's two-way block, but self-attention always adds to the tokens, and their positions stay in them."""

    def __init__(self, dim: int, heads: int, mlp_dim: int, first: bool = False) -> None:
        super().__init__(dim, heads, mlp_dim, first)
        self.mlp.act = nn.GELU()

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        if not self.first:
            tokens = tokens + token_pe
        tokens = self.norm1(tokens + self.self_attn(tokens, tokens, tokens))
        placed = image + image_pe
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pe, placed, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(placed, tokens + token_pe, tokens))
        return tokens, image


class GeluDecoder(MaskDecoder):
    """SAM's mask decoder of the parts above; the tensors have the names and shapes of SAM's."""

    def __init__(self, dim: int = 256, heads: int = 8, mlp_dim: int = 2048, iou_hidden: int = 256) -> None:
        super().__init__(dim, 2, heads, mlp_dim, iou_hidden)
        # parts are exchanged after they were counted, so that the fast path, which is SAM's, is never taken
        self.transformer.layers = nn.ModuleList(AddingBlock(dim, heads, mlp_dim, first=i == 0) for i in range(2))
        self.output_upscaling[1] = nn.GroupNorm(1, dim // 4)
        self.output_hypernetworks_mlps = nn.ModuleList(GeluMLP(dim, dim, dim // 8, 3) for _ in range(self.mask_count))
        self.iou_prediction_head = GeluMLP(dim, iou_hidden, self.mask_count, 3)


class EfficientSam(PromptableModel):
    """A promptable model that reads points and boxes only."""

    def _mask_prompt(self, prompts: Prompts, resize: Resize) -> Tensor | None:
        """None: earlier logits have no way in. Raises BadPrompt for a drawn mask, which somebody means."""
        if prompts.masks is not None:
            raise BadPrompt("EfficientSAM answers points and boxes, not masks; take a model that does, as mobile-sam")
        return None


def build(dim: int, depth: int, heads: int, side: int = 1024, out: int = 256) -> EfficientSam:
    """An EfficientSAM with random weights; `side` is its input frame in pixels."""
    grid = side // 16
    return EfficientSam(
        PlainViT(dim, depth, heads, out),
        PointEncoder(out, (grid, grid), (side, side)),
        GeluDecoder(out, mlp_dim=8 * out, iou_hidden=out),
        Preprocess(side, fit="square", resample="linear"),
    )


def ti() -> EfficientSam:
    """ViT-Ti: 10.2 M parameters."""
    return build(192, 12, 3)


def s() -> EfficientSam:
    """ViT-S: 26.4 M parameters."""
    return build(384, 12, 6)


def tiny() -> EfficientSam:
    """The same structure at a size that tests can afford; its embedding has the shape of sam-tiny-test's."""
    return build(32, 4, 2, side=128, out=32)


def _card(size: str, build_it: Callable[[], Model], parameters: int, file: WeightFile, notes: str = "") -> Card:
    return Card(
        name=f"efficient-sam-{size}",
        title=f"EfficientSAM {size.capitalize()}",
        build=build_it,
        files=(file,),
        rename=OFFICIAL,
        can=frozenset({"points", "boxes"}),
        parameters=parameters,
        paper=PAPER,
        page=PAGE,
        trained_on="ImageNet-1K (pre-training) and SA-1B (research licence)",
        instead="mobile-sam",
        notes=notes,
    )


CARDS = (
    _card(
        "ti",
        ti,
        10_223_204,
        WeightFile(
            "efficient_sam_vitt.pt",
            f"{PAGE}/raw/main/weights/efficient_sam_vitt.pt",
            sha256="dff858b19600a46461cbb7de98f796b23a7a888d9f5e34c0b033f7d6eb9e4e6a",
        ),
        notes="not tried against the published file; earlier answers are not read when a click corrects them",
    ),
    _card(
        "s",
        s,
        26_413_028,
        WeightFile("efficient_sam_vits.pt.zip", f"{PAGE}/raw/main/weights/efficient_sam_vits.pt.zip"),
        notes="the published file is a ZIP archive around the weights: unpack it and name what is inside; not tried",
    ),
    Card(
        name="efficient-sam-tiny-test",
        title="EfficientSAM, a tiny row for tests (random weights)",
        build=tiny,
        rename=OFFICIAL,
        can=frozenset({"points", "boxes"}),
        input_side=128,
        paper=PAPER,
        notes="no trained weights exist; for tests only",
    ),
)
