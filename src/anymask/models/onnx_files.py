"""ONNX files that `anymask export` wrote: what they say of themselves, and how they run, without torch.

A folder holds `encoder.onnx` and `decoder.onnx`. Each file carries an `About` in its metadata, so that it needs nothing
beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadPrompt, BadSetting, BadWeights
from anymask.extras import need
from anymask.models.digest import digest
from anymask.pixels.resample import Resample, resample
from anymask.pixels.resize import HW, Fit, Resize

KEY = "anymask"
"""Of the entry in a file's metadata that holds its `About` as JSON."""
LAYOUT = 1
"""Of this entry; a file of a later layout is refused."""

EXTRA = "export"
ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"

EMBEDDING = {"image_embeddings": "image", "high_res_0": "high_res_0", "high_res_1": "high_res_1"}
"""Outputs of an encoder and inputs of a decoder -> names of an embedding's tensors."""

Kind = Literal["encoder", "decoder"]
Dtype = Literal["fp32", "fp16", "int8"]

CHUNK = 8
"""Prompts decoded at once: enough to keep the arithmetic busy, little enough for flat memory."""


@dataclass(frozen=True)
class About:
    """What a file says of itself.

    model, title, licence: of the card. weights: digest of the weights it was made of. part: which half it is.
    side, fit, resample: how a picture is brought to the model's frame, see `Preprocess`; the rest is in the graph.
    mask_size: (h, w) of low-resolution logits. single: answers one mask an object, not four. full_size: answers masks
    in the photo's size as well. version: of the anymask that wrote it.
    """

    model: str
    title: str
    licence: str
    weights: str
    part: Kind
    dtype: Dtype
    side: int
    fit: Fit
    resample: Resample
    mask_size: HW
    single: bool = False
    full_size: bool = True
    version: str = ""
    layout: int = LAYOUT
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """As it stands in the file."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, name: str) -> About:
        """The reverse of `to_json`; raises BadWeights where it is not that."""
        try:
            entries = json.loads(text)
            if int(entries.get("layout", 0)) > LAYOUT:
                raise BadWeights(f"{name} was exported by a later anymask; upgrade with pip install -U anymask")
            entries["mask_size"] = (int(entries["mask_size"][0]), int(entries["mask_size"][1]))
            about = cls(**entries)
        except BadWeights:
            raise
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            raise BadWeights(f"{name} carries a damaged description of itself; export the model again") from None
        known = about.part in get_args(Kind) and about.fit in get_args(Fit) and about.side > 0
        if not known or about.resample not in get_args(Resample):
            raise BadWeights(f"{name} carries a description of itself that makes no sense; export the model again")
        return about

    def resize(self, size: HW) -> Resize:
        """The map for an image of (H, W) `size`."""
        return Resize.fit(size, self.side, self.fit)


class Part:
    """One file, opened.

    path: the file. threads: that onnxruntime computes with, its own choice if None. device: "cpu", or "cuda" where
    onnxruntime's GPU build is installed.
    Raises MissingExtra, BadSetting, BadWeights.
    """

    def __init__(self, path: str | Path, threads: int | None = None, device: str = "cpu") -> None:
        self.path = Path(path)
        self.session = open_session(self.path, threads, device)
        entries = self.session.get_modelmeta().custom_metadata_map
        if KEY not in entries:
            raise BadWeights(
                f"{self.path} is an ONNX file, but not one that 'anymask export' wrote, so it does not say how "
                "pictures are to be prepared; export the model with anymask"
            )
        self.about = About.from_json(entries[KEY], str(self.path))
        self.inputs = [entry.name for entry in self.session.get_inputs()]
        self.outputs = [entry.name for entry in self.session.get_outputs()]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Name -> output; feeds the graph has no use for are left out."""
        found = self.session.run(None, {name: feeds[name] for name in self.inputs})
        return dict(zip(self.outputs, found, strict=True))


def open_session(source: str | Path | bytes, threads: int | None = None, device: str = "cpu") -> Any:
    """An onnxruntime session that prints no warnings. Raises MissingExtra, BadSetting or BadWeights."""
    runtime = need("onnxruntime", extra=EXTRA, to="run ONNX files")
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device.partition(":")[0])
    if provider is None or provider not in runtime.get_available_providers():
        raise BadSetting(f"onnxruntime cannot use the device {device!r} here; use 'cpu', or install onnxruntime-gpu")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = threads
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise BadWeights(f"there is no file {name}")
    try:
        return runtime.InferenceSession(
            source if isinstance(source, bytes) else os.fspath(source), options, providers=[provider]
        )
    except Exception as error:  # onnxruntime has a type for each way to be broken, none of them public
        reason = " ".join(str(error).split())[:160]
        raise BadWeights(f"{name} is not an ONNX file that onnxruntime can run ({reason})") from None


def find_parts(path: str | Path) -> tuple[Path, Path]:
    """(encoder, decoder) of a folder or of one of its files. Raises BadWeights that names what is missing."""
    path = Path(path).expanduser()
    if not path.exists():
        raise BadWeights(f"there is no file or folder {path}")
    folder = path if path.is_dir() else path.parent
    encoder, decoder = folder / ENCODER, folder / DECODER
    if path.is_file() and path.name not in (ENCODER, DECODER):
        raise BadWeights(
            f"{path.name} is not one of the names that 'anymask export' gives, {ENCODER} and {DECODER}; "
            "rename it, or name the folder that holds both"
        )
    for part in (encoder, decoder):
        if not part.is_file():
            raise BadWeights(
                f"{folder} lacks {part.name}; both parts are needed: anymask export --part both -o {folder}"
            )
    return encoder, decoder


def open_parts(path: str | Path, threads: int | None = None, device: str = "cpu") -> tuple[Part, Part]:
    """Encoder and decoder that belong together. Raises BadWeights, BadSetting, MissingExtra."""
    encoder, decoder = (Part(file, threads, device) for file in find_parts(path))
    for part, kind in ((encoder, "encoder"), (decoder, "decoder")):
        if part.about.part != kind:
            raise BadWeights(f"{part.path} holds the {part.about.part} of {part.about.model}, not the {kind}")
    if encoder.about.weights != decoder.about.weights:
        raise BadWeights(
            f"{encoder.path.name} and {decoder.path.name} in {encoder.path.parent} were made of different weights "
            f"({encoder.about.model} {encoder.about.weights[:12]} and {decoder.about.model} "
            f"{decoder.about.weights[:12]}); export both again"
        )
    return encoder, decoder


def name_of(encoder: Part, decoder: Part) -> str:
    """What stands for a pair's weights: differs for other weights and for other precisions of the same."""
    return f"onnx-{digest(encoder.path)[:32]}-{digest(decoder.path)[:32]}"


def encode(part: Part, pixels: NDArray[np.uint8]) -> tuple[dict[str, NDArray[np.float32]], Resize]:
    """uint8 [H, W, 3] RGB to the named tensors of an embedding, [1, ...] each, and the map of the picture."""
    resize = part.about.resize((pixels.shape[0], pixels.shape[1]))
    scaled = resample(pixels, resize.resized, part.about.resample)
    found = part.run({"image": np.ascontiguousarray(scaled)})
    return {EMBEDDING[name]: value for name, value in found.items()}, resize


def prompt_feeds(
    points: NDArray[np.float32] | None,
    labels: NDArray[Any] | None,
    boxes: NDArray[np.float32] | None,
    low_res: NDArray[np.float32] | None,
    mask_size: HW,
) -> dict[str, NDArray[np.float32]]:
    """Prompts in the model's frame as a decoder's inputs.

    points [P, K, 2] with labels [P, K]; boxes [P, 4]; low_res [P, h, w]. A box is two points of labels 2 and 3; points
    without a box get a padding point, as the decoder was trained.
    """
    rows: list[NDArray[np.float32]] = []
    kinds: list[NDArray[np.float32]] = []
    if points is not None and labels is not None:
        rows.append(np.asarray(points, np.float32))
        kinds.append(np.asarray(labels, np.float32))
        if boxes is None:
            rows.append(np.zeros((len(points), 1, 2), np.float32))
            kinds.append(np.full((len(points), 1), -1, np.float32))
    if boxes is not None:
        rows.append(np.asarray(boxes, np.float32).reshape(-1, 2, 2))
        kinds.append(np.tile(np.array([[2, 3]], np.float32), (len(boxes), 1)))
    if not rows:
        if low_res is None:
            raise BadPrompt("give at least one prompt: points, boxes or a mask")
        rows.append(np.zeros((len(low_res), 0, 2), np.float32))
        kinds.append(np.zeros((len(low_res), 0), np.float32))
    return {
        "point_coords": np.concatenate(rows, 1),
        "point_labels": np.concatenate(kinds, 1),
        "mask_input": np.zeros((1, 1, *mask_size), np.float32) if low_res is None else low_res[:, None],
        "has_mask_input": np.array([low_res is not None], np.float32),
        # masks in the photo's size are not used here, so they are asked for as small as can be
        "orig_im_size": np.ones(2, np.float32),
    }


def decode(
    part: Part, tensors: Mapping[str, NDArray[np.float32]], feeds: Mapping[str, NDArray[np.float32]], answers: slice
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Low-resolution logits [P, M, h, w] and scores [P, M] of the mask tokens `answers`, a few prompts at a time."""
    named = {name: tensors[key] for name, key in EMBEDDING.items() if key in tensors}
    logits: list[NDArray[np.float32]] = []
    scores: list[NDArray[np.float32]] = []
    for start in range(0, len(feeds["point_coords"]), CHUNK):
        rows = slice(start, start + CHUNK)
        own: dict[str, NDArray[np.float32]] = dict(feeds)
        own |= {name: feeds[name][rows] for name in ("point_coords", "point_labels")}
        if len(feeds["mask_input"]) > 1:
            own["mask_input"] = feeds["mask_input"][rows]
        found = part.run(named | own)
        logits.append(found["low_res_masks"][:, answers])
        scores.append(found["iou_predictions"][:, answers])
    return _joined(logits), _joined(scores)


def _joined(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)
