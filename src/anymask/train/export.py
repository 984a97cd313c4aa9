"""A run's averaged weights as a file to load: the whole model, or only what was changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import anymask
from anymask.errors import BadSetting, BadWeights
from anymask.models.adapters import VERSION, about, put_on
from anymask.models.load import load
from anymask.models.promptable import PromptableModel
from anymask.models.weights import digest, read
from anymask.train import lora
from anymask.train.loop import AVERAGE, COUNTERS, states

WHOLE = "model.safetensors"
ADAPTER = "adapter.safetensors"
MEMORY = "memory.safetensors"


def average_of(out: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The moving average of a run's latest state, and what the state says of itself.

    Raises BadSetting where there is none.
    """
    found = states(out)
    if not found:
        raise BadSetting(f"there is no state of a run in {out}")
    average = {name.removeprefix("model."): tensor for name, tensor in load_file(found[-1] / AVERAGE).items()}
    return average, json.loads((found[-1] / COUNTERS).read_text())


def whole(model: PromptableModel, out: Path, file: Path, *, header: dict[str, str], half: bool = False) -> Path:
    """Write the model with the run's averaged weights, additions added.

    model: as it was prepared for the run. header: kept in the file, beside how long the run was. half: as float16.
    Raises BadSetting where a weight does not fit half precision.
    """
    average, document = average_of(out)
    plain = lora.plain_state(model, average)
    return _write(plain, file, _told(document) | header, torch.float16 if half else None)


def adapter(out: Path, file: Path, *, name: str, base: str) -> Path:
    """Write only what the run changed: low-rank additions, and the parameters that were trained whole, in float16.

    name: of the model's card. base: digest of the weights it started from.
    """
    average, document = average_of(out)
    tensors = {f"set.{lora.plain_name(key)}": value for key, value in average.items() if not lora.is_own(key)}
    for layer, (a, b) in lora.additions(average).items():
        tensors |= {f"lora.{layer}.A": a, f"lora.{layer}.B": b}
    header = {"anymask_adapter": VERSION, "model": name, "base": base, "scale": repr(lora.SCALE)}
    return _write(tensors, file, _told(document) | header, torch.float16)


def memory(out: Path, file: Path, *, base: str, header: dict[str, str]) -> Path:
    """Write only a model's memory, in float16; see `Card.base`. base: digest of the weights that it was made beside."""
    average, document = average_of(out)
    tensors = {name: value for name, value in average.items() if name.startswith("memory.")}
    return _write(tensors, file, _told(document) | header | {"base": base}, torch.float16)


def merge(file: Path, out: Path, *, base: Path | None = None, half: bool = False) -> Path:
    """Put an adapter onto the weights it was made on and write the whole model.

    base: those weights; the model's own if left out. Raises BadWeights for another kind of file or other weights.
    """
    said = about(file)
    if said is None:
        raise BadWeights(f"{file} is no adapter; 'anymask train' writes one with the methods decoder and lora")
    model = cast(PromptableModel, load(said.model, weights=base, device="cpu"))
    if model.weights != said.base:
        raise BadWeights(f"{file} was made on weights {said.base[:12]} of {said.model}, these are {model.weights[:12]}")
    put_on(model, read(file), said.scale)
    header = {"format": "pt", "anymask": anymask.__version__, "model": said.model, "adapter": digest(file)}
    return _write(dict(model.state_dict()), out, header, torch.float16 if half else None)


def _told(document: dict[str, Any]) -> dict[str, str]:
    counters = document["counters"]
    return {
        "format": "pt",
        "anymask": anymask.__version__,
        "step": str(counters["step"]),
        "images": str(counters["images"]),
        "hours": f"{counters['seconds'] / 3600:.2f}",
        "settings": json.dumps(document["settings"]),
    }


def _write(tensors: dict[str, Tensor], file: Path, header: dict[str, str], dtype: torch.dtype | None) -> Path:
    small = {}
    for name, tensor in tensors.items():
        value = tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise BadSetting(f"{name} does not fit {dtype}; export in another precision")
        # channels-last training leaves strides that the format does not know
        small[name] = value.detach().cpu().contiguous(memory_format=torch.contiguous_format).clone()
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(file.name + ".tmp")
    save_file(small, unfinished, header)
    # safetensors keeps new files to their owner; weights are for everybody
    unfinished.chmod(0o644)
    os.replace(unfinished, file)
    return file
