"""A server that can die and come back."""

from __future__ import annotations

import os
import re
import subprocess
import sys

LONG = 60_000
"""Milliseconds that a busy machine may take for anything."""


class Server:
    """`anymask serve` in a process of its own, on a port that stays the same when it is started again."""

    def __init__(self, *options: str) -> None:
        self.options, self.port = options, 0
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "anymask", "serve", "--no-browser", "--port", str(self.port), *self.options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        said = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said += line
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
            if found:
                self.port = int(found.group(1))
                return
        raise RuntimeError(f"the server did not start: {said}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"
