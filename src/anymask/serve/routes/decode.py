"""Clicks, boxes and drawn masks, answered."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray

from anymask.errors import AnymaskError, BadPrompt, BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import checked, decode_one
from anymask.pixels.image import Image
from anymask.pixels.resize import HW
from anymask.prompts.prompts import Prompts
from anymask.records import wire
from anymask.serve.engine import Ask
from anymask.serve.routes.errors import Conflict, described
from anymask.serve.routes.images import Own
from anymask.serve.routes.schemas import Answers, MasksReply, Prompt, Requests, refusals
from anymask.serve.service import Service, only, unless_gone
from anymask.session.clicks import Clicks, Question

router = APIRouter(prefix="/api", tags=["decode"])

_REPLY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Masks, best first.",
        "content": {wire.BINARY: {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "/images/{image}/decode", response_model=MasksReply, responses={**_REPLY, **refusals(404, 409, 413, 415, 422)}
)
async def decode(request: Request, image: str, prompt: Prompt, own: Own) -> Response:
    """Masks of what is pointed at. Encodes the picture first where nobody has.

    Without `previous` the question stands alone. With it, the click builds on an earlier answer: its mask is fed back
    and the answer agrees with at least as many clicks. `Accept: application/vnd.anymask.masks` gives the binary form.
    """
    done = await unless_gone(request, answered(own, image, prompt))
    if done is None:
        return Response(status_code=499)
    masks, note, name = done
    form: dict[str, Any] = {"answer": name, "note": note, "simplify": prompt.simplify, "logits": prompt.logits}
    if wire.BINARY in request.headers.get("accept", ""):
        return Response(wire.as_bytes(masks, **form), media_type=wire.BINARY)
    return JSONResponse(wire.as_dict(masks, **form))


@router.post("/decode", response_model=Answers, responses=refusals(413, 415, 422))
async def decode_many(request: Request, asked: Requests, own: Own) -> Response:
    """Many prompts at once, on any pictures: a reply or an error for each."""

    async def one(prompt: Any) -> dict[str, Any]:
        try:
            masks, note, name = await answered(own, prompt.image, prompt)
            return wire.as_dict(masks, answer=name, note=note, simplify=prompt.simplify, logits=prompt.logits)
        except AnymaskError as error:
            return described(error)

    async def all_of_them() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(one(prompt) for prompt in asked.requests)))

    done = await unless_gone(request, all_of_them())
    return Response(status_code=499) if done is None else JSONResponse({"answers": done})


async def answered(own: Service, image: str, prompt: Prompt) -> tuple[Masks, str, str | None]:
    """(masks, note, id of the answer) for a prompt. Raises errors of ours."""
    found = own.picture(image)
    model = own.models.resolve(prompt.model)
    if prompt.previous is not None:
        clicks = _clicks(own, image, model, found.image, prompt)
        ask = Ask(found.image, model, clicks.questions(), clicks.settle, clicks.more)
    else:
        points, labels = _points(prompt)
        prompts = Prompts.of(points, labels, prompt.box, await _mask(prompt, found.image.size), size=found.image.size)
        ask = Ask(found.image, model, [Question(prompts, prompt.multimask)], only, best=prompt.best)
    return await own.answer(ask, image, keep=not prompt.best)


async def _mask(prompt: Prompt, size: HW) -> NDArray[Any] | None:
    """The drawn mask, bool [H, W], or the logits, float32 [h, w], of a prompt."""
    if prompt.mask is not None and prompt.low_res is not None:
        raise BadPrompt("give a drawn mask or logits of an earlier answer, not both")
    try:
        if prompt.low_res is not None:
            return wire.read_logits(prompt.low_res.model_dump())
        if prompt.mask is not None:
            return await anyio.to_thread.run_sync(decode_one, checked(prompt.mask.model_dump(), size))
    except BadSetting as error:
        raise BadPrompt(str(error)) from None
    return None


def _points(prompt: Prompt) -> tuple[list[list[float]] | None, list[int] | None]:
    if prompt.labels is not None and len(prompt.labels) != len(prompt.points):
        raise BadPrompt(
            f"there must be one label for each point: {len(prompt.points)} points, {len(prompt.labels)} labels"
        )
    if not prompt.points:
        return None, None
    return prompt.points, None if prompt.labels is None else [int(label) for label in prompt.labels]


def _clicks(own: Service, image: str, model: str, picture: Image, prompt: Prompt) -> Clicks:
    assert prompt.previous is not None
    if prompt.mask is not None or prompt.low_res is not None:
        raise BadPrompt("a drawn mask stands alone; with `previous`, the earlier answer is the mask")
    if prompt.best or prompt.multimask is not None:
        raise BadPrompt("with `previous` the answer is a set of candidates; leave out best and multimask")
    before = own.answers.get(prompt.previous.answer)
    if before is None or before.image != image:
        raise Conflict("the earlier answer is not kept any more; ask again without previous")
    if before.model != model:
        raise Conflict(f"the earlier answer is {before.model}'s, not {model}'s; ask again without previous")
    if prompt.previous.candidate >= len(before.masks):
        raise BadPrompt(f"there are {len(before.masks)} candidates, numbered from 0; got {prompt.previous.candidate}")
    points, labels = _points(prompt)
    given = tuple(tuple(float(value) for value in point) for point in points or ())
    marks = tuple(labels) if labels is not None else (1,) * len(given)
    box = None if prompt.box is None else tuple(prompt.box)
    return Clicks(given, marks, box, before.masks[[prompt.previous.candidate]])
