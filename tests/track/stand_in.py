"""A small model for sessions: it knows things by their colour, and every memory that it is handed leaves a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anymask.models.card import Card
from anymask.models.interface import UNWANTED, Decoded, Embedding
from anymask.models.video import Recalled, Tracked
from anymask.pixels.image import Image
from anymask.pixels.resize import Resize
from anymask.prompts.prompts import Prompts

SIDE = 32


@dataclass
class ByColour:
    """Finds what has the colour that was pointed at. asked: what `track` was called with, in order."""

    slots: int = 6
    pointer_slots: int = 15
    weights: str = "by colour"
    card: Card = field(default_factory=lambda: Card("by-colour", "Finds colours"))
    asked: list[tuple[Sequence[Recalled], Prompts | None]] = field(default_factory=list)
    encoded: int = 0

    def encode(self, images: Sequence[Image]) -> Embedding:
        self.encoded += len(images)
        pixels = [torch.from_numpy(image.pixels().astype(np.float32) / 255).permute(2, 0, 1) for image in images]
        small = torch.cat([F.interpolate(one[None], (SIDE, SIDE), mode="area") for one in pixels])
        maps = tuple(Resize(image.size, (SIDE, SIDE), (SIDE, SIDE)) for image in images)
        return Embedding({"image": small}, maps, self.weights)

    def decode(self, embedding, prompts, *, multimask=None, min_score=None) -> Decoded:
        tracked = self.track(embedding, [Recalled()] * len(prompts), prompts, multimask=multimask)
        return Decoded(tracked.logits, tracked.scores, tracked.resize)

    def track(self, embedding, recalled, prompts=None, *, multimask=None) -> Tracked:
        self.asked.append((list(recalled), prompts))
        if multimask is None:
            boxes = 0 if prompts is None or prompts.boxes is None else 2
            points = 0 if prompts is None or prompts.points is None else prompts.points.shape[1]
            multimask = boxes + points <= 1
        image, resize = embedding.tensors["image"][0], embedding.resize[0]
        logits, colours = [], []
        for row, one in enumerate(recalled):
            colour = torch.zeros(3)
            if one.pointers:
                colour = torch.stack([pointer for pointer, _ in one.pointers]).mean(0)
            if prompts is not None and prompts.points is not None and (prompts.point_labels[row] == 1).any():
                x, y = resize.points(prompts.points[row])[prompts.point_labels[row] == 1].mean(0)
                colour = image[:, min(int(y), SIDE - 1), min(int(x), SIDE - 1)]
            if prompts is not None and prompts.boxes is not None:
                x0, y0, x1, y1 = resize.boxes(prompts.boxes[row])
                colour = image[:, int(y0 + y1) // 2, int(x0 + x1) // 2]
            answer = 8 - 40 * (image - colour[:, None, None]).abs().sum(0)
            for features, slot in one.features:
                answer = answer + 0.01 * features[0].float() / (1 + slot)
            for pointer, distance in one.pointers:
                answer = answer + 0.001 * pointer.sum() * (1 + distance)
            if prompts is not None and prompts.low_res is not None:
                answer = answer + 0.1 * torch.from_numpy(prompts.low_res[row])
            logits.append(answer)
            colours.append(colour)
        single = torch.stack(logits)
        many = torch.stack([single, single - 1, single + 1], 1) if multimask else single[:, None]
        presence = single.flatten(1).amax(1)
        many = torch.where(presence[:, None, None, None] > 0, many, torch.tensor(UNWANTED))
        scores = torch.tensor([[0.7, 0.9, 0.8]] if multimask else [[0.75]]).repeat(len(recalled), 1)
        pointers = torch.stack(colours)[:, None].repeat(1, many.shape[1], 1)
        return Tracked(many, scores, pointers, presence, scores.argmax(1), resize)

    def drawn(self, embedding, prompts) -> Tracked:
        image = embedding.tensors["image"][0]
        small = F.interpolate(torch.from_numpy(prompts.masks).float()[:, None], (SIDE, SIDE), mode="area")
        logits = 20 * (small >= 0.5).float() - 10
        weight = small + 1e-6
        pointers = ((image[None] * weight).sum((2, 3)) / weight.sum((2, 3)))[:, None]
        ones = torch.ones(len(small), 1)
        return Tracked(
            logits,
            ones,
            pointers,
            logits.amax((1, 2, 3)),
            torch.zeros(len(small), dtype=torch.int64),
            embedding.resize[0],
        )

    def memorise(self, embedding, logits, presence, *, prompted) -> Tensor:
        seen = (logits > 0).float() if prompted else logits.sigmoid()
        return torch.cat([seen[:, None], seen[:, None] * embedding.tensors["image"]], 1) + presence[:, None, None, None]


def clip_of(count: int = 20, size: tuple[int, int] = (48, 64), away: range = range(0)) -> list[np.ndarray]:
    """A red and a blue square that cross a grey ground; the red one is not there on the frames `away`."""
    frames = []
    for number in range(count):
        rgb = np.full((*size, 3), 90, np.uint8)
        x = 4 + 2 * number % (size[1] - 16)
        if number not in away:
            rgb[10:20, x : x + 10] = [230, 20, 30]
        y = 4 + number % (size[0] - 16)
        rgb[y : y + 10, 44:54] = [20, 40, 220]
        frames.append(rgb)
    return frames


def where(number: int, colour: str, size: tuple[int, int] = (48, 64)) -> tuple[float, float]:
    """(x, y) in the middle of a square of `clip_of`."""
    if colour == "red":
        return 4 + 2 * number % (size[1] - 16) + 5, 15
    return 49, 4 + number % (size[0] - 16) + 5
