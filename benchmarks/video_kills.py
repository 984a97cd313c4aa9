"""Kills `anymask video` at random moments, many times, and compares what it wrote in the end with an undisturbed run.

    python benchmarks/video_kills.py --kills 50

SIGKILL hits the command's whole process group at a moment drawn anew each time, from its start (Python still importing)
to its end; then the same command is given again. After several kills a folder is left to end, and its files must be
those of a run that nobody disturbed, byte for byte, and no others. The test model's random weights lie in a file, so
that all runs ask the same model; the time that frames were answered at is not in any file.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import video_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--each", type=int, default=5, help="kills of a folder before it is left to end")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--format", default="png,coco,sav,overlay")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    base = Path(tempfile.mkdtemp(prefix="anymask-kills-"))
    clip, weights = base / "clip.mp4", base / "weights.safetensors"
    video_memory.made(clip, given.frames, 192, 108)
    random_weights(weights)
    x, y = video_memory.place(0, 192, 108)
    command = [sys.executable, "-m", "anymask", "video", str(clip), "--model", "sam2.1-tiny-test", "--quiet"]
    command += ["--weights", str(weights), "--format", given.format]
    command += ["--point", f"1:{x:.0f},{y:.0f}", "--point", f"2:{x + 30:.0f},{y:.0f}@{given.frames // 3}"]
    begun = time.monotonic()
    ended(command, base / "undisturbed")
    longest = time.monotonic() - begun
    expected = contents(base / "undisturbed")
    print(f"{given.frames} frames, {len(expected)} files, {longest:.1f} s undisturbed", flush=True)
    kills = late = faults = rounds = 0
    while kills < given.kills:
        out = base / f"{rounds}"
        for _ in range(given.each):
            run = subprocess.Popen([*command, "-o", str(out)], start_new_session=True)
            try:
                run.wait(rng.uniform(0, longest))
                late += 1  # it was done already: what the kills before left was little
                break
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
                kills += 1
        ended(command, out)
        found = contents(out)
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        rounds += 1
        print(f"{kills} kills, {rounds} folders: " + (f"differ: {wrong[:5]}" if wrong else "the same"), flush=True)
        faults += bool(wrong)
        if not wrong:
            shutil.rmtree(out)
    print(f"kills {kills}, folders {rounds}, runs that ended before their kill {late}, folders that differ {faults}")
    if not faults:
        shutil.rmtree(base)
    sys.exit(1 if faults else 0)


def ended(command: list[str], out: Path) -> None:
    """Runs the command to its end."""
    subprocess.run([*command, "-o", str(out)], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def random_weights(path: Path) -> None:
    """The test model's, drawn once."""
    import torch
    from safetensors.torch import save_file

    from anymask.models.catalogue import card

    torch.manual_seed(0)
    build = card("sam2.1-tiny-test").build
    assert build is not None
    model = build()
    assert isinstance(model, torch.nn.Module)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, str(path))


if __name__ == "__main__":
    main()
