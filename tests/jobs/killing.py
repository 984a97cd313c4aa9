"""Kills a folder run at random moments, resumes it, and looks for what was lost, doubled or left half written."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

HERE = Path(__file__).resolve().parent
SELF = ".anymask"
WHOSE = ("group", "coordinator", "worker")


@dataclass
class Found:
    """What many kills did. kills: by whose they were; workers: processes that outlived their coordinator."""

    kills: Counter = field(default_factory=Counter)
    rounds: int = 0
    lost: int = 0
    doubled: int = 0
    half_written: int = 0
    differing: int = 0
    outlived: int = 0
    unfinished: int = 0
    left: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Adds another's counts."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    @property
    def faults(self) -> int:
        """Anything that must not be."""
        return self.lost + self.doubled + self.half_written + self.differing + self.outlived + self.unfinished


def pictures(folder: Path, count: int) -> Path:
    """So many small pictures, all different, and one that is none."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3)).astype(np.uint8)
        Pillow.fromarray(pixels).save(folder / f"p{number:04d}.png")
    (folder / "bad.png").write_text("hello")
    return folder


def contents(out: Path) -> dict[str, bytes]:
    """All results by relative path; not what the job keeps for itself."""
    found = (path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in found if SELF not in path.relative_to(out).parts}


def start(folder: Path, out: Path, pause: float, workers: int) -> subprocess.Popen:
    """The run as a process with a group of its own."""
    line = [sys.executable, str(HERE / "steps.py"), str(folder), str(out), str(pause), str(workers)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, start_new_session=True, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def ended(process: subprocess.Popen) -> bytes:
    """Waits; raises when the run did not end well."""
    said, _ = process.communicate(timeout=300)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {said.decode()[-2000:]}")
    return said


def group(leader: int) -> list[int]:
    """Processes of a group that are no corpses, the leader first."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                fields = (place / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == leader and fields[0] not in "ZX":
                found.append(int(place.name))
    return sorted(found, key=lambda one: (one != leader, one))


def outlived(leader: int, seconds: float = 10) -> list[int]:
    """Who of a group is still there after a while, which is cut short when nobody is."""
    last = time.monotonic() + seconds
    while (found := group(leader)) and time.monotonic() < last:
        time.sleep(0.01)
    return found


def kill(process: subprocess.Popen, whose: str, rng: random.Random) -> bool:
    """Kills now; whether there was something to kill."""
    if process.poll() is not None:
        return False
    if whose == "group":
        os.killpg(process.pid, signal.SIGKILL)
    elif whose == "coordinator":
        process.kill()
    else:
        others = [one for one in group(process.pid) if one != process.pid]
        if not others:
            return False
        try:
            os.kill(rng.choice(others), signal.SIGKILL)
        except ProcessLookupError:
            return False
    return True


def check(out: Path, found: Found) -> None:
    """Between a kill and the next run: no listed image without whole files, none listed twice, no torn file."""
    listed: Counter = Counter()
    for path in (out / SELF / "manifest").glob("*.jsonl") if (out / SELF / "manifest").is_dir() else ():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            listed[row["title"]] += 1
            for name in row["files"]:
                file = out / name
                if not file.is_file():
                    found.lost += 1
                elif (name.endswith("bytes") and file.stat().st_size != 200_000) or (
                    name.endswith(".json") and not whole(file)
                ):
                    found.half_written += 1
    found.doubled += sum(count > 1 for count in listed.values())


def whole(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except ValueError:
        return False
    return True


def at_work(out: Path, process: subprocess.Popen, seconds: float = 60) -> None:
    """Waits until a worker has written something, or the run has ended."""
    last = time.monotonic() + seconds
    before = set((out / SELF).glob("worker-*"))
    while process.poll() is None and time.monotonic() < last:
        if set((out / SELF).glob("worker-*")) - before and any((out / SELF / "unfinished").glob("*")):
            return
        time.sleep(0.002)


def rounds(
    folder: Path, out: Path, expected: dict[str, bytes], kills: int, seed: int, deadline: float, longest: float,
    pause: float = 0.005, workers: int = 2,
) -> Found:  # fmt: skip
    """One folder, begun and killed `kills` times (or until it is done), then left to end and compared.

    Some kills come at any time from the start of the process on, most while workers are at work; after a worker the
    rest is killed as well, a little later. longest: seconds that an undisturbed run takes.
    """
    found, rng = Found(), random.Random(seed)
    hit = True
    while hit and found.kills.total() < kills and time.monotonic() < deadline:
        process = start(folder, out, pause, workers)
        if rng.random() < 0.25:
            time.sleep(rng.uniform(0.02, longest))
        else:
            at_work(out, process)
            time.sleep(rng.expovariate(1 / 0.1))
        whose = rng.choice(WHOSE)
        hit = kill(process, whose, rng)
        found.kills[whose] += hit
        if hit and whose == "worker":
            time.sleep(rng.expovariate(1 / 0.2))
            whose = rng.choice(WHOSE[:2])
            hit = kill(process, whose, rng)
            found.kills[whose] += hit
        process.communicate(timeout=120)
        if whose == "coordinator":
            found.outlived += len(outlived(process.pid))
        check(out, found)
    ended(start(folder, out, 0.0, workers))
    check(out, found)
    found.rounds += 1
    left = list((out / SELF / "unfinished").iterdir()) + list((out / SELF).glob("worker-*"))
    found.unfinished += len(left)
    got = contents(out)
    wrong = sorted(name for name in {*got, *expected} if got.get(name) != expected.get(name))
    found.differing += len(wrong)
    found.left += [f"{out.name}: {name}" for name in wrong]
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    count = Counter(row["title"] for row in rows)
    found.lost += len(list(folder.iterdir())) - len(count)
    found.doubled += sum(one > 1 for one in count.values())
    return found
