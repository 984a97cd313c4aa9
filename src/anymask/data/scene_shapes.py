"""Outlines of the things in generated scenes, as signed distances.

Everything here is sums, products, divisions and square roots: these are rounded alike wherever a value stands in a
tensor, which sine or exponential are not, so a scene does not depend on the batch that it is drawn in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BOX, OVAL, BLOB, POLYGON, STROKE, GROUND = range(6)
"""Families of outlines; what COEFFICIENTS of each mean stands with its function."""
HARMONICS = 8
CORNERS = 12
JOINTS = 9
COEFFICIENTS = 36

# columns of the table of outlines, [.., len] float32
X, Y, UX, UY, VX, VY, A, B, ROUND, RING, HOLE, HOLE_U, HOLE_V, PITCH_U, PITCH_V, TIMES_U, TIMES_V, ROUGH = range(18)
COLUMNS = 18


def distance(family: int, x: Tensor, y: Tensor, table: Tensor, coefficients: Tensor) -> Tensor:
    """Signed distance to the outlines of M things of one family, in pixels; negative inside.

    x, y: float32 [M or 1, h, w], pixel centres. table: float32 [M, COLUMNS]. coefficients: float32 [M, COEFFICIENTS].
    Exact for boxes and strokes that are only turned; near the outline a good estimate for the others.
    Returns float32 [M, h, w].
    """

    def column(index: int) -> Tensor:
        return table[:, index, None, None]

    dx, dy = x - column(X), y - column(Y)
    u, v = column(UX) * dx + column(UY) * dy, column(VX) * dx + column(VY) * dy
    if bool((table[:, TIMES_U] + table[:, TIMES_V] > 0).any()):
        u, v = _folded(u, column(PITCH_U), column(TIMES_U)), _folded(v, column(PITCH_V), column(TIMES_V))
    d = _FAMILIES[family](u, v, table, coefficients)
    ring = column(RING)
    if bool((table[:, RING] > 0).any()):
        d = torch.where(ring > 0, (d + ring).abs() - ring, d)
    if bool((table[:, HOLE] > 0).any()):
        hole = ((u - column(HOLE_U)) ** 2 + (v - column(HOLE_V)) ** 2).sqrt() - column(HOLE)
        d = torch.where(column(HOLE) > 0, torch.maximum(d, -hole), d)
    return d


def _folded(u: Tensor, pitch: Tensor, times: Tensor) -> Tensor:
    """The place within the nearest of 2 * times + 1 copies that stand `pitch` apart; times may be n + 1/2."""
    shift = times - times.floor()
    nearest = (u / pitch.clamp_min(1e-3) - shift).round() + shift
    return torch.where(times > 0, u - pitch * nearest.clamp(-times, times), u)


def _box(u: Tensor, v: Tensor, table: Tensor, _: Tensor) -> Tensor:
    """Half sides A, B; corners rounded by ROUND."""
    a, b, radius = (table[:, i, None, None] for i in (A, B, ROUND))
    qu, qv = u.abs() - (a - radius), v.abs() - (b - radius)
    outside = (qu.clamp_min(0) ** 2 + qv.clamp_min(0) ** 2).sqrt()
    return outside + torch.maximum(qu, qv).clamp_max(0) - radius


def _oval(u: Tensor, v: Tensor, table: Tensor, coefficients: Tensor) -> Tensor:
    """Half axes A, B; coefficient 0 goes from -1 (rhombus) over 0 (ellipse) to 1 (superellipse of power 4)."""
    a, b, mix = table[:, A, None, None], table[:, B, None, None], coefficients[:, 0, None, None]
    p, q = (u / a).abs(), (v / b).abs()
    two = (p * p + q * q).sqrt()
    four = (p**2 * p**2 + q**2 * q**2).sqrt().sqrt()
    norm = two + mix.clamp_min(0) * (four - two) + (-mix).clamp_min(0) * (p + q - two)
    slope = ((p / a) ** 2 + (q / b) ** 2).sqrt() / two.clamp_min(1e-4)
    return (norm - 1) / slope.clamp_min(1e-4)


def _blob(u: Tensor, v: Tensor, table: Tensor, coefficients: Tensor) -> Tensor:
    """Radius 1 + sum of Fourier terms of the angle, over half axes A, B; cosines first, then sines."""
    a, b = table[:, A, None, None], table[:, B, None, None]
    p, q = u / a, v / b
    r = (p * p + q * q).sqrt().clamp_min(1e-4)
    cosine, sine = p / r, q / r
    c, s = cosine, sine
    radius = torch.ones_like(r)
    for n in range(HARMONICS):
        # columns of no weight are those of the whole family; most blobs need few
        radius += coefficients[:, n, None, None] * c + coefficients[:, HARMONICS + n, None, None] * s
        c, s = c * cosine - s * sine, s * cosine + c * sine
    return (r - radius.clamp_min(0.08)) * torch.minimum(a, b)


def _polygon(u: Tensor, v: Tensor, table: Tensor, coefficients: Tensor) -> Tensor:
    """Corners in turn, (u, v) pairs; unused ones repeat the last. ROUND widens it."""
    pu, pv = coefficients[:, 0 : 2 * CORNERS : 2], coefficients[:, 1 : 2 * CORNERS : 2]
    nearest = torch.full_like(u, 1e12)
    inside = torch.zeros_like(u, dtype=torch.bool)
    count = 1 + int(((pu.diff(dim=1) != 0) | (pv.diff(dim=1) != 0)).any(0).nonzero().max()) + 1
    for i in range(count):
        j = i - 1 if i else count - 1
        au, av, bu, bv = (t[:, None, None] for t in (pu[:, i], pv[:, i], pu[:, j], pv[:, j]))
        eu, ev = bu - au, bv - av
        wu, wv = u - au, v - av
        along = ((wu * eu + wv * ev) / (eu * eu + ev * ev).clamp_min(1e-6)).clamp_(0, 1)
        nearest = torch.minimum(nearest, (wu - eu * along) ** 2 + (wv - ev * along) ** 2)
        crossing = (v >= av) != (v >= bv)
        left = wu * ev - eu * wv
        inside ^= crossing & ((left > 0) == (ev < 0))
    d = nearest.sqrt()
    return torch.where(inside, -d, d) - table[:, ROUND, None, None]


def _stroke(u: Tensor, v: Tensor, table: Tensor, coefficients: Tensor) -> Tensor:
    """Joints in turn, (u, v, half width) each; unused ones repeat the last."""
    joints = coefficients[:, : 3 * JOINTS].reshape(-1, JOINTS, 3)
    moves = (joints.diff(dim=1) != 0).any(-1).any(0).nonzero()
    count = 2 + int(moves.max()) if len(moves) else 2
    best = torch.full_like(u, 1e6)
    for i in range(count - 1):
        au, av, aw = (joints[:, i, k, None, None] for k in range(3))
        eu, ev, ew = (joints[:, i + 1, k, None, None] - joints[:, i, k, None, None] for k in range(3))
        wu, wv = u - au, v - av
        along = ((wu * eu + wv * ev) / (eu * eu + ev * ev).clamp_min(1e-6)).clamp_(0, 1)
        d = ((wu - eu * along) ** 2 + (wv - ev * along) ** 2).sqrt_() - (aw + ew * along)
        best = torch.minimum(best, d)
    return best


def _ground(u: Tensor, v: Tensor, _: Tensor, coefficients: Tensor) -> Tensor:
    """All below a wavy line: coefficients (height, periods per pixel, phase) of up to 4 waves."""
    d = -v
    for n in range(4):
        height, often, phase = (coefficients[:, 3 * n + k, None, None] for k in range(3))
        d = d + height * wave(u * often + phase)
    return d


def wave(t: Tensor) -> Tensor:
    """A sine-like wave of period 1 between -1 and 1, made of parabolas."""
    t = t - t.floor()
    s = 2 * t - 1
    return -4 * s * (1 - s.abs())


_FAMILIES: dict[int, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    BOX: _box,
    OVAL: _oval,
    BLOB: _blob,
    POLYGON: _polygon,
    STROKE: _stroke,
    GROUND: _ground,
}
