"""The image encoder of a model as a graph from bytes of pixels to an embedding.

Normalising and padding are in the graph, exactly as `models.preprocess` does them; resizing is not, since runtimes
resize in ways of their own and a model's answers depend on it. So the input is a picture at its resized size, uint8
[height, width, 3] RGB, whose longer side is the frame's; float32, 0..255, of a model that resizes floats (SAM 2).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.export.graph import about_of, exportable, label, trace
from anymask.models.onnx_files import EMBEDDING
from anymask.models.promptable import PromptableModel

INPUT = "image"


class EncoderGraph(nn.Module):
    """What is traced."""

    def __init__(self, model: PromptableModel) -> None:
        super().__init__()
        # a copy, since tracing marks parameters as fixed
        self.image_encoder = copy.deepcopy(model.image_encoder)
        self.preprocess = model.preprocess

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """uint8 or float32 [height, width, 3] to the tensors of an embedding, in the order of `EMBEDDING`."""
        x = image.permute(2, 0, 1).float()
        way = self.preprocess
        stretched = way.normalise == "min-max"
        x = (x - x.min()) / (x.max() - x.min()).clamp(min=1e-8) if stretched else way.mean_std(x)
        x = F.pad(x, (0, way.side - x.shape[2], 0, way.side - x.shape[1]))
        # the padding hides from the exporter that the frame's size is fixed
        out = self.image_encoder(x.reshape(1, 3, way.side, way.side))
        return (out,) if isinstance(out, Tensor) else tuple(out[name] for name in EMBEDDING.values() if name in out)


def encoder_graph(model: object) -> Any:
    """The image encoder of a model as onnx.ModelProto, in float32. Raises BadSetting, MissingExtra."""
    model = exportable(model)
    side = model.preprocess.side
    outputs = list(EMBEDDING)[: 3 if model.high_res else 1]
    # neither side is the frame's, so that nothing is taken for fixed
    pixels = torch.randint(0, 256, (side * 3 // 4, side * 5 // 8, 3), dtype=torch.uint8)
    arguments = [pixels.float() if model.preprocess.resample == "float" else pixels]
    graph = trace(EncoderGraph(model), arguments, [INPUT], outputs, {INPUT: {0: "height", 1: "width"}})
    return label(graph, about_of(model, part="encoder", dtype="fp32"))
