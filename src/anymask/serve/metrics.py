"""What a server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anymask.extras import need

SECONDS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.2, 0.35, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters of one server; several servers in one process do not share them."""

    def __init__(self) -> None:
        library = need("prometheus_client", extra="serve", to="serve")
        self._library = library
        self.registry = library.CollectorRegistry()
        own = {"registry": self.registry}
        self._requests = library.Counter(
            "anymask_requests", "Requests by route template, method and status", ["route", "method", "status"], **own
        )
        self._latency = library.Histogram(
            "anymask_request_seconds", "Time to the reply by route template", ["route"], buckets=SECONDS, **own
        )
        self._encodes = library.Histogram("anymask_encode_seconds", "Time of an encode", buckets=SECONDS, **own)
        self._decodes = library.Counter("anymask_decodes", "Questions decoded", **own)
        self._decode_time = library.Histogram(
            "anymask_decode_seconds", "Time of a decode of one batch, masks included", buckets=SECONDS, **own
        )
        self._batches = library.Histogram(
            "anymask_decode_batch", "Questions decoded together", buckets=(1, 2, 3, 4, 6, 8), **own
        )
        self._waits = library.Histogram(
            "anymask_decode_wait_seconds", "Time that a decode waited for its turn", buckets=SECONDS, **own
        )

    def watch(self, name: str, told: str, value: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        self._library.Gauge(name, told, registry=self.registry).set_function(value)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, method, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def encoded(self, seconds: float) -> None:
        """A picture was encoded."""
        self._encodes.observe(seconds)

    def decoded(self, count: int, seconds: float) -> None:
        """Questions were decoded together."""
        self._decodes.inc(count)
        self._batches.observe(count)
        self._decode_time.observe(seconds)

    def waited(self, seconds: Sequence[float]) -> None:
        """So long did decodes wait."""
        for one in seconds:
            self._waits.observe(one)

    def text(self) -> tuple[bytes, str]:
        """All of it as Prometheus reads it, and its media type."""
        return self._library.generate_latest(self.registry), self._library.CONTENT_TYPE_LATEST
