"""Outlines of the things in generated scenes, as signed distances.

Everything here is sums, products, divisions and square roots: these are rounded alike wherever a value stands in a
tensor, which sine or exponential are not, so a scene does not depend on the batch that it is drawn in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Host = NDArray[np.float32]
"""A table as numpy holds it."""
Columns = tuple[Tensor, ...]
"""The columns of a table, [M, 1, 1] each."""

BOX, OVAL, BLOB, POLYGON, STROKE, GROUND = range(6)
"""Families of outlines; what COEFFICIENTS of each mean stands with its function."""
HARMONICS = 8
CORNERS = 12
JOINTS = 9
COEFFICIENTS = 36

# columns of the table of outlines, [.., len] float32
X, Y, UX, UY, VX, VY, A, B, ROUND, RING, HOLE, HOLE_U, HOLE_V, PITCH_U, PITCH_V, TIMES_U, TIMES_V, ROUGH = range(18)
COLUMNS = 18

TOGETHER = 1 << 16
"""Numbers that are worked on at once, about what the nearest cache of a core holds."""


def distance(
    family: int, x: Tensor, y: Tensor, table: Tensor, coefficients: Tensor, known: tuple[Host, Host] | None = None
) -> Tensor:
    """Signed distance to the outlines of M things of one family, in pixels; negative inside.

    x, y: float32 [M or 1, 1, w] and [M or 1, h, 1], pixel centres. table: float32 [M, COLUMNS]. coefficients: float32
    [M, COEFFICIENTS]. known: both as numpy holds them, so that a device need not be asked what is in them.
    Exact for boxes and strokes that are only turned; near the outline a good estimate for the others.
    Returns float32 [M, h, w].
    """
    outlines, terms = known or (table.cpu().numpy(), coefficients.cpu().numpy())
    columns = table[:, :, None, None].unbind(1)
    used: list[bool] = (outlines != 0).any(axis=0).tolist()
    dx, dy = x - columns[X], y - columns[Y]
    # of a thing that is not turned, one coordinate follows x alone and the other y
    u = columns[UX] * dx + columns[UY] * dy if used[UY] else columns[UX] * dx
    v = columns[VX] * dx + columns[VY] * dy if used[VX] else columns[VY] * dy
    if used[TIMES_U]:
        u = _folded(u, columns[PITCH_U], columns[TIMES_U])
    if used[TIMES_V]:
        v = _folded(v, columns[PITCH_V], columns[TIMES_V])
    d = _FAMILIES[family](u, v, columns, coefficients, terms)
    if used[RING]:
        ring = columns[RING]
        d = torch.where(ring > 0, (d + ring).abs() - ring, d)
    if used[HOLE]:
        hole = ((u - columns[HOLE_U]) ** 2 + (v - columns[HOLE_V]) ** 2).sqrt() - columns[HOLE]
        d = torch.where(columns[HOLE] > 0, torch.maximum(d, -hole), d)
    return d


def _folded(u: Tensor, pitch: Tensor, times: Tensor) -> Tensor:
    """The place within the nearest of 2 * times + 1 copies that stand `pitch` apart; times may be n + 1/2."""
    shift = times - times.floor()
    nearest = (u / pitch.clamp_min(1e-3) - shift).round() + shift
    return torch.where(times > 0, u - pitch * nearest.clamp(-times, times), u)


def _box(u: Tensor, v: Tensor, columns: Columns, _: Tensor, __: Host) -> Tensor:
    """Half sides A, B; corners rounded by ROUND."""
    radius = columns[ROUND]
    qu, qv = u.abs() - (columns[A] - radius), v.abs() - (columns[B] - radius)
    within = torch.maximum(qu, qv).clamp_max_(0)
    qu, qv = qu.clamp_min_(0), qv.clamp_min_(0)
    return (qu * qu + qv * qv).sqrt_().add_(within).sub_(radius)


def _oval(u: Tensor, v: Tensor, columns: Columns, coefficients: Tensor, terms: Host) -> Tensor:
    """Half axes A, B; coefficient 0 goes from -1 (rhombus) over 0 (ellipse) to 1 (superellipse of power 4)."""
    a, b, mix = columns[A], columns[B], coefficients[:, 0, None, None]
    p, q = (u / a).abs_(), (v / b).abs_()
    pp, qq = p * p, q * q
    two = (pp + qq).sqrt_()
    norm = two
    if (terms[:, 0] > 0).any():
        norm = norm + mix.clamp_min(0) * ((pp * pp + qq * qq).sqrt_().sqrt_() - two)
    if (terms[:, 0] < 0).any():
        norm = norm + (-mix).clamp_min(0) * (p + q - two)
    slope = ((p / a) ** 2 + (q / b) ** 2).sqrt_().div_(two.clamp_min(1e-4)).clamp_min_(1e-4)
    return (norm - 1).div_(slope)


def _blob(u: Tensor, v: Tensor, columns: Columns, coefficients: Tensor, terms: Host) -> Tensor:
    """Radius 1 + sum of Fourier terms of the angle, over half axes A, B; cosines first, then sines."""
    a, b = columns[A], columns[B]
    p, q = u / a, v / b
    r = (p * p + q * q).sqrt_().clamp_min_(1e-4)
    cosine, sine = p / r, q / r
    weights = coefficients[:, : 2 * HARMONICS, None, None].unbind(1)
    used = (terms != 0).any(0)
    used = used[:HARMONICS] | used[HARMONICS : 2 * HARMONICS]
    last = int(np.flatnonzero(used)[-1]) if used.any() else 0
    c, s = cosine, sine
    radius = torch.ones_like(r)
    for n in range(last + 1):
        if used[n]:
            radius.addcmul_(weights[n], c).addcmul_(weights[HARMONICS + n], s)
        if n < last:
            c, s = (c * cosine).addcmul_(s, sine, value=-1), (s * cosine).addcmul_(c, sine)
    return r.sub_(radius.clamp_min_(0.08)).mul_(torch.minimum(a, b))


def _polygon(u: Tensor, v: Tensor, columns: Columns, coefficients: Tensor, terms: Host) -> Tensor:
    """Corners in turn, (u, v) pairs; unused ones repeat the last. ROUND widens it."""
    moves = (np.diff(terms[:, : 2 * CORNERS].reshape(-1, CORNERS, 2), axis=1) != 0).any((0, 2))
    count = 2 + int(np.flatnonzero(moves)[-1])
    corners = coefficients[:, : 2 * count].reshape(-1, count, 2)
    before = corners.roll(1, 1)
    edges = before - corners
    length = (edges[..., 0] ** 2 + edges[..., 1] ** 2).clamp_min_(1e-6)
    nearest: Tensor | None = None
    inside: Tensor | None = None
    for part in _parts(count, u, v):
        au, av, eu, ev = (t[:, part, k, None, None] for t in (corners, edges) for k in (0, 1))
        wu, wv = u[:, None] - au, v[:, None] - av
        # a corner lies on one side for both edges that end there, so it is compared with itself, not with a difference
        along = (wu * eu + wv * ev).div_(length[:, part, None, None]).clamp_(0, 1)
        crossing = (v[:, None] >= av) != (v[:, None] >= before[:, part, 1, None, None])
        crossing = crossing & ((wu * ev - eu * wv > 0) == (ev < 0))
        for one in crossing.unbind(1):
            inside = one if inside is None else inside ^ one
        wu, wv = wu - eu * along, wv - ev * along
        closest = (wu * wu + wv * wv).amin(1)
        nearest = closest if nearest is None else torch.minimum(nearest, closest)
    assert nearest is not None and inside is not None
    d = nearest.sqrt_()
    return torch.where(inside, -d, d).sub_(columns[ROUND])


def _stroke(u: Tensor, v: Tensor, _: Columns, coefficients: Tensor, terms: Host) -> Tensor:
    """Joints in turn, (u, v, half width) each; unused ones repeat the last."""
    moves = (np.diff(terms[:, : 3 * JOINTS].reshape(-1, JOINTS, 3), axis=1) != 0).any((0, 2))
    count = 1 + int(np.flatnonzero(moves)[-1]) if moves.any() else 1
    joints = coefficients[:, : 3 * JOINTS].reshape(-1, JOINTS, 3)
    edges = joints.diff(dim=1)
    length = (edges[..., 0] ** 2 + edges[..., 1] ** 2).clamp_min_(1e-6)
    best: Tensor | None = None
    for part in _parts(count, u, v):
        au, av, aw, eu, ev, ew = (t[:, part, k, None, None] for t in (joints, edges) for k in (0, 1, 2))
        wu, wv = u[:, None] - au, v[:, None] - av
        along = (wu * eu + wv * ev).div_(length[:, part, None, None]).clamp_(0, 1)
        wu, wv = wu - eu * along, wv - ev * along
        d = (wu * wu + wv * wv).sqrt_().sub_(aw + ew * along).amin(1)
        best = d if best is None else torch.minimum(best, d)
    assert best is not None
    return best


def _parts(count: int, u: Tensor, v: Tensor) -> list[slice]:
    """Ranges of edges that are looked at together: few numbers cost as much as many, until they leave the cache."""
    step = max(1, TOGETHER // max(1, u.shape[0] * v.shape[-2] * u.shape[-1]))
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def _ground(u: Tensor, v: Tensor, _: Columns, coefficients: Tensor, __: Host) -> Tensor:
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


_FAMILIES: dict[int, Callable[[Tensor, Tensor, Columns, Tensor, Host], Tensor]] = {
    BOX: _box,
    OVAL: _oval,
    BLOB: _blob,
    POLYGON: _polygon,
    STROKE: _stroke,
    GROUND: _ground,
}
