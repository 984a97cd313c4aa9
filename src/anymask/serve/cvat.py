"""CVAT's interactor: the server looks like the Nuclio gateway that CVAT asks, without Docker.

Start CVAT with CVAT_NUCLIO_HOST and CVAT_NUCLIO_PORT set to this server, or post to /cvat as to a function's own port.
Source: the calls of CVAT's lambda_manager, see docs/cvat.md.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from anymask.errors import BadImage, BadPrompt
from anymask.masks.rle import decode_one
from anymask.records.cvat_mask import cvat_points
from anymask.serve.pointing import Pointing, Pointings

NAME = "anymask"


class Interaction(BaseModel):
    """What CVAT sends about one object. Points are (x, y) in pixels."""

    model_config = ConfigDict(extra="allow")
    image: str = Field(description="The frame, a JPEG or PNG in base64.")
    pos_points: list[tuple[float, float]] = Field(default_factory=list, max_length=1000)
    neg_points: list[tuple[float, float]] = Field(default_factory=list, max_length=1000)
    obj_bbox: list[tuple[float, float]] | None = Field(default=None, description="Two corners.")

    def pointing(self) -> Pointing:
        """The same as a prompt. Raises BadPrompt."""
        box = None
        if self.obj_bbox:
            if len(self.obj_bbox) != 2:
                raise BadPrompt(f"obj_bbox is two corners, got {len(self.obj_bbox)} points")
            (x0, y0), (x1, y1) = self.obj_bbox
            box = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
        points = (*self.pos_points, *self.neg_points)
        return Pointing(points, (1,) * len(self.pos_points) + (0,) * len(self.neg_points), box)

    def picture(self) -> bytes:
        """The file's bytes. Raises BadImage."""
        try:
            return base64.b64decode(self.image, validate=True)
        except (binascii.Error, ValueError):
            raise BadImage("image is not base64") from None


def function(model: str) -> dict[str, Any]:
    """The function as Nuclio describes it, and as CVAT reads it."""
    annotations = {
        "name": f"anymask ({model})",
        "type": "interactor",
        "framework": "pytorch",
        # CVAT reads every annotation as text, "false" included
        "version": "1",
        "spec": json.dumps([]),
        "min_pos_points": "1",
        "min_neg_points": "0",
        "startswith_box_optional": "True",
        "help_message": "Click the object; right click what does not belong to it; or draw a box around it.",
        "animated_gif": "",
    }
    return {
        "metadata": {"name": NAME, "namespace": "nuclio", "annotations": annotations},
        "spec": {"description": "Click anything and get its mask."},
        "status": {"state": "ready", "httpPort": 0},
    }


def router(own: Pointings) -> APIRouter:
    """The routes of a Nuclio gateway with one function, and /cvat, the function itself."""
    routes = APIRouter(tags=["CVAT"])

    @routes.get("/api/functions")
    async def functions() -> dict[str, Any]:
        """All functions, one."""
        return {NAME: function(own.model)}

    @routes.get("/api/functions/{name}")
    async def one(name: str) -> JSONResponse:
        """A function by name."""
        if name != NAME:
            return JSONResponse({"error": f"there is one function here, {NAME}", "kind": "NotFound"}, status_code=404)
        return JSONResponse(function(own.model))

    @routes.post("/cvat")
    @routes.post("/api/function_invocations")
    async def invoke(body: Interaction) -> dict[str, Any]:
        """The best mask: as rows of 0 and 1, and as a CVAT shape for clients that read those."""
        masks = await own.masks(body.picture(), body.pointing())
        dense = decode_one(masks.rle[0])
        shapes = [{"type": "mask", "points": cvat_points(dense)}] if dense.any() else []
        return {"mask": dense.astype(int).tolist(), "shapes": shapes}

    return routes
