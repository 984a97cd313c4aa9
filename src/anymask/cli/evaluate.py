"""`anymask evaluate`: the published protocols on folders of photos with true masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anymask.evaluate.proposals import ProposalReport
    from anymask.models.interface import PromptModel

PROTOCOLS = ("clicks", "proposals")


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of <set>/annotations.json (COCO) with <set>/images/.")],
    model: Annotated[str | None, typer.Option(help="Name of a model; the model inside if left out.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file; the model's own if left out.")] = None,
    protocol: Annotated[
        str,
        typer.Option(help="clicks: boxes, and one to five simulated clicks. proposals: recall of everything mode."),
    ] = "clicks",
    cap: Annotated[
        int | None,
        typer.Option(help="Masks a set at most (clicks), photos a set (proposals), evenly spread; all if left out."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a set; repeat for several.")] = None,
    baselines: Annotated[
        bool, typer.Option(help="Measure what needs no network as well: GrabCut and ellipse, or merged regions.")
    ] = False,
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 for encoder and decoder.")] = "bfloat16",
    preset: Annotated[str, typer.Option(help="Of everything mode, for proposals.")] = "proposals",
    points_per_side: Annotated[int | None, typer.Option(help="Of everything mode; the preset's if left out.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for the figures.")] = None,
) -> None:
    """Measure a model on photos with true masks: a table a set, and the mean over the sets.

    Example: anymask evaluate --data shared/data/instances/val --cap 40 --baselines -o scores.json
    """
    import contextlib

    import torch

    from anymask.errors import BadSetting
    from anymask.models.interface import PromptModel
    from anymask.models.load import load

    if protocol not in PROTOCOLS:
        raise BadSetting(f"the protocols are: {', '.join(PROTOCOLS)}; got {protocol!r}")
    if precision not in ("float32", "bfloat16"):
        raise BadSetting(f"precision is float32 or bfloat16, got {precision!r}")
    half = precision == "bfloat16"
    loaded = load(model, weights=weights)
    if not isinstance(loaded, PromptModel):
        raise BadSetting(f"{loaded.card.name} answers no points and boxes")
    if protocol == "proposals":
        options = {} if points_per_side is None else {"points_per_side": points_per_side}
        _proposals(loaded, data, cap, only or [], baselines, half, preset, options, out)
        return
    from anymask.evaluate.clicks import evaluate as measure

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


def _proposals(
    model: PromptModel,
    data: Path,
    cap: int | None,
    only: list[str],
    baselines: bool,
    half: bool,
    preset: str,
    options: dict[str, Any],
    out: Path | None,
) -> None:
    """The proposal protocol: everything mode, and merged regions where baselines are wanted; OUT and OUT.regions."""
    import torch
    from rich.progress import Progress

    from anymask.evaluate.proposals import evaluate as measure
    from anymask.evaluate.proposals import everything_of
    from anymask.session.settings import EverythingSettings

    use = getattr(model, "use", None)
    if half and use is not None:
        use(torch.bfloat16)
    settings = EverythingSettings.of(preset, model.card, **options).described() | {"bfloat16": half}
    ways = [(everything_of(model, preset, **options), model.card.name, model.weights, settings)]
    if baselines:
        from anymask.evaluate.regions import regions
        from anymask.extras import need

        # said before the minutes that the model takes
        need("skimage.segmentation", extra="evaluate", to="measure merged regions as a baseline")

        ways.append((regions, "merged regions", "", {}))
    with Progress(transient=True) as bar:
        for number, (propose, name, weights, chosen) in enumerate(ways):
            task = bar.add_task(name, total=None)

            def tell(done: int, total: int, task: Any = task) -> None:
                bar.update(task, completed=done, total=total)

            report = measure(
                propose, data, images=cap, only=only, model=name, weights=weights, settings=chosen, tell=tell
            )
            _print_proposals(report)
            if out is not None:
                report.write(out if number == 0 else out.with_name(f"{out.stem}.regions{out.suffix}"))


def _print_proposals(report: ProposalReport) -> None:
    from rich.console import Console
    from rich.table import Table

    from anymask.evaluate.proposals import MEASURES

    table = Table(title=f"{report.model}: average recall of masks by set")
    table.add_column("set", no_wrap=True, min_width=max(map(len, report.sets)))
    for title in MEASURES:
        table.add_column(title, justify="right")

    def shown(row: dict[str, float]) -> list[str]:
        return ["" if row[name] != row[name] else f"{row[name]:.3f}" for name in MEASURES]

    for name, row in report.sets.items():
        table.add_row(name, *shown(row))
    table.add_section()
    table.add_row(f"mean of {len(report.sets)} sets", *shown(report.mean))
    console = Console(width=max(130, Console().width))
    console.print(table)
    console.print(
        f"{report.masks} true masks in {report.images} photos, {report.proposals:.0f} proposals a photo, "
        f"{report.seconds / max(report.images, 1):.1f} s a photo"
    )


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
