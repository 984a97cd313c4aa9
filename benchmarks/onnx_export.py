"""Exported files beside their models and beside the official export: numbers, size, speed, and what precision costs.

    python benchmarks/onnx_export.py parts [--models anymask-lite,mobile-sam,sam-vit-b] [--dtypes fp32,fp16,int8]
    python benchmarks/onnx_export.py official
    python benchmarks/onnx_export.py miou --data ../shared/data/instances/val --cap 10

parts: every file against torch; models without weights here get random ones. official: our decoder and the one that
segment-anything's SamOnnxModel exports, both from the same random ViT-B in the same run, one click, masks at
1800 x 1200. miou: the protocol of `anymask evaluate` with the model inside, in torch and exported in each precision.
All take --threads (1) and --json FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import measure
import peers


def model_named(name: str) -> Any:
    """A model with its weights, or with seeded random ones where none are on this machine."""
    from anymask.models.catalogue import card
    from anymask.models.download import find
    from anymask.models.load import load

    if any(find(file) for file in card(name).files):
        return load(name, device="cpu")
    if name == "sam-vit-b":
        model = peers.ours(peers.official())
    else:
        torch.manual_seed(0)
        model = card(name).build().eval()
    model.card, model.weights = card(name), "random"
    return model


def parts(models: list[str], dtypes: list[str], folder: Path) -> list[dict[str, Any]]:
    """What `anymask export` measures."""
    from anymask.export.write import write

    found = []
    for name in models:
        model = model_named(name)
        for dtype in dtypes:
            for one in write(model, folder / name / dtype, dtype=dtype):
                found.append(asdict(one) | {"path": one.path.name, "model": name})
    return found


def official(folder: Path, threads: int) -> dict[str, Any]:
    """Both decoders: differences, and seconds on the wall and of the processor."""
    import onnxruntime

    from anymask.export.decoder import DYNAMIC, INPUTS, OUTPUTS, decoder_graph
    from anymask.export.graph import OPSET, save
    from anymask.models.catalogue import card

    peer = peers.official()
    # only now: the peer's package is made importable by asking for the peer
    from segment_anything.utils.onnx import SamOnnxModel

    ours = peers.ours(peer)
    ours.card, ours.weights = card("sam-vit-b"), "random"
    generator = torch.Generator().manual_seed(1)
    arguments = (
        torch.randn(1, 256, 64, 64, generator=generator),
        torch.tensor([[[512.0, 300.0], [0.0, 0.0]]]),
        torch.tensor([[1.0, -1.0]]),
        torch.zeros(1, 1, 256, 256),
        torch.zeros(1),
        torch.tensor([1200.0, 1800.0]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # the settings of its scripts/export_onnx_model.py
        torch.onnx.export(
            SamOnnxModel(peer, return_single_mask=False),
            arguments,
            str(folder / "official.onnx"),
            export_params=True,
            opset_version=OPSET,
            do_constant_folding=True,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes={name: {1: "num_points"} for name in list(DYNAMIC)[:2]},
            dynamo=False,
        )
    save(decoder_graph(ours), folder / "ours.onnx")
    save(decoder_graph(ours, full_size=False), folder / "ours, low-res.onnx")
    feeds = {name: value.numpy() for name, value in zip(INPUTS, arguments, strict=True)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    calls: dict[str, Callable[[], list[Any]]] = {}
    for name in ("official", "ours", "ours, low-res"):
        session = onnxruntime.InferenceSession(
            str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
        )
        used = {entry.name: feeds[entry.name] for entry in session.get_inputs()}
        calls[name] = lambda session=session, used=used: session.run(None, used)
    answers = {name: call() for name, call in calls.items()}
    pairs = zip(answers["ours"], answers["official"], strict=True)
    differences = {name: float(np.abs(a - b).max()) for name, (a, b) in zip(OUTPUTS, pairs, strict=True)}
    wall, cpu = taking_turns(calls, 30)
    sizes = {name: (folder / f"{name}.onnx").stat().st_size for name in calls}
    return {"differences": differences, "wall_ms": wall, "cpu_ms": cpu, "bytes": sizes, "threads": threads}


def taking_turns(calls: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median milliseconds of each call, on the wall and of the processor; the latter heeds other programs less."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(rounds + 2):
        for name in list(calls) if turn % 2 == 0 else reversed(list(calls)):
            wall, cpu = time.perf_counter(), time.process_time()
            calls[name]()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    middle = {
        name: [1e3 * statistics.median(one) for one in zip(*rows[2:], strict=True)] for name, rows in times.items()
    }
    return {name: row[0] for name, row in middle.items()}, {name: row[1] for name, row in middle.items()}


def miou(data: Path, cap: int, dtypes: list[str], folder: Path) -> dict[str, dict[str, float]]:
    """Mean over the sets of each measure of the clicks protocol."""
    from anymask.evaluate.clicks import Clicks
    from anymask.evaluate.protocol import Choice
    from anymask.evaluate.runner import run
    from anymask.export.write import write
    from anymask.models.load import load

    model = load("anymask-lite", device="cpu")
    found = {}
    for dtype in ("torch", *dtypes):
        if dtype != "torch":
            write(model, folder / dtype, dtype=dtype, low_res=True)
        asked = model if dtype == "torch" else load(folder / dtype)
        found[dtype] = dict(run(Clicks(), data, model=asked, choice=Choice(cap)).outcome.mean)
        print(dtype, {name: round(value, 4) for name, value in found[dtype].items()}, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["parts", "official", "miou"])
    parser.add_argument("--models", default="anymask-lite,mobile-sam,sam-vit-b")
    parser.add_argument("--dtypes", default="fp32,fp16,int8")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cap", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtypes = options.dtypes.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.what == "parts":
            found: Any = parts(options.models.split(","), dtypes, folder)
            rows: list[tuple[Any, ...]] = [
                ("model", "part", "dtype", "MB", "logits differ", "largest", "IoU", "torch ms", "onnx ms")
            ]
            for one in found:
                numbers = (f"{one['logits']:.2g}", f"{one['largest']:.3g}", f"{one['iou']:.4f}")
                times = (one["torch_ms"], one["onnx_ms"])
                rows.append((one["model"], one["part"], one["dtype"], one["size"] / 1e6, *numbers, *times))
        elif options.what == "official":
            found = official(folder, options.threads)
            rows = [("decoder", "MB", "wall ms", "CPU ms")]
            for one in found["bytes"]:
                rows.append((one, found["bytes"][one] / 1e6, found["wall_ms"][one], found["cpu_ms"][one]))
        else:
            if options.data is None:
                parser.error("miou needs --data")
            found = miou(options.data, options.cap, dtypes, folder)
            rows = [("dtype", *next(iter(found.values())))]
            rows += [(name, *(f"{value:.4f}" for value in row.values())) for name, row in found.items()]
    measure.table(rows)
    if options.what == "official":
        print("differences:", {name: f"{value:.2g}" for name, value in found["differences"].items()})
    about = measure.machine() | {"load": " ".join(f"{one:.1f}" for one in os.getloadavg())}
    print(json.dumps(about))
    if options.json:
        options.json.write_text(json.dumps({"found": found, "machine": about}, indent=1))


if __name__ == "__main__":
    main()
