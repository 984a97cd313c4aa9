"""Label Studio's machine-learning backend: click or draw a box there, and the mask appears.

Add `http://HOST:PORT/label-studio` as a model in the project's settings and switch interactive preannotations on.
Source: the requests that Label Studio's api_connector sends, see docs/label-studio.md.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from anymask.errors import BadPrompt
from anymask.serve.label_config import Pointed, Tags, results
from anymask.serve.pointing import Pointing, Pointings
from anymask.serve.task_pictures import TaskPictures

EVENTS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_DELETED", "START_TRAINING")


class Open(BaseModel):
    """Label Studio's requests grow from release to release: what is not known is let through and not read."""

    model_config = ConfigDict(extra="allow")


class Setup(Open):
    """A project introduces itself."""

    project: str | None = Field(default=None, description="Number of the project and its time stamp.")
    schema_: str = Field(default="", alias="schema", description="The labelling configuration, XML.")


class Task(Open):
    """A task, of which only the data matter here."""

    id: int | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class Params(Open):
    """What goes with a prediction."""

    context: dict[str, Any] | None = Field(default=None, description="What was pointed at; none outside interaction.")


class Predict(Open):
    """Tasks to be predicted."""

    tasks: list[Task] = Field(default_factory=list, max_length=64)
    label_config: str = ""
    params: Params | None = None
    context: dict[str, Any] | None = None


class Webhook(Open):
    """Something happened in a project."""

    action: str = ""


def router(own: Pointings, pictures: TaskPictures) -> APIRouter:
    """The routes, under /label-studio. Predictions carry the model's name as their version."""
    version = own.model
    routes = APIRouter(prefix="/label-studio", tags=["Label Studio"])

    @routes.get("/")
    @routes.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the backend is there."""
        return {"status": "UP", "model_class": "anymask", "model_version": version}

    @routes.get("/metrics")
    async def metrics() -> dict[str, Any]:
        """Asked for by Label Studio; the server's own are at /metrics."""
        return {}

    @routes.post("/validate")
    @routes.post("/setup")
    async def setup(body: Setup) -> dict[str, Any]:
        """Checks that the project's labelling configuration has a place for masks."""
        if body.schema_:
            Tags.of(body.schema_)
        return {"model_version": version}

    @routes.post("/predict")
    async def predict(body: Predict) -> dict[str, Any]:
        """The mask of what was pointed at in the first task; nothing for tasks at which nobody points."""
        context = (body.params.context if body.params else None) or body.context
        pointed = Pointed.of(context)
        if pointed is None or not body.tasks:
            return {"results": [{"result": [], "score": 0.0, "model_version": version} for _ in body.tasks]}
        tags = Tags.of(body.label_config)
        address = body.tasks[0].data.get(tags.data)
        if not isinstance(address, str):
            raise BadPrompt(f"the task has no picture under {tags.data!r}, which its image tag names")
        masks = await own.masks(await pictures.bytes_of(address), Pointing(pointed.points, pointed.labels, pointed.box))
        if masks.size != pointed.size:
            raise BadPrompt(
                f"Label Studio speaks of a picture of {pointed.size[1]} x {pointed.size[0]} pixels, the file has "
                f"{masks.size[1]} x {masks.size[0]}; is it the same one?"
            )
        regions = results(masks, tags, pointed.label)
        score = float(masks.scores[0]) if len(masks) else 0.0
        return {"results": [{"result": regions, "score": score, "model_version": version}]}

    @routes.post("/webhook")
    async def webhook(body: Webhook) -> JSONResponse:
        """Taken note of: anymask is trained by `anymask train` on an export, not while people label."""
        if body.action not in EVENTS:
            return JSONResponse({"status": "Unknown event"})
        return JSONResponse({"result": {}, "status": "ok"}, status_code=201)

    return routes
