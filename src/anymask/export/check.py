"""What an exported part answers and takes beside the model it was made of, on built-in pictures and prompts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anymask.data.scenes import Scenes
from anymask.models.interface import Embedding
from anymask.models.onnx_files import Dtype, Part, decode, encode, prompt_feeds
from anymask.models.promptable import PromptableModel
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts

PICTURES = 2
SIDE = 512
ALL = slice(None)

ROUNDS = 5
LONGEST = 20.0
"""Seconds after which no further round is timed."""

BOUND = 1e-3
"""Largest difference of logits that float32 files may have."""


@dataclass(frozen=True)
class Checked:
    """One file beside its model.

    size: bytes. logits: largest absolute difference of low-resolution logits. largest: absolute logit of the model.
    scores: largest difference of predicted IoU. iou: mean IoU of the two sides' masks; of trained models this tells
    what the precision costs. torch_ms, onnx_ms: medians, taking turns, with the same number of threads.
    """

    path: Path
    part: str
    dtype: Dtype
    size: int
    logits: float
    largest: float
    scores: float
    iou: float
    torch_ms: float
    onnx_ms: float
    threads: int


@cache
def pictures() -> tuple[Image, ...]:
    """Generated pictures, the same everywhere; not square, so that padding takes part."""
    scenes = Scenes(seed=1, length=PICTURES, side=SIDE)
    tops = (scenes[index].read()[: SIDE * 3 // 4] for index in range(PICTURES))
    return tuple(Image.open(np.ascontiguousarray(top)) for top in tops)


def prompts_for(size: tuple[int, int], mask_size: tuple[int, int]) -> list[Prompts]:
    """Every kind of prompt on a picture of (H, W) `size`."""
    height, width = size
    spots = np.array([[0.3, 0.4], [0.6, 0.5], [0.8, 0.8], [0.1, 0.2]]) * [width, height]
    boxes = np.array([[0.2, 0.2, 0.7, 0.8], [0.5, 0.1, 0.95, 0.6]]) * [width, height, width, height]
    place = np.linspace(-1, 1, mask_size[0])[:, None] ** 2 + np.linspace(-1, 1, mask_size[1])[None] ** 2
    earlier = np.float32(6) * (0.3 - place.astype(np.float32))
    return [
        Prompts.of(points=spots[:, None].tolist()),
        Prompts.of(points=spots[:3], labels=[1, 0, 1]),
        Prompts.of(boxes=boxes),
        Prompts.of(points=spots[1], boxes=boxes[0]),
        Prompts.of(points=spots[:2], labels=[1, 0], mask=earlier),
    ]


def check(path: Path, model: PromptableModel) -> Checked:
    """Compare a file with its model. threads: torch's number, for both."""
    threads = torch.get_num_threads()
    part = Part(path, threads)
    with torch.no_grad():
        return _encoder(part, model, threads) if part.about.part == "encoder" else _decoder(part, model, threads)


def _encoder(part: Part, model: PromptableModel, threads: int) -> Checked:
    images = pictures()
    pairs = []
    for image in images:
        theirs = model.encode([image])
        ours = {name: torch.from_numpy(value) for name, value in encode(part, image.pixels())[0].items()}
        for prompts in prompts_for(image.size, model.prompt_encoder.mask_size):
            for each in (True, False):
                expected = model.decode(theirs, prompts, multimask=each)
                found = model.decode(Embedding(ours, theirs.resize, model.weights), prompts, multimask=each)
                pairs.append((expected.logits, expected.scores, found.logits, found.scores))
    calls = {
        "torch": lambda: model.encode(images[:1]),
        "onnx": lambda: encode(part, images[0].pixels()),
    }
    return _checked(part, pairs, calls, threads)


def _decoder(part: Part, model: PromptableModel, threads: int) -> Checked:
    pairs = []
    image = pictures()[0]
    embedding = model.encode([image])
    tensors = {name: tensor.numpy() for name, tensor in embedding.tensors.items()}
    resize = embedding.resize[0]
    every = prompts_for(image.size, model.prompt_encoder.mask_size)
    fed = []
    for prompts in every:
        feeds = prompt_feeds(
            None if prompts.points is None else resize.points(prompts.points),
            prompts.point_labels,
            None if prompts.boxes is None else resize.boxes(prompts.boxes),
            prompts.low_res,
            model.prompt_encoder.mask_size,
        )
        fed.append(feeds)
        logits, scores = decode(part, tensors, feeds, ALL)
        single, several = (model.decode(embedding, prompts, multimask=many) for many in (False, True))
        expected = torch.cat([single.logits, several.logits], 1), torch.cat([single.scores, several.scores], 1)
        if part.about.single:
            count = feeds["point_coords"].shape[1]
            expected = _picked(*expected, count)
        pairs.append((*expected, torch.from_numpy(logits), torch.from_numpy(scores)))
    click, mine = every[0][:1], dict(fed[0])
    mine |= {name: value[:1] for name, value in mine.items() if name.startswith("point")}
    calls = {
        "torch": lambda: model.decode(embedding, click, multimask=True),
        "onnx": lambda: decode(part, tensors, mine, ALL),
    }
    return _checked(part, pairs, calls, threads)


def _picked(logits: Tensor, scores: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """The one mask that the official rule picks: the first from three points on, else the best of the others."""
    which = torch.zeros(len(scores), dtype=torch.long) if points > 2 else 1 + scores[:, 1:].argmax(1)
    rows = torch.arange(len(scores))
    return logits[rows, which][:, None], scores[rows, which][:, None]


def _checked(
    part: Part,
    pairs: list[tuple[Tensor, Tensor, Tensor, Tensor]],
    calls: Mapping[str, Callable[[], object]],
    threads: int,
) -> Checked:
    seconds = paired(calls)
    data = part.path.with_name(part.path.name + ".data")
    return Checked(
        path=part.path,
        part=part.about.part,
        dtype=part.about.dtype,
        size=part.path.stat().st_size + (data.stat().st_size if data.exists() else 0),
        logits=max(float((ours - theirs).abs().max()) for theirs, _, ours, _ in pairs),
        largest=max(float(theirs.abs().max()) for theirs, *_ in pairs),
        scores=max(float((ours - theirs).abs().max()) for _, theirs, _, ours in pairs),
        iou=float(np.mean([one for theirs, _, ours, _ in pairs for one in overlap(ours, theirs)])),
        torch_ms=1e3 * seconds["torch"],
        onnx_ms=1e3 * seconds["onnx"],
        threads=threads,
    )


def overlap(ours: Tensor, theirs: Tensor) -> NDArray[np.float64]:
    """IoU of the masks of two sides' logits [P, M, h, w], [P * M]; 1 where both are empty."""
    one, other = ours.flatten(0, 1) > 0, theirs.flatten(0, 1) > 0
    both, either = (one & other).sum((1, 2)), (one | other).sum((1, 2))
    found: NDArray[np.float64] = torch.where(either > 0, both / either.clamp(min=1), 1.0).double().numpy()
    return found


def paired(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each call; they take turns, and each was called once before."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()
    for turn in range(ROUNDS + 1):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begun)
        if turn and time.perf_counter() - start > LONGEST:
            break
    return {name: float(np.median(values[1:])) for name, values in times.items()}
