"""`anymask evaluate`: the box and click protocol on folders of photos with true masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

PROTOCOLS = Literal["clicks"]
Precision = Literal["float32", "bfloat16"]


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of <set>/annotations.json (COCO) with <set>/images/.")],
    model: Annotated[str | None, typer.Option(help="Name of a model; the model inside if left out.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file; the model's own if left out.")] = None,
    protocol: Annotated[
        str, typer.Option(help="Only 'clicks' so far: boxes, and one to five simulated clicks.")
    ] = "clicks",
    cap: Annotated[int | None, typer.Option(help="Masks a set at most, evenly spread; all if left out.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a set; repeat for several.")] = None,
    baselines: Annotated[bool, typer.Option(help="Measure GrabCut and the inscribed ellipse as well.")] = False,
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 for encoder and decoder.")] = "bfloat16",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for the figures.")] = None,
) -> None:
    """Measure a model on photos with true masks: a table a set, and the mean over the sets.

    Example: anymask evaluate --data shared/data/instances/val --cap 40 --baselines -o scores.json
    """
    import contextlib

    import torch

    from anymask.errors import BadSetting
    from anymask.evaluate.clicks import evaluate as measure
    from anymask.models.interface import PromptModel
    from anymask.models.load import load

    if protocol != "clicks":
        raise BadSetting(f"the protocols are: clicks; got {protocol!r}")
    if precision not in ("float32", "bfloat16"):
        raise BadSetting(f"precision is float32 or bfloat16, got {precision!r}")
    half = precision == "bfloat16"
    loaded = load(model, weights=weights)
    if not isinstance(loaded, PromptModel):
        raise BadSetting(f"{loaded.card.name} answers no points and boxes")
    device = str(getattr(loaded, "device", "cpu")).split(":")[0]
    autocast = torch.autocast(device, torch.bfloat16) if half else contextlib.nullcontext()
    from rich.progress import Progress

    with Progress(transient=True) as bar, autocast:
        task = bar.add_task("masks", total=None)
        report = measure(
            loaded,
            data,
            cap=cap,
            baselines=baselines,
            only=only or (),
            tell=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _print(report)
    if out is not None:
        report.write(out)


def _print(report: object) -> None:
    from rich.console import Console
    from rich.table import Table

    from anymask.evaluate.clicks import BASELINES, Report

    assert isinstance(report, Report)
    columns = ["box", "click_top", "click_oracle", "clicks_3", "clicks_5", "box_score_error"]
    titles = ["box", "1 click", "best of 3", "3 clicks", "5 clicks", "score error"]
    if BASELINES[0] in report.mean:
        columns, titles = columns + list(BASELINES), titles + list(BASELINES)
    table = Table(title=f"{report.model}: IoU by set (mean over masks)")
    table.add_column("set", no_wrap=True, min_width=max(map(len, report.sets)))
    table.add_column("masks", justify="right")
    for title in titles:
        table.add_column(title, justify="right")
    for name, row in report.sets.items():
        table.add_row(name, str(report.masks[name]), *(f"{row[column]:.3f}" for column in columns))
    table.add_section()
    table.add_row(f"mean of {len(report.sets)} sets", "", *(f"{report.mean[column]:.3f}" for column in columns))
    # a set's name cut short says nothing, so a narrow terminal wraps lines instead
    console = Console(width=max(130, Console().width))
    console.print(table)
    above = report.above_baselines()
    if above is not None:
        console.print(f"box above ellipse and GrabCut in {above} of {len(report.sets)} sets")
    console.print(f"{sum(report.masks.values())} masks in {report.seconds:.0f} s; weights {report.weights[:12]}")
