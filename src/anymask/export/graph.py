"""From a torch module to an ONNX graph that says what it is."""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import anymask
from anymask.errors import BadSetting
from anymask.extras import need
from anymask.models.onnx_files import EXTRA, KEY, About
from anymask.models.promptable import PromptableModel

OPSET = 17
"""The official export's default; onnxruntime, onnxruntime-web and TensorRT 8.6 know it."""

_LARGEST = 1_900_000_000
"""Bytes of a graph in one file; protobuf ends at 2 GiB."""

_tracing = threading.Lock()


def trace(
    module: nn.Module,
    arguments: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
) -> Any:
    """The graph of a module as onnx.ModelProto.

    arguments: an example of its inputs, in the order of their names. dynamic: input or output -> axis -> name of a size
    that may differ.

    By way of TorchScript: the newer exporter asks for two more libraries, takes half a minute where this one takes a
    second, and fixed the number of prompts. Gradients are on while it runs, so that the plain modules are traced and
    not the lean paths for a CPU, but no parameter asks for them.
    """
    onnx = need("onnx", extra=EXTRA, to="write ONNX files")
    with _tracing, tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "graph.onnx"
        with torch.inference_mode(False), torch.enable_grad():
            torch.onnx.export(
                module.eval().requires_grad_(False),
                tuple(arguments),
                str(path),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: dict(axes) for name, axes in dynamic.items()},
                opset_version=OPSET,
                dynamo=False,
            )
        return onnx.load(str(path))


def label(graph: Any, about: About) -> Any:
    """The graph with its description in the metadata, where `Part` finds it."""
    onnx = need("onnx", extra=EXTRA, to="write ONNX files")
    graph.producer_name, graph.producer_version = "anymask", anymask.__version__
    graph.doc_string = f"{about.part} of {about.title} ({about.model}), {about.dtype}; {about.licence}"
    onnx.helper.set_model_props(graph, {KEY: about.to_json()})
    return graph


def about_of(model: PromptableModel, **more: Any) -> About:
    """What a file made of this model says of itself. more: the fields that the model does not know."""
    way = model.preprocess
    return About(
        model=model.card.name,
        title=model.card.title,
        licence=model.card.licence,
        weights=model.weights,
        side=way.side,
        fit=way.fit,
        resample=way.resample,
        mask_size=model.prompt_encoder.mask_size,
        version=anymask.__version__,
        **more,
    )


def save(graph: Any, path: Path) -> int:
    """Write a graph, whole or not at all; weights beyond protobuf's limit go to a second file. Returns bytes."""
    onnx = need("onnx", extra=EXTRA, to="write ONNX files")
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(path.name + ".data")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        draft = Path(folder) / path.name
        large = graph.ByteSize() if _weights(graph) < _LARGEST else _LARGEST
        if large < _LARGEST:
            draft.write_bytes(graph.SerializeToString())
            data.unlink(missing_ok=True)
        else:
            onnx.save_model(graph, str(draft), save_as_external_data=True, location=data.name, size_threshold=1024)
            draft.with_name(data.name).replace(data)
        draft.replace(path)
    return path.stat().st_size + (data.stat().st_size if data.exists() else 0)


def _weights(graph: Any) -> int:
    """Bytes of the graph's weights."""
    return sum(len(tensor.raw_data) for tensor in graph.graph.initializer)


def exportable(model: object) -> PromptableModel:
    """The model itself if it has SAM's shape. Raises BadSetting otherwise, saying what can be exported."""
    from anymask.nn.dense_prompts import DensePromptEncoder
    from anymask.nn.mask_decoder import MaskDecoder
    from anymask.nn.prompt_encoder import PromptEncoder

    name = getattr(getattr(model, "card", None), "name", type(model).__name__)
    if not isinstance(model, PromptableModel):
        raise BadSetting(f"{name} cannot be exported: only networks of SAM's shape can, loaded from their weights")
    if (
        type(model.prompt_encoder) not in (PromptEncoder, DensePromptEncoder)
        or type(model.mask_decoder) is not MaskDecoder
    ):
        raise BadSetting(f"{name} cannot be exported yet: its prompt encoder or mask decoder is not SAM's")
    return model
