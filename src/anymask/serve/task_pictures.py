"""The picture of a Label Studio task: from Label Studio itself, from a host that was allowed, or inside the task."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from anymask.errors import BadImage, BadSetting
from anymask.extras import need

URL, KEY, HOSTS = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "ANYMASK_PICTURE_HOSTS"
"""Environment: where Label Studio is, its access token, and further hosts (commas between) to take pictures from."""

SECONDS = 20.0


@dataclass
class TaskPictures:
    """Fetches pictures for tasks.

    A task may name any address, so only Label Studio's own and those of `hosts` are asked: else whoever can send a task
    could look through this machine into its network.
    """

    url: str = field(default_factory=lambda: os.environ.get(URL, ""))
    key: str = field(default_factory=lambda: os.environ.get(KEY, ""), repr=False)
    hosts: frozenset[str] = field(
        default_factory=lambda: frozenset(host.strip() for host in os.environ.get(HOSTS, "").split(",") if host.strip())
    )
    max_bytes: int = 64 * 2**20
    _bearer: str = field(default="", repr=False)

    async def bytes_of(self, address: str) -> bytes:
        """The file at a task's address. Raises BadImage where it cannot be had, BadSetting where it is not allowed."""
        if address.startswith("data:"):
            return self._inside(address)
        if not self.url and not urlsplit(address).netloc:
            raise BadSetting(f"this picture lies in Label Studio; start anymask with {URL} and {KEY} set")
        full = urljoin(self.url.rstrip("/") + "/", address)
        parts = urlsplit(full)
        ours = bool(self.url) and parts.netloc == urlsplit(self.url).netloc
        if parts.scheme not in ("http", "https") or not (ours or parts.netloc in self.hosts):
            raise BadSetting(
                f"pictures are not fetched from {parts.scheme}://{parts.netloc}; "
                f"start anymask with {HOSTS}={parts.netloc} to allow it"
            )
        library = need("httpx", extra="serve", to="fetch pictures for Label Studio")
        try:
            # redirects only where Label Studio itself sends one, to the storage that holds the file
            async with library.AsyncClient(timeout=SECONDS, follow_redirects=ours, max_redirects=3) as client:
                found = await self._get(client, full, await self._headers(client) if ours else {})
                if found is None and ours and self._bearer:
                    # the short-lived token has run out
                    self._bearer = ""
                    found = await self._get(client, full, await self._headers(client))
        except library.HTTPError as error:
            raise BadImage(f"{parts.netloc} did not answer with the picture: {error or type(error).__name__}") from None
        if found is None:
            raise BadImage(f"Label Studio refuses the picture; is {KEY} a token of it that is still good?")
        return found

    async def _get(self, client: Any, address: str, headers: dict[str, str]) -> bytes | None:
        """The body, None where access was refused."""
        async with client.stream("GET", address, headers=headers) as answer:
            if answer.status_code in (401, 403):
                return None
            if answer.status_code != 200:
                raise BadImage(f"{urlsplit(address).netloc} answered {answer.status_code} instead of the picture")
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > self.max_bytes:
                    raise BadImage(f"the picture is larger than {self.max_bytes >> 20} MiB; make it smaller")
        return bytes(body)

    async def _headers(self, client: Any) -> dict[str, str]:
        """How Label Studio wants to see its token: a legacy one as it is, a personal one in exchange for another."""
        if not self.key:
            return {}
        if self.key.count(".") != 2:
            return {"Authorization": f"Token {self.key}"}
        if not self._bearer:
            address = urljoin(self.url.rstrip("/") + "/", "api/token/refresh")
            answer = await client.post(address, json={"refresh": self.key})
            if answer.status_code != 200:
                raise BadImage(f"Label Studio does not take the personal access token in {KEY}; make a new one")
            self._bearer = str(answer.json()["access"])
        return {"Authorization": f"Bearer {self._bearer}"}

    def _inside(self, address: str) -> bytes:
        head, _, body = address.partition(",")
        if not head.endswith(";base64") or len(body) > self.max_bytes * 4 // 3 + 4:
            raise BadImage("the picture inside this task is not base64, or too large")
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error:
            raise BadImage("the picture inside this task is damaged") from None
