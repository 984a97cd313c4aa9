"""A run's averaged weights as a small file to ship."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import anymask
from anymask.errors import BadSetting


def export(
    state_file: Path, out: Path, *, model: str, data: str, licence: str, dtype: torch.dtype = torch.float16
) -> None:
    """Write the moving average of a run's state as safetensors, in half precision.

    data, licence: what the weights were trained on, and under which licences; they go into the file's header.
    Raises BadSetting where the state is missing or a weight does not fit the precision.
    """
    if not state_file.is_file():
        raise BadSetting(f"there is no state at {state_file}")
    state = torch.load(state_file, map_location="cpu", weights_only=True)
    tensors: dict[str, Tensor] = {**state["model"], **state["average"]}
    small = {}
    for name, tensor in tensors.items():
        value = tensor.to(dtype) if tensor.is_floating_point() else tensor
        if not torch.isfinite(value).all():
            raise BadSetting(f"{name} does not fit {dtype}; export in another precision")
        # channels-last training leaves strides that the format does not know
        small[name] = value.contiguous(memory_format=torch.contiguous_format).clone()
    counters = state["counters"]
    header = {
        "format": "pt",
        "model": model,
        "anymask": anymask.__version__,
        "step": str(counters["step"]),
        "images": str(counters["images"]),
        "hours": f"{counters['seconds'] / 3600:.2f}",
        "data": data,
        "licence": licence,
        "settings": json.dumps(json.loads(state["settings"])),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(out.name + ".tmp")
    save_file(small, unfinished, header)
    # safetensors keeps new files to their owner; a package's files are for everybody
    unfinished.chmod(0o644)
    os.replace(unfinished, out)
