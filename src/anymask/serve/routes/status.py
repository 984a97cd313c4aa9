"""What the server is, and how it is."""

from __future__ import annotations

from fastapi import APIRouter, Response

from anymask.models.catalogue import cards
from anymask.records.record import anymask_version
from anymask.serve.models import is_here
from anymask.serve.routes.images import Own
from anymask.serve.routes.schemas import Health, Limits, ModelStatus, Status, refusals

router = APIRouter(tags=["status"])

PROMPTS = ("points", "boxes", "masks", "everything")


@router.get("/health", response_model=Health, responses=refusals())
async def health(own: Own) -> Health:
    """Whether the server is up, and how much waits. Needs no token."""
    return Health(
        status="stopping" if own.jobs.closing else "ok",
        version=anymask_version(),
        model=own.models.default,
        queue={**own.engine.queue, "jobs": own.jobs.running},
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text."}, **refusals()},
)
async def metrics(own: Own) -> Response:
    """Counters for Prometheus."""
    content, kind = own.metrics.text()
    return Response(content, media_type=kind)


@router.get("/api/status", response_model=Status, responses=refusals())
async def status(own: Own) -> Status:
    """The server's version, models and limits."""
    default = own.models.default
    models = [
        ModelStatus(
            name=card.name,
            title=card.title,
            parameters=card.parameters,
            licence=card.licence,
            prompts=[prompt for prompt in PROMPTS if prompt in card.can],
            ready=card.name == default or is_here(card),
        )
        for card in cards().values()
        if card.name == default or (card.available and card.files)
    ]
    limits = Limits(max_bytes=own.settings.max_bytes, max_pixels=own.settings.max_pixels)
    return Status(
        version=anymask_version(),
        default_model=default,
        models=models,
        limits=limits,
        browser_decoder=own.settings.runtime is not None,
    )
