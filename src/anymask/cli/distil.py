"""`anymask distil`: a small image encoder that learns from a large one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def distil(
    pictures: Annotated[list[str], typer.Argument(help="Pictures, folders of pictures, or patterns.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; a state in it is taken up.")],
    teacher: Annotated[str, typer.Option(help="The model to learn from.")] = "sam-vit-h",
    teacher_weights: Annotated[Path | None, typer.Option(help="Its weights; its own if left out.")] = None,
    student: Annotated[str, typer.Option(help="The model that learns.")] = "mobile-sam",
    student_weights: Annotated[Path | None, typer.Option(help="Weights to start from; random if left out.")] = None,
    masked: Annotated[bool, typer.Option("--masked", help="Pre-train with hidden patches (SAMI).")] = False,
    side: Annotated[
        int | None, typer.Option(help="With --masked: pixels of the student's frame, the paper's are 224.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Length of the run.")] = 50_000,
    images: Annotated[int, typer.Option(help="Pictures a step, over all processes.")] = 8,
    at_once: Annotated[int | None, typer.Option(help="Pictures a process takes at once; fewer accumulate.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate at the top; 1e-3, with --masked 3e-4.")] = None,
    precision: Annotated[str, typer.Option(help="Of both encoders: float32, bfloat16 or float16.")] = "float32",
    loaders: Annotated[int, typer.Option(help="Processes that read pictures ahead.")] = 0,
    keep: Annotated[bool, typer.Option(help="Keep the teacher's embeddings in --out, 2 MB a picture.")] = True,
    hours: Annotated[float | None, typer.Option(help="Stop after so much running; the same command goes on.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Folders within folders too.")] = False,
) -> None:
    """Distil an image encoder as MobileSAM was: its features are matched to a teacher's, whose prompt encoder and
    decoder it takes, so the embeddings of both must have one shape. The result, model.safetensors, loads like the
    student's own weights; `anymask train --model STUDENT --weights FILE` then trains all of it on photos with masks.

    With --masked a plain vision transformer is pre-trained as EfficientSAM's was: it sees a quarter of each picture's
    patches, from which a decoder that is thrown away reconstructs the teacher's features of all of them. The result
    answers well only after the training with masks, for its neck is still random.

    Examples: anymask distil photos/ -r --teacher sam-vit-h -o runs/mobile
    anymask distil photos/ -r --teacher sam-vit-h --student efficient-sam-ti --masked -o runs/sami
    """
    from anymask.cli.inputs import pictures as files_of
    from anymask.cli.train import Progress
    from anymask.errors import BadSetting
    from anymask.train.distil import distil as run
    from anymask.train.masked import Masking
    from anymask.train.settings import Phase, TrainSettings

    if side is not None and not masked:
        raise BadSetting("a student learns whole embeddings at its own frame's size; --side goes with --masked")

    files, problems = files_of(pictures, recursive=recursive, apart_from=out)
    if problems:
        raise BadSetting(str(problems[0]))
    settings = TrainSettings(
        steps=steps,
        images=images,
        at_once=at_once,
        rate=rate or (3e-4 if masked else 1e-3),
        betas=(0.9, 0.95) if masked else (0.9, 0.98),
        encoder_rate=1.0,
        method="scratch",
        warmup=min(500, steps // 10),
        precision=precision,
        loaders=loaders,
    )
    if side is not None:
        settings = replace(settings, phases=(Phase(1.0, side, (1.0, 1.0)),))
    written = run(
        files,
        out,
        settings,
        teacher=teacher,
        student=student,
        teacher_weights=teacher_weights,
        student_weights=student_weights,
        masking=Masking() if masked else None,
        keep=keep,
        hours=hours,
        tell=Progress(),
    )
    if written is None:
        typer.echo(f"stopped before the end; the same command goes on from the state in {out}", err=True)
    elif masked:
        typer.echo(
            f"{written}  (go on: anymask train --data MASKS --model {student} --weights {written} --method full)"
        )
    else:
        typer.echo(f"{written}  (use it: anymask segment PHOTO --model {student} --weights {written})")
