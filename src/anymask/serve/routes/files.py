"""What leaves as a file: masks, embeddings, and the decoder for browsers."""

from __future__ import annotations

import asyncio
from typing import Annotated
from urllib.parse import quote

import anyio
from fastapi import APIRouter, Query, Request, Response
from safetensors.torch import save

from anymask.errors import BadPrompt, BadSetting
from anymask.export.decoder import browser_decoder
from anymask.extras import need
from anymask.masks.masks import Masks
from anymask.masks.rle import checked
from anymask.pixels.image import Image
from anymask.serve.files import File, written
from anymask.serve.routes.images import Own
from anymask.serve.routes.schemas import ExportRequest, refusals
from anymask.serve.service import Service, unless_gone
from anymask.session.embeddings import described

router = APIRouter(prefix="/api", tags=["files"])

_writing = anyio.CapacityLimiter(2)


@router.post(
    "/images/{image}/export",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The file."},
        **refusals(404, 413, 415, 422),
    },
)
async def export(image: str, asked: ExportRequest, own: Own) -> Response:
    """Objects of a picture as one file: COCO, PNG, SVG, a cut-out and others."""
    found = own.picture(image)
    size = found.image.size
    try:
        rles = [checked(one.mask.model_dump(), size) for one in asked.objects]
    except BadSetting as error:
        raise BadPrompt(str(error)) from None
    masks = Masks(
        size,
        rles,
        scores=[1.0 if one.score is None else one.score for one in asked.objects],
        labels=[one.name or None for one in asked.objects],
    )

    def write() -> File:
        return written(
            asked.format,
            masks,
            found.image,
            found.name,
            colours=[one.colour for one in asked.objects],
            simplify=asked.simplify,
            model=own.models.default,
        )

    file = await anyio.to_thread.run_sync(write, limiter=_writing)
    plain = file.name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_").replace("\\", "_")
    shown = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file.name)}"
    return Response(file.content, media_type=file.kind, headers={"Content-Disposition": shown})


@router.get(
    "/images/{image}/embedding",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "safetensors."},
        **refusals(404, 422),
    },
)
async def embedding(
    request: Request,
    image: str,
    own: Own,
    model: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The picture's embedding as safetensors, for decoding elsewhere; encodes first where nobody has.

    The metadata hold "resize" as JSON, [original, resized, padded] sizes (H, W), and the fingerprint of picture and
    model.
    """
    found = own.picture(image)
    name = own.models.resolve(model)
    done = await unless_gone(request, _embedded(own, found.image, name))
    if done is None:
        return Response(status_code=499)
    content, tag = done
    headers = {"ETag": tag, "Cache-Control": "private, max-age=86400"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get(
    "/models/{name}/decoder.onnx",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The decoder as ONNX."},
        **refusals(404, 422),
    },
)
async def decoder(request: Request, name: str, own: Own) -> Response:
    """A model's decoder as ONNX, for decoding in the browser: official names, without the photo's size."""
    known = own.models.resolve(name)
    need("onnx", extra="export", to="give the decoder to browsers")

    def made() -> tuple[bytes, str]:
        model = own.models.get(known)
        return browser_decoder(model), f'"{known}-{model.weights[:24]}"'

    content, tag = await anyio.to_thread.run_sync(made, limiter=_writing)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/octet-stream", headers=headers)


async def _embedded(own: Service, image: Image, name: str) -> tuple[bytes, str]:
    """(safetensors, tag)"""
    if own.engine.known(image, name) is None:
        await asyncio.shield(asyncio.wrap_future(own.engine.encode(image, name).future))

    def packed() -> tuple[bytes, str]:
        model = own.models.get(name)
        one = own.embeddings.encode([image], model)[0]
        about = described(one, image, model)
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in one.tensors.items()}
        return bytes(save(tensors, metadata=about)), f'"{name}-{model.weights[:16]}-{image.digest[:24]}"'

    return await anyio.to_thread.run_sync(packed, limiter=_writing)
