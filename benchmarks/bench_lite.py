"""Milliseconds of anymask-lite: encode, one prompt, and a prompt in a batch of 16, in float32 and bfloat16.

    python benchmarks/bench_lite.py [--threads 2] [--rounds 15]

Medians of calls that take turns, so that a busy moment of the machine hits both precisions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

import anymask
from anymask.prompts.prompts import Prompts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    rng = np.random.default_rng(0)
    picture = anymask.Image.open(rng.integers(0, 256, (480, 640, 3)).astype(np.uint8))
    corners = rng.uniform(0, 200, (16, 2))
    boxes = np.hstack([corners, corners + rng.uniform(50, 200, (16, 2))]).astype(np.float32)
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    one, many = Prompts(boxes=boxes[:1]), Prompts(boxes=boxes)
    for precision in ("float32", "bfloat16"):
        model = anymask.load(device="cpu", dtype=precision)
        embedding = model.encode([picture])
        calls[precision, "encode"] = lambda model=model: model.encode([picture])
        calls[precision, "decode 1"] = lambda model=model, e=embedding: model.decode(e, one)
        calls[precision, "decode 16"] = lambda model=model, e=embedding: model.decode(e, many)
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    with torch.inference_mode():
        for _ in range(settings.rounds + 2):
            for key, call in calls.items():
                began = time.perf_counter()
                call()
                times[key].append(1000 * (time.perf_counter() - began))
    for (precision, what), taken in times.items():
        print(f"{precision:9} {what:10} {statistics.median(taken[2:]):7.1f} ms")


if __name__ == "__main__":
    main()
