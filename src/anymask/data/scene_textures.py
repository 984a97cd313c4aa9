"""Surfaces of generated scenes: a bank of random fields, patterns over them, relief and light.

Fields are made once from a fixed seed and kept as bytes; scenes look at them through random affine maps.
"""

from __future__ import annotations

import functools
from collections.abc import Set

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anymask.data.scene_shapes import wave

FIELD = 512
"""Side of a field in texels; fields repeat without a seam."""
PLAIN, STRIPES, CHECKS, BRICKS, SPOTS, RINGS, TILES = range(7)
"""Patterns."""
WHITE, FINE, CLOUDS, SMOOTH, FIBRES, GRASS, CELLS, PEBBLES, VEINS, PATCHES, BRUSHED, LEATHER = range(12)
"""Fields of the bank."""
FIELDS = 12

# columns of the table of surfaces
RED, GREEN, BLUE, TO_RED, TO_GREEN, TO_BLUE = range(6)
TU0, TUX, TUY, TV0, TVX, TVY = range(6, 12)
PATTERN, SHARP, WARP, OF_PATTERN, OF_FIELD, OF_SLOPE, SLOPE0, SLOPEX, SLOPEY = range(12, 21)
WHICH, GRAIN, GRAIN_OF, BEVEL, RELIEF, GLOSS, BUMP = range(21, 28)
COLUMNS = 28

TOGETHER = 1 << 18
"""Pixels that are coloured at once on a CPU: some 30 numbers of each are held."""


@functools.lru_cache(maxsize=4)
def bank(device: torch.device) -> Tensor:
    """All fields, float32 [FIELDS * FIELD * FIELD], 0..1 with mean about a half."""
    return torch.from_numpy(_fields()).to(device).flatten().float() / 255


@functools.lru_cache(maxsize=1)
def _fields() -> NDArray[np.uint8]:
    rng = np.random.default_rng(20_10)
    fy, fx = np.meshgrid(np.fft.fftfreq(FIELD), np.fft.rfftfreq(FIELD), indexing="ij")

    def spectrum(power: float, stretch: float = 1.0, low: float = 2.0) -> NDArray[np.float64]:
        frequency = np.hypot(fx * stretch, fy / stretch)
        weight = np.maximum(frequency, low / FIELD) ** -power
        weight[0, 0] = 0
        return np.fft.irfft2(np.fft.rfft2(rng.standard_normal((FIELD, FIELD))) * weight, (FIELD, FIELD))

    def seeds(count: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Distance to the nearest of random points, and which point it is."""
        points = np.ones((FIELD, FIELD), np.uint8)
        places = rng.choice(FIELD * FIELD, count, replace=False)
        points.flat[places] = 0
        around = np.pad(points, 64, mode="wrap")
        distance, names = cv2.distanceTransformWithLabels(around, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        return distance[64:-64, 64:-64].astype(np.float64), names[64:-64, 64:-64].astype(np.intp)

    ridges = -np.abs(spectrum(1.8))
    pebbles, _ = seeds(900)
    _, names = seeds(300)
    tones = rng.standard_normal(100_000)
    cells, _ = seeds(2500)
    fields = [
        rng.standard_normal((FIELD, FIELD)),
        spectrum(0.7),
        spectrum(1.5),
        spectrum(2.4),
        spectrum(1.2, 5.0),
        spectrum(1.0, 0.35),
        cells,
        -pebbles + 2.0 * spectrum(1.2) / spectrum(1.2).std(),
        ridges,
        tones[names % 100_000] + 0.3 * rng.standard_normal((FIELD, FIELD)),
        spectrum(0.6, 12.0),
        -np.abs(spectrum(1.1)) + 0.3 * np.abs(spectrum(0.6)),
    ]
    return np.stack([np.clip(127.5 + 52 * (f - f.mean()) / f.std(), 0, 255).astype(np.uint8) for f in fields])


def looked_up(which: Tensor | int, u: Tensor, v: Tensor) -> Tensor:
    """Value of field `which` (integer) at texel coordinates u, v, all [B, h, w] or alike, between four texels; 0..1."""
    fields = bank(u.device)
    fu, fv = u.floor(), v.floor()
    x0, y0 = fu.int() & (FIELD - 1), fv.int() & (FIELD - 1)
    x1, y1 = (x0 + 1) & (FIELD - 1), ((y0 + 1) & (FIELD - 1)) * FIELD
    base = which * (FIELD * FIELD)
    y0, y1 = y0 * FIELD + base, y1 + base
    a, b, c, d = (at(fields, i) for i in (y0 + x0, y0 + x1, y1 + x0, y1 + x1))
    du = u - fu
    top, below = b.sub_(a).mul_(du).add_(a), d.sub_(c).mul_(du).add_(c)
    return below.sub_(top).mul_(v - fv).add_(top)


def at(fields: Tensor, index: Tensor) -> Tensor:
    """fields[index] for flat fields, a copy; half the time of indexing on a CPU."""
    return fields.index_select(0, index.flatten()).view(index.shape)


def pattern(kind: Tensor, kinds: Set[int], u: Tensor, v: Tensor, warped: Tensor, sharp: Tensor) -> Tensor:
    """Patterns of period 1 in (u, v), 0..1; `warped` is added to the coordinate that stripes and rings follow.

    kinds: those that `kind` holds, or more.
    """
    row = v.floor()
    across = u
    if BRICKS in kinds:
        across = torch.where(kind == BRICKS, u + 0.5 * (row - 2 * (row / 2).floor()), u)
    cu, cv = across - across.floor() - 0.5, v - row - 0.5
    found = torch.full_like(cv, 0.0)
    if STRIPES in kinds:
        found = torch.where(kind == STRIPES, wave(u + warped), found)
    if CHECKS in kinds:
        found = torch.where(kind == CHECKS, wave(u) * wave(v) * 3, found)
    if BRICKS in kinds or TILES in kinds:
        joint = (0.44 - torch.maximum(cu.abs(), cv.abs())) * 16 - 0.3
        found = torch.where((kind == BRICKS) | (kind == TILES), joint, found)
    if SPOTS in kinds:
        found = torch.where(kind == SPOTS, (0.3 - (cu * cu + cv * cv).sqrt()) * 8, found)
    if RINGS in kinds:
        found = torch.where(kind == RINGS, wave((u * u + v * v * 0.03).sqrt() + warped), found)
    return found.mul_(sharp).add_(0.5).clamp_(0, 1)


def shaded(labels: Tensor, depth: Tensor, table: Tensor, light: Tensor) -> Tensor:
    """Colours of a frame from who is seen where.

    labels: uint8 [B, S, S], row of `table` [B, N, COLUMNS] that each pixel shows. depth: float32 [B, S, S], pixels
    within the outline, >= 0. light: float32 [B, 3], direction (x, y; y down) and its strength.
    Returns float32 [B, 3, S, S], 0..1 and a little beyond.
    """
    height, width = labels.shape[1:]
    known = table.cpu().numpy()
    if labels.device.type != "cpu":
        return _shaded(labels, depth, table, light, known, 0)
    # strip by strip, each with the last row of the one before, since slopes look at it
    step = max(1, TOGETHER // (len(labels) * width))
    image = torch.empty((len(labels), 3, height, width))
    for first in range(0, height, step):
        rows, above = slice(max(0, first - 1), first + step), min(first, 1)
        strip = _shaded(labels[:, rows], depth[:, rows], table, light, known, rows.start)
        image[:, :, first : first + step] = strip[:, :, above:]
    return image


def _shaded(
    labels: Tensor, depth: Tensor, table: Tensor, light: Tensor, known: NDArray[np.float32], first: int
) -> Tensor:
    """`shaded` for the rows of a frame from `first` on; known: the table as numpy holds it."""
    batch, height, width = labels.shape
    # most scenes do without some of it all, and many columns are the same for all their things
    used: list[bool] = (known != 0).any(axis=(0, 1)).tolist()
    differs = (known != known[:, :1]).any((0, 1))
    chosen = np.flatnonzero(differs)
    some = table.transpose(1, 2)[:, torch.from_numpy(chosen).to(table.device)]
    picked = [
        t.index_select(1, row.flatten().int()).view(-1, height, width) for t, row in zip(some, labels, strict=True)
    ]
    rows = picked[0][None] if batch == 1 else torch.stack(picked)
    place = {int(column): row for row, column in enumerate(chosen)}

    def of(index: int) -> Tensor:
        return rows[:, place[index]] if index in place else table[:, 0, index, None, None]

    def colors(start: int) -> Tensor:
        if all(start + i in place for i in range(3)):
            return rows[:, place[start] : place[start] + 3]
        return torch.stack([of(start + i).expand(batch, height, width) for i in range(3)], 1)

    x = torch.arange(width, device=labels.device, dtype=torch.float32)[None, None, :]
    y = torch.arange(first, first + height, device=labels.device, dtype=torch.float32)[None, :, None]
    u = of(TU0) + of(TUX) * x + of(TUY) * y
    v = of(TV0) + of(TVX) * x + of(TVY) * y
    field = looked_up(of(WHICH).int(), u * 32, v * 32).sub_(0.5)
    mix = of(OF_FIELD) * field
    bumps = of(BUMP) * field if used[BUMP] else None
    kinds = {int(kind) for kind in np.unique(known[..., PATTERN])}
    if kinds != {PLAIN}:
        kind = of(PATTERN)
        figure = pattern(kind, kinds, u, v, of(WARP) * field, of(SHARP)).sub_(0.5).masked_fill_(kind == PLAIN, 0)
        mix = mix.add_(of(OF_PATTERN) * figure)
        if bumps is not None:
            bumps = bumps.add_(of(BUMP) * 0.35 * figure)
    if used[OF_SLOPE]:
        mix = mix.add_(of(OF_SLOPE) * (of(SLOPE0) + of(SLOPEX) * x + of(SLOPEY) * y).clamp_(-0.6, 0.6))
    tone = colors(RED) + colors(TO_RED) * mix[:, None]
    if used[GRAIN]:
        across, down = x.int() & (FIELD - 1), (y.int() & (FIELD - 1)) * FIELD
        tone += (at(bank(labels.device), of(GRAIN_OF).int() * (FIELD * FIELD) + down + across).sub_(0.5) * of(GRAIN))[
            :, None
        ]
    if not used[RELIEF] and bumps is None:
        return tone
    height_of = bumps if bumps is not None else torch.zeros_like(depth)
    if used[RELIEF]:
        near = (depth / of(BEVEL).clamp_min(0.5)).clamp_(max=1)
        height_of = height_of + (2 - near).mul_(near).mul_(of(BEVEL) * of(RELIEF))
    # a step from one thing to another is an edge, not a slope
    nx, ny = torch.zeros_like(height_of), torch.zeros_like(height_of)
    torch.sub(height_of[:, :, 1:], height_of[:, :, :-1], out=nx[:, :, 1:])
    nx[:, :, 1:].masked_fill_(labels[:, :, 1:] != labels[:, :, :-1], 0)
    torch.sub(height_of[:, 1:], height_of[:, :-1], out=ny[:, 1:])
    ny[:, 1:].masked_fill_(labels[:, 1:] != labels[:, :-1], 0)
    facing = (nx * light[:, 0, None, None]).add_(ny * light[:, 1, None, None]).neg_()
    length = (nx * nx).add_(ny * ny).add_(1).sqrt_()
    lit = (facing + 1).div_(length).sub_(1).clamp_(-0.75, 0.6).mul_(light[:, 2, None, None]).add_(1)
    tone *= lit[:, None]
    if used[GLOSS]:
        shine = facing.mul_(0.75).add_(0.66).div_(length).clamp_(0, 1)
        shine = shine.mul_(shine)
        shine = shine.mul_(shine)
        tone += (shine * shine).mul_(shine).mul_(of(GLOSS))[:, None]
    return tone
