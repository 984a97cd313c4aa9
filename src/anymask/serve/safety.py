"""Who may ask what: host names, tokens, other sites, rates, and the headers that browsers are kept safe with."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from anymask.serve.metrics import Metrics
from anymask.serve.settings import ServeSettings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "anymask-token"

SAFE = ("GET", "HEAD", "OPTIONS")

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; "
        "img-src 'self' blob: data:; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""With every reply. Opener and embedder policy together let the page use threads in WebAssembly."""

CLIENTS = 10_000
"""Clients whose rate is remembered."""

JSON_BYTES = 24 * 2**20
"""Of a body that is not a picture."""

AT_ONCE = 400
"""Requests in progress; beyond that they are refused before anything is read."""


class Buckets:
    """A bucket of requests for each client: it fills at `rate` a second and holds two seconds of them."""

    def __init__(self, rate: float) -> None:
        self.rate, self.room = rate, max(2.0, 2 * rate)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> float:
        """0 if the client may go on, else the seconds after which it may."""
        left, then = self._left.pop(client, (self.room, now))
        left = min(self.room, left + (now - then) * self.rate)
        self._left[client] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.rate


class Gate:
    """ASGI middleware before all routes."""

    def __init__(self, app: App, *, settings: ServeSettings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self.names = _names(settings)
        self.buckets = Buckets(settings.rate)
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a request with a sentence, or lets it through."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        self.inside += 1
        try:
            refused = self._refused(scope)
            if refused is None:
                picture = scope["path"].rstrip("/") == "/api/images"
                await self.app(scope, receive if picture else _limited(receive), guarded)
            else:
                await _reply(guarded, *refused)
        finally:
            self.inside -= 1
            route = getattr(scope.get("route"), "path", None) or "other"
            method = scope["method"] if scope["method"] in (*SAFE, "POST", "DELETE") else "other"
            self.metrics.request(route, method, status, time.perf_counter() - started)

    def _refused(self, scope: Scope) -> tuple[int, dict[str, str], dict[str, str]] | None:
        headers = _headers(scope)
        if headers is None:
            return _no(400, "a header of the request is not text or comes twice; send it again without", "BadSetting")
        host = headers.get("host", "")
        if not self._ours(host):
            return _no(
                403,
                f"this server is not called {host[:80]!r}; use its address, or start it with --name for that name",
                "NotAllowed",
            )
        if scope["path"] == "/health":
            return None
        if self.inside > AT_ONCE:
            return _no(503, "too many requests at once; try again in a moment", "ServerBusy", {"retry-after": "1"})
        if scope["method"] not in SAFE and not _same_site(headers, host):
            return _no(403, "another site sent this request; use the server's own page or a program", "NotAllowed")
        found = self._token(scope, headers)
        if found is not None:
            return found
        client = scope["client"][0] if scope.get("client") else ""
        wait = self.buckets.take(client, time.monotonic())
        if wait:
            text = f"more than {self.settings.rate:g} requests a second; slow down"
            return _no(429, text, "ServerBusy", {"retry-after": str(max(1, round(wait)))})
        return None

    def _token(self, scope: Scope, headers: dict[str, str]) -> tuple[int, dict[str, str], dict[str, str]] | None:
        """A refusal where the token is missing or wrong; a page opened with ?token= gets it as a cookie."""
        token = self.settings.token
        if token is None:
            return None
        if scope.get("client") and scope["client"][0] in self.settings.trusted:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), token):
            return None
        # Label Studio knows no other way to show one
        if scheme.lower() == "basic" and _same(_password(given), token):
            return None
        for part in headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == COOKIE and _same(value, token):
                return None
        if scope["method"] in ("GET", "HEAD") and scope["path"] in ("/", "/index.html"):
            asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
            if _same(asked, token):
                cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"
                return 303, {"location": "/", "set-cookie": cookie, "cache-control": "no-store"}, {}
        return _no(
            401,
            "this server wants its token: open the address it printed, or send the header Authorization: Bearer TOKEN",
            "NotAllowed",
            {"www-authenticate": "Bearer"},
        )

    def _ours(self, host: str) -> bool:
        """Whether a Host header names this server; an address does, for no name server can point it elsewhere."""
        name = _name(host)
        if name is None:
            return False
        if name in self.names or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
            return True
        except ValueError:
            return False


def _limited(receive: Receive) -> Receive:
    """Receives a body only up to JSON_BYTES; a picture's route has its own limit."""
    # the only kind of error that FastAPI lets through while it reads a body
    from starlette.exceptions import HTTPException

    count = 0

    async def counted() -> MutableMapping[str, Any]:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > JSON_BYTES:
            raise HTTPException(413, f"the request is larger than {JSON_BYTES:,} bytes; split it")
        return message

    return counted


def _headers(scope: Scope) -> dict[str, str] | None:
    """Headers by lower-case name; None if one that decides here comes twice."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in found:
            if key in ("host", "origin", "authorization", "sec-fetch-site"):
                return None
            found[key] += "; " + value.decode("latin-1")
        else:
            found[key] = value.decode("latin-1")
    return found


def _name(host: str) -> str | None:
    """The name in a Host header, without port and brackets."""
    try:
        parts = urlsplit("//" + host)
        _ = parts.port
        if parts.path or parts.query or parts.fragment or parts.username is not None:
            return None
        return parts.hostname
    except ValueError:
        return None


def _names(settings: ServeSettings) -> frozenset[str]:
    names = {"localhost", *(name.lower() for name in settings.names)}
    if not settings.local:
        names |= {settings.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(names)


def _same_site(headers: dict[str, str], host: str) -> bool:
    """Whether a request that changes something comes from the page itself or from no browser at all."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == host.lower() and urlsplit(origin).scheme in ("http", "https")
    except ValueError:
        return False


def _password(given: str) -> str:
    """The password in the value of a basic authorization; empty where there is none."""
    try:
        return base64.b64decode(given.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _no(
    status: int, sentence: str, kind: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], dict[str, str]]:
    return status, headers or {}, {"error": sentence, "kind": kind}


async def _reply(send: Send, status: int, headers: dict[str, str], body: dict[str, str]) -> None:
    content = json.dumps(body).encode() if body else b""
    own = {"content-type": "application/json", "content-length": str(len(content)), **headers}
    if status >= 400:
        # what is still on its way is not read
        own["connection"] = "close"
    rows = [(name.encode(), value.encode("latin-1")) for name, value in own.items()]
    await send({"type": "http.response.start", "status": status, "headers": rows})
    await send({"type": "http.response.body", "body": content})
