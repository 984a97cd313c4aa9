"""All that the routes of one server share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from anymask.errors import NotHere
from anymask.masks.masks import Masks
from anymask.serve.engine import Ask, Engine
from anymask.serve.jobs import Jobs
from anymask.serve.metrics import Metrics
from anymask.serve.models import Models
from anymask.serve.settings import MB, ServeSettings
from anymask.serve.store import Answer, Kept, Picture, fresh_name, size_of
from anymask.session.clicks import Question
from anymask.session.embeddings import EmbeddingCache

SHARES = {"pictures": 0.4, "embeddings": 0.35, "answers": 0.2, "results": 0.05}
"""How `ServeSettings.memory` is divided."""


class Service:
    """Made before the server listens; loads the model, raises as `anymask.load` does."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.models = Models(settings.model, settings.weights)
        room = {name: int(share * settings.memory * MB) for name, share in SHARES.items()}
        self.embeddings = EmbeddingCache(room["embeddings"], settings.cache, settings.disk * MB)
        self.pictures: Kept[Picture] = Kept(room["pictures"])
        self.answers: Kept[Answer] = Kept(room["answers"])
        self.engine = Engine(self.models, self.embeddings, self.metrics, crew=settings.crew, waiting=settings.waiting)
        self.jobs = Jobs(self.engine, limit=settings.jobs, max_bytes=room["results"])
        self.uploads = 0
        for kind in ("decode", "encode"):
            self.metrics.watch(
                f"anymask_waiting_{kind}s",
                f"{kind}s that wait",
                lambda kind=kind: self.engine.queue[kind],  # type: ignore[misc]
            )
        self.metrics.watch("anymask_jobs", "Jobs that have not ended", lambda: self.jobs.running)
        self.metrics.watch("anymask_pictures_bytes", "Memory of pictures", lambda: self.pictures.nbytes)
        self.metrics.watch("anymask_answers_bytes", "Memory of answers", lambda: self.answers.nbytes)
        self.metrics.watch("anymask_embeddings_bytes", "Memory of embeddings", lambda: self.embeddings.nbytes)

    def start(self) -> None:
        """Starts the threads; called within the event loop."""
        self.engine.start()
        self.jobs.start()

    def close(self) -> int:
        """Ends long work, so that connections which follow it end too; how many jobs were cancelled."""
        return self.jobs.close()

    def stop(self) -> None:
        """Waits for the threads; called off the event loop."""
        self.engine.stop()
        self.jobs.join(10.0)

    def picture(self, name: str) -> Picture:
        """An uploaded picture by its id. Raises NotHere."""
        found = self.pictures.get(name)
        if found is None:
            raise NotHere("this picture is not here any more; send it again")
        return found

    async def answer(self, ask: Ask, picture: str, *, keep: bool) -> tuple[Masks, str, str | None]:
        """(masks, note, id of the answer if it is kept); the work is dropped when the caller is cancelled."""
        future = self.engine.decode(ask)
        masks, note = await asyncio.wrap_future(future)
        masks = masks.replace(image=None)
        if not keep or masks.logits is None:
            return masks, note, None
        name = fresh_name()
        self.answers.put(name, Answer(picture, ask.model, masks), size_of(masks))
        return masks, note, name


def only(answers: Sequence[Masks]) -> tuple[Masks, str]:
    """The settlement of a single question."""
    return answers[0], ""


async def unless_gone(request: Any, work: Any) -> Any:
    """The result of a coroutine, or None when the client of a Starlette request goes away before."""
    task = asyncio.ensure_future(work)

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    watch = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
        return None
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()


def question(prompts: Any, multimask: bool | None) -> list[Question]:
    """A single question."""
    return [Question(prompts, multimask)]
