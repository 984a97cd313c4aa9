"""A home of its own for each test, and a web server on the loopback that misbehaves as told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

_FOREIGN = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TORCH_HOME", "MICROSAM_CACHEDIR", "HF_ENDPOINT")
_SWITCHES = ("HF_TOKEN", "HF_HUB_OFFLINE", "ANYMASK_OFFLINE", "ANYMASK_MIRROR", "http_proxy", "HTTP_PROXY")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees, or touches, the files of the person who runs it."""
    for name in (*_FOREIGN, *_SWITCHES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@dataclass
class Web:
    """A server of `content` at any path; `plan` holds what to do with the next requests, then it behaves."""

    content: bytes
    url: str = ""
    plan: list[Callable[[BaseHTTPRequestHandler, Web], None]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    ranges: bool = True
    etag: str = '"one"'
    sent: int = 0

    def whole(self, handler: BaseHTTPRequestHandler, most: int | None = None) -> None:
        """Answer as a good server does, or break off after `most` bytes."""
        wanted = handler.headers.get("Range")
        condition = handler.headers.get("If-Range")
        start = 0
        if wanted and self.ranges and condition in (None, self.etag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(self.content):
                handler.send_error(416)
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        else:
            handler.send_response(200)
        body = self.content[start:]
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("ETag", self.etag)
        handler.end_headers()
        body = body if most is None else body[:most]
        # counted first: the client may have read all of it before write() returns here
        self.sent += len(body)
        handler.wfile.write(body)


def cut(after: int) -> Callable[[BaseHTTPRequestHandler, Web], None]:
    """Break the connection after some bytes of the body."""
    return lambda handler, web: web.whole(handler, after)


def status(code: int, **headers: str) -> Callable[[BaseHTTPRequestHandler, Web], None]:
    """Answer with an error."""

    def answer(handler: BaseHTTPRequestHandler, web: Web) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.fixture
def misbehave():
    """(cut, status): what a server may do instead of answering."""
    return cut, status


@pytest.fixture
def make_web() -> Iterator[Callable[[bytes], Web]]:
    """Starts servers on the loopback and stops them afterwards."""
    servers = []

    def start(content: bytes) -> Web:
        web = Web(content)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.requests.append((self.path, dict(self.headers)))
                act = web.plan.pop(0) if web.plan else Web.whole
                act(self, web) if act is not Web.whole else web.whole(self)

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        web.url = f"http://127.0.0.1:{server.server_port}"
        return web

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
