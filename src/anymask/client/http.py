"""Requests to a server, and its refusals as errors of ours."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from anymask import errors
from anymask.errors import AnymaskError, BadSetting, NotHere, NotReached, ServerBusy
from anymask.extras import need

PATIENT = 60.0
"""Seconds for which a busy server is asked again."""


class Http:
    """A connection to a server that is kept open. Safe to share between threads.

    address: "http://host:port". Raises BadSetting for anything else, MissingExtra without httpx.
    """

    def __init__(self, address: str, token: str | None, timeout: float) -> None:
        httpx = need("httpx", extra="serve", to="reach a server")
        if not isinstance(address, str) or not address.startswith(("http://", "https://")):
            raise BadSetting(f"a server's address is http://host:port, got {address!r:.80}")
        self._httpx = httpx
        self.address = address.rstrip("/")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            self._client = httpx.Client(base_url=self.address, headers=headers, timeout=timeout)
        except (httpx.InvalidURL, ValueError) as error:
            raise BadSetting(f"a server's address is http://host:port, got {address!r:.80}: {error}") from None

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def json(self, method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """The reply as a dict. Raises the error that the server names, or NotReached."""
        reply = self.reply(method, path, body, **options)
        try:
            found = reply.json()
            if isinstance(found, dict):
                return found
        except ValueError:
            pass
        raise NotReached(f"{self.address} answers, but not as anymask does; is it the right address?")

    def reply(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """The reply; a server that is busy is asked again for a while."""
        until = time.monotonic() + PATIENT
        while True:
            try:
                reply = self._client.request(method, path, json=body, content=content, headers=headers, params=params)
            except self._httpx.HTTPError as error:
                raise self._unreached(error) from None
            if reply.status_code < 400:
                return reply
            problem = self._problem(reply.status_code, reply.content, reply.headers.get("retry-after", ""))
            if not isinstance(problem, ServerBusy) or time.monotonic() + problem.wait > until:
                raise problem
            time.sleep(problem.wait)

    def reply_or_none(self, method: str, path: str) -> Any:
        """The reply, None where the server does not know what is asked for."""
        try:
            return self.reply(method, path)
        except NotHere:
            return None

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        """The data of server-sent events, as they come."""
        try:
            with self._client.stream("GET", path) as reply:
                if reply.status_code >= 400:
                    raise self._problem(reply.status_code, reply.read(), "")
                for line in reply.iter_lines():
                    if line.startswith("data: "):
                        yield json.loads(line[6:])
        except self._httpx.HTTPError as error:
            raise self._unreached(error) from None

    def _unreached(self, error: Exception) -> NotReached:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return NotReached(f"no server answers at {self.address} ({reason}); start one with: anymask serve")

    def _problem(self, status: int, content: bytes, wait: str) -> AnymaskError:
        try:
            told = json.loads(content)
            kind, sentence = str(told["kind"]), str(told["error"])
        except (ValueError, KeyError, TypeError):
            return NotReached(f"{self.address} answers with status {status}, and not as anymask does")
        if kind == "ServerBusy":
            return ServerBusy(sentence, float(wait) if wait.isdigit() else 1.0)
        return error_of(kind, sentence)


def error_of(kind: str, sentence: str) -> AnymaskError:
    """The error of ours that a server names."""
    found = getattr(errors, kind, None) if kind in errors.__all__ else None
    return found(sentence) if isinstance(found, type) and issubclass(found, AnymaskError) else AnymaskError(sentence)
