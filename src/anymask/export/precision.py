"""Smaller files: weights in 16 or 8 bits, and products in 8 bits where that is faster.

"fp16" keeps weights as halves; "int8" keeps matrices and kernels as 8-bit integers with a scale for each output, and
the rest as halves. A runtime widens them once, when it loads the file, and computes in float32 as before: the same
speed everywhere, and no arithmetic that a processor or browser lacks. The exception are the large products of ViT
encoders, which "int8" leaves to integer arithmetic: there it is what makes them faster.

Full integer arithmetic for convolutions was measured and rejected, see docs/export.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.extras import need
from anymask.models.onnx_files import EXTRA, Dtype

SMALLEST = 256
"""Numbers of a tensor that is worth storing smaller."""

SMALLEST_INT = 4096
"""Numbers of a matrix or kernel that is worth the loss of 8 bits."""

LARGE = 256
"""Inner and outer width from which a product in 8 bits is faster than in 32; measured."""

HALF_LIMIT = 65504.0


def narrow(graph: Any, dtype: Dtype, integer_products: bool = False) -> Any:
    """The graph (onnx.ModelProto, changed in place) with its weights stored as `dtype`.

    integer_products: with "int8", multiply by large weights in 8 bits; activations are scaled as they come.
    """
    if dtype == "fp32":
        return graph
    work = _Narrowing(graph)
    consumers: dict[str, list[Any]] = {}
    for node in graph.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    for tensor in list(graph.graph.initializer):
        values = work.floats(tensor)
        if values is None or values.size < SMALLEST:
            continue
        axis = _axis(values, consumers.get(tensor.name, [])) if dtype == "int8" else None
        if axis is None:
            if np.abs(values).max() <= HALF_LIMIT:
                work.halve(tensor, values)
            continue
        readers = consumers.get(tensor.name, [])
        multiplied = all(node.op_type == "MatMul" and node.input[1] == tensor.name for node in readers)
        if integer_products and multiplied and readers and min(values.shape) >= LARGE:
            work.multiply(tensor, values, readers)
        else:
            work.quarter(tensor, values, axis)
    work.finish()
    return graph


def _axis(values: NDArray[np.float32], readers: list[Any]) -> int | None:
    """The axis of a matrix's or kernel's outputs, each of which gets its own scale; None for what stays in halves.

    Depthwise and small kernels lose the most in 8 bits and save the least.
    """
    if values.size < SMALLEST_INT:
        return None
    if values.ndim == 4 and values.shape[0] > 1 and values.shape[1] > 1:
        return 0
    if values.ndim == 2 and readers and all(node.op_type in ("MatMul", "Gemm") for node in readers):
        turned = readers[0].op_type == "Gemm" and any(a.name == "transB" and a.i for a in readers[0].attribute)
        return 0 if turned else 1
    return None


def eighths(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers in -127..127 and their scales, so that their product is nearest to `values`.

    axis: each of its slices has its own scale; the scales keep the number of axes.
    """
    others = tuple(one for one in range(values.ndim) if one != axis)
    scale = np.maximum(np.abs(values).max(others, keepdims=True) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(values / scale).clip(-127, 127).astype(np.int8), scale


class _Narrowing:
    """A graph whose weights are being replaced."""

    def __init__(self, graph: Any) -> None:
        self.onnx = need("onnx", extra=EXTRA, to="write ONNX files")
        self.graph = graph.graph
        self.first: list[Any] = []
        self.replaced: dict[int, list[Any]] = {}

    def floats(self, tensor: Any) -> NDArray[np.float32] | None:
        """The numbers of a float32 tensor, None for another type."""
        if tensor.data_type != self.onnx.TensorProto.FLOAT:
            return None
        return np.array(self.onnx.numpy_helper.to_array(tensor))

    def halve(self, tensor: Any, values: NDArray[np.float32]) -> None:
        """Store as halves."""
        self._store(tensor.name + "_half", values.astype(np.float16))
        self._node("Cast", [tensor.name + "_half"], tensor.name, to=self.onnx.TensorProto.FLOAT)
        self.graph.initializer.remove(tensor)

    def quarter(self, tensor: Any, values: NDArray[np.float32], axis: int) -> None:
        """Store as 8-bit integers with their scales.

        Not as DequantizeLinear, which runtimes leave for later and then compute at each run.
        """
        name = tensor.name
        whole, scale = eighths(values, axis)
        self._store(name + "_int", whole)
        self._store(name + "_scale", scale)
        self._node("Cast", [name + "_int"], name + "_wide", to=self.onnx.TensorProto.FLOAT)
        self._node("Mul", [name + "_wide", name + "_scale"], name)
        self.graph.initializer.remove(tensor)

    def multiply(self, tensor: Any, values: NDArray[np.float32], readers: list[Any]) -> None:
        """Multiply by 8-bit integers: x W = (x / a)(W / s) * a * s, x scaled as it comes."""
        name = tensor.name
        whole, scale = eighths(values, 1)
        self._store(name + "_int", whole)
        self._store(name + "_scale", scale[0])
        for index, node in enumerate(readers):
            x, out, own = node.input[0], node.output[0], f"{name}_{index}"
            nodes = [
                self._make("DynamicQuantizeLinear", [x], [own + "_x", own + "_a", own + "_zero"]),
                self._make("MatMulInteger", [own + "_x", name + "_int", own + "_zero"], [own + "_sum"]),
                self._make("Cast", [own + "_sum"], [own + "_float"], to=self.onnx.TensorProto.FLOAT),
                self._make("Mul", [own + "_a", name + "_scale"], [own + "_as"]),
                self._make("Mul", [own + "_float", own + "_as"], [out]),
            ]
            self.replaced[id(node)] = nodes
        self.graph.initializer.remove(tensor)

    def finish(self) -> None:
        """Put the nodes in order."""
        nodes = [new for node in self.graph.node for new in self.replaced.get(id(node), [node])]
        copies = [self.onnx.NodeProto.FromString(node.SerializeToString()) for node in [*self.first, *nodes]]
        del self.graph.node[:]
        self.graph.node.extend(copies)

    def _store(self, name: str, values: NDArray[Any]) -> None:
        self.graph.initializer.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.first.append(self._make(kind, inputs, [output], **attributes))

    def _make(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
        return self.onnx.helper.make_node(kind, inputs, outputs, **attributes)
