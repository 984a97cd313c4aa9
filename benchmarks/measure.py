"""Timing, memory and the machine, for every benchmark here."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HELD = {"MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_MMAP_THRESHOLD_": "8589934592"}
"""glibc told to keep freed memory: what a careful server sets. Without it every large tensor is mapped anew."""


def paired(calls: dict[str, Callable[[], Any]], rounds: int, warm: int = 1) -> dict[str, float]:
    """Median seconds of each call; the calls take turns, so that a drifting machine favours none."""
    for _ in range(warm):
        for call in calls.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls) if turn % 2 == 0 else reversed(list(calls)):
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def resident_mib(field: str = "VmRSS") -> float:
    """Resident memory of this process in MiB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return float("nan")


def peak_mib(call: Callable[[], Any]) -> float:
    """Peak resident memory above the level before the call, in MiB (Linux); run it first in a fresh process."""
    gc.collect()
    before = resident_mib()
    Path("/proc/self/clear_refs").write_text("5")
    call()
    return resident_mib("VmHWM") - before


def machine() -> dict[str, str]:
    """What the figures were made on."""
    import torch

    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    a = torch.randn(2048, 2048)
    b = torch.empty_like(a)
    best = min(paired({"mm": lambda: torch.mm(a, a, out=b)}, 1)["mm"] for _ in range(5))
    return {
        "processor": f"{fields.get('model name', platform.processor())}, family {fields.get('cpu family')} "
        f"model {fields.get('model')}, {os.cpu_count()} CPUs",
        "float32 product": f"{2 * 2048**3 / best / 1e9:.0f} GFLOP/s on {torch.get_num_threads()} threads",
        "software": f"Python {platform.python_version()}, torch {torch.__version__}",
        "malloc": "held" if "MALLOC_MMAP_THRESHOLD_" in os.environ else "default",
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def in_process(script: str, *arguments: str, held: bool = False) -> Any:
    """Runs a benchmark in a process of its own and reads its last line as JSON; `held` sets the allocator."""
    environment = dict(os.environ) | (HELD if held else {})
    out = subprocess.run(
        [sys.executable, script, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if out.returncode:
        sys.exit(f"{script} {' '.join(arguments)} failed:\n{out.stderr[-2000:]}")
    return json.loads(out.stdout.strip().splitlines()[-1])


def versus_official(
    script: str,
    about: str | None,
    rounds: int,
    times: Callable[[int], dict[str, Any]],
    memory: Callable[[str], float],
) -> dict[str, Any]:
    """A whole comparison: times under both allocator settings and peak memory of both sides, each in its own process.

    times(rounds) and memory("official" or "ours") run in those processes. Returns {"default": times, "held": times,
    "memory": {side: MiB}}; --json writes it to a file.
    """
    import torch

    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.part:
        with torch.no_grad():
            print(json.dumps(times(options.rounds) if options.part == "times" else memory(options.part)))
        sys.exit()
    same = ["--threads", str(options.threads), "--rounds", str(options.rounds)]
    found: dict[str, Any] = {}
    for malloc in ("default", "held"):
        found[malloc] = in_process(script, *same, "--part", "times", held=malloc == "held")
    found["memory"] = {side: in_process(script, *same, "--part", side) for side in ("official", "ours")}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return found


def table(rows: list[tuple[Any, ...]]) -> None:
    """Prints rows as a Markdown table, the first one as its head."""
    print("| " + " | ".join(str(cell) for cell in rows[0]) + " |")
    print("|" + " --- |" * len(rows[0]))
    for row in rows[1:]:
        print("| " + " | ".join(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
