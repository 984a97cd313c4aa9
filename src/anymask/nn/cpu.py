"""When the lean CPU paths are taken, and which matrix product is the fastest on this processor.

The product is chosen by a measurement of some milliseconds, once a process, on first use: where oneDNN's private
operator is missing, wrong or no faster, torch's public one is taken. ANYMASK_FAST=0 turns the lean paths off;
ANYMASK_FAST=1 takes oneDNN's operator unmeasured wherever it works; anything else means by measurement.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GAIN = 1.03
"""A private operator must be faster than the public one by this much to be worth its risk."""


def lean(x: Tensor) -> bool:
    """Whether `x` is to be worked on by a lean path: on a CPU, in float32, with nobody asking for gradients.

    On a GPU the plain modules with scaled-dot-product attention are the fast path.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return os.environ.get("ANYMASK_FAST", "auto") != "0"


def parts(module: nn.Module) -> tuple[type, ...]:
    """The types of all parts of a module, in their order: what it is made of."""
    return tuple(type(part) for part in module.modules())[1:]


def untouched(module: nn.Module, built: tuple[type, ...]) -> bool:
    """Whether a module still consists of what it was `built` of, and nobody listens inside.

    Lean paths read the weights of parts without calling them; a part that was wrapped (a low-rank adapter), cut off
    or hooked would be passed by, so that the answers without gradients would be those of another network.
    """
    inside = list(module.modules())[1:]
    return parts(module) == built and not any(part._forward_hooks or part._forward_pre_hooks for part in inside)


def _onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu" if gelu else "none", [], "none")
    return out


def _torch_linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    out = F.linear(x, weight, bias)
    return F.gelu(out) if gelu else out


def _onednn_packed(weight: Tensor, rows: int) -> Tensor:
    out: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return out


def fastest(calls: tuple[Callable[[], object], ...], rounds: int = 7) -> list[float]:
    """Seconds of the fastest of some rounds for each call; they take turns, so that a busy moment favours none."""
    best = [float("inf")] * len(calls)
    for _ in range(rounds + 1):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


@lru_cache(maxsize=8)
def _onednn_wins(dtype: torch.dtype, threads: int, measured: bool) -> bool:
    """Whether oneDNN's linear layer is there, right, and faster than the one torch would take.

    `F.linear` in float32 goes to MKL, which gives some AMD processors less than half of what oneDNN does. The operators
    are private, so they are tried before they are trusted. `threads` is part of the question because the answer depends
    on it. measured: whether to compare the speed as well.
    """
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=generator).to(dtype) for shape in ((256, 512), (512, 512), (512,)))
    expected = _torch_linear(x.float(), weight.float(), bias.float(), True)
    tolerance = 1e-3 if dtype == torch.float32 else 0.5
    try:
        ready = _onednn_packed(weight, len(x))
        answers = [_onednn_linear(x, form, bias, True) for form in (weight, ready)]
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    for answer in answers:
        if answer.shape != expected.shape or not torch.allclose(answer.float(), expected, atol=tolerance, rtol=1e-2):
            return False
    if not measured:
        return True
    ours, public = fastest(
        (lambda: _onednn_linear(x, ready, bias, False), lambda: _torch_linear(x, weight, bias, False))
    )
    return public > GAIN * ours


def _takes_onednn(dtype: torch.dtype) -> bool:
    wish = os.environ.get("ANYMASK_FAST", "auto")
    return wish != "0" and _onednn_wins(dtype, torch.get_num_threads(), wish != "1")


def packed(weight: Tensor, rows: int) -> Tensor:
    """A weight [out, in] in the order that the fastest product for about `rows` rows likes; for `linear` only.

    It pays when several products share it, and is meant to be thrown away after them.
    """
    return _onednn_packed(weight, rows) if _takes_onednn(weight.dtype) else weight


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """[N, in] times [out, in] plus bias, optionally through the exact GELU: the fastest product there is.

    weight: as it is, or `packed`.
    """
    if weight.is_mkldnn or _takes_onednn(x.dtype):
        return _onednn_linear(x, weight, bias, gelu)
    return _torch_linear(x, weight, bias, gelu)


def linear_into(out: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> None:
    """`linear` into an existing buffer [N, out]: fresh memory is several times slower than memory in use."""
    if weight.is_mkldnn or _takes_onednn(x.dtype):
        out.copy_(_onednn_linear(x, weight, bias, False))
    else:
        torch.addmm(bias, x, weight.t(), out=out)


def parameters_of(layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear layer in the dtype asked for.

    Converted on every use: a copy kept beside the original would be a third of the model's memory again and could go
    stale, and the conversion costs a hundredth of the product.
    """
    weight, bias = layer.weight, layer.bias
    return weight.to(dtype), bias.to(dtype)  # type: ignore[operator, union-attr, return-value]
