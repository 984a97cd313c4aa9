"""Surfaces of generated scenes: a bank of random fields, patterns over them, relief and light.

Fields are made once from a fixed seed and kept as bytes; scenes look at them through random affine maps.
"""

from __future__ import annotations

import functools

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


def looked_up(which: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Value of field `which` (integer) at texel coordinates u, v, all [B, h, w] or alike, between four texels; 0..1."""
    fields = bank(u.device)
    fu, fv = u.floor(), v.floor()
    du, dv = u - fu, v - fv
    x0, y0 = fu.int() & (FIELD - 1), fv.int() & (FIELD - 1)
    x1, y1 = (x0 + 1) & (FIELD - 1), ((y0 + 1) & (FIELD - 1)) * FIELD
    y0 = y0 * FIELD
    base = which * (FIELD * FIELD)
    y0, y1 = y0 + base, y1 + base
    a, b, c, d = (at(fields, i) for i in (y0 + x0, y0 + x1, y1 + x0, y1 + x1))
    top, below = a + (b - a) * du, c + (d - c) * du
    return top + (below - top) * dv


def at(fields: Tensor, index: Tensor) -> Tensor:
    """fields[index] for flat fields; half the time of indexing on a CPU."""
    return fields.index_select(0, index.flatten()).view(index.shape)


def pattern(kind: Tensor, u: Tensor, v: Tensor, warped: Tensor, sharp: Tensor) -> Tensor:
    """Patterns of period 1 in (u, v), 0..1; `warped` is added to the coordinate that stripes and rings follow."""
    row = v.floor()
    across = torch.where(kind == BRICKS, u + 0.5 * (row - 2 * (row / 2).floor()), u)
    cu, cv = across - across.floor() - 0.5, v - row - 0.5
    stripes = wave(u + warped)
    checks = wave(u) * wave(v) * 3
    joint = (0.44 - torch.maximum(cu.abs(), cv.abs())) * 16 - 0.3
    spots = (0.3 - (cu * cu + cv * cv).sqrt()) * 8
    rings = wave((u * u + v * v * 0.03).sqrt() + warped)
    found = torch.where(kind == STRIPES, stripes, checks)
    found = torch.where((kind == BRICKS) | (kind == TILES), joint, found)
    found = torch.where(kind == SPOTS, spots, found)
    found = torch.where(kind == RINGS, rings, found)
    return (found * sharp + 0.5).clamp(0, 1)


def shaded(labels: Tensor, depth: Tensor, table: Tensor, light: Tensor) -> Tensor:
    """Colours of a frame from who is seen where.

    labels: int64 [B, S, S], row of `table` [B, N, COLUMNS] that each pixel shows. depth: float32 [B, S, S], pixels
    within the outline, >= 0. light: float32 [B, 3], direction (x, y; y down) and its strength.
    Returns float32 [B, 3, S, S], 0..1 and a little beyond.
    """
    batch, side = labels.shape[0], labels.shape[1]
    rows = torch.stack([t.index_select(1, row.flatten()) for t, row in zip(table.transpose(1, 2), labels, strict=True)])
    rows = rows.reshape(batch, COLUMNS, side, side)

    def of(index: int) -> Tensor:
        return rows[:, index]

    steps = torch.arange(side, device=labels.device, dtype=torch.float32)
    x, y = steps[None, None, :], steps[None, :, None]
    u = of(TU0) + of(TUX) * x + of(TUY) * y
    v = of(TV0) + of(TVX) * x + of(TVY) * y
    field = looked_up(of(WHICH).int(), u * 32, v * 32)
    kind = of(PATTERN)
    figure = pattern(kind, u, v, of(WARP) * (field - 0.5), of(SHARP))
    figure = torch.where(kind == PLAIN, 0.5, figure) - 0.5
    slope = (of(SLOPE0) + of(SLOPEX) * x + of(SLOPEY) * y).clamp(-0.6, 0.6)
    mix = of(OF_PATTERN) * figure + of(OF_FIELD) * (field - 0.5) + of(OF_SLOPE) * slope
    grain_at = of(GRAIN_OF).int() * (FIELD * FIELD)
    grid = (steps[None, :, None].int() & (FIELD - 1)) * FIELD + (steps[None, None, :].int() & (FIELD - 1))
    grain = (at(bank(labels.device), grain_at + grid) - 0.5) * of(GRAIN)
    near = (depth / of(BEVEL).clamp_min(0.5)).clamp_max(1)
    height = near * (2 - near) * of(BEVEL) * of(RELIEF) + of(BUMP) * (field + 0.35 * figure)
    # a step from one thing to another is an edge, not a slope
    nx, ny = torch.zeros_like(height), torch.zeros_like(height)
    nx[:, :, 1:] = (height[:, :, 1:] - height[:, :, :-1]) * (labels[:, :, 1:] == labels[:, :, :-1])
    ny[:, 1:] = (height[:, 1:] - height[:, :-1]) * (labels[:, 1:] == labels[:, :-1])
    facing = -(nx * light[:, 0, None, None] + ny * light[:, 1, None, None])
    length = (1 + nx * nx + ny * ny).sqrt()
    lit = 1 + light[:, 2, None, None] * ((facing + 1) / length - 1).clamp(-0.75, 0.6)
    shine = ((facing * 0.75 + 0.66) / length).clamp(0, 1) ** 2
    shine = shine * shine
    shine = (shine * shine * shine * of(GLOSS))[:, None]
    tone = rows[:, RED : BLUE + 1] + rows[:, TO_RED : TO_BLUE + 1] * mix[:, None] + grain[:, None]
    return tone * lit[:, None] + shine
