"""Long work as jobs: their state, their progress, and a thread that does one everything job after the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from anymask.errors import AnymaskError, NotHere, ServerBusy
from anymask.masks.masks import Masks
from anymask.masks.tree import parents
from anymask.models.card import Card
from anymask.models.interface import Decoded, Embedding, Multimask, PromptModel
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts
from anymask.serve.engine import Encode, Engine, _be_nicer
from anymask.serve.store import fresh_name
from anymask.session.everything import as_masks, find
from anymask.session.settings import EverythingSettings

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")

HEARTBEAT = 10.0
"""Seconds after which a stream of events says that it is still there."""

ENDED_JOBS = 200
"""Jobs that are remembered after their end."""

_log = logging.getLogger("anymask.serve")


@dataclass(eq=False)
class Job:
    """Something that takes seconds. progress: 0..1, None while nothing is known."""

    kind: Literal["encode", "everything"]
    image: str
    id: str = field(default_factory=fresh_name)
    state: State = "queued"
    progress: float | None = None
    message: str = ""
    expected_seconds: float | None = None
    masks: Masks | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    listeners: set[asyncio.Event] = field(default_factory=set)
    encode: Encode | None = None
    begun: float | None = None


@dataclass(eq=False)
class _Everything:
    job: Job
    image: Image
    model: str
    settings: EverythingSettings
    tree: bool


class Jobs:
    """All jobs of a server. Methods are called from the event loop's thread, unless they say otherwise.

    limit: everything jobs that may wait. max_bytes: of the masks of ended jobs.
    """

    def __init__(self, engine: Engine, *, limit: int, max_bytes: int) -> None:
        self.engine, self.limit, self.max_bytes = engine, limit, max_bytes
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: deque[_Everything] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Starts the thread; called within the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="anymask-everything", daemon=True)
        self._thread.start()

    @property
    def closing(self) -> bool:
        """Whether the server is being stopped."""
        return self._closing

    @property
    def running(self) -> int:
        """Jobs that have not ended."""
        return sum(job.state not in ENDED for job in self._jobs.values())

    def close(self) -> int:
        """Cancels every job and takes no more; how many were cancelled."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        stopped = [job for job in self._jobs.values() if job.state not in ENDED]
        for job in stopped:
            job.cancelled.set()
            self._end(job, "cancelled", "the server was stopped")
        return len(stopped)

    def join(self, seconds: float) -> None:
        """Waits for the thread to end, after `close`; from any thread."""
        if self._thread is not None:
            self._thread.join(seconds)

    def get(self, name: str) -> Job:
        """A job by its id. Raises NotHere."""
        job = self._jobs.get(name)
        if job is None:
            raise NotHere(f"there is no job {name:.40} any more; start it again")
        return job

    def described(self, job: Job) -> dict[str, Any]:
        """A job as the wire has it."""
        position = 0
        if job.state == "queued" and job.encode is not None:
            position = self.engine.position(job.encode)
        elif job.state == "queued":
            with self._changed:
                ahead = [one.job for one in self._waiting]
            position = ahead.index(job) + 1 if job in ahead else 0
        elif job.encode is not None and job.state == "running" and job.encode.begun is not None:
            # an encoder says nothing on its way, so time tells
            job.progress = min(0.95, (time.monotonic() - job.encode.begun) / max(job.expected_seconds or 1, 0.01))
        return {
            "id": job.id,
            "kind": job.kind,
            "image": job.image,
            "state": job.state,
            "progress": job.progress,
            "position": position,
            "message": job.message,
            "expected_seconds": job.expected_seconds,
        }

    # starting

    def start_encode(self, picture: str, image: Image, model: str) -> Job:
        """A job that ends when the picture is encoded. Raises ServerBusy."""
        job = Job("encode", picture, expected_seconds=self.engine.expected(model))
        self._open()
        job.encode = self.engine.encode(image, model)
        self._keep(job)

        def ended(_: object) -> None:
            assert self._loop is not None and job.encode is not None
            future = job.encode.future
            error = None if future.cancelled() else future.exception()
            state: State = "cancelled" if future.cancelled() else "failed" if error else "done"
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._end, job, state, _said(error) if error else "")

        job.encode.future.add_done_callback(ended)
        return job

    def start_everything(self, picture: str, image: Image, model: str, settings: EverythingSettings, tree: bool) -> Job:
        """A job that finds all objects. tree: also which mask lies in which. Raises ServerBusy."""
        self._open()
        with self._changed:
            if len(self._waiting) >= self.limit:
                raise ServerBusy(f"{len(self._waiting)} everything jobs wait already; try again in a moment", 10)
            job = Job("everything", picture)
            self._waiting.append(_Everything(job, image, model, settings, tree))
            self._changed.notify_all()
        self._keep(job)
        return job

    def cancel(self, job: Job) -> None:
        """Ends a job; one that runs stops at its next batch."""
        if job.state in ENDED:
            return
        job.cancelled.set()
        if job.encode is not None:
            self.engine.drop(job.encode)
        with self._changed:
            self._waiting = deque(one for one in self._waiting if one.job is not job)
        self._end(job, "cancelled", "cancelled on request")

    async def events(self, job: Job) -> AsyncIterator[dict[str, Any] | None]:
        """The job as it changes, until it ends; None where nothing happened for a while."""
        changed = asyncio.Event()
        job.listeners.add(changed)
        try:
            while True:
                changed.clear()
                self._look(job)
                yield self.described(job)
                if job.state in ENDED:
                    return
                moving = job.encode is not None
                try:
                    await asyncio.wait_for(changed.wait(), 0.1 if moving else HEARTBEAT)
                except (asyncio.TimeoutError, TimeoutError):
                    if not moving:
                        yield None
        finally:
            job.listeners.discard(changed)

    def _look(self, job: Job) -> None:
        """An encode that has begun is running."""
        if job.state == "queued" and job.encode is not None and job.encode.begun is not None:
            job.state = "running"

    def _open(self) -> None:
        if self._closing:
            raise ServerBusy("the server is being stopped; ask again when it is back", 5)

    def _keep(self, job: Job) -> None:
        self._jobs[job.id] = job
        ended = [one for one in self._jobs.values() if one.state in ENDED]
        for one in ended[: max(0, len(ended) - ENDED_JOBS)]:
            del self._jobs[one.id]

    def _end(self, job: Job, state: State, message: str = "", masks: Masks | None = None) -> None:
        if job.state not in ENDED:
            job.state, job.message, job.masks = state, message, masks
            job.progress = 1.0 if state == "done" else job.progress
            self._forget_masks(job)
        self._tell(job)

    def _tell(self, job: Job) -> None:
        for listener in list(job.listeners):
            listener.set()

    def _forget_masks(self, latest: Job) -> None:
        """Masks of the oldest jobs go when those of all jobs are too many bytes."""
        total = 0
        for job in reversed(self._jobs.values()):
            if job.masks is not None:
                total += sum(len(rle["counts"]) + 200 for rle in job.masks.rle)
                if total > self.max_bytes and job is not latest:
                    job.masks = None

    # the thread

    def _work(self) -> None:
        _be_nicer()
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                work = self._waiting.popleft()
            if not work.job.cancelled.is_set():
                self._everything(work)

    def _everything(self, work: _Everything) -> None:
        assert self._loop is not None
        job, began = work.job, time.monotonic()

        def update(state: State, message: str = "", masks: Masks | None = None, progress: float | None = None) -> None:
            if state == "running" and job.state not in ENDED:
                job.state, job.progress = state, progress
                job.expected_seconds = (time.monotonic() - began) / progress if progress else None
                self._tell(job)
            elif state != "running":
                self._end(job, state, message, masks)

        def post(*args: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                assert self._loop is not None
                self._loop.call_soon_threadsafe(update, *args)

        post("running", "", None, 0.0)
        try:
            model = _Wanted(self.engine, work)
            found = find(model, work.image, work.settings, lambda done, total: post("running", "", None, done / total))
            masks = as_masks(found, work.image)
            if work.tree:
                masks = masks.replace(parents=parents(masks))
            # the picture may go while the masks stay
            post("done", "", masks.replace(image=None))
        except _NotWanted:
            post("cancelled", "cancelled on request")
        except Exception as error:
            if not isinstance(error, AnymaskError):
                _log.exception("an everything job failed")
            post("failed", _said(error))


class _NotWanted(Exception):
    """The job was cancelled."""


class _Wanted:
    """A model that stops answering when its job is no longer wanted."""

    def __init__(self, engine: Engine, work: _Everything) -> None:
        self.engine, self.work = engine, work
        self.model: PromptModel = engine.models.get(work.model)
        self.card: Card = self.model.card
        self.weights = self.model.weights
        self.device = getattr(self.model, "device", "cpu")

    def encode(self, images: Sequence[Image]) -> Embedding:
        """As the model does; the picture itself only if nobody has encoded it yet."""
        self._still()
        if len(images) == 1 and images[0] is self.work.image:
            return self.engine.embeddings.encode(list(images), self.model)[0]
        return self.model.encode(images)

    def decode(
        self,
        embedding: Embedding,
        prompts: Prompts,
        *,
        multimask: Multimask = None,
        min_score: float | None = None,
    ) -> Decoded:
        """As the model does."""
        self._still()
        return self.model.decode(embedding, prompts, multimask=multimask, min_score=min_score)

    def _still(self) -> None:
        if self.work.job.cancelled.is_set():
            raise _NotWanted


def _said(error: BaseException) -> str:
    if isinstance(error, AnymaskError):
        return str(error)
    return f"something went wrong in the server ({type(error).__name__}); its log says more"
