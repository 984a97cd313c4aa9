"""The page's own files."""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from anymask.serve.routes.images import Own

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".woff2": "font/woff2",
    ".map": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served, and as what; a system's own table of types may be wrong or missing."""

router = APIRouter(include_in_schema=False)


@router.get("/{path:path}")
@router.head("/{path:path}")
async def page(request: Request, path: str, own: Own) -> Response:
    """A file of the page's folder, found by looking through the folder, never by following the path."""
    runtime = own.settings.runtime
    second = int(time.monotonic())
    if runtime is not None and path.startswith("runtime/"):
        found = _files(runtime, second).get(path.removeprefix("runtime/"))
    else:
        found = _files(own.settings.page, second).get(path or "index.html")
    if found is None:
        text = "there is no such address; see /docs for all of them"
        if not path:
            text = "this installation has no page; its routes are described at /docs"
        return JSONResponse({"error": text, "kind": "NotHere"}, 404)
    state = found.stat()
    tag = _tag(found, state.st_mtime_ns, state.st_size)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.read_bytes(), media_type=TYPES[found.suffix], headers=headers)


@lru_cache(maxsize=256)
def _tag(file: Path, changed: int, size: int) -> str:
    """What tells a file's content; computed anew when the file was changed."""
    return f'"{hashlib.sha256(file.read_bytes()).hexdigest()[:24]}"'


@lru_cache(maxsize=4)
def _files(folder: Path, second: int) -> dict[str, Path]:
    """The page's files by their address; what a folder holds of other kinds is not for browsers.

    second: looked through once in it, for a page asks for sixty files at once.
    """
    return {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.suffix in TYPES and path.is_file() and not path.is_symlink()
    }
