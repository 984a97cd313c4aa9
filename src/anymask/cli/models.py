"""anymask models: the family, what each member takes and weighs, under which licence, and whether it is here."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anymask.models.card import Card

PROMPTS = ("points", "boxes", "masks", "text", "exemplars", "video", "volume", "everything")
"""The order in which prompts are listed."""


def models(
    name: Annotated[str | None, typer.Argument(help="One model, for everything that is known about it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Also models whose code comes later.")] = False,
) -> None:
    """List the models: size, licence, prompts, and whether the weights are on this machine.

    \b
    Examples:
      anymask models
      anymask models sam-vit-b
      anymask models --all --json
    """
    from anymask.models.catalogue import card, cards

    known = cards().values()
    # the row that only tests use has no files and helps nobody who looks for a model
    chosen = [card(name)] if name is not None else [c for c in known if every or (c.available and c.files)]
    if as_json:
        facts = [describe(c) for c in chosen]
        print(json.dumps(facts[0] if name is not None else facts, indent=2))
    elif name is not None:
        _details(chosen[0])
    else:
        _table(chosen, hidden=0 if every else sum(not c.available for c in known))


def describe(card: Card) -> dict[str, Any]:
    """What is known of a model, ready for JSON; sizes in bytes, 0 where unknown."""
    from anymask.models.download import on_disk
    from anymask.models.places import own_place, web_address

    here = next((path for file in card.files if (path := on_disk(file)) is not None), None)
    first = card.files[0] if card.files else None
    return {
        "name": card.name,
        "title": card.title,
        "available": card.available,
        "prompts": [prompt for prompt in PROMPTS if prompt in card.can],
        "parameters": card.parameters,
        "bytes": here.stat().st_size if here else first.size if first else 0,
        "licence": card.licence,
        "gated": card.gated,
        "on_disk": str(here) if here else None,
        "download": web_address(first.url) if first else "",
        "by_hand": str(own_place(first)) if first else "",
        "sha256": first.sha256 if first else "",
        "input_side": card.input_side,
        "trained_on": card.trained_on,
        "paper": card.paper,
        "page": card.page,
        "aliases": list(card.aliases),
        "later": card.later,
        "instead": card.instead,
        "notes": card.notes,
    }


def _table(cards: list[Card], hidden: int) -> None:
    from rich.console import Console
    from rich.table import Table

    # a pipe has no width; cutting columns at 80 would hide what a script looks for
    console = Console(width=None if sys.stdout.isatty() else 200)
    roomy = console.width >= 120
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True, style="cyan")
    table.add_column("params", justify="right")
    table.add_column("file", justify="right")
    table.add_column("licence", min_width=10)
    table.add_column("here", justify="center")
    table.add_column("prompts")
    if roomy:
        table.add_column("what it is", overflow="fold")
    for card in cards:
        facts = describe(card)
        table.add_row(
            card.name,
            f"{card.parameters / 1e6:,.1f} M" if card.parameters else "",
            _size(facts["bytes"]),
            card.licence + (", gated" if card.gated else ""),
            "yes" if facts["on_disk"] else "",
            ", ".join(facts["prompts"]),
            *([card.title if card.available else f"{card.title} (later)"] if roomy else []),
        )
    console.print(table)
    if hidden > 0:
        console.print(f"\n{hidden} more models are known and come in later releases: anymask models --all", style="dim")


def _details(card: Card) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = describe(card)
    state = (
        "now" if card.available else f"later, with {card.later}" + (f"; today: {card.instead}" if card.instead else "")
    )
    rows = {
        "model": card.name,
        "what it is": card.title,
        "also called": ", ".join(card.aliases),
        "works": state,
        "prompts": ", ".join(facts["prompts"]),
        "input": f"{card.input_side} px",
        "parameters": f"{card.parameters:,}" if card.parameters else "",
        "file": _size(facts["bytes"]),
        "licence": card.licence,
        "gated": "yes: ask for access on its page, then set HF_TOKEN" if card.gated else "no",
        "trained on": card.trained_on,
        "on disk": facts["on_disk"] or "no",
        "download": facts["download"],
        "by hand to": "" if facts["on_disk"] else facts["by_hand"],
        "SHA-256": facts["sha256"],
        "paper": card.paper,
        "page": card.page,
        "compared with": card.official,
        "notes": card.notes,
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows.items():
        if value:
            table.add_row(label, value)
    Console(width=None if sys.stdout.isatty() else 200).print(table, markup=False, highlight=False)


def _size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1_000_000 else f"{count / 1e3:,.0f} kB" if count else ""
