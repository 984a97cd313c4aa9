"""The application: routes, errors and safety put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from anymask.extras import need
from anymask.records.record import anymask_version
from anymask.serve.safety import Gate
from anymask.serve.service import Service
from anymask.serve.settings import ServeSettings

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_app(settings: ServeSettings | None = None) -> FastAPI:
    """The server as an ASGI application, its model loaded.

    Raises MissingExtra without the extra `serve`, and what `anymask.load` raises.
    """
    settings = settings or ServeSettings()
    fastapi = need("fastapi", extra="serve", to="serve")
    service = Service(settings)

    @asynccontextmanager
    async def living(app: Any) -> AsyncIterator[None]:
        import anyio

        service.start()
        yield
        service.close()
        await anyio.to_thread.run_sync(service.stop)

    from anymask.serve import cvat, label_studio
    from anymask.serve.pointing import Pointings
    from anymask.serve.routes import decode, docs, errors, files, images, jobs, page, status
    from anymask.serve.routes.schemas import refusals
    from anymask.serve.task_pictures import TaskPictures

    app: FastAPI = fastapi.FastAPI(
        title="anymask",
        version=anymask_version(),
        description="Click anything in a picture and get its mask.",
        lifespan=living,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    errors.add_handlers(app)
    pointings = Pointings(service)
    tools = (label_studio.router(pointings, TaskPictures(max_bytes=settings.max_bytes)), cvat.router(pointings))
    # the page's own comes last: it answers every path that nobody else does
    for router in (
        status.router,
        docs.router,
        images.router,
        decode.router,
        jobs.router,
        files.router,
    ):
        app.include_router(router)
    for router in tools:
        app.include_router(router, responses=refusals(404, 413, 415, 422))
    app.include_router(page.router)
    app.add_middleware(Gate, settings=settings, metrics=service.metrics)
    return app
