"""`anymask export`: a model as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from anymask.export.check import Checked


def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for encoder.onnx and decoder.onnx.")],
    model: Annotated[str | None, typer.Option(help="Name of a model; the model inside if left out.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file; the model's own if left out.")] = None,
    part: Annotated[Literal["encoder", "decoder", "both"], typer.Option(help="Which half of the model.")] = "both",
    format: Annotated[Literal["onnx"], typer.Option(help="Of the files.")] = "onnx",
    dtype: Annotated[
        Literal["fp32", "fp16", "int8"], typer.Option(help="Of the weights; what it costs is measured and told.")
    ] = "fp32",
    low_res: Annotated[
        bool, typer.Option("--low-res", help="A decoder without masks in the photo's size: for browsers, TensorRT.")
    ] = False,
    single_mask: Annotated[
        bool, typer.Option("--single-mask", help="A decoder that answers one mask; sessions need all four.")
    ] = False,
) -> None:
    """Write a model as ONNX files and compare them with the original.

    The folder is a model for every command: anymask segment photo.jpg --weights FOLDER ...

    Example: anymask export --model sam-vit-b --dtype fp16 -o vit-b
    """
    from rich.console import Console

    from anymask.export.write import write
    from anymask.models.load import load

    loaded = load(model, weights=weights, device="cpu")
    with Console(stderr=True).status("") as status:
        found = write(
            loaded,
            out,
            part=part,
            dtype=dtype,
            low_res=low_res,
            single_mask=single_mask,
            tell=lambda what: status.update(what),
        )
    _show(found)


def _show(found: list[Checked]) -> None:
    for one in found:
        typer.echo(
            f"{one.path}  {one.size / 1e6:.1f} MB  {one.dtype}\n"
            f"  against torch: logits differ by at most {one.logits:.2g} (largest {one.largest:.3g}), "
            f"scores by {one.scores:.2g}; mean IoU of the masks {one.iou:.4f}\n"
            f"  one {'picture' if one.part == 'encoder' else 'click'}: torch {one.torch_ms:.0f} ms, "
            f"onnxruntime {one.onnx_ms:.0f} ms, {one.threads} thread{'s' if one.threads > 1 else ''}"
        )
