"""Runs a protocol over photos: one at a time, each kept as soon as it is measured, so that a killed run goes on."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.errors import BadSetting, MissingExtra
from anymask.evaluate.protocol import Choice, Line, Precision, Protocol, Unit
from anymask.evaluate.report import Report
from anymask.evaluate.state import State, alone, state_of

if TYPE_CHECKING:
    from anymask.models.interface import PromptModel

PACKAGES = (
    *(
        "anymask",
        "torch",
        "numpy",
        "opencv-python-headless",
        "pycocotools",
        "faster-coco-eval",
        "scipy",
        "scikit-image",
    ),
)
"""Whose versions may change a figure."""

Tell = Callable[[int, int], None]
"""Called with (masks done, masks in all), first with what an earlier session of the run has done."""


def run(
    protocol: Protocol,
    data: Path,
    *,
    model: PromptModel | None = None,
    choice: Choice | None = None,
    precision: Precision = "float32",
    out: Path | None = None,
    fresh: bool = False,
    tell: Tell | None = None,
) -> Report:
    """The figures of a protocol on the sets under `data`; written to `out` where that is given.

    model: what is evaluated; None where the protocol needs none. choice: which part of the data, and the seed.
    precision: "bfloat16" of encoder and decoder. out: JSON file; beside it what was measured of each photo is kept, and
    a run that was killed goes on from there, with the same result. fresh: forget what is there.
    Raises BadSetting: no data, no model, or `out` holds a run with other settings; BadImage.
    """
    if precision not in ("float32", "bfloat16"):
        raise BadSetting(f"precision is float32 or bfloat16, got {precision!r}")
    if protocol.needs_model and model is None:
        raise BadSetting(f"protocol {protocol.name} needs a model")
    choice = choice or Choice()
    units = protocol.units(data, choice)
    if not units:
        raise BadSetting(f"{data} has no mask that protocol {protocol.name} could take")
    about = _about(protocol, data, model, choice, precision, units)
    keys = [f"{unit.dataset}/{unit.name}" for unit in units]
    with _lines(out, about, fresh) as (lines, keep), _ready(protocol, model, precision):
        total = sum(unit.masks for unit in units)
        done = sum(unit.masks for key, unit in zip(keys, units, strict=True) if key in lines)
        if tell is not None:
            tell(done, total)
        for key, unit in zip(keys, units, strict=True):
            if key in lines:
                continue
            start = time.perf_counter()
            line = protocol.measure(model, unit, unit.rng(choice.seed))
            keep(key, line | {"seconds": round(time.perf_counter() - start, 4)})
            done += unit.masks
            if tell is not None:
                tell(done, total)
        found = [lines[key] for key in keys]
        report = _report(protocol, about, units, found)
        if out is not None:
            report.write(out)
            report = replace(report, shown=_illustrated(protocol, model, units, found, out))
    return report


def _illustrated(
    protocol: Protocol, model: PromptModel | None, units: Sequence[Unit], lines: Sequence[Line], out: Path
) -> str:
    """What is said of the pictures beside the figures; these stand without them where a library is missing."""
    try:
        made = protocol.illustrate(model, units, lines, out)
    except MissingExtra as error:
        return f"nothing was made to look at: {error}"
    return f"look at {', '.join(path.name for path in made)}" if made else ""


def _report(protocol: Protocol, about: dict[str, Any], units: Sequence[Unit], lines: Sequence[Line]) -> Report:
    by_set: dict[str, list[Line]] = {}
    images: dict[str, int] = {}
    masks: dict[str, int] = {}
    for unit, line in zip(units, lines, strict=True):
        by_set.setdefault(unit.dataset, []).append(line)
        images[unit.dataset] = images.get(unit.dataset, 0) + 1
        masks[unit.dataset] = masks.get(unit.dataset, 0) + unit.masks
    seconds = sum(line["seconds"] for line in lines)
    return Report(about, seconds, images, masks, protocol.outcome(about["model"], by_set), protocol.counted)


def _about(
    protocol: Protocol,
    data: Path,
    model: PromptModel | None,
    choice: Choice,
    precision: Precision,
    units: Sequence[Unit],
) -> dict[str, Any]:
    digest = hashlib.sha256()
    for unit in units:
        digest.update(f"{unit.dataset}\n{unit.name}\n{unit.masks}\n{unit.digest}\n".encode())
    return {
        "protocol": protocol.name,
        "settings": protocol.settings() | (dict(protocol.for_model(model)) if model is not None else {}),
        "model": protocol.title if model is None else model.card.name,
        "weights": "" if model is None else _weights(model),
        "precision": precision,
        # a path of one machine says nothing on another; the digest says which masks of which photos were taken
        "data": data.resolve().name,
        "data_digest": digest.hexdigest(),
        "kind": choice.kind,
        "cap": choice.cap,
        "only": list(choice.only),
        "seed": choice.seed,
        "versions": versions(),
    }


def _weights(model: PromptModel) -> str:
    """The digest of a model's weights; of random ones their own, or a resumed run would mix two models."""
    state = getattr(model, "state_dict", None)
    if model.weights != "random" or state is None:
        return model.weights
    digest = hashlib.sha256()
    for name, tensor in state().items():
        digest.update(name.encode())
        digest.update(tensor.detach().double().cpu().numpy().tobytes())
    return f"random {digest.hexdigest()}"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@contextlib.contextmanager
def _lines(
    out: Path | None, about: Mapping[str, Any], fresh: bool
) -> Iterator[tuple[Mapping[str, Line], Callable[[str, Line], None]]]:
    """What was measured before, and how more is kept."""
    if out is None:
        held: dict[str, Line] = {}
        yield held, held.__setitem__
        return
    path = state_of(out)
    with alone(path):
        if fresh:
            path.unlink(missing_ok=True)
        with State(path, about) as state:
            yield state.lines, state.add


@contextlib.contextmanager
def _ready(protocol: Protocol, model: PromptModel | None, precision: Precision) -> Iterator[None]:
    """Inference in the precision that is wished for."""
    if model is None:
        yield
        return
    import torch

    half = precision == "bfloat16"
    use = getattr(model, "use", None)
    device = str(getattr(model, "device", "cpu")).split(":")[0]
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if half and protocol.half_by == "autocast":
            stack.enter_context(torch.autocast(device, torch.bfloat16))
        elif half and use is not None:
            stack.callback(use, getattr(model, "compute_dtype", torch.float32))
            use(torch.bfloat16)
        yield
