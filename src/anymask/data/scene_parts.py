"""What lies on things of generated scenes: their parts, print, and strays."""

from __future__ import annotations

import numpy as np

from anymask.data import scene_shapes as shapes
from anymask.data import scene_textures as textures
from anymask.data.scene_things import Plan, letter


def stray(plan: Plan, count: int) -> None:
    """Things of any kind on whatever is there."""
    for _ in range(count):
        plan.any_shape(plan.place(-0.05), plan.side * plan.rng.uniform(0.03, 0.22), label="object")


def parts_of(plan: Plan, whole: int, depth: int = 0) -> None:
    """Parts on a thing, and sometimes parts on these."""
    rng, outline = plan.rng, plan.things[whole].outline
    half = np.array([outline[shapes.A], outline[shapes.B]])
    size = float(half.min())
    if size < 0.02 * plan.side:
        return
    frame = np.array([[outline[shapes.UX], outline[shapes.UY]], [outline[shapes.VX], outline[shapes.VY]]], np.float64)
    back = np.linalg.inv(frame)
    for _ in range(int(rng.integers(1, 4))):
        offset = back @ (rng.uniform(-0.6, 0.6, 2) * half)
        at = (float(outline[shapes.X] + offset[0]), float(outline[shapes.Y] + offset[1]))
        if rng.random() < 0.3:
            edge = back @ (half * rng.choice([-1, 1], 2) * np.array([1, rng.uniform(-0.6, 0.6)])[rng.permutation(2)])
            at = (float(outline[shapes.X] + edge[0] * 0.9), float(outline[shapes.Y] + edge[1] * 0.9))
            plan.any_shape(at, size * rng.uniform(0.2, 0.5), label="part", parent=whole, inside=False)
            continue
        if rng.random() < 0.3:
            # a band across the whole
            part = plan.add(
                shapes.BOX, at, (4 * float(half.max()), size * rng.uniform(0.08, 0.4)), label="band", parent=whole,
                turn=float(np.arctan2(outline[shapes.UY], outline[shapes.UX]) + np.pi / 2 * rng.integers(2)),
                shadow=0.0,
            )  # fmt: skip
        else:
            part = plan.any_shape(at, size * rng.uniform(0.15, 0.55), label="part", parent=whole, shadow=size * 0.05)
            if depth == 0 and rng.random() < 0.3:
                parts_of(plan, part, 1)


def text_on(plan: Plan, parent: int, at: tuple[float, float], half: tuple[float, float], turn: float) -> None:
    """Lines of dashes or letters on a sheet; the letters of a line are one thing."""
    rng = plan.rng
    ink = np.full(3, rng.choice([0.08, 0.1, 0.9]), np.float32) if rng.random() < 0.7 else plan.color()
    surface = plan.surface(4, color=ink, plain=1.0)
    surface[textures.RELIEF] = surface[textures.GLOSS] = 0
    lines = int(rng.integers(1, 5))
    pitch = 1.7 * half[1] / (lines + 0.5)
    cosine, sine = np.cos(turn), np.sin(turn)
    for i in range(lines):
        v = (i - (lines - 1) / 2) * pitch
        u = -half[0] * rng.uniform(0, 0.25)
        place = (at[0] + cosine * u - sine * v, at[1] + sine * u + cosine * v)
        tall, times = pitch * rng.uniform(0.18, 0.34), int(rng.integers(2, 9))
        step = 1.6 * (half[0] + u) / (2 * times + 1)
        size = (min(step * 0.36, tall * 1.2), tall)
        letters = rng.random() < 0.75
        if not letters:
            size = (half[0] * rng.uniform(0.3, 0.75), tall * 0.7)
        plan.add(
            shapes.POLYGON if letters else shapes.BOX, place, size, turn=turn, label="text", surface=surface,
            parent=parent, coefficients=letter(rng, size) if letters else (), shadow=0.0,
            pitch_u=step, times_u=times if letters else 0,
        )  # fmt: skip
