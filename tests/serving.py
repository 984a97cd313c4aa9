"""A real server in a process of its own, for tests."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

import httpx


class Running:
    """`anymask serve` on a free port, or on `port`, with further options.

    address: "http://127.0.0.1:port". lines: what it has printed.
    """

    def __init__(self, *options: str, port: int = 0, wait: float = 120.0, **environment: str) -> None:
        command = [sys.executable, "-u", "-m", "anymask", "serve", "--no-browser", "--port", str(port), *options]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **environment}
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._fresh: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        line = self.line(r"http://", wait)
        found = re.search(r"http://\S+?:(\d+)/(?:\?token=(\S+))?", line)
        assert found is not None, line
        self.port, self.token = int(found.group(1)), found.group(2)
        self.address = f"http://127.0.0.1:{self.port}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            self._fresh.put(line.rstrip())
        self._fresh.put("")

    def line(self, pattern: str, wait: float = 30.0) -> str:
        """The next printed line in which a pattern is found."""
        until = time.monotonic() + wait
        while time.monotonic() < until:
            try:
                line = self._fresh.get(timeout=0.2)
            except queue.Empty:
                continue
            if re.search(pattern, line):
                return line
            if not line and self.process.poll() is not None:
                break
        raise AssertionError(f"no line like {pattern!r} in: " + "\n".join(self.lines))

    def client(self, **options) -> httpx.Client:
        """An HTTP client for it."""
        return httpx.Client(base_url=self.address, timeout=60, trust_env=False, **options)

    def stop(self, wait: float = 30.0) -> int:
        """Ends it as a service manager does; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(wait)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reader.join(5)
            assert self.process.stdout is not None
            self.process.stdout.close()

    def kill(self) -> None:
        """Ends it as a power cut does."""
        self.process.kill()
        self.stop()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
