"""Plans of generated scenes: which things, where, of what surface, and what is part of what."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anymask.data import scene_shapes as shapes
from anymask.data import scene_textures as textures

F32 = NDArray[np.float32]
MOST = 64
"""Things in a scene at most, parts included."""

_NATURAL = (
    (0.08, 0.45, 0.45), (0.10, 0.25, 0.70), (0.28, 0.40, 0.40), (0.24, 0.50, 0.30), (0.57, 0.25, 0.75),
    (0.60, 0.08, 0.55), (0.05, 0.55, 0.60), (0.12, 0.12, 0.85), (0.0, 0.0, 0.35), (0.06, 0.30, 0.25),
)  # fmt: skip
"""Hue, saturation, value of soil, sand, leaves, sky, stone, brick, paper, asphalt, bark."""


@dataclass
class Thing:
    """One thing of a plan. outline, coefficients, surface: rows of the tables of shapes and textures.

    parent: its place in the plan, -1 none. inside: cut to its parent's outline; otherwise it stands out, and belongs
    to the parent's whole. shown: has a mask. clear: 0 opaque .. 1 invisible. shadow: strength, dx, dy, softness (px).
    """

    family: int
    outline: F32
    coefficients: F32
    surface: F32
    label: str
    parent: int = -1
    inside: bool = True
    shown: bool = True
    clear: float = 0.0
    shadow: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)


class Plan:
    """A scene while it is thought up. rng: all chance comes from it. side: of the frame, in pixels."""

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        self.rng, self.side = rng, side
        self.things: list[Thing] = []
        self.flat = rng.random() < 0.18
        self.relief = 0.0 if self.flat or rng.random() < 0.25 else rng.uniform(0.2, 1.2)
        angle = rng.uniform(0, 2 * np.pi)
        self.light = (float(np.cos(angle)), float(np.sin(angle)), float(rng.uniform(0.3, 1.1)))
        self.shade = 0.0 if rng.random() < 0.25 else float(rng.uniform(0.1, 0.65))
        self.shade_far, self.shade_soft = rng.uniform(0.2, 1.6), rng.uniform(0.004, 0.04) * side
        count = int(rng.integers(2, 7))
        natural = rng.random() < 0.6
        self.palette = [self._tone(natural) for _ in range(count)]

    def _tone(self, natural: bool) -> tuple[float, float, float]:
        rng = self.rng
        if natural:
            h, s, v = _NATURAL[int(rng.integers(len(_NATURAL)))]
            return (h + rng.normal(0, 0.025), min(1.0, s * rng.uniform(0.5, 1.3)), min(1.0, v * rng.uniform(0.6, 1.35)))
        return (rng.random(), rng.beta(1.3, 1.5), rng.uniform(0.1, 1.0))

    def color(self, like: int | None = None) -> F32:
        """float32 [3], 0..1, of the palette with some variation."""
        h, s, v = self.palette[int(self.rng.integers(len(self.palette))) if like is None else like % len(self.palette)]
        h, s, v = h + self.rng.normal(0, 0.015), s + self.rng.normal(0, 0.05), v + self.rng.normal(0, 0.06)
        return np.array(colorsys.hsv_to_rgb(h % 1, float(np.clip(s, 0, 1)), float(np.clip(v, 0.03, 1))), np.float32)

    def surface(self, size: float, *, color: F32 | None = None, plain: float = 0.35, busy: float = 1.0) -> F32:
        """A random surface for a thing of about `size` pixels. plain: chance of one colour without figure."""
        rng, row = self.rng, np.zeros(textures.COLUMNS, np.float32)
        first = self.color() if color is None else color
        row[:3] = first
        second = self.color() if rng.random() < 0.4 else np.clip(first * rng.uniform(0.3, 1.7), 0, 1)
        row[3:6] = second - first
        plain = 0.85 if self.flat else plain
        unit = self.side / 256
        angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(3.5), np.log(40))) * unit
        if rng.random() < 0.5:
            angle = np.pi / 2 * rng.integers(2) + rng.normal(0, 0.03)
        period = min(period, max(size / 2.5, 3 * unit))
        cosine, sine, stretch = np.cos(angle) / period, np.sin(angle) / period, np.exp(rng.normal(0, 0.3))
        row[6:12] = (rng.uniform(0, 64), cosine, sine, rng.uniform(0, 64), -sine * stretch, cosine * stretch)
        row[textures.SHARP] = np.exp(rng.uniform(np.log(0.4), np.log(6)))
        row[textures.WARP] = rng.choice([0, 0.6, 3.0]) * rng.random()
        row[textures.WHICH] = rng.integers(1, textures.FIELDS)
        row[textures.GRAIN_OF] = rng.choice([textures.WHITE, textures.FINE, textures.LEATHER, textures.GRASS])
        if rng.random() > plain:
            if rng.random() < 0.4:
                row[textures.PATTERN] = rng.integers(1, 7)
                row[textures.OF_PATTERN] = busy * rng.uniform(0.15, 1.0)
            row[textures.OF_FIELD] = busy * rng.uniform(0.1, 1.3)
            row[textures.GRAIN] = rng.uniform(0, 0.25)
            row[textures.BUMP] = rng.choice([0, 1]) * rng.uniform(0, 4) * unit
        elif not self.flat:
            row[textures.GRAIN] = rng.uniform(0, 0.06)
            row[textures.OF_FIELD] = rng.uniform(0, 0.12)
        if rng.random() < (0.15 if self.flat else 0.5):
            along, steep = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.2) / max(size, 4)
            row[textures.SLOPEX], row[textures.SLOPEY] = np.cos(along) * steep, np.sin(along) * steep
            row[textures.OF_SLOPE] = rng.uniform(0.2, 1.0)
        row[textures.BEVEL] = max(1.0, size * rng.choice([0.04, 0.15, 0.5]))
        row[textures.RELIEF] = self.relief * rng.uniform(0.3, 1.3)
        row[textures.GLOSS] = rng.choice([0, 0, 1]) * rng.uniform(0, 0.7) * (self.relief > 0)
        return row

    def add(
        self,
        family: int,
        at: tuple[float, float],
        half: tuple[float, float],
        *,
        turn: float = 0.0,
        label: str = "thing",
        coefficients: Sequence[float] | F32 = (),
        surface: F32 | None = None,
        parent: int = -1,
        inside: bool = True,
        shown: bool = True,
        clear: float = 0.0,
        shadow: float | None = None,
        shear: float = 0.0,
        **columns: float,
    ) -> int:
        """Lay a thing on all that is there; returns its place, or that of the parent where the plan is full.

        at: centre (x, y) px. half: half extents along its own axes, px. turn: radians. shadow: how high it stands,
        px. columns: round, ring, hole, ... by their names in scene_shapes, lower case.
        """
        if len(self.things) >= MOST:
            return parent
        size = float(min(half))
        row = np.zeros(shapes.COLUMNS, np.float32)
        cosine, sine = np.cos(turn), np.sin(turn)
        row[:8] = (*at, cosine + shear * sine, sine - shear * cosine, -sine, cosine, *half)
        for name, value in columns.items():
            row[getattr(shapes, name.upper())] = value
        padded = np.zeros(shapes.COEFFICIENTS, np.float32)
        padded[: len(coefficients)] = coefficients
        chosen = self.surface(2 * size) if surface is None else surface.copy()
        # slopes count from the middle of the thing
        chosen[textures.SLOPE0] = -chosen[textures.SLOPEX] * at[0] - chosen[textures.SLOPEY] * at[1]
        height = size * self.rng.uniform(0.05, 0.3) if shadow is None else shadow
        far = height * self.shade_far
        cast = (
            self.shade if height > 0 else 0.0, -self.light[0] * far, -self.light[1] * far, self.shade_soft + 0.4 * far,
        )  # fmt: skip
        self.things.append(Thing(family, row, padded, chosen, label, parent, inside, shown, clear, cast))
        return len(self.things) - 1

    def ground(self, *, plain: float = 0.35, busy: float = 0.8, shown: bool = False, label: str = "ground") -> int:
        """All of the frame, under everything."""
        half = (2.0 * self.side, 2.0 * self.side)
        middle = (self.side / 2, self.side / 2)
        surface = self.surface(self.side * self.rng.uniform(0.1, 1), plain=plain, busy=busy)
        surface[textures.RELIEF] = 0
        surface[[textures.SLOPEX, textures.SLOPEY]] *= 0.5
        return self.add(shapes.BOX, middle, half, surface=surface, shown=shown, shadow=0.0, label=label)

    def place(self, margin: float = 0.0) -> tuple[float, float]:
        """Anywhere in the frame, `margin` (share of the side) from its edges; negative: also beyond them."""
        x, y = self.rng.uniform(margin, 1 - margin, 2) * self.side
        return float(x), float(y)

    def any_shape(self, at: tuple[float, float], size: float, **more: object) -> int:
        """A thing of a random outline, about `size` pixels in half extent."""
        rng = self.rng
        aspect = float(np.exp(rng.normal(0, 0.35)))
        half = (size * aspect**0.5, size / aspect**0.5)
        turn = float(rng.uniform(0, 2 * np.pi))
        extra: dict[str, object] = {"turn": turn, **more}
        kind = rng.choice(9, p=(0.16, 0.18, 0.2, 0.1, 0.08, 0.08, 0.08, 0.06, 0.06))
        if kind != 4 and rng.random() < 0.25:
            extra["rough"] = size * rng.uniform(0.04, 0.3)
        if kind < 6 and rng.random() < 0.1:
            extra["ring"] = min(half) * rng.uniform(0.08, 0.3)
        elif kind in (0, 1, 2) and rng.random() < 0.12:
            extra.update(hole=min(half) * rng.uniform(0.2, 0.6), hole_u=half[0] * rng.uniform(-0.3, 0.3))
        if kind == 0:
            extra.setdefault("round", min(half) * rng.choice([0, 0, 0.2, 0.9]))
            return self.add(shapes.BOX, at, half, **extra)  # type: ignore[arg-type]
        if kind == 1:
            return self.add(shapes.OVAL, at, half, coefficients=[rng.choice([0, 0, 0.8, -0.5])], **extra)  # type: ignore[arg-type]
        if kind == 2:
            return self.add(shapes.BLOB, at, half, coefficients=blob(rng), **extra)  # type: ignore[arg-type]
        if kind in (3, 4):
            corners = polygon(rng, half) if kind == 3 else letter(rng, half)
            return self.add(shapes.POLYGON, at, half, coefficients=corners, **extra)  # type: ignore[arg-type]
        if kind == 5:
            coefficients = np.zeros(2 * shapes.HARMONICS, np.float32)
            coefficients[int(rng.integers(2, 8))] = rng.uniform(0.1, 0.5)
            return self.add(shapes.BLOB, at, half, coefficients=coefficients, **extra)  # type: ignore[arg-type]
        width = size * (rng.uniform(0.03, 0.12) if kind == 6 else rng.uniform(0.15, 0.35))
        path = stroke(rng, 1.6 * size, width, leaf=kind == 7, bend=0.9 if kind == 6 else 0.35)
        return self.add(shapes.STROKE, at, reach(path), coefficients=path, **extra)  # type: ignore[arg-type]


def blob(rng: np.random.Generator) -> F32:
    """Fourier terms of a smooth outline."""
    fall = rng.uniform(1.0, 2.2)
    weight = rng.uniform(0.05, 0.28) / np.arange(1, shapes.HARMONICS + 1) ** fall
    terms = np.concatenate([weight, weight]) * rng.standard_normal(2 * shapes.HARMONICS)
    return terms.astype(np.float32)


def polygon(rng: np.random.Generator, half: tuple[float, float]) -> F32:
    """Corners of a regular polygon, a star or a random one that may be concave; [2 * CORNERS]."""
    count = int(rng.integers(3, shapes.CORNERS + 1))
    angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.35, 0.35, count) * rng.choice([0, 1])) / count
    radii = np.ones(count)
    if rng.random() < 0.35 and count % 2 == 0 and count >= 8:
        radii[::2] = rng.uniform(0.35, 0.7)
    elif rng.random() < 0.6:
        radii = rng.uniform(0.45, 1, count)
    corners = np.stack([np.cos(angles) * radii * half[0], np.sin(angles) * radii * half[1]], 1)
    return _repeated(corners, shapes.CORNERS)


_LETTERS = (
    ((-1, -1), (-0.4, -1), (-0.4, 0.5), (1, 0.5), (1, 1), (-1, 1)),
    ((-1, -1), (1, -1), (1, -0.5), (0.3, -0.5), (0.3, 1), (-0.3, 1), (-0.3, -0.5), (-1, -0.5)),
    ((-1, -1), (-0.4, -1), (-0.4, 0.5), (0.4, 0.5), (0.4, -1), (1, -1), (1, 1), (-1, 1)),
    ((-1, -1), (1, -1), (1, -0.6), (-0.4, -0.6), (-0.4, -0.2), (0.6, -0.2), (0.6, 0.2), (-0.4, 0.2), (-0.4, 1),
     (-1, 1)),
    ((-1, -1), (-0.4, -1), (-0.4, -0.2), (0.4, -0.2), (0.4, -1), (1, -1), (1, 1), (0.4, 1), (0.4, 0.2), (-0.4, 0.2),
     (-0.4, 1), (-1, 1)),
    ((0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3), (0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3),
     (-0.3, -0.3), (-0.3, -1)),
    ((0, -1), (1, 0), (0.4, 0), (0.4, 1), (-0.4, 1), (-0.4, 0), (-1, 0)),
    ((-1, -1), (1, -1), (1, -0.5), (0.0, 0.5), (1, 0.5), (1, 1), (-1, 1), (-1, 0.5), (0.1, -0.5), (-1, -0.5)),
)  # fmt: skip


def letter(rng: np.random.Generator, half: tuple[float, float]) -> F32:
    """Corners of a block letter, a cross or an arrow."""
    return _repeated(np.array(_LETTERS[int(rng.integers(len(_LETTERS)))], np.float64) * half, shapes.CORNERS)


def stroke(rng: np.random.Generator, length: float, width: float, *, leaf: bool = False, bend: float = 0.5) -> F32:
    """Joints of a bent path from one end to the other; `width` is half of that in its middle."""
    count = shapes.JOINTS
    heading = np.cumsum(rng.normal(0, bend / 2, count - 1)) + rng.normal(0, bend / 4)
    steps = np.stack([np.cos(heading), np.sin(heading)], 1) * 2 * length / count
    points = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)])
    points -= (points.min(0) + points.max(0)) / 2
    along = np.linspace(0, 1, count)
    widths = (
        width * (4 * along * (1 - along)) ** 0.7 if leaf else width * np.linspace(1, rng.choice([1, 1, 0.3]), count)
    )
    return np.concatenate([points, widths[:, None]], 1).astype(np.float32).flatten()


def bar(length: float, width: float) -> F32:
    """Joints of a straight bar with round ends; half length, half width."""
    return _repeated(np.array([[-length, 0, width], [length, 0, width]]), shapes.JOINTS)


def reach(path: F32) -> tuple[float, float]:
    """Half extents of a stroke."""
    joints = np.abs(path[: 3 * shapes.JOINTS].reshape(-1, 3))
    return float((joints[:, 0] + joints[:, 2]).max()), float((joints[:, 1] + joints[:, 2]).max())


def _repeated(points: NDArray[np.float64], count: int) -> F32:
    filled = np.concatenate([points, np.repeat(points[-1:], count - len(points), 0)])
    return filled.astype(np.float32).flatten()
