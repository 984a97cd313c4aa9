"""Encoding one 1024 x 1024 image with SAM ViT-B: anymask beside PyPI's segment-anything.

    python benchmarks/encode.py [--threads 2] [--rounds 3] [--json FILE]

Both sides take turns in one process, once under glibc's default allocator and once with freed memory held. Memory is
the peak above the weights, each measured in a process of its own on its first encode.
"""

from __future__ import annotations

import json
from typing import Any

import torch

import measure
import peers
from anymask.family import sam


def frame() -> torch.Tensor:
    return torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(1))


def half(encoder: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out: torch.Tensor = encoder(x)
    return out.float()


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


def memory(side: str) -> float:
    model = peers.official() if side == "official" else sam.vit_b().eval()
    x = frame()
    return measure.peak_mib(lambda: model.image_encoder(x))


def main() -> None:
    found = measure.versus_official(__file__, __doc__, 3, times, memory)
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


if __name__ == "__main__":
    main()
