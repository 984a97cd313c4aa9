"""Runs the server until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
import threading
import webbrowser
from collections.abc import Callable
from typing import Any

from anymask.errors import BadSetting
from anymask.extras import need
from anymask.serve.app import create_app
from anymask.serve.settings import ServeSettings

GRACE = 10
"""Seconds that replies on their way have when the server is stopped."""


def run(settings: ServeSettings, *, browser: bool = False, say: Callable[[str], None] = print) -> None:
    """Serves until SIGINT or SIGTERM. say: gets lines for the person who started it.

    Raises BadSetting when the port is taken, MissingExtra without the extra `serve`, and what `anymask.load` raises.
    """
    uvicorn = need("uvicorn", extra="serve", to="serve")
    listening = listen(settings.host, settings.port)
    try:
        app = create_app(settings)
    except BaseException:
        listening.close()
        raise
    service = app.state.service
    address = shown(settings, listening.getsockname()[1])

    class Server(uvicorn.Server):  # type: ignore[misc, name-defined]
        """Tells when it listens, and ends jobs before it waits for the connections that follow them."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if not self.should_exit:
                say(f"anymask {app.version} with {service.models.default}: {address}   (Ctrl-C stops it)")
                if browser:
                    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        async def shutdown(self, sockets: Any = None) -> None:
            waiting = service.engine.queue["decode"]
            stopped = service.close()
            say(f"stopping: {waiting} clicks are still answered, {stopped} jobs cancelled")
            await super().shutdown(sockets)
            say("stopped")

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=30,
        backlog=512,
        limit_concurrency=2000,
        h11_max_incomplete_event_size=32768,
        ws="none",
    )
    try:
        asyncio.run(Server(config).serve([listening]))
    except KeyboardInterrupt:
        pass
    finally:
        listening.close()


def shown(settings: ServeSettings, port: int) -> str:
    """The address that a person opens."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={settings.token}" if settings.token else "")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises BadSetting, which suggests a free port where this one is taken."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # named as TCP, asyncio sends replies at once; else each waits 40 ms for the acknowledgement of its own headers
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(place)
        except BaseException:
            listening.close()
            raise
        return listening
    except PermissionError:
        raise BadSetting(f"port {port} may not be used by this user; take one above 1023") from None
    except OSError as error:
        free = next_free(host, port + 1) if port else None
        if free is None:
            raise BadSetting(f"the server cannot listen on {host}: {error.strerror or error}") from None
        raise BadSetting(f"port {port} is taken on {host}; port {free} is free: --port {free}") from None


def next_free(host: str, port: int) -> int | None:
    """The next port that nobody listens on."""
    for number in range(port, min(port + 100, 65536)):
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, number))
                return number
        except OSError:
            continue
    return None
