"""Prompts on one encoded image with SAM's decoder: anymask beside PyPI's segment-anything.

    python benchmarks/prompts.py [--threads 2] [--rounds 5] [--json FILE]

One point, and 64 points in one call, to three low-resolution masks each; both sides take turns in one process, under
glibc's default allocator and with freed memory held. Memory is the peak of 64 prompts above everything before the call.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch

import measure
import peers
from anymask.nn.mask_decoder import CANDIDATES

Answer = tuple[torch.Tensor, torch.Tensor]


def sides(count: int) -> dict[str, Callable[[], Answer]]:
    """The same question to both."""
    peer = peers.official()
    ours = peers.ours(peer)
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 256, 64, 64, generator=generator)
    points = torch.rand(count, 1, 2, generator=generator) * 1024
    labels = torch.ones(count, 1, dtype=torch.long)

    def official() -> Answer:
        sparse, dense = peer.prompt_encoder(points=(points, labels), boxes=None, masks=None)
        answer: Answer = peer.mask_decoder(image, peer.prompt_encoder.get_dense_pe(), sparse, dense, True)
        return answer

    def anymask() -> Answer:
        answer: Answer = ours.decode_tokens({"image": image}, ours.prompt_encoder(points, labels), CANDIDATES)
        return answer

    return {"official": official, "ours": anymask}


def times(rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for count in (1, 64):
        calls = sides(count)
        expected, answer = calls["official"](), calls["ours"]()
        found[str(count)] = measure.paired(calls, rounds * 4 if count == 1 else rounds) | {
            "error": float((expected[0] - answer[0]).abs().max()),
            "range": float(expected[0].abs().max()),
        }
    return found | {"machine": measure.machine()}


def memory(side: str) -> float:
    return measure.peak_mib(sides(64)[side])


def main() -> None:
    found = measure.versus_official(__file__, __doc__, 5, times, memory)
    rows: list[tuple[Any, ...]] = [("malloc", "prompts", "official ms", "anymask ms", "ratio", "error / range")]
    for malloc in ("default", "held"):
        for count in ("1", "64"):
            part = found[malloc][count]
            rows.append(
                (
                    malloc,
                    count,
                    part["official"] * 1e3,
                    part["ours"] * 1e3,
                    part["official"] / part["ours"],
                    f"{part['error'] / part['range']:.1g}",
                )
            )
    measure.table(rows)
    print(
        f"\npeak memory of 64 prompts, MiB: official {found['memory']['official']:.0f}, "
        f"anymask {found['memory']['ours']:.0f}"
    )
    print(json.dumps(found["default"]["machine"]))


if __name__ == "__main__":
    main()
