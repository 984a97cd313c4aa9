"""A server that can die and come back."""

from __future__ import annotations

from serving import Running

LONG = 60_000
"""Milliseconds that a busy machine may take for anything."""


class Server:
    """`anymask serve` in a process of its own, on a port that stays the same when it is started again."""

    def __init__(self, *options: str) -> None:
        self.options, self.port = options, 0
        self.running: Running | None = None
        self.start()

    def start(self) -> None:
        self.running = Running(*self.options, port=self.port)
        self.port = self.running.port

    def stop(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"
