"""The server without a port: requests come as messages, and so do the parts of replies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anymask.serve.settings import ServeSettings

Reply = Callable[[dict[str, Any], bytes | None], None]
"""Takes a message about a reply, and the bytes that go with it."""


class InsideServer:
    """The application of `anymask serve` in a thread of its own, started by the first request."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._app: Any = None
        self._running: dict[tuple[int, int], Future[None]] = {}

    def start(self) -> None:
        """Load the model and start; does nothing the second time. Raises as `anymask.load` does."""
        from anymask.serve.app import create_app

        with self._lock:
            if self._loop is not None:
                return
            self._app = create_app(self.settings)
            self._loop = asyncio.new_event_loop()
            ready = threading.Event()

            async def live() -> None:
                async with self._app.router.lifespan_context(self._app):
                    ready.set()
                    await asyncio.Event().wait()

            def run(loop: asyncio.AbstractEventLoop) -> None:
                asyncio.set_event_loop(loop)
                loop.run_until_complete(live())

            threading.Thread(target=run, args=(self._loop,), name="anymask-widget", daemon=True).start()
            ready.wait()

    def put(self, content: bytes, name: str) -> str:
        """The id of a picture, given as a file's bytes. Raises BadImage."""
        from anymask.serve.routes.images import safe_name
        from anymask.serve.store import Picture
        from anymask.serve.uploads import opened

        self.start()
        service = self._app.state.service
        image = opened(content, self.settings.max_pixels)
        digest = image.digest
        picture, size = Picture(image, safe_name(name)), image.pixels().nbytes
        assert self._loop is not None
        # what the server keeps belongs to its own thread
        asyncio.run_coroutine_threadsafe(
            _later(lambda: service.pictures.put(digest, picture, size)), self._loop
        ).result()
        return digest

    def message(self, who: int, content: dict[str, Any], buffers: Sequence[Any], reply: Reply) -> None:
        """A request, or the wish to end one. who: tells the askers apart, whose numbers are their own."""
        self.start()
        key = who, int(content["id"])
        assert self._loop is not None
        if content.get("kind") == "abort":
            running = self._running.pop(key, None)
            if running is not None:
                running.cancel()
            return
        body = bytes(buffers[0]) if buffers else b""
        work = asyncio.run_coroutine_threadsafe(self._ask(content, body, reply), self._loop)
        self._running[key] = work
        work.add_done_callback(lambda _: self._running.pop(key, None))

    async def _ask(self, content: dict[str, Any], body: bytes, reply: Reply) -> None:
        path, _, query = str(content["path"]).partition("?")
        number = content["id"]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": str(content.get("method", "GET")),
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                (b"host", b"localhost"),
                *((str(name).lower().encode(), str(value).encode()) for name, value in content.get("headers", ())),
            ],
            "client": ("notebook", 0),
            "server": ("localhost", 80),
        }
        given = False

        async def receive() -> dict[str, Any]:
            nonlocal given
            if given:
                await asyncio.Event().wait()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
                reply({"id": number, "kind": "head", "status": message["status"], "headers": headers}, None)
            elif message.get("body"):
                reply({"id": number, "kind": "body"}, message["body"])

        try:
            await self._app(scope, receive, send)
        finally:
            reply({"id": number, "kind": "end"}, None)


async def _later(call: Callable[[], None]) -> None:
    call()
