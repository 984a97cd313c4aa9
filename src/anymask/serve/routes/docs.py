"""The routes for people: a plain page made from the OpenAPI description, since a page from elsewhere is not let in."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, Request, Response

router = APIRouter(include_in_schema=False)

_TOP = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>anymask: routes</title>'
    '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"></head><body>'
)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """All routes, what they take and what they answer."""
    schema = request.app.openapi()
    parts = [_TOP, f"<h1>anymask {escape(schema['info']['version'])}</h1>"]
    parts.append('<p>For programs: <a href="/openapi.json">openapi.json</a>. The page: <a href="/">/</a>.</p>')
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            parts.append(_route(path, method, route))
    return Response("".join([*parts, "</body></html>"]), media_type="text/html; charset=utf-8")


def _route(path: str, method: str, route: dict[str, Any]) -> str:
    lines = [f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(route.get('description', ''))}</p><dl>"]
    for one in route.get("parameters", ()):
        told = one.get("description", "") or one.get("schema", {}).get("description", "")
        lines.append(f"<dt><code>{escape(one['name'])}</code> ({escape(one['in'])})</dt><dd>{escape(told)}</dd>")
    for kind, one in route.get("requestBody", {}).get("content", {}).items():
        lines.append(f"<dt>body</dt><dd>{escape(kind)} {escape(_name(one.get('schema', {})))}</dd>")
    for status, one in route.get("responses", {}).items():
        lines.append(f"<dt>{escape(str(status))}</dt><dd>{escape(one.get('description', ''))}</dd>")
    return "".join([*lines, "</dl>"])


def _name(schema: dict[str, Any]) -> str:
    """The name of a form, where it has one."""
    options = [schema, *schema.get("anyOf", ())]
    return next((one["$ref"].rpartition("/")[2] for one in options if "$ref" in one), "")
