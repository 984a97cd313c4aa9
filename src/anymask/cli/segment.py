"""`anymask segment`: pictures and prompts in, masks in files and a short table out."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anymask.cli.show import console_of, plain
from anymask.errors import AnymaskError, BadPrompt, BadSetting

if TYPE_CHECKING:
    from anymask.models.interface import PromptModel
    from anymask.prompts.parse import Typed
    from anymask.records.record import Record


def segment(
    ctx: typer.Context,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE", help="Pictures, folders of pictures, or patterns in quotes.")
    ],
    point: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y[,LABEL]", help="A point in the object; X,Y,0 one that is not. Repeatable."),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="A box around the object. Several boxes: one object each."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A rough mask: black and white picture, or .npy (logits of h x w)."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="A model that 'anymask models' lists. [default: anymask-lite]")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights to use instead of the model's own.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    multimask: Annotated[
        bool | None,
        typer.Option("--multimask/--single", help="Three candidates, or one. [default: three for a single point]"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where results go.")] = Path("anymask-out"),
    svg: Annotated[bool, typer.Option("--svg", help="Also write outlines as SVG.")] = False,
    coco: Annotated[bool, typer.Option("--coco", help="Also write one COCO file, annotations.json.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON a picture, no table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but problems.")] = False,
) -> None:
    """Masks of what you point at, in one picture or many.

    Points and boxes are pixels of the picture, x from the left and y from the top. All points, a box and a mask
    together describe one object; several boxes without points are one object each.

    \b
    For each picture NAME.png or NAME.jpg the folder gets
      NAME.overlay.png   the mask over the picture, to look at (.jpg for photos)
      NAME.mask.png      black and white; NAME.mask.1.png ... the single answers
      NAME.cutout.png    the object alone, on transparent ground
      NAME.json          run lengths, outlines with holes, scores, how it was made
    Files of an earlier run are replaced. Pictures of one name in several folders
    get the folder's name in front.

    \b
    Examples
      anymask segment photo.jpg --point 420,310 --point 500,80,0 -o out
      anymask segment photos/ "scans/*.tif" --box 10,10,300,200 --coco -o out
      anymask segment "$(python -c 'import skimage; print(skimage.data.__path__[0])')/coffee.png" --point 300,200

    The last one works where scikit-image is installed, which carries that photo. Exit code: 0 when every picture was
    done, 1 when some were not (they are named at the end), 2 when the question itself was wrong.
    """
    from anymask.cli.app import debugging
    from anymask.cli.inputs import pictures, titles
    from anymask.prompts.parse import Typed

    typed = Typed.of(point or (), box or ())
    if not typed and mask is None:
        raise BadPrompt("say what to segment: --point X,Y or --box X0,Y0,X1,Y1 (or --mask FILE)")
    drawn = None if mask is None else _mask(mask)
    if out.exists() and not out.is_dir():
        raise BadSetting(f"{out} is a file; -o takes a folder for the results")
    paths, problems = pictures(images)
    job = _Job(typed, drawn, out, model, weights, device, multimask, svg, coco, debugging(ctx))
    job.problems.extend(problems)
    show = _Show(len(paths), as_json=as_json, quiet=quiet)
    with show.progress() as advance:
        for path, title in zip(paths, titles(paths), strict=True):
            advance(path.name)
            done = job.run(path, title, show)
            if done is not None:
                show.result(done)
    if coco:
        job.write_coco()
    show.summary(job)
    if job.problems:
        asked_wrongly = not job.done and all(isinstance(problem, BadPrompt) for problem in job.problems)
        raise typer.Exit(2 if asked_wrongly else 1)


@dataclass(frozen=True)
class _Done:
    """One picture's answer, its files, and milliseconds for reading, encoding and answering."""

    record: Record
    files: list[Path]
    encode_ms: float
    answer_ms: float


@dataclass
class _Job:
    """The question, asked picture by picture."""

    typed: Typed
    mask: Any
    out: Path
    name: str | None
    weights: Path | None
    device: str
    multimask: bool | None
    svg: bool
    coco: bool
    debug: bool
    problems: list[Exception] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    done: int = 0
    model: PromptModel | None = None

    def run(self, path: Path, title: str, show: _Show) -> _Done | None:
        """One picture; a problem with it is noted, and None returned, so that the next one gets its turn."""
        from anymask.cli import results
        from anymask.pixels.image import Image
        from anymask.records.record import ImageRef, Provenance, Record, described

        try:
            image = Image.open(path)
            # a question that does not fit is refused before seconds go into loading a model
            prompts = self.typed.prompts(image.size, self.mask)
        except AnymaskError as error:
            self._failed(path, error)
            return None
        model = self._model(show)
        from anymask.session.session import Session

        try:
            start = time.perf_counter()
            session = Session(image, model)
            encoded = time.perf_counter()
            masks = session.answer(prompts, self.multimask)
            answered = time.perf_counter()
            settings = {"multimask": self.multimask, "device": str(getattr(model, "device", self.device))}
            made_by = Provenance(model.card.name, model.weights, described(prompts), settings)
            record = Record(ImageRef.of(image), masks, made_by)
            files = results.write(record, self.out, title, self.typed, as_svg=self.svg)
        except Exception as error:  # hours into a folder, no surprise with one picture may cost the others
            self._failed(path, error)
            return None
        self.done += 1
        if self.coco:
            # without logits and pixels: a record of a folder's every picture stays in memory until the end
            best = masks.best().replace(logits=None, image=None)
            self.records.append(Record(record.image, best, made_by))
        return _Done(record, files, (encoded - start) * 1e3, (answered - encoded) * 1e3)

    def write_coco(self) -> None:
        from anymask.records import coco

        try:
            coco.write(self.records, self.out / "annotations.json")
        except OSError as error:
            self.problems.append(error)

    def _model(self, show: _Show) -> PromptModel:
        if self.model is None:
            with show.waiting("loading the model"):
                from anymask.models.interface import PromptModel
                from anymask.models.load import load

                loaded = load(self.name, weights=self.weights, device=self.device)
            if not isinstance(loaded, PromptModel):
                raise BadSetting(f"{loaded.card.name} takes no points, boxes or masks")
            self.model = loaded
        return self.model

    def _failed(self, path: Path, error: Exception) -> None:
        if self.debug:
            raise error
        if not isinstance(error, AnymaskError):
            known = isinstance(error, OSError)
            error = RuntimeError(str(error) if known else f"{type(error).__name__}: {error} (--debug shows where)")
        if path.name not in str(error):
            error = type(error)(f"{path}: {error}")
        self.problems.append(error)


class _Show:
    """What a person sees: progress on stderr, a table or JSON lines on stdout."""

    def __init__(self, count: int, *, as_json: bool, quiet: bool) -> None:
        self.count, self.as_json, self.quiet = count, as_json, quiet
        self.rows: list[_Done] = []

    @contextmanager
    def progress(self) -> Iterator[Any]:
        console = console_of(stderr=True)
        if self.quiet or self.count < 2 or not console.is_terminal:
            yield lambda name: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=self.count)
            begun = itertools.count()
            # called when a picture is begun, so what is completed is one less than the calls
            yield lambda name: bar.update(task, completed=next(begun), description=plain(name))

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        console = console_of(stderr=True)
        if self.quiet or self.count > 1 or not console.is_terminal:
            yield
            return
        with console.status(what):
            yield

    def result(self, done: _Done) -> None:
        if self.quiet:
            return
        if self.as_json:
            typer.echo(json.dumps(_line(done)))
        else:
            self.rows.append(done)

    def summary(self, job: _Job) -> None:
        if self.rows:
            console = console_of()
            console.print(_table(self.rows))
            note = "" if len(self.rows) > 1 else ": " + ", ".join(file.name for file in self.rows[0].files)
            console.print(f"Written to {job.out}{note}", markup=False, highlight=False, soft_wrap=True)
        for problem in job.problems:
            typer.echo(plain(f"anymask: {problem}"), err=True)
        if job.problems and job.done + len(job.problems) > 1:
            typer.echo(f"anymask: {job.done} done, {len(job.problems)} not", err=True)


def _table(rows: list[_Done]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("mask")
    for name in ("score", "area", "box", "encode + mask ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for done in rows:
        masks = done.record.masks
        pixels = masks.size[0] * masks.size[1]
        several = len(masks) > 1
        boxes, areas = masks.boxes().astype(int).tolist(), masks.areas().tolist()
        for row in range(len(masks)):
            first = row == 0
            name = Path(done.record.image.path or "").name if first else ""
            share = areas[row] / pixels
            table.add_row(
                Text(plain(name)),
                str(row + 1) if several else "",
                f"{masks.scores[row]:.3f}",
                f"{share:.1%}" if share == 0 or share >= 0.001 else "< 0.1%",
                ",".join(map(str, boxes[row])) if areas[row] else "empty",
                f"{done.encode_ms:.0f} + {done.answer_ms:.0f}" if first else "",
            )
    return table


def _line(done: _Done) -> dict[str, Any]:
    from anymask.records.json import as_dict

    masks = as_dict(done.record, polygons=False)["masks"]
    return {
        "image": done.record.image.path,
        "masks": [{name: mask[name] for name in ("id", "score", "area", "box")} for mask in masks],
        "files": [str(file) for file in done.files],
        "encode_ms": round(done.encode_ms, 1),
        "answer_ms": round(done.answer_ms, 1),
    }


def _mask(path: Path) -> Any:
    """A drawn mask, bool [1, H, W], or what a .npy file holds."""
    from anymask.records.png import read_mask

    if path.suffix.lower() != ".npy":
        return read_mask(path).dense()
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadPrompt(f"{path} cannot be read as a NumPy array: {error}") from None
