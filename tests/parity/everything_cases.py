"""The official SamAutomaticMaskGenerator and ours on equal logits; benchmarks/everything.py uses it too.

Logits are made up (blobs of several sizes that contain one another, as answers to clicks do) or come from a network;
either way both sides get the very same ones, so that everything after the network must agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from anymask.masks.rle import between
from anymask.models.interface import Decoded, Embedding
from anymask.pixels.image import Image
from anymask.pixels.resize import Resize
from anymask.prompts.prompts import Prompts
from anymask.session.everything import Candidate, find
from anymask.session.settings import EverythingSettings

Answers = Callable[[tuple[int, int], NDArray[np.float64]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""((H, W) of the crop, points [N, 2] in 0..1) to logits [N, 3, h, w] and scores [N, 3]."""


def blobs(low: int = 64, seed: int = 0) -> Answers:
    """Answers made up of ellipses with wavy borders; points on one ellipse get nearly the same answers."""

    def answers(size: tuple[int, int], points: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        height, width = size[0] / max(size), size[1] / max(size)
        random = np.random.default_rng([seed, *size])
        count = 60
        cx, cy = random.uniform(0, width, count), random.uniform(0, height, count)
        a = np.sort(random.uniform(0.03, 0.35, count))
        b, turn, phase = a * random.uniform(0.5, 1, count), random.uniform(0, np.pi, count), random.uniform(0, 6, count)

        def depth(x: Any, y: Any, one: Any) -> Any:
            u, v = x - cx[one], y - cy[one]
            p = (u * np.cos(turn[one]) + v * np.sin(turn[one])) / a[one]
            q = (-u * np.sin(turn[one]) + v * np.cos(turn[one])) / b[one]
            return (1 + 0.1 * np.sin(4 * np.arctan2(q, p) + phase[one]) - np.hypot(p, q)) * b[one]

        grid = (np.arange(low) + 0.5) / low
        x, y = np.meshgrid(grid, grid)
        logits = np.empty((len(points), 3, low, low), np.float32)
        scores = np.empty((len(points), 3), np.float32)
        for row, (px, py) in enumerate(points * [width, height]):
            own = np.random.default_rng([seed, int(px * 1e5), int(py * 1e5)])
            under = np.flatnonzero(depth(px, py, np.arange(count)) > 0)
            for rank in range(3):
                one = under[min(len(under) - 1, rank * len(under) // 3)] if len(under) else rank
                steep = 9 if len(under) else 0.5
                logits[row, rank] = np.clip(steep * low * depth(x, y, one) + own.normal(0, 0.4), -18, 18)
                scores[row, rank] = own.uniform(0.84, 1) if len(under) else own.uniform(0.5, 0.92)
        return logits, scores

    return answers


def official(package: ModuleType, pixels: NDArray[np.uint8], answers: Answers, side: int = 256, **options: Any) -> Any:
    """Records of segment-anything's generator, its predictor replaced by `answers`; masks as uncompressed RLE."""
    network = torch.nn.Module()
    network.device = torch.device("cpu")  # type: ignore[assignment]
    network.image_encoder = SimpleNamespace(img_size=side)  # type: ignore[assignment]
    network.mask_threshold = 0.0  # type: ignore[assignment]
    generator = package.SamAutomaticMaskGenerator(network, output_mode="uncompressed_rle", **options)
    asked: list[NDArray[np.float64]] = []

    class Predictor:
        model, device = network, torch.device("cpu")
        transform = SimpleNamespace(apply_coords=lambda points, size: (asked.append(points), points)[1])

        def set_image(self, crop: NDArray[np.uint8]) -> None:
            self.resize = Resize.fit(crop.shape[:2], side)

        def reset_image(self) -> None:
            pass

        def predict_torch(self, points: Any, labels: Any, **_: Any) -> tuple[Any, Any, Any]:
            height, width = self.resize.original
            logits, scores = answers(self.resize.original, asked[-1] / [width, height])
            # the official postprocess_masks
            frame = F.interpolate(torch.from_numpy(logits), (side, side), mode="bilinear", align_corners=False)
            frame = frame[..., : self.resize.resized[0], : self.resize.resized[1]]
            masks = F.interpolate(frame, (height, width), mode="bilinear", align_corners=False)
            return masks, torch.from_numpy(scores), None

    generator.predictor = Predictor()
    return generator.generate(pixels)


class Ours:
    """A model that answers from `answers`."""

    card = SimpleNamespace(name="made-up", everything=())
    weights = "made-up"

    def __init__(self, answers: Answers, side: int = 256) -> None:
        self.answers, self.side = answers, side

    def encode(self, images: Sequence[Image]) -> Embedding:
        maps = tuple(Resize.fit(image.size, self.side) for image in images)
        return Embedding({"image": torch.zeros(len(images), 1, 1, 1)}, maps, self.weights)

    def decode(
        self, embedding: Embedding, prompts: Prompts, *, multimask: Any = None, min_score: Any = None
    ) -> Decoded:
        assert prompts.points is not None
        height, width = embedding.resize[0].original
        # grids are regular: undo the rounding of points to float32, which the official side sees before it
        unit = np.round(prompts.points[:, 0].astype(np.float64) / [width, height], 6)
        logits, scores = self.answers((height, width), unit)
        return Decoded(torch.from_numpy(logits), torch.from_numpy(scores), embedding.resize[0])


def rounded(answers: Answers) -> Answers:
    """The same for points that differ in less than a millionth."""
    return lambda size, points: answers(size, np.round(points, 6))


def ours(pixels: NDArray[np.uint8], answers: Answers, side: int = 256, **options: Any) -> list[Candidate]:
    return find(Ours(answers, side), Image.open(pixels), EverythingSettings(**options))  # type: ignore[arg-type]


def differences(records: Sequence[Any], found: Sequence[Candidate], size: tuple[int, int]) -> list[str]:
    """What differs between official records and ours, in words; nothing when all is equal."""
    said = [] if len(records) == len(found) else [f"{len(records)} official records, {len(found)} of ours"]
    for row, (record, one) in enumerate(zip(records, found, strict=False)):
        x0, y0, x1, y1 = one.box
        mine = {
            "segmentation": {"size": list(size), "counts": between(one.sight.edges, size).tolist()},
            "area": one.sight.area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "predicted_iou": float(one.score),
            "point_coords": [list(one.point)],
            "stability_score": float(one.stability),
            "crop_box": [one.crop.x0, one.crop.y0, one.crop.size[1], one.crop.size[0]],
        }
        said += [f"record {row}: {key}" for key in mine if mine[key] != record[key]]
        said += [f"record {row}: key {key}" for key in set(record) ^ set(mine)]
    return said
