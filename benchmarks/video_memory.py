"""Peak memory and speed of following an object through a short and a long clip.

    python benchmarks/video_memory.py                                  # 300 and 10,000 frames, the small test model
    python benchmarks/video_memory.py --model anymask-lite-video --frames 300 3000 --size 640x360

Each clip is an MP4 file made for the purpose (a disc that wanders and comes back), followed from a click on its first
frame to its last, each in a process of its own; memory is the process's peak resident size.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sam2.1-tiny-test", help="weights of models without a file are random")
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 10_000])
    parser.add_argument("--size", default="256x144", help="width x height of the clip")
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(followed(given.one, given.model, given.objects)))
        return
    width, height = map(int, given.size.split("x"))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in given.frames:
            clip = Path(folder) / f"{count}.mp4"
            made(clip, count, width, height)
            command = [sys.executable, __file__, "--one", str(clip), "--model", given.model]
            command += ["--objects", str(given.objects)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[count] = json.loads(done.stdout.splitlines()[-1])
            print(f"{count:>7} frames: {found[count]}", flush=True)
    peaks = [one["peak MiB"] for one in found.values()]
    print(f"peak of the longest over that of the shortest: {peaks[-1] / peaks[0]:.3f}")
    if given.json:
        given.json.write_text(json.dumps({"machine": measure.machine(), "found": found}, indent=2) + "\n")


def made(path: Path, count: int, width: int, height: int) -> None:
    """A clip of a disc on a textured ground."""
    import av

    rng = np.random.default_rng(0)
    ground = rng.integers(40, 120, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=24, options={"preset": "ultrafast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(count):
            cx, cy = place(number, width, height)
            pixels = ground.copy()
            pixels[(x - cx) ** 2 + (y - cy) ** 2 < (height / 6) ** 2] = (230, 190, 60)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)


def place(number: int, width: int, height: int) -> tuple[float, float]:
    """The disc's middle on a frame."""
    return width * (0.5 + 0.3 * math.sin(number / 20)), height * (0.5 + 0.2 * math.cos(number / 31))


def followed(clip: Path, name: str, objects: int) -> dict[str, float]:
    """One clip from its first frame to its last."""
    import torch

    import anymask
    from anymask.models.video import VideoModel

    torch.manual_seed(0)
    model = anymask.load(name)
    assert isinstance(model, VideoModel), f"{name} does not follow objects"
    with anymask.video(clip, model) as session:
        height, width = session.size
        for number in range(objects):
            x, y = place(0, width, height)
            session.click(x + number, y, frame=0, object=number + 1)
        started, count = time.perf_counter(), 0
        for _ in session.propagate():
            count += 1
        seconds = time.perf_counter() - started
        disk = sum(file.stat().st_size for file in session.folder.rglob("*") if file.is_file())
    return {
        "peak MiB": round(measure.resident_mib("VmHWM"), 1),
        "frames": count,
        "frames a second": round(count / seconds, 2),
        "session on disk MiB": round(disk / 2**20, 1),
    }


if __name__ == "__main__":
    main()
