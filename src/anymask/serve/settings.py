"""How a server runs: what it serves, to whom, and how much of it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from anymask.errors import BadSetting

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Hosts that only programs on this machine can reach."""

MB = 2**20

RUNTIME = "ort.wasm.min.mjs"
"""The file of onnxruntime-web that the page starts from."""

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,200}")


@dataclass(frozen=True)
class ServeSettings:
    """Options of `anymask serve`. Raises BadSetting for values out of range.

    model, weights: the model that is asked when a request names none, as `anymask.load` takes them.
    host, port: where the server listens. token: what a request must carry; needed on a host other machines reach.
    trusted: addresses whose requests need no token, for tools that can carry none (CVAT).
    names: further host names under which it may be called, for a proxy in front of it.
    cache: folder for embeddings on disk. disk: MB of them. memory: MB of pictures, embeddings and answers.
    max_bytes: of an uploaded file. max_pixels: of a picture.
    waiting: decodes that may wait at once. rate: requests a second and client, over more than a moment.
    workers: decodes that run at once. threads: of each; both are chosen from the number of cores where they are 0.
    page: folder of the page's files. runtime: folder of onnxruntime-web's files, for decoding in the browser.
    """

    model: str | None = None
    weights: str | None = None
    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    trusted: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    cache: Path | None = None
    disk: int = 4096
    memory: int = 2048
    max_bytes: int = 64 * MB
    max_pixels: int = 64_000_000
    waiting: int = 128
    jobs: int = 16
    rate: float = 200.0
    workers: int = 0
    threads: int = 0
    runtime: Path | None = None
    page: Path = field(default_factory=lambda: Path(__file__).resolve().parents[1] / "page")

    def __post_init__(self) -> None:
        least = {"port": 0, "disk": 0, "memory": 64, "max_bytes": 1024, "max_pixels": 1, "waiting": 1, "jobs": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise BadSetting(f"{name} is a whole number of at least {low}, got {value!r}")
        if self.port > 65535:
            raise BadSetting(f"port is 0 to 65535, got {self.port}")
        if not self.rate > 0:
            raise BadSetting(f"rate is a number of requests a second above 0, got {self.rate!r}")
        if self.workers < 0 or self.threads < 0:
            raise BadSetting("workers and threads are whole numbers, 0 for as many as suit the machine")
        if self.runtime is not None and not (self.runtime / RUNTIME).is_file():
            raise BadSetting(
                f"there is no {RUNTIME} in {self.runtime}; give the folder dist of the npm package onnxruntime-web"
            )
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise BadSetting("a token is 8 to 200 of the characters A-Z, a-z, 0-9 and ._~-")
        if not self.local and self.token is None:
            raise BadSetting(f"a server on {self.host} can be reached from other machines; give it a token")

    @property
    def local(self) -> bool:
        """Whether only programs on this machine reach the server."""
        return self.host in LOCAL

    @property
    def crew(self) -> tuple[int, int]:
        """(decodes at once, threads of each)."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        # a click is to be felt at once, so it has two cores at least where there are two
        workers = self.workers or max(1, min(4, cores // 2))
        return workers, self.threads or max(1, cores // workers)
