"""Every error as one sentence in JSON, with the status that fits its type."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from anymask.errors import (
    AnymaskError,
    BadImage,
    DownloadFailed,
    EmbeddingMismatch,
    MissingExtra,
    NotEnoughMemory,
    NotHere,
    NotYet,
    ServerBusy,
    UnknownModel,
)
from anymask.serve.uploads import TooLarge, UnknownKind

_STATUS: tuple[tuple[type[AnymaskError], int], ...] = (
    (TooLarge, 413),
    (UnknownKind, 415),
    (BadImage, 422),
    (NotHere, 404),
    (UnknownModel, 404),
    (NotYet, 404),
    (MissingExtra, 404),
    (EmbeddingMismatch, 409),
    (ServerBusy, 503),
    (NotEnoughMemory, 503),
    (DownloadFailed, 503),
)

_KIND = {401: "NotAllowed", 403: "NotAllowed", 404: "NotHere", 409: "NotHere", 503: "ServerBusy"}

_log = logging.getLogger("anymask.serve")


class Conflict(NotHere):
    """What a request builds on is not kept any more."""


def status_of(error: AnymaskError) -> int:
    """The HTTP status of an error of ours; 400 for what was asked wrongly."""
    if isinstance(error, Conflict):
        return 409
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 400)


def described(error: AnymaskError) -> dict[str, str]:
    """An error as the wire has it; types that only the server has go by their public parent's name."""
    public = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "anymask.errors")
    return {"error": str(error), "kind": public}


def reply(error: AnymaskError) -> JSONResponse:
    """An error of ours as a response."""
    status = status_of(error)
    headers = {}
    if status == 503:
        headers["Retry-After"] = str(max(1, round(getattr(error, "wait", 5))))
    if status == 413:
        # what is still on its way is not read
        headers["Connection"] = "close"
    return JSONResponse(described(error), status, headers)


def add_handlers(app: FastAPI) -> None:
    """Makes all errors of an app leave in one form."""

    @app.exception_handler(AnymaskError)
    async def _ours(_: Request, error: AnymaskError) -> JSONResponse:
        return reply(error)

    @app.exception_handler(RequestValidationError)
    async def _shape(request: Request, error: RequestValidationError) -> JSONResponse:
        kind = "BadPrompt" if request.url.path.endswith("/decode") else "BadSetting"
        return JSONResponse({"error": _sentence(error.errors()), "kind": kind}, 422)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        told = {404: "there is no such address; see /docs for all of them", 405: "this address takes other methods"}
        text = told.get(error.status_code, str(error.detail))
        if error.status_code == 400 and "parsing the body" in text:
            text = "the body cannot be read as JSON; send it as application/json, in UTF-8"
        body = {"error": text, "kind": _KIND.get(error.status_code, "BadSetting")}
        closing = {"Connection": "close"} if error.status_code == 413 else {}
        return JSONResponse(body, error.status_code, {**(error.headers or {}), **closing})

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse(
            {"error": "something went wrong in the server; its log says more", "kind": "AnymaskError"}, 500
        )


def _sentence(problems: Any) -> str:
    """The first problem of a request's form, and where it is."""
    first = problems[0]
    place = ".".join(str(part) for part in first.get("loc", ()) if part != "body")
    text = str(first.get("msg", "is not of the documented form"))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    where = f"{place[:100]}: " if place else "the body: "
    return f"the request is not of the documented form: {where}{text[:200]}{more}; see /docs"
