"""How things move in made clips: smooth paths of places, sizes and turns, and how outlines bend. Time is in frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Matrix = NDArray[np.float64]

KNOTS = 5
"""Knots of a bending field along each side."""
GAITS = ("walk", "straight", "swing", "hops", "still")
"""Ways to move: with a will of its own, evenly, to and fro, with stops, not at all."""
_SHARES = (0.35, 0.25, 0.2, 0.1, 0.1)


def wander(rng: np.random.Generator, frames: int, step: float, steady: float = 0.85) -> NDArray[np.float64]:
    """A smooth walk that starts at 0, [frames]; step: deviation of its change from frame to frame."""
    push = rng.normal(size=frames) * np.sqrt(1 - steady**2)
    speed = np.empty(frames)
    speed[0] = rng.normal()
    for t in range(1, frames):
        speed[t] = steady * speed[t - 1] + push[t]
    path = np.cumsum(speed) * step
    return np.asarray(path - path[0])


def way(rng: np.random.Generator, frames: int, speed: float) -> NDArray[np.float64]:
    """A path in the plane, [frames, 2], 0 at one of its frames; speed: of its typical step."""
    gait = GAITS[int(rng.choice(len(GAITS), p=_SHARES))]
    heading = rng.uniform(0, 2 * np.pi)
    toward = np.array([np.cos(heading), 0.7 * np.sin(heading)])
    times = np.arange(frames)
    if gait == "walk":
        path = np.stack([wander(rng, frames, speed), wander(rng, frames, 0.7 * speed)], 1)
    elif gait == "straight":
        path = times[:, None] * toward * speed + np.stack([wander(rng, frames, 0.1 * speed) for _ in range(2)], 1)
    elif gait == "swing":
        period = rng.uniform(6, 30)
        phase = rng.uniform(0, 2 * np.pi)
        path = (np.sin(2 * np.pi * times / period + phase) * speed * period / 4)[:, None] * toward
    elif gait == "hops":
        moving = (np.sin(2 * np.pi * times / rng.uniform(5, 12) + rng.uniform(0, 6)) > 0).astype(float)
        path = np.cumsum(np.convolve(moving, [0.25, 0.5, 0.25], "same"))[:, None] * toward * 1.5 * speed
    else:
        path = np.stack([wander(rng, frames, 0.05 * speed, 0.3) for _ in range(2)], 1)
    return np.asarray(path - path[int(rng.integers(frames))])


@dataclass(frozen=True)
class Bend:
    """A smooth deformation that changes with time.

    fields: [K, KNOTS, KNOTS, 2] displacements in shares of the thing's sides. strength: [T, K].
    """

    fields: F32
    strength: NDArray[np.float64]

    @classmethod
    def random(cls, rng: np.random.Generator, frames: int, amount: float) -> Bend:
        """amount: deviation of the displacements, in shares of the thing's sides."""
        count = int(rng.integers(1, 4))
        fields = rng.normal(size=(count, KNOTS, KNOTS, 2)).astype(np.float32)
        fields = np.stack([cv2.GaussianBlur(field, (0, 0), 0.9) for field in fields])
        # a limb that swings: one of the fields moves one end alone
        if rng.random() < 0.5:
            ramp = np.linspace(0, 1, KNOTS, dtype=np.float32) ** 2
            ramp = ramp[:, None] if rng.random() < 0.5 else ramp[None, :]
            fields[0] = (ramp if rng.random() < 0.5 else ramp[::-1, ::-1])[..., None] * rng.normal(size=2)
        fields /= max(1e-6, float(np.abs(fields).mean()))
        times = np.arange(frames)[:, None]
        swing = np.sin(2 * np.pi * times / rng.uniform(5, 24, count) + rng.uniform(0, 6.3, count))
        return cls(fields.astype(np.float32), swing * amount / np.sqrt(count))

    def at(self, frame: int) -> F32:
        """Displacements on the knots, float32 [KNOTS, KNOTS, 2]."""
        return np.tensordot(self.strength[frame], self.fields, 1).astype(np.float32)


@dataclass(frozen=True)
class Poses:
    """Where a thing is on each frame: maps from its own (x, y), -0.5 to 0.5 along its longer side, to the world.

    matrices: [T, 2, 3], world in sides of the frame. bend: None for what is rigid.
    """

    matrices: Matrix
    bend: Bend | None

    @classmethod
    def random(cls, rng: np.random.Generator, frames: int, size: float, place: tuple[float, float]) -> Poses:
        """size: of the thing's longer side, and `place`, where its middle is on one of the frames: in frame sides."""
        speed = float(np.clip(np.exp(rng.normal(np.log(0.022), 0.9)), 0.0, 0.14))
        centre = np.array(place) + way(rng, frames, speed)
        scale = size * np.exp(wander(rng, frames, rng.choice([0.0, 0.01, 0.03])))
        scale = np.clip(scale, 0.4 * size, 2.2 * size)
        angle = rng.normal(0, 0.15) + wander(rng, frames, rng.choice([0.0, 0.01, 0.05, 0.12], p=[0.3, 0.4, 0.2, 0.1]))
        # turned out of the plane: narrower one way
        turn = rng.uniform(-0.6, 0.6) + wander(rng, frames, rng.choice([0.0, 0.06, 0.12]))
        narrow = np.maximum(np.abs(np.cos(turn)), 0.35)
        flat = np.eye(2)[:, ::-1] if rng.random() < 0.2 else np.eye(2)
        mirror = np.diag([-1.0 if rng.random() < 0.5 else 1.0, 1.0])
        matrices = np.empty((frames, 2, 3))
        for t in range(frames):
            c, s = np.cos(angle[t]), np.sin(angle[t])
            squeeze = np.diag(flat @ np.array([narrow[t], 1.0]))
            matrices[t, :, :2] = np.array([[c, -s], [s, c]]) @ squeeze @ mirror * scale[t]
            matrices[t, :, 2] = centre[t]
        amount = rng.choice([0.0, 0.015, 0.04, 0.08], p=[0.35, 0.25, 0.25, 0.15])
        return cls(matrices, Bend.random(rng, frames, amount) if amount else None)


def camera(rng: np.random.Generator, frames: int) -> Matrix:
    """Maps from the world to the frame, [T, 3, 3], both in frame sides, 0.5 the middle; some of them tilt."""
    still = rng.random() < 0.25
    speed = 0.0 if still else float(np.clip(np.exp(rng.normal(np.log(0.012), 0.8)), 0, 0.06))
    place = way(rng, frames, speed) if speed else np.zeros((frames, 2))
    if rng.random() < 0.4:
        # held by hand
        place = place + np.stack([wander(rng, frames, 0.004, 0.2) for _ in range(2)], 1)
    zoom = np.exp(wander(rng, frames, rng.choice([0.0, 0.008, 0.025], p=[0.5, 0.3, 0.2])))
    zoom = np.clip(zoom / np.sqrt(zoom.max() * zoom.min()), 0.6, 1.6)
    angle = wander(rng, frames, rng.choice([0.0, 0.004, 0.02], p=[0.5, 0.4, 0.1]))
    tilt = [wander(rng, frames, rng.choice([0.0, 0.02], p=[0.7, 0.3])) for _ in range(2)]
    out = np.empty((frames, 3, 3))
    for t in range(frames):
        c, s = np.cos(angle[t]) * zoom[t], np.sin(angle[t]) * zoom[t]
        turn = np.array([[c, -s, 0], [s, c, 0], [tilt[0][t], tilt[1][t], 1]])
        out[t] = _shift(0.5, 0.5) @ turn @ _shift(-0.5 - place[t, 0], -0.5 - place[t, 1])
    return out


def _shift(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]])


def placed(points: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Points [..., 2] through a 3x3 map."""
    out = points @ matrix[:2, :2].T + matrix[:2, 2]
    return np.asarray(out / (points @ matrix[2, :2] + matrix[2, 2])[..., None])
