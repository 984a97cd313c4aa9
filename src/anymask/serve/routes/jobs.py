"""Jobs: what they are at, as it happens, and what came of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from anymask.errors import BadSetting, NotHere
from anymask.models.catalogue import card
from anymask.records import wire
from anymask.serve.jobs import ENDED
from anymask.serve.routes.errors import Conflict
from anymask.serve.routes.images import Own
from anymask.serve.routes.schemas import EverythingRequest, JobReply, MasksReply, refusals
from anymask.session.grid import crops
from anymask.session.settings import EverythingSettings

router = APIRouter(prefix="/api", tags=["jobs"])

BATCH = 8
"""Prompts decoded between two looks at whether a job is still wanted."""

MOST_ALONG, MOST_LAYERS = 64, 3

MOST = 20_000
"""Points of one everything job."""


@router.post(
    "/images/{image}/everything",
    status_code=202,
    response_model=JobReply,
    responses=refusals(404, 413, 415, 422),
)
async def everything(image: str, own: Own, asked: EverythingRequest | None = None) -> Response:
    """Starts to look for all objects of a picture: a job."""
    asked = asked or EverythingRequest()
    found = own.picture(image)
    model = own.models.resolve(asked.model)
    options: dict[str, Any] = {**asked.options, "points_per_batch": BATCH}
    if asked.points_per_side is not None:
        options["points_per_side"] = asked.points_per_side
    settings = EverythingSettings.of(asked.preset, card(model), **options)
    if (settings.points_per_side or 0) > MOST_ALONG or settings.crop_n_layers > MOST_LAYERS:
        raise BadSetting(f"a server takes at most {MOST_ALONG} points a side and {MOST_LAYERS} layers of crops")
    parts = crops(found.image.size, settings.crop_n_layers, settings.crop_overlap_ratio)
    count = sum(len(settings.grid(part.layer)) for part in parts)
    if count > MOST:
        raise BadSetting(f"these options ask {count:,} points, more than {MOST:,}; take fewer points or crop layers")
    job = own.jobs.start_everything(image, found.image, model, settings, asked.tree)
    return JSONResponse(own.jobs.described(job), 202, {"Location": f"/api/jobs/{job.id}"})


@router.get("/jobs/{job}", response_model=JobReply, responses=refusals(404))
async def look(job: str, own: Own) -> Response:
    """A job as it stands."""
    return JSONResponse(own.jobs.described(own.jobs.get(job)))


@router.get(
    "/jobs/{job}/events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "The job each time it changes, until it ends."},
        **refusals(404),
    },
)
async def events(request: Request, job: str, own: Own) -> StreamingResponse:
    """A job as it goes on: server-sent events whose data is the job as JSON, until it ends."""
    found = own.jobs.get(job)

    async def lines() -> AsyncIterator[bytes]:
        async for state in own.jobs.events(found):
            yield b": still here\n\n" if state is None else f"data: {json.dumps(state)}\n\n".encode()

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)


@router.delete("/jobs/{job}", response_model=JobReply, responses=refusals(404))
async def cancel(job: str, own: Own) -> Response:
    """Cancels a job; one that runs stops within a moment. A job that has ended stays as it is."""
    found = own.jobs.get(job)
    own.jobs.cancel(found)
    return JSONResponse(own.jobs.described(found))


@router.get(
    "/jobs/{job}/masks",
    response_model=MasksReply,
    responses={
        200: {"content": {wire.BINARY: {"schema": {"type": "string", "format": "binary"}}}},
        **refusals(404, 409),
    },
)
async def masks(request: Request, job: str, own: Own) -> Response:
    """The masks of an everything job that is done."""
    found = own.jobs.get(job)
    if found.kind != "everything":
        raise NotHere("an encode job has no masks; ask the picture's /decode")
    if found.state not in ENDED:
        raise Conflict("the job is still at work; follow its /events and ask again when it is done")
    if found.state != "done":
        raise Conflict(f"the job was {found.state}: {found.message}"[:300])
    if found.masks is None:
        raise NotHere("the masks of this job are not kept any more; start it again")
    if wire.BINARY in request.headers.get("accept", ""):
        return Response(wire.as_bytes(found.masks), media_type=wire.BINARY)
    return JSONResponse(wire.as_dict(found.masks))
