"""anymask serve: the page on one's own machine, and the server behind it."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from anymask.errors import BadSetting


def serve(
    model: Annotated[str | None, typer.Option(help="Model that answers; left out, the model inside.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file for it.")] = None,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 lets other machines in, with a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(envvar="ANYMASK_TOKEN", help="What requests must carry; made up and printed for other hosts."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Further host name it may be called by, behind a proxy; repeatable.")
    ] = None,
    trust: Annotated[
        list[str] | None, typer.Option(help="Address whose requests need no token, as CVAT's cannot; repeatable.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps embeddings for the next time.")] = None,
    disk: Annotated[int, typer.Option(help="MB of embeddings in that folder.")] = 4096,
    memory: Annotated[int, typer.Option(help="MB of pictures, embeddings and answers in memory.")] = 2048,
    max_pixels: Annotated[int, typer.Option(help="Pixels of the largest picture.")] = 64_000_000,
    max_bytes: Annotated[int, typer.Option(help="Bytes of the largest file.")] = 64 * 2**20,
    waiting: Annotated[int, typer.Option(help="Clicks that may wait at once; more are told to come again.")] = 128,
    rate: Annotated[float, typer.Option(help="Requests a second that one client may send.")] = 200.0,
    runtime: Annotated[
        Path | None, typer.Option(help="Folder dist of the npm package onnxruntime-web, to decode in the browser too.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Clicks answered at once; 0 for what suits the machine.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of each; 0 for what suits the machine.")] = 0,
) -> None:
    """Open the page: pick a picture, click, and the mask is there.

    \b
    Examples:
      anymask serve
      anymask serve --model sam-vit-b --port 9000
      anymask serve --host 0.0.0.0 --no-browser
    """
    from anymask.serve.run import run
    from anymask.serve.settings import LOCAL, ServeSettings

    if weights is not None and not weights.is_file():
        raise BadSetting(f"there is no file {weights}")
    if host not in LOCAL and token is None:
        token = secrets.token_urlsafe(18)
    settings = ServeSettings(
        model=model,
        weights=None if weights is None else os.fspath(weights),
        host=host,
        port=port,
        token=token,
        names=tuple(name or ()),
        trusted=tuple(trust or ()),
        cache=cache,
        disk=disk,
        memory=memory,
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        waiting=waiting,
        rate=rate,
        runtime=runtime,
        workers=workers,
        threads=threads,
    )
    run(settings, browser=not no_browser and settings.local, say=_say)


def _say(line: str) -> None:
    """A line for whoever looks on; a server goes on, and ends in order, when nobody does any more."""
    with contextlib.suppress(BrokenPipeError):
        typer.echo(line)
