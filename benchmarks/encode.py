"""Encoding one 1024 x 1024 image with SAM ViT-B: anymask beside PyPI's segment-anything.

    python benchmarks/encode.py [--threads 2] [--rounds 3] [--json FILE]

Both sides take turns in one process, once under glibc's default allocator and once with freed memory held. Memory is
the peak above the weights, each measured in a process of its own on its first encode.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

import measure
import peers


def frame() -> torch.Tensor:
    return torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(1))


def half(encoder: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out: torch.Tensor = encoder(x)
    return out.float()


@torch.no_grad()
def times(rounds: int) -> dict[str, Any]:
    peer = peers.official()
    ours, x = peers.ours(peer), frame()
    a, b = peer.image_encoder, ours.image_encoder
    exact = a(x)
    seconds = measure.paired(
        {
            "official float32": lambda: a(x),
            "ours float32": lambda: b(x),
            "official bfloat16": lambda: half(a, x),
            "ours bfloat16": lambda: half(b, x),
        },
        rounds,
    )
    return seconds | {
        "error float32": float((b(x) - exact).abs().max()),
        "error bfloat16": float((half(b, x) - exact).norm() / exact.norm()),
        "official error bfloat16": float((half(a, x) - exact).norm() / exact.norm()),
        "machine": measure.machine(),
    }


@torch.no_grad()
def memory(side: str) -> dict[str, float]:
    peer = peers.official()
    model = peer if side == "official" else peers.ours(peer)
    del peer
    x = frame()
    return {"mib": measure.peak_mib(lambda: model.image_encoder(x))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.part:
        print(json.dumps(times(options.rounds) if options.part == "times" else memory(options.part)))
        return
    same = ["--threads", str(options.threads), "--rounds", str(options.rounds)]
    found: dict[str, Any] = {
        malloc: measure.in_process(__file__, *same, "--part", "times", held=malloc == "held")
        for malloc in ("default", "held")
    }
    found["memory"] = {
        side: measure.in_process(__file__, *same, "--part", side)["mib"] for side in ("official", "ours")
    }
    rows: list[tuple[Any, ...]] = [("malloc", "precision", "official s", "anymask s", "ratio", "error")]
    for malloc in ("default", "held"):
        part = found[malloc]
        for dtype in ("float32", "bfloat16"):
            official, ours = part[f"official {dtype}"], part[f"ours {dtype}"]
            rows.append((malloc, dtype, official, ours, official / ours, f"{part[f'error {dtype}']:.2g}"))
    measure.table(rows)
    print(
        f"\npeak memory above the weights, MiB: official {found['memory']['official']:.0f}, "
        f"anymask {found['memory']['ours']:.0f}"
    )
    print(
        f"error: float32 largest absolute, bfloat16 relative L2 against official float32 "
        f"(official bfloat16: {found['default']['official error bfloat16']:.2g})"
    )
    print(json.dumps(found["default"]["machine"]))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
