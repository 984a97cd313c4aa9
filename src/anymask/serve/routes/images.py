"""Pictures: sent once, kept for a while, encoded."""

from __future__ import annotations

import io
import re
import unicodedata
from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from anymask.errors import ServerBusy
from anymask.pixels.image import Image
from anymask.serve.routes.schemas import EncodeRequest, JobReply, Ready, Uploaded, refusals
from anymask.serve.service import Service
from anymask.serve.store import Picture
from anymask.serve.uploads import TooLarge, opened

UPLOADS = 6
"""Pictures that are received at once."""

_unpacking = anyio.CapacityLimiter(2)

router = APIRouter(prefix="/api/images", tags=["images"])


def service(request: Request) -> Service:
    """The server's own parts."""
    found: Service = request.app.state.service
    return found


Own = Annotated[Service, Depends(service)]

_EXAMPLE = {
    "requestBody": {
        "required": True,
        "description": "The bytes of a picture file: JPEG, PNG, TIFF, WebP, GIF, BMP, AVIF, JPEG 2000 or PPM.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "",
    status_code=201,
    response_model=Uploaded,
    responses={200: {"model": Uploaded, "description": "This picture is here already."}, **refusals(413, 415, 422)},
    openapi_extra=_EXAMPLE,
)
async def send(
    request: Request,
    response: Response,
    own: Own,
    name: Annotated[str, Query(max_length=300, description="File name, for exports.")] = "",
) -> Uploaded:
    """Sends a picture: the bytes of its file, whatever the content type says.

    The id is a digest of the pixels. The picture is turned upright by its EXIF orientation. It is kept until its room
    is needed for others.
    """
    if own.uploads >= UPLOADS:
        raise ServerBusy(f"{own.uploads} pictures are being received; try again in a moment")
    own.uploads += 1
    try:
        content = await _received(request, own.settings.max_bytes)
        limit = own.settings.max_pixels
        image = await anyio.to_thread.run_sync(opened, content, limit, limiter=_unpacking)
        del content
        digest = await anyio.to_thread.run_sync(lambda: image.digest)
    finally:
        own.uploads -= 1
    known = own.pictures.get(digest)
    title = safe_name(name)
    if known is not None:
        response.status_code = 200
        if title:
            known = Picture(known.image, title)
            own.pictures.put(digest, known, known.image.pixels().nbytes)
        return _told(digest, known)
    picture = Picture(image, title)
    own.pictures.put(digest, picture, image.pixels().nbytes)
    return _told(digest, picture)


@router.get("/{image}", response_model=Uploaded, responses=refusals(404))
async def look(image: str, own: Own) -> Uploaded:
    """Whether a picture is still here."""
    return _told(image, own.picture(image))


@router.get(
    "/{image}/picture",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {}, "image/jpeg": {}}, "description": "The pixels."},
        **refusals(404, 422),
    },
)
async def picture(
    image: str,
    own: Own,
    format: Annotated[str, Query(pattern="^(png|jpeg)$", description="png keeps every pixel.")] = "png",
) -> Response:
    """The pixels as a file that every browser shows, for formats that browsers do not know."""
    found = own.picture(image)
    content = await anyio.to_thread.run_sync(_file, found.image, format, limiter=_unpacking)
    # an id is the digest of the pixels, so what it stands for never changes
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    return Response(content, media_type=f"image/{format}", headers=headers)


@router.delete("/{image}", status_code=204, response_class=Response, responses=refusals(404))
async def forget(image: str, own: Own) -> Response:
    """Forgets a picture."""
    own.picture(image)
    own.pictures.drop(image)
    return Response(status_code=204)


@router.post(
    "/{image}/encode",
    response_model=Ready,
    responses={202: {"model": JobReply, "description": "It takes a moment: a job."}, **refusals(404, 422)},
)
async def encode(image: str, own: Own, asked: EncodeRequest | None = None) -> Response:
    """Encodes a picture, so that clicks are answered at once."""
    found = own.picture(image)
    model = own.models.resolve(asked.model if asked else None)
    if own.engine.known(found.image, model) is not None:
        return JSONResponse({"state": "ready", "seconds": 0.0})
    job = own.jobs.start_encode(image, found.image, model)
    return JSONResponse(own.jobs.described(job), 202, {"Location": f"/api/jobs/{job.id}"})


def _told(name: str, picture: Picture) -> Uploaded:
    height, width = picture.image.size
    return Uploaded(id=name, width=width, height=height, name=picture.name)


async def _received(request: Request, limit: int) -> bytes:
    """The body, refused as soon as it is too long."""
    sentence = f"the file is larger than {limit:,} bytes; send a smaller one"
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and len(claimed) < 20 and int(claimed) > limit:
        raise TooLarge(sentence)
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > limit:
            raise TooLarge(sentence)
    return bytes(found)


def _file(image: Image, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "jpeg":
        image.to_pil().save(out, "JPEG", quality=92)
    else:
        image.to_pil().save(out, "PNG", compress_level=1)
    return out.getvalue()


def safe_name(name: str) -> str:
    """A file name without folders and without characters that headers, systems or terminals take amiss."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(one for one in last if unicodedata.category(one)[0] in "LNPSZ" and one not in '"<>:|?*;%')
    return " ".join(kept.split()).strip(". ")[:120]
