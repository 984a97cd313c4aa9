"""`anymask video`: point at things on a frame of a clip, and have them followed to its end."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anymask.errors import BadPrompt, BadSetting, NotWritten

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anymask.cli.video_outputs import Job, Output
    from anymask.models.interface import Model
    from anymask.pixels.video import Frames
    from anymask.prompts.clip_parse import Script
    from anymask.track.session import VideoSession

QUESTION = "question.json"
"""What is being done, in the folder of the run; there as soon as all prompts were given."""
SESSION = "session"
LINE_S = 30.0
"""Seconds between lines of progress where there is no terminal."""


def video(
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="A video file, or a folder of pictures, one a frame.")],
    point: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y[,LABEL][@FRAME]", help="A point in the object; X,Y,0 one that is not. Repeatable."),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="X0,Y0,X1,Y1[@FRAME]", help="A box around it. Several boxes alone: one object each."),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[@FRAME]", help="Its mask, black and white; or a label map, a number an object."),
    ] = None,
    objects: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Objects with names, and prompts on any frames.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where results go.")] = Path("anymask-out"),
    form: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="overlay, png, sav, coco, alpha, webm, strip; repeatable. [default: overlay]",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="A model that follows objects. [default: the model inside]")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights to use instead of the model's own.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    policy: Annotated[
        str, typer.Option(metavar="NAME", help="What objects are reminded of: recent, samurai, long.")
    ] = "recent",
    rate: Annotated[
        float | None, typer.Option(metavar="FPS", help="Frames a second of what is written. [default: the clip's]")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep what was tracked, for further formats or prompts.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Forget an earlier run of the clip in FOLDER.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON, no table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but problems.")] = False,
) -> None:
    """Follow objects through a clip: point at them on one frame, get their masks on all.

    Coordinates are pixels, x from the left, y from the top; frames are numbered from 0, and 0 is meant where @FRAME is
    left out. A number in front tells objects apart: 2:420,310@12 is a point in object 2 on frame 12. Prompts of one
    object on several frames correct each other; frames before its first one are followed backward.

    \b
    For a clip NAME.mp4 the folder gets, by format
      overlay  NAME.overlay.mp4   the masks over the clip, to look at
      png      NAME/00000.png     a pixel holds its object's number (DAVIS)
      sav      NAME_auto.json     as SA-V is published
      coco     NAME.coco.json     COCO for video (YouTube-VIS)
      alpha    NAME.alpha.mov     the objects alone, ProRes 4444 with alpha
      webm     NAME.alpha.webm    the same for web pages, VP9 with alpha
      strip    NAME.strip.png     a few frames side by side

    Memory does not grow with the clip. Stopped in any way, the same command goes on where it was.

    \b
    Examples
      anymask video clip.mp4 --point 420,310 -o out
      anymask video clip.mp4 --point 420,310 --point 400,300,0@90 --format overlay --format coco
      anymask video clip.mp4 --point 1:420,310 --point 2:80,200@15 --format png
      anymask video frames/ --mask first.png --model sam2.1-hiera-tiny --format png

    --objects reads [{"id": 1, "name": "dog", "prompts": [{"frame": 0, "points": [[420, 310], [500, 80, 0]]}]}], where
    a prompt may also have "box": [x0, y0, x1, y1] or "mask": "FILE".

    Exit code: 0 when done, 1 when something went wrong on the way, 2 when the question itself was wrong, 130 when it
    was stopped.
    """
    from anymask.cli.video_outputs import OUTPUTS
    from anymask.pixels.video import Frames
    from anymask.prompts.clip_parse import Script
    from anymask.track.settings import TrackSettings

    forms = list(dict.fromkeys(part for text in form or ["overlay"] for part in text.split(",")))
    unknown = [one for one in forms if one not in OUTPUTS]
    if unknown:
        raise BadSetting(f"formats are {', '.join(OUTPUTS)}; got {', '.join(unknown)}")
    if rate is not None and not 0 < rate <= 1000:
        raise BadSetting(f"--rate is frames a second, more than 0 and at most 1000, got {rate:g}")
    if out.exists() and not out.is_dir():
        raise BadSetting(f"{out} is a file; -o takes a folder for the results")
    TrackSettings.of(policy=policy)
    script = Script.of(point or (), box or (), mask or (), objects, _masks)
    show = _Show(as_json=as_json, quiet=quiet)
    with Frames.open(clip) as frames:
        # a question that does not fit is refused before seconds go into loading a model
        for one in script.said:
            one.check(frames.size, frames.count)
        run = _Run(clip, frames, script, out, forms, policy, rate, keep, show)
        if not overwrite and run.through():
            show.done(run)
            return
        with show.waiting("loading the model"):
            from anymask.models.load import load
            from anymask.track.opening import DEFAULT, following_model

            named = DEFAULT if model is None and weights is None else model
            loaded = following_model(load(named, weights=weights, device=device))  # type: ignore[arg-type]
        try:
            run.go(loaded, overwrite=overwrite)
        except KeyboardInterrupt:
            typer.echo(f"anymask: stopped at frame {run.frame}; the same command goes on from there", err=True)
            raise typer.Exit(130) from None
    show.done(run)


@dataclass
class _Run:
    """One clip with what is asked of it. seen: object -> (frames on which it is to be seen, sum of scores there)."""

    source: str
    frames: Frames
    script: Script
    out: Path
    forms: list[str]
    policy: str
    rate: float | None
    keep: bool
    show: _Show
    frame: int = 0
    files: list[str] = field(default_factory=list)
    seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    seconds: float = 0.0
    fresh: int = 0

    def __post_init__(self) -> None:
        from anymask.cli.video_outputs import Job
        from anymask.jobs.places import LocalFolder
        from anymask.pixels.video_write import FALLBACK
        from anymask.records.clip import ClipRef

        if self.frames.count is None:
            raise BadSetting(f"{self.source} has no end; anymask.video in Python follows objects in live clips")
        path = Path(self.source)
        title = path.name if path.is_dir() else path.stem
        files = tuple(one.name for one in _pictures(self.frames))
        clip = ClipRef(title or "clip", self.frames.size, self.frames.count, self.rate or self.frames.rate, files)
        self.job: Job = Job(
            LocalFolder(self.out), clip.name, clip, self.rate or self.frames.rate or FALLBACK, self.script
        )
        self.folder = self.job.place.path(self.job.own)

    def question(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """What results depend on, as JSON holds it."""
        said = []
        for one in self.script.said:
            drawn = None if one.mask is None else hashlib.sha256(one.mask.tobytes()).hexdigest()
            said.append({"frame": one.frame, "object": one.object, "points": one.points, "box": one.box, "mask": drawn})
        found: dict[str, Any] = {
            "size": self.frames.size,
            "count": self.frames.count,
            "said": said,
            "names": dict(self.script.names),
        }
        found |= {"policy": self.policy, "rate": self.job.rate, **about}
        whole: dict[str, Any] = json.loads(json.dumps(found))
        return whole

    def through(self) -> bool:
        """Whether an earlier run has left all that is asked for; without loading a model."""
        before = self._before()
        if before is None or not set(self.forms) <= set(before.get("done", {})):
            return False
        about = {name: before["question"].get(name) for name in ("model", "weights")}
        if self.question(about) != before["question"]:
            return False
        self.files = [before["done"][one] for one in self.forms]
        self.seen = {int(one): (count, total) for one, (count, total) in before["seen"].items()}
        return all(self.job.place.exists(name.removesuffix(" ...")) for name in self.files)

    def go(self, model: Model, *, overwrite: bool) -> None:
        """Tracks, writes as it comes, tidies up. Raises BadSetting where the folder holds another run of the clip."""
        start = time.perf_counter()
        with self._alone():
            self._go(model, overwrite)
            self.seconds = time.perf_counter() - start

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps others from the same clip in the same folder. Raises NotWritten while another run writes it."""
        from filelock import FileLock, Timeout

        path = self.folder.with_name(f"{self.folder.name}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            lock.acquire(timeout=0)
        except Timeout:
            raise NotWritten(f"another run follows {self.job.title} into {self.out}; wait for it") from None
        except OSError as error:
            raise NotWritten(f"{self.out} cannot be written: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()
            path.unlink(missing_ok=True)

    def _go(self, model: Model, overwrite: bool) -> None:
        from anymask.cli.video_outputs import OUTPUTS

        session = self._session(model, overwrite)
        outputs = {one: OUTPUTS[one](self.job) for one in self.forms}
        try:
            with self.show.progress() as tell:
                self._follow(session, list(outputs.values()), tell)
            self.files = [output.finish(session) for output in outputs.values()]
        except BaseException:
            for output in outputs.values():
                with suppress(Exception):
                    output.abandon()
            raise
        finally:
            session.close()
        self._note(dict(zip(outputs, self.files, strict=True)))

    def _session(self, model: Model, overwrite: bool) -> VideoSession:
        from anymask.track.saved import restore
        from anymask.track.session import VideoSession

        question = self.question({"model": model.card.name, "weights": model.weights})
        before = None if overwrite else self._before()
        if before is not None and before["question"] != question:
            other = sorted(name for name in question if question[name] != before["question"].get(name))
            raise BadSetting(
                f"{self.out} holds another run of {self.job.title} ({', '.join(other)}); give another -o, or forget it "
                "with --overwrite"
            )
        place = self.folder / SESSION
        if before is not None and place.is_dir():
            return restore(place, self.frames, model)  # type: ignore[arg-type]
        # what a kill left before all prompts were given, or files of a run that is not known any more
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self.job.place.list(self.job.title):
            if Path(path).suffix == ".png" and Path(path).stem.isdecimal():
                self.job.place.remove(path)
        session = VideoSession(self.frames, model, folder=place, policy=self.policy)  # type: ignore[arg-type]
        for one in self.script.said:
            points = [[x, y] for x, y, _ in one.points] or None
            labels = [label for _, _, label in one.points] or None
            session.prompt(one.frame, one.object, points=points, labels=labels, box=one.box, mask=one.mask)
        self._write({"question": question})
        return session

    def _follow(self, session: VideoSession, outputs: list[Output], tell: Callable[[int, int, int], None]) -> None:
        """Backward first, where an object begins later; then forward, so that outputs get frames in order."""
        count = self.job.clip.count
        firsts = {
            one: min(said.frame for said in self.script.said if said.object == one) for one in self.script.objects
        }
        back = max(firsts.values())
        total = count + back
        done = 0
        if back:
            for frame, _ in session.propagate(reverse=True):
                self.frame = frame
                done = min(done + 1, back)
                tell(done, total, 0)
        pictures = None
        waiting = [output for output in outputs if output.pictures]
        if waiting:
            pictures = self.frames.read(min(min(output.done for output in waiting), count - 1))
        try:
            for frame, known in self._forward(session, min(firsts.values())):
                self.frame = frame
                masks = self.job.whole(known)
                wanted = [output for output in waiting if frame >= output.done]
                picture = None
                if wanted and pictures is not None:
                    picture = next(image for number, image in pictures if number == frame)
                for output in outputs:
                    output.add(frame, picture, masks)
                self._count(masks)
                tell(back + frame + 1, total, sum(masks.areas() > 0))
        finally:
            close = getattr(pictures, "close", None)
            if close is not None:
                close()

    def _forward(self, session: VideoSession, first: int) -> Iterator[tuple[int, Any]]:
        for frame in range(first):
            yield frame, session.masks(frame)
        # what is known of objects that begin later was found backward
        for frame, _ in session.propagate(start=first):
            yield frame, session.masks(frame)

    def _count(self, masks: Any) -> None:
        for one, area, score in zip(masks.ids.tolist(), masks.areas().tolist(), masks.scores.tolist(), strict=True):
            if area:
                count, total = self.seen.get(one, (0, 0.0))
                self.seen[one] = count + 1, total + score

    def _before(self) -> dict[str, Any] | None:
        try:
            found = json.loads((self.folder / QUESTION).read_text("utf-8"))
            return found if isinstance(found["question"], dict) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _note(self, done: Mapping[str, str]) -> None:
        """Says that all is there, and removes what was needed on the way."""
        before = self._before() or {"question": {}}
        before["done"] = {**before.get("done", {}), **done}
        before["seen"] = {str(one): said for one, said in self.seen.items()}
        self._write(before)
        if not self.keep:
            for path in self.folder.iterdir():
                if path.name != QUESTION:
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def _write(self, said: Mapping[str, Any]) -> None:
        self.job.place.write(f"{self.job.own}/{QUESTION}", (json.dumps(said) + "\n").encode("ascii"))


class _Show:
    """What a person sees: progress on stderr, a table or a line of JSON on stdout."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        console = _console(stderr=True)
        if self.quiet or not console.is_terminal:
            yield
            return
        with console.status(what):
            yield

    @contextmanager
    def progress(self) -> Iterator[Callable[[int, int, int], None]]:
        """Yields what to call with (frames done, in all, objects in sight)."""
        console = _console(stderr=True)
        if self.quiet or not console.is_terminal:
            yield _Lines(self.quiet)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        options: dict[str, Any] = {"speed_estimate_period": 120, "redirect_stdout": sys.stdout.isatty()}
        with Progress(*columns, console=console, transient=True, **options) as bar:
            task = bar.add_task("", total=None)
            last, begun = 0.0, time.monotonic()

            def tell(done: int, total: int, objects: int) -> None:
                nonlocal last, begun
                now = time.monotonic()
                if now - last < 0.1 and done < total:
                    return
                last = now
                each = done / max(now - begun, 1e-9)
                said = f"{objects} in sight, {each:.1f} frames a second" if objects else "looking backward"
                bar.update(task, completed=done, total=total, description=said)

            yield tell

    def done(self, run: _Run) -> None:
        if self.quiet:
            return
        count = run.job.clip.count
        rows = []
        for one in run.script.objects:
            frames, total = run.seen.get(one, (0, 0.0))
            rows.append({"id": one, "name": run.script.names.get(one, ""), "frames": frames,
                         "score": round(total / frames, 3) if frames else 0.0})  # fmt: skip
        if self.as_json:
            said = {
                "clip": run.source,
                "frames": count,
                "objects": rows,
                "files": [str(run.out / one) for one in run.files],
            }
            typer.echo(json.dumps(said | {"seconds": round(run.seconds, 1)}))
            return
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in ("object", "name", "seen on", "score"):
            table.add_column(name, justify="left" if name == "name" else "right")
        for row in rows:
            table.add_row(
                str(row["id"]), _plain(str(row["name"])), f"{row['frames']:,} of {count:,}", f"{row['score']:.3f}"
            )
        console = _console()
        console.print(table)
        took = f" in {run.seconds:.0f} s, {count / run.seconds:.1f} frames a second" if run.seconds else ", done before"
        text = f"{count:,} frames{took}\nWritten to {run.out}: {', '.join(run.files)}"
        console.print(_plain(text), markup=False, highlight=False, soft_wrap=True)


class _Lines:
    """Progress where no bar can be drawn: a line now and then."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.begun = self.last = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, total: int, objects: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done - 1
        if self.quiet or now - self.last < LINE_S:
            return
        self.last = now
        left = round((now - self.begun) / max(done - self.first, 1) * (total - done))
        typer.echo(f"{done:,} of {total:,} frames, {left // 60} min {left % 60} s left", err=True)


def _pictures(frames: Frames) -> list[Path]:
    """The files of a folder of frames, in order; none for a video file."""
    listed = getattr(frames, "_pictures", None) or ()
    return [one for one in listed if isinstance(one, Path)]


def _masks(path: Path) -> dict[int, NDArray[np.bool_]]:
    """number -> mask of a label map; 0 -> mask of a black and white picture. Raises BadPrompt."""
    import numpy as np

    from anymask.errors import BadImage
    from anymask.records import labelmap
    from anymask.records.png import read_mask

    try:
        levels = labelmap.levels(path)
        numbers = [int(one) for one in np.unique(levels) if one]
        if not numbers:
            return {}
        # white, or nearly: a label map has no reason to hold numbers from 223 on and none between
        if numbers == [1] or (223 <= numbers[-1] <= 255 and all(one <= 32 or one >= 223 for one in numbers)):
            return {0: levels > (0 if numbers == [1] else 127)}
        return {one: levels == one for one in numbers}
    except BadSetting:
        # a picture in colours, or with alpha
        try:
            return {0: read_mask(path).dense()[0]}
        except (BadImage, BadSetting) as error:
            raise BadPrompt(f"{path} is no mask: {error}") from None
    except OSError as error:
        raise BadPrompt(f"{path} cannot be opened: {error.strerror or error}") from None


def _console(*, stderr: bool = False) -> Any:
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=160)


def _plain(text: str) -> str:
    """A text that a terminal can show."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
