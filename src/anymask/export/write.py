"""A model to a folder of ONNX files, each checked against the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from anymask.errors import AnymaskError, BadSetting, NotWritten
from anymask.export.check import BOUND, Checked, check
from anymask.export.decoder import decoder_graph
from anymask.export.encoder import encoder_graph
from anymask.export.graph import exportable, label, save
from anymask.export.precision import narrow
from anymask.extras import need
from anymask.models.onnx_files import DECODER, ENCODER, EXTRA, KEY, About, Dtype
from anymask.nn.vit import ImageEncoderViT

Which = Literal["encoder", "decoder", "both"]


def write(
    model: object,
    folder: str | Path,
    *,
    part: Which = "both",
    dtype: Dtype = "fp32",
    low_res: bool = False,
    single_mask: bool = False,
    tell: Callable[[str], None] | None = None,
) -> list[Checked]:
    """Export a model and compare what came out with it.

    model: of SAM's shape, on the CPU or not. part: which files. dtype: see `export.precision`.
    low_res: the decoder without masks in the photo's size and without `orig_im_size`, as browsers and TensorRT want it.
    single_mask: the decoder answers one mask an object. tell: is told what is being done.
    Raises BadSetting for a model that cannot be exported, MissingExtra, NotWritten, and AnymaskError where a float32
    file differs from its model by more than `BOUND`.
    """
    if part not in get_args(Which) or dtype not in get_args(Dtype):
        raise BadSetting(
            f"part is one of {', '.join(get_args(Which))} and dtype one of {', '.join(get_args(Dtype))}; "
            f"got {part!r} and {dtype!r}"
        )
    network = exportable(model)
    for library in ("onnx", "onnxruntime"):
        need(library, extra=EXTRA, to="write and check ONNX files")
    if network.device.type != "cpu":
        raise BadSetting(f"export takes a model on the CPU, this one is on {network.device}; load it with device='cpu'")
    say = tell or (lambda _: None)
    found = []
    for kind, name in (("encoder", ENCODER), ("decoder", DECODER)):
        if part not in (kind, "both"):
            continue
        say(f"tracing the {kind}")
        made = kind == "encoder"
        graph = encoder_graph(network) if made else decoder_graph(network, single=single_mask, full_size=not low_res)
        graph = _as(graph, dtype, integer_products=made and isinstance(network.image_encoder, ImageEncoderViT))
        path = Path(folder).expanduser() / name
        try:
            save(graph, path)
        except OSError as error:
            raise NotWritten(f"{path} cannot be written: {error.strerror or error}") from None
        del graph
        say(f"comparing the {kind} with the original")
        result = check(path, network)
        if dtype == "fp32" and not result.logits <= BOUND:
            raise AnymaskError(
                f"{path} answers logits that differ by {result.logits:g} from the model's, more than {BOUND:g}; "
                "please report this with the name of the model"
            )
        found.append(result)
    return found


def _as(graph: Any, dtype: Dtype, integer_products: bool) -> Any:
    """The graph in another precision, its description brought up to date."""
    if dtype == "fp32":
        return graph
    entries = {entry.key: entry.value for entry in graph.metadata_props}
    about = replace(About.from_json(entries[KEY], "the graph"), dtype=dtype)
    return label(narrow(graph, dtype, integer_products), about)
