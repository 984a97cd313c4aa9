"""`anymask.connect`: the package's own functions, answered by a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anymask.client.http import Http
from anymask.client.predictor import RemotePredictor
from anymask.client.session import RemoteSession
from anymask.masks.masks import Masks
from anymask.pixels.image import ImageLike


def connect(address: str = "http://127.0.0.1:8765", token: str | None = None, *, timeout: float = 300.0) -> Remote:
    """A server whose methods are called as the package's own functions; torch is not needed here.

    address: what `anymask serve` printed. token: where it printed one. timeout: seconds for a single reply.
    Raises NotReached when nobody answers there, NotAllowed for a wrong token, MissingExtra without httpx.

    Example:
        remote = anymask.connect("http://127.0.0.1:8765")
        masks = remote.segment("photo.jpg", points=[420, 310])
    """
    http = Http(address, token, timeout)
    try:
        return Remote(http, http.json("GET", "/api/status"))
    except BaseException:
        http.close()
        raise


class Remote:
    """A server. Made by `connect`; usable in a `with` statement, and from several threads.

    status: what the server said of itself: version, models, limits.
    """

    def __init__(self, http: Http, status: dict[str, Any]) -> None:
        self.http = http
        self.status = status

    def Session(self, image: ImageLike, model: str | None = None) -> RemoteSession:
        """As `anymask.Session`: an image, sent once, ready for prompts."""
        return RemoteSession(self.http, image, model)

    session = Session

    def segment(
        self,
        image: ImageLike,
        points: Any = None,
        labels: Any = None,
        boxes: Any = None,
        mask: Any = None,
        *,
        multimask: bool | None = None,
        model: str | None = None,
    ) -> Masks:
        """As `anymask.segment`."""
        return self.Session(image, model).predict(points, labels, boxes, mask, multimask)

    def everything(
        self,
        image: ImageLike,
        model: str | None = None,
        preset: str = "default",
        *,
        tell: Callable[[int, int], None] | None = None,
        **options: Any,
    ) -> Masks:
        """As `anymask.everything`. tell: called with (hundredths done, 100)."""
        return self.Session(image, model).everything(preset, tell=tell, **options)

    def predictor(self, model: str | None = None) -> RemotePredictor:
        """As segment-anything's SamPredictor: `set_image` and `predict`."""
        return RemotePredictor(self.http, model)

    def close(self) -> None:
        """Closes the connection."""
        self.http.close()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Remote({self.http.address}, {self.status.get('default_model')})"
