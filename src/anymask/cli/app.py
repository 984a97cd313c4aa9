"""`anymask`: its commands, imported only when called, and how their errors reach a person."""

from __future__ import annotations

import importlib.util
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import anymask
from anymask.errors import AnymaskError, BadPrompt, BadSetting, NotYet, UnknownModel

COMMANDS = {
    "segment": "Masks of what you point at, in one picture or many.",
    "everything": "Masks of all objects, in one picture or in folders of any size.",
    "video": "Follow what you point at through a clip.",
    "models": "The family: size, licence, prompts, and what is on this machine.",
    "data": "What is in data sets: counts, sizes, labels, broken files, pictures.",
    "train": "Train or fine-tune a model on photos with masks.",
    "distil": "Train a small image encoder to answer what a large one answers, from pictures alone.",
    "merge": "Put the adapter of a fine-tune onto its weights, as one file.",
    "evaluate": "Measure a model on photos with true masks.",
    "serve": "The page: open a picture, click, and the mask is there; and the server behind it.",
    "export": "A model as ONNX files, checked against the original.",
}
"""Command and what help says of it. `anymask NAME` runs the function NAME of anymask.cli.NAME."""

ASKED_WRONGLY = (BadPrompt, BadSetting, NotYet, UnknownModel)
"""Errors that end with exit code 2, as wrong options do; all others end with 1."""

_DEBUG = "anymask.debug"


class _Commands(TyperGroup):
    """A group whose commands are imported when they are called: torch takes seconds, help should not."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, summary in COMMANDS.items():
            if importlib.util.find_spec(f"anymask.cli.{name}") is not None:
                self.commands[name] = TyperCommand(name, help=summary)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # --debug is typed after the fact, at the end of the line that failed; so it may stand anywhere
        own = args[: args.index("--")] if "--" in args else args
        if "--debug" in own:
            ctx.meta[_DEBUG] = True
            args = [arg for arg in own if arg != "--debug"] + args[len(own) :]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and name in COMMANDS:
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command(name)(getattr(import_module(f"anymask.cli.{name}"), name))
            command = typer.main.get_command(alone)  # type: ignore[assignment]
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AnymaskError as error:
            if debugging(ctx):
                raise
            typer.echo(f"anymask: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, ASKED_WRONGLY) else 1) from None
        except Exception as error:
            # typer's own ways to end (usage errors, Exit, Abort) carry an exit code or end quietly
            if debugging(ctx) or hasattr(error, "exit_code") or isinstance(error, (typer.Exit, typer.Abort)):
                raise
            typer.echo(f"anymask: {type(error).__name__}: {error} (the same with --debug shows where)", err=True)
            raise typer.Exit(1) from None


def debugging(ctx: Any) -> bool:
    """Whether --debug was given: errors then show where they come from."""
    return bool(ctx.meta.get(_DEBUG, False))


app = typer.Typer(
    name="anymask",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"anymask {anymask.__version__}")
        raise typer.Exit


@app.callback()
def _anymask(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from; may stand anywhere on the line.")
    ] = False,
) -> None:
    """Click anything in a picture and get its mask.

    Start with:  anymask segment photo.jpg --point 420,310 -o out
    """


def main() -> None:
    """The entry point of the `anymask` command."""
    app()
