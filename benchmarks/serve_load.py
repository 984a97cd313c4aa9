"""Many people at one server: what a click takes, and what happens when there are too many of them.

    python benchmarks/serve_load.py --photo photo.jpg --seconds 120 [--users 50] [--connections 500] [--json FILE]

Starts `anymask serve` on a free port of this machine and speaks to nothing else. Three loads: `closed`, where each of
the users clicks again as soon as the answer is there; `paced`, where each clicks once a second; and `crowd`, where
hundreds of connections click at once for a tenth of the time. Every third click is a new object, the others build on
the answer before. The load comes from this process, on the same cores: its own CPU seconds are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

BINARY = "application/vnd.anymask.masks"
LONGEST = 300
"""Seconds that a load may last, whatever is asked for."""


@dataclass
class Result:
    """What the users of one load saw."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter = field(default_factory=Counter)
    unretried: int = 0

    def row(self, name: str, lasted: float, memory: tuple[int, int]) -> dict:
        taken = np.array(self.seconds or [float("nan")]) * 1000
        return {
            "load": name,
            "clicks": len(self.seconds),
            "clicks_per_second": round(len(self.seconds) / lasted, 1),
            "p50_ms": round(float(np.percentile(taken, 50)), 1),
            "p95_ms": round(float(np.percentile(taken, 95)), 1),
            "max_ms": round(float(taken.max()), 1),
            "statuses": dict(self.statuses),
            "refused_without_retry_after": self.unretried,
            "server_mb_before": memory[0] >> 20,
            "server_mb_after": memory[1] >> 20,
        }


class Line:
    """A connection that is kept open, with as little HTTP as is needed, so that the load costs little itself."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> tuple[int, dict, bytes]:
        """(status, headers, body) of a reply; (0, {}, b"") when the connection breaks."""
        try:
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: {kind}\r\n"
            head += f"Accept: {BINARY}\r\nContent-Length: {len(body)}\r\n\r\n"
            self.writer.write(head.encode() + body)
            await self.writer.drain()
            assert self.reader is not None
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:]) if k}
            content = await self.reader.readexactly(int(headers.get("content-length", 0)))
            if headers.get("connection") == "close":
                self.close()
            return int(lines[0].split()[1]), headers, content
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            self.close()
            return 0, {}, b""

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


async def user(
    port: int, pictures: list[str], size: tuple[int, int], until: float, pace: float, seed: int, result: Result
) -> None:
    """Clicks until the time is over. pace: seconds between clicks, 0 for at once."""
    chance, line = random.Random(seed), Line(port)
    path = f"/api/images/{pictures[seed % len(pictures)]}/decode"
    points: list[list[float]] = []
    previous: dict | None = None
    due = time.perf_counter() + chance.random() * pace
    while due < until:
        if pace:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if len(points) == 3 or previous is None:
            points, previous = [], None
        points.append([chance.random() * (size[1] - 1), chance.random() * (size[0] - 1)])
        asked: dict = {"points": points, "labels": [1] + [chance.randint(0, 1) for _ in points[1:]]}
        if previous:
            asked["previous"] = previous
        started = time.perf_counter()
        status, headers, content = await line.ask("POST", path, json.dumps(asked).encode())
        result.statuses[status] += 1
        if status == 200:
            result.seconds.append(time.perf_counter() - started)
            length = int.from_bytes(content[:4], "little")
            previous = {"answer": json.loads(content[4 : 4 + length])["answer"], "candidate": 0}
        else:
            previous = None
            if status in (429, 503):
                result.unretried += "retry-after" not in headers
                await asyncio.sleep(min(2.0, float(headers.get("retry-after", 1))))
            elif status == 0:
                await asyncio.sleep(0.2)
        due = max(time.perf_counter(), due + pace) if pace else time.perf_counter()
    line.close()


async def load(
    port: int, pictures: list[str], size: tuple[int, int], users: int, seconds: float, pace: float
) -> Result:
    result, until = Result(), time.perf_counter() + seconds
    await asyncio.gather(*(user(port, pictures, size, until, pace, seed, result) for seed in range(users)))
    return result


async def prepared(port: int, photo: Image.Image, count: int) -> list[str]:
    """Pictures sent and encoded: the photo, moved a little for each."""
    line, names = Line(port), []
    pixels = np.asarray(photo.convert("RGB"))
    for number in range(count):
        out = io.BytesIO()
        Image.fromarray(np.roll(pixels, 17 * number, axis=1)).save(out, "JPEG", quality=90)
        _, _, content = await line.ask("POST", "/api/images", out.getvalue(), "image/jpeg")
        names.append(json.loads(content)["id"])
        await line.ask("POST", f"/api/images/{names[-1]}/decode", b'{"points": [[5, 5]], "best": true}')
    line.close()
    return names


def memory_of(process: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--loads", default="closed,paced,crowd")
    parser.add_argument("--serve", default="", help='further options of anymask serve, as in "--workers 2 --threads 1"')
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    seconds = min(asked.seconds, LONGEST)
    command = [sys.executable, "-u", "-m", "anymask", "serve", "--no-browser", "--port", "0", "--rate", "1000000"]
    server = subprocess.Popen([*command, *asked.serve.split()], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r":(\d+)/", line)
        assert found, line
        port = int(found.group(1))
        photo = Image.open(asked.photo)
        size = (photo.height, photo.width)
        pictures = asyncio.run(prepared(port, photo, asked.pictures))
        plan = {
            "closed": (asked.users, seconds, 0.0),
            "paced": (asked.users, seconds, 1.0),
            "crowd": (asked.connections, max(5.0, seconds / 10), 0.0),
        }
        rows = []
        for name in asked.loads.split(","):
            users, lasts, pace = plan[name]
            before, own = memory_of(server.pid), time.process_time()
            result = asyncio.run(load(port, pictures, size, users, lasts, pace))
            row = result.row(f"{name}, {users} users", lasts, (before, memory_of(server.pid)))
            row["load_cpu_seconds"] = round(time.process_time() - own, 1)
            rows.append(row)
            print(json.dumps(row))
        assert server.poll() is None, "the server ended"
        status, _, _ = asyncio.run(Line(port).ask("GET", "/health"))
        print("afterwards /health answers", status)
        if asked.json:
            asked.json.write_text(json.dumps(rows, indent=2) + "\n")
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
