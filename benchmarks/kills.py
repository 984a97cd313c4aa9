"""Kills a folder run at random moments, many times, and counts what was lost, doubled or left half written.

    python benchmarks/kills.py --kills 1000 --minutes 20

The run is the real one (coordinator, two worker processes, manifest, COCO and 200 kB of bytes a picture) with light
work in place of a model. SIGKILL hits the whole group, the coordinator alone (workers must then end by themselves), or
a worker alone (the run must go on). After several kills each folder is left to end, and all of its files are compared
with those of a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "jobs"))

import killing


def main() -> None:
    """Prints a line a folder and the sums at the end; exit code 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--pictures", type=int, default=120, help="of a folder")
    parser.add_argument("--each", type=int, default=12, help="kills of a folder before it is left to end")
    parser.add_argument("--at-once", type=int, default=2, help="folders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one if left out")
    chosen = parser.parse_args()
    deadline = time.monotonic() + 60 * chosen.minutes
    base = Path(tempfile.mkdtemp(dir=chosen.folder))
    folder = killing.pictures(base / "pictures", chosen.pictures)
    begun = time.monotonic()
    killing.ended(killing.start(folder, base / "undisturbed", 0.005, 2))
    longest = time.monotonic() - begun
    expected = killing.contents(base / "undisturbed")
    print(f"{chosen.pictures} pictures, {len(expected)} files, {longest:.1f} s undisturbed", flush=True)
    found = killing.Found()

    def one(seed: int) -> killing.Found:
        out = base / f"{seed}"
        counts = killing.rounds(folder, out, expected, chosen.each, seed, deadline, longest)
        if not counts.faults:
            shutil.rmtree(out)
        return counts

    with ThreadPoolExecutor(chosen.at_once) as pool:
        running, seed = {pool.submit(one, chosen.seed + n) for n in range(chosen.at_once)}, chosen.seed + chosen.at_once
        while running:
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for counts in ready:
                found.add(counts.result())
            print(f"{found.kills.total()} kills, {found.faults} faults", flush=True)
            while found.kills.total() < chosen.kills and time.monotonic() < deadline and len(running) < chosen.at_once:
                running.add(pool.submit(one, seed))
                seed += 1
    print(f"kills: {found.kills.total()} ({', '.join(f'{name} {n}' for name, n in sorted(found.kills.items()))})")
    print(f"folders resumed to their end: {found.rounds}; minutes: {(time.monotonic() - begun) / 60:.1f}")
    print(f"lost: {found.lost}; duplicated: {found.doubled}; half-written: {found.half_written}")
    print(f"files that differ from an undisturbed run: {found.differing}; unfinished files left: {found.unfinished}")
    print(f"workers that outlived their coordinator: {found.outlived}")
    for line in found.left[:20]:
        print(line)
    if not found.faults:
        shutil.rmtree(base)
    sys.exit(1 if found.faults else 0)


if __name__ == "__main__":
    main()
