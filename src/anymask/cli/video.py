"""`anymask video`: point at things on a frame of a clip, and have them followed to its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anymask.errors import BadPrompt, BadSetting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
    from anymask.cli.video_run import Run
    from anymask.cli.video_show import Show
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
    show = Show(as_json=as_json, quiet=quiet)
    with Frames.open(clip) as frames:
        # a question that does not fit is refused before seconds go into loading a model
        for one in script.said:
            one.check(frames.size, frames.count)
        run = Run(clip, frames, script, out, forms, policy, rate, keep, show)
        if not overwrite and run.through():
            run.tidy()
            show.done(run)
            return
        with show.waiting("loading the model"):
            # which matrix product is the fastest is measured in every process anew, and products differ in the last
            # bit: a run that goes on must answer as the one that was stopped
            os.environ.setdefault("ANYMASK_FAST", "1")
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
