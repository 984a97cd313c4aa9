"""`anymask everything`: all objects of one picture to look at, or of folders of any size as a data set."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anymask.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anymask.cli.show import Show
    from anymask.jobs.folder import Report
    from anymask.jobs.settings import JobSettings
    from anymask.jobs.work import Everything
    from anymask.models.card import Card


def everything(
    ctx: typer.Context,
    images: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Pictures, folders of pictures, or patterns in quotes.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where results go.")] = Path("anymask-out"),
    form: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="sa1b, coco, yolo, voc, png, svg, cutouts, geojson, geopackage, geotiff.",
        ),
    ] = "sa1b",
    preset: Annotated[str, typer.Option(metavar="NAME", help="default, quick, sa1b, lvis, proposals.")] = "default",
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="A model that 'anymask models' lists. [default: anymask-lite]")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights to use instead of the model's own.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also folders within folders.")] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Processes. [default: as many as cores and memory take]")
    ] = None,
    pictures: Annotated[
        bool | None,
        typer.Option("--pictures/--no-pictures", help="TITLE.overlay.jpg to look at. [default: for one picture]"),
    ] = None,
    tree: Annotated[
        bool, typer.Option("--tree", help="Print which mask lies in which, and with pictures draw TITLE.tree.jpg.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Also write report.html and contact-sheet.jpg.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove an earlier run's results and start anew.")
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(metavar="PX", help="Look tile by tile of this side. [default: only beyond 64 megapixels, 1024]"),
    ] = None,
    overlap: Annotated[int | None, typer.Option(metavar="PX", help="Of tiles. [default: an eighth]")] = None,
    bands: Annotated[str | None, typer.Option(metavar="R,G,B", help="Bands of a TIFF, from 1.")] = None,
    points_per_side: Annotated[
        int | None, typer.Option(metavar="N", help="Points along each side of the grid. [default: 32]")
    ] = None,
    points_per_batch: Annotated[
        int | None, typer.Option(metavar="N", help="Points decoded at once. [default: as memory allows]")
    ] = None,
    pred_iou_thresh: Annotated[
        float | None, typer.Option(metavar="X", help="Masks with no better predicted IoU are dropped.")
    ] = None,
    stability_score_thresh: Annotated[
        float | None, typer.Option(metavar="X", help="Masks less stable are dropped.")
    ] = None,
    stability_score_offset: Annotated[
        float | None, typer.Option(metavar="X", help="Logits the threshold is moved by for stability.")
    ] = None,
    box_nms_thresh: Annotated[
        float | None, typer.Option(metavar="X", help="Of masks whose boxes overlap more, the best stays.")
    ] = None,
    mask_nms_thresh: Annotated[
        float | None, typer.Option(metavar="X", help="Of masks that themselves overlap more, the best stays.")
    ] = None,
    crop_n_layers: Annotated[
        int | None, typer.Option(metavar="N", help="Layer n looks again at 4^n crops. [default: 0]")
    ] = None,
    crop_nms_thresh: Annotated[float | None, typer.Option(metavar="X", help="As --box-nms-thresh, of crops.")] = None,
    crop_overlap_ratio: Annotated[
        float | None, typer.Option(metavar="X", help="How far crops overlap. [default: 512/1500]")
    ] = None,
    crop_n_points_downscale_factor: Annotated[
        int | None, typer.Option(metavar="N", help="Points along a side are divided by it with each layer.")
    ] = None,
    point_grids: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON: a list of [x, y] in 0..1 for the image and each crop layer."),
    ] = None,
    min_mask_region_area: Annotated[
        int | None, typer.Option(metavar="PX", help="Smaller holes are filled, smaller islands dropped.")
    ] = None,
    max_area_share: Annotated[
        float | None, typer.Option(metavar="X", help="Masks of so much of the image are dropped.")
    ] = None,
    max_masks: Annotated[int | None, typer.Option(metavar="N", help="Only the best so many.")] = None,
    coarse_score_thresh: Annotated[
        float | None,
        typer.Option(metavar="X", help="A coarse grid first, then points next to answers that score more."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Work on a Ray cluster, 'local' for one here; PATH and -o may be s3:// URLs."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON a picture, no table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but problems.")] = False,
) -> None:
    """Masks of all objects, without pointing at any: of one picture, or of folders as a data set.

    One picture gives NAME.overlay.jpg to look at and the masks as NAME.json.

    Several pictures, or a folder, are a job: worker processes share them, and the output folder remembers what is
    done. Stopped in any way (Ctrl-C, a full disc, a power cut), the same command goes on where it was, and leaves the
    files that it would have left undisturbed. A picture that cannot be read is named at the end and in manifest.jsonl.

    \b
    Examples
      anymask everything photo.jpg
      anymask everything photos/ -o masks --format coco
      anymask everything archive/ --recursive -o masks --format yolo --workers 4
      anymask everything orthophoto.tif -o masks --format geojson --tile 1024
      anymask everything s3://bucket/photos -o s3://bucket/masks --ray auto

    Exit code: 0 when every picture was done, 1 when some were not, 2 when the question itself was wrong, 130 and 143
    when a signal ended it.
    """
    from anymask.cli import clusters
    from anymask.cli.app import debugging
    from anymask.cli.inputs import pictures as named
    from anymask.cli.show import Show
    from anymask.jobs.settings import FILE

    asked = {
        "points_per_side": points_per_side,
        "points_per_batch": points_per_batch,
        "pred_iou_thresh": pred_iou_thresh,
        "stability_score_thresh": stability_score_thresh,
        "stability_score_offset": stability_score_offset,
        "box_nms_thresh": box_nms_thresh,
        "mask_nms_thresh": mask_nms_thresh,
        "crop_n_layers": crop_n_layers,
        "crop_nms_thresh": crop_nms_thresh,
        "crop_overlap_ratio": crop_overlap_ratio,
        "crop_n_points_downscale_factor": crop_n_points_downscale_factor,
        "point_grids": None if point_grids is None else _grids(point_grids),
        "min_mask_region_area": min_mask_region_area,
        "max_area_share": max_area_share,
        "max_masks": max_masks,
        "coarse_score_thresh": coarse_score_thresh,
    }
    options = {name: value for name, value in asked.items() if value is not None}
    if out.exists() and not out.is_dir():
        raise BadSetting(f"{out} is a file; -o takes a folder for the results")
    show = Show(as_json=as_json, quiet=quiet, tree=tree)
    question = _Question(out, form, preset, model, weights, device, options, tile, overlap, _numbers(bands))
    again = {"retry_failed": retry_failed, "overwrite": overwrite}
    if ray is not None:
        if report:
            raise BadSetting("--report is made on one machine; give the command again without --ray when all is done")
        code = clusters.many(
            question, images, ray, workers, show, recursive=recursive, pictures=bool(pictures), **again
        )
        show.end()
        raise typer.Exit(code or (1 if show.problems else 0))
    clusters.refuse_urls(images, out)
    paths, problems = named(images, recursive=recursive, apart_from=out)
    show.problems.extend(map(str, problems))
    if not paths:
        show.end()
        raise typer.Exit(1)
    # one picture that was named, into a folder that holds no job: something to look at
    single = len(images) == 1 and len(paths) == 1 and not Path(images[0]).is_dir()
    if single and workers is None and not report and not (out / FILE).exists():
        code = _one(question, paths[0], pictures is not False, show, debug=debugging(ctx))
    else:
        code = _many(question, paths, bool(pictures), workers, show, page=report, **again)
    show.end()
    if code or show.problems:
        raise typer.Exit(code or 1)


@dataclass(frozen=True)
class _Question:
    """What is asked of each picture."""

    out: Path
    form: str
    preset: str
    model: str | None
    weights: Path | None
    device: str
    options: Mapping[str, Any]
    tile: int | None
    overlap: int | None
    bands: tuple[int, ...] | None

    def settings(self, pictures: bool) -> tuple[Card, JobSettings]:
        """The model's card and what the results depend on; whatever was asked wrongly is found here."""
        from anymask.jobs.settings import JobSettings
        from anymask.models.load import identify
        from anymask.pixels.window import tiles
        from anymask.records.formats import format_named
        from anymask.session.settings import EverythingSettings

        form = format_named(self.form)
        if self.tile is not None:
            tiles((1, 1), self.tile, self.tile // 8 if self.overlap is None else self.overlap)
        elif self.overlap is not None:
            raise BadSetting("--overlap is of tiles; give their side as well, with --tile")
        card, _, digest = identify(self.model, self.weights)
        options = EverythingSettings.of(self.preset, card, **self.options).described()
        look: dict[str, Any] = {"tile": self.tile, "overlap": self.overlap, "bands": self.bands}
        return card, JobSettings(
            form.name, card.name, digest, "everything", self.preset, options, **look, pictures=pictures
        )

    def recipe(
        self, settings: JobSettings, device: str, batch: int | None, tree: bool, report: bool = False
    ) -> Everything:
        """The work of a worker."""
        from anymask.jobs.work import Everything

        options = dict(settings.options)
        if options.get("points_per_batch") is None:
            options["points_per_batch"] = batch
        weights = None if self.weights is None else str(self.weights)
        look: dict[str, Any] = {"tile": self.tile, "overlap": self.overlap, "bands": self.bands}
        return Everything(
            self.form,
            self.model,
            weights,
            device,
            options,
            **look,
            pictures=settings.pictures,
            tree=tree,
            report=report,
        )


def _one(question: _Question, path: Path, pictures: bool, show: Show, *, debug: bool) -> int:
    """One picture, here and now; the exit code."""
    from anymask.jobs.folder import complete
    from anymask.jobs.manifest import Item
    from anymask.jobs.places import LocalFolder
    from anymask.jobs.worker import settle

    # before torch is loaded: threads that wait by spinning are ten times slower when other programs want the cores
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    place = LocalFolder(question.out)
    item = Item(path.stem, str(path), os.path.abspath(path))
    with show.waiting("loading the model"):
        _, settings = question.settings(pictures)
        step = question.recipe(settings, question.device, None, show.tree)()
    with show.prompts() as step.tell:
        settled = settle(item, step, place, debug=debug)
    more = [] if settled.entry.failed is not None else complete(place, settings.format, [item.title], note=False)
    place.bare()
    show.picture(item, settled, question.out, more)
    return 1 if settled.entry.failed is not None else 0


def _many(
    question: _Question,
    paths: list[Path],
    pictures: bool,
    workers: int | None,
    show: Show,
    *,
    page: bool,
    retry_failed: bool,
    overwrite: bool,
) -> int:
    """A job; the exit code."""
    from anymask.cli.inputs import titles
    from anymask.jobs.folder import run
    from anymask.jobs.manifest import Item
    from anymask.jobs.shares import device_of, divided
    from anymask.models.load import pick_device

    card, settings = question.settings(pictures)
    device = pick_device(question.device)
    count, shares = divided(card, device, len(paths), workers)
    items = [Item(title, str(path), os.path.abspath(path)) for path, title in zip(paths, titles(paths), strict=True)]
    with show.progress() as tell:
        report = run(
            items,
            question.out,
            settings,
            lambda number, shares: question.recipe(settings, device_of(device, number), shares.batch, show.tree, page),
            shares,
            workers=count,
            retry_failed=retry_failed,
            overwrite=overwrite,
            tell=tell,
        )
    show.report(report, question.out, _pages(question.out, settings, report) if page else [])
    if report.stopped is not None:
        return 128 + report.stopped
    return 1 if report.failed else 0


def _pages(out: Path, settings: JobSettings, report: Report) -> list[str]:
    """report.html and the contact sheet, about what is done so far; their names."""
    from anymask.jobs.places import LocalFolder
    from anymask.jobs.report import write_report, write_sheet
    from anymask.records.record import anymask_version

    options = {name: value for name, value in settings.options.items() if value is not None}
    about = {"model": settings.model, "anymask": anymask_version(), "weights": settings.weights[:12]}
    about |= {"format": settings.format, "preset": settings.preset, **options}
    place = LocalFolder(out)
    return [
        name
        for name in (write_report(place, report.entries, about, report.seconds), write_sheet(place, report.entries))
        if name
    ]


def _grids(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadSetting(f"{path} cannot be read as point grids, a JSON list of lists of [x, y]: {error}") from None


def _numbers(bands: str | None) -> tuple[int, ...] | None:
    if bands is None:
        return None
    try:
        return tuple(int(part) for part in bands.split(","))
    except ValueError:
        raise BadSetting(f"bands are numbers with commas between, such as 4,3,2; got {bands!r}") from None
