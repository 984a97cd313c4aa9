"""`anymask evaluate`: the published protocols on photos with true masks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anymask.evaluate.registry import PROTOCOLS

if TYPE_CHECKING:
    from anymask.evaluate.protocol import Protocol
    from anymask.evaluate.report import Report


def evaluate(
    data: Annotated[
        Path, typer.Option(help="Photos or clips with true masks, in the layouts that docs/evaluation.md names.")
    ],
    model: Annotated[str | None, typer.Option(help="Name of a model; the model inside if left out.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file; the model's own if left out.")] = None,
    protocol: Annotated[
        str, typer.Option(help="; ".join(f"{name}: {said}" for name, (_, said) in PROTOCOLS.items()) + ".")
    ] = "clicks",
    cap: Annotated[
        int | None,
        typer.Option(help="Masks a set at most, photos or clips where a protocol counts those; evenly spread."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a set; repeat for several.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="Layout of the data, or name of the data set; recognised if left out.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the protocol, NAME=VALUE; repeat for several.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn at random.")] = 0,
    baselines: Annotated[
        bool,
        typer.Option(
            help="Measure what needs no network too: GrabCut, ellipse, merged regions, Canny, masks carried on."
        ),
    ] = False,
    precision: Annotated[
        str | None,
        typer.Option(help="float32, or bfloat16 for encoder and decoder. [default: bfloat16; float32 for video]"),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Of everything mode, for proposals.")] = None,
    points_per_side: Annotated[int | None, typer.Option(help="Of everything mode; the preset's if left out.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="JSON file for the figures; a killed run goes on from there.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew where OUT holds an earlier run.")] = False,
) -> None:
    """Measure a model on photos with true masks: a table a set, and the mean over the sets.

    With -o the figures are written as JSON with the exact settings, a plot beside them, and a line for each photo, so
    that a run that was stopped goes on when it is started again.

    Example: anymask evaluate --data shared/data/instances/val --cap 40 --baselines -o scores.json
    """
    from anymask.errors import BadSetting
    from anymask.evaluate.protocol import Choice, settings_from
    from anymask.evaluate.registry import protocol_of
    from anymask.models.interface import PromptModel
    from anymask.models.load import load

    if precision not in (None, "float32", "bfloat16"):
        raise BadSetting(f"precision is float32 or bfloat16, got {precision!r}")
    way_of = protocol_of(protocol)
    precision = precision or way_of.precise
    given: dict[str, Any] = dict(_pair(text) for text in settings or ())
    given |= {} if preset is None else {"preset": preset}
    given |= {} if points_per_side is None else {"points_per_side": points_per_side}
    inside = "baselines" in (one.name for one in dataclasses.fields(way_of))  # type: ignore[arg-type]
    if baselines and inside:
        given["baselines"] = True
    chosen = settings_from(way_of, given)
    ways: list[tuple[str, Protocol]] = [("", chosen)]
    if baselines and not inside:
        ways += chosen.rivals()
        if len(ways) == 1:
            raise BadSetting(f"protocol {protocol} has no baselines")
    choice = Choice(cap, tuple(only or ()), seed, kind)
    loaded = None
    if chosen.needs_model:
        found = load(chosen.usual if model is None and weights is None else model, weights=weights)
        if not isinstance(found, PromptModel):
            raise BadSetting(f"{found.card.name} answers no points and boxes")
        loaded = found
    for name, way in ways:
        place = out if out is None or not name else out.with_name(f"{out.stem}.{name}{out.suffix}")
        report = _run(way, data, loaded if way.needs_model else None, choice, precision, place, fresh)
        report.show()
        if place is not None:
            _draw(report, place)


def _pair(text: str) -> tuple[str, str]:
    from anymask.errors import BadSetting

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise BadSetting(f"--set takes NAME=VALUE, got {text!r}")
    return name.strip().replace("-", "_"), value.strip()


def _run(
    protocol: Protocol, data: Path, model: Any, choice: Any, precision: Any, out: Path | None, fresh: bool
) -> Report:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from anymask.evaluate.runner import run

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "left")
    # over minutes, since photos differ in how many masks they have
    with Progress(*columns, TimeRemainingColumn(), transient=True, speed_estimate_period=600) as bar:
        task = bar.add_task(protocol.title, total=None)
        return run(
            protocol,
            data,
            model=model,
            choice=choice,
            precision=precision,
            out=out,
            fresh=fresh,
            tell=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _draw(report: Report, out: Path) -> None:
    """The plot beside the figures; where the library for it is missing, a line that says so."""
    from anymask.errors import MissingExtra
    from anymask.evaluate.plots import write

    if not report.outcome.plots:
        return
    try:
        write(report.outcome.plots, out.with_suffix(".png"))
    except MissingExtra as error:
        typer.echo(f"no plot was drawn: {error}")
