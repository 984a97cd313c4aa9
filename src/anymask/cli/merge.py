"""`anymask merge`: an adapter put onto its weights for good."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    adapter: Annotated[Path, typer.Argument(help="adapter.safetensors of a run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the whole model.")],
    base: Annotated[
        Path | None, typer.Option(help="Weights that the adapter was made on; the model's own if left out.")
    ] = None,
    half: Annotated[bool, typer.Option(help="Write float16.")] = False,
) -> None:
    """Put an adapter onto the weights it was made on, and write the whole model.

    Example: anymask merge runs/mine/adapter.safetensors -o mine.safetensors
    """
    from anymask.train.export import merge as merged

    typer.echo(str(merged(adapter, out, base=base, half=half)))
