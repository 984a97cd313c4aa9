"""Themes of generated scenes that grew or fell together: heaps, land, wires and leaves, rings, cells, beings."""

from __future__ import annotations

import numpy as np

from anymask.data import scene_shapes as shapes
from anymask.data import scene_textures as textures
from anymask.data.scene_parts import parts_of, stray
from anymask.data.scene_things import Plan, bar, blob, polygon, reach, stroke


def heap(plan: Plan) -> None:
    """Many small alike things that touch: pills, grains, fruits, stones."""
    rng, side = plan.rng, plan.side
    plan.ground()
    radius = side * np.exp(rng.uniform(np.log(0.025), np.log(0.1)))
    near = rng.uniform(1.2, 2.1)
    kind, kinds = rng.integers(4), int(rng.integers(1, 4))
    surfaces = [plan.surface(2 * radius, plain=0.7, busy=0.6) for _ in range(kinds)]
    for surface in surfaces:
        surface[textures.BEVEL] = radius
    terms = blob(rng)
    aspect = float(np.exp(rng.uniform(0, 0.7)))
    middle, spread = np.array(plan.place(0.25)), side * rng.uniform(0.2, 0.5)
    laid: list[np.ndarray] = []  # type: ignore[type-arg]
    for _ in range(int(rng.integers(8, 45)) * 3):
        at = middle + rng.normal(0, spread, 2) if len(laid) == 0 or rng.random() < 0.3 else (
            laid[int(rng.integers(len(laid)))] + near * radius * _unit(rng)
        )  # fmt: skip
        apart = float(np.hypot(*(at - np.array(laid)).T).min()) if laid else 1e9
        if apart < 0.92 * near * radius or not (-radius < at).all() or not (at < side + radius).all():
            continue
        laid.append(at)
        surface = surfaces[int(rng.integers(kinds))].copy()
        surface[:3] *= np.float32(np.exp(rng.normal(0, 0.08)))
        surface[[6, 9]] = rng.uniform(0, 64, 2)
        size = radius * np.exp(rng.normal(0, 0.08))
        half, turn = (size * aspect**0.5, size / aspect**0.5), rng.uniform(0, 2 * np.pi)
        place = (float(at[0]), float(at[1]))
        if kind == 0:
            one = plan.add(shapes.OVAL, place, half, turn=turn, surface=surface, label="grain", coefficients=[0.2])
        elif kind == 1:
            path = bar(half[0] * 0.9, half[1] * 0.7)
            one = plan.add(
                shapes.STROKE, place, reach(path), turn=turn, surface=surface, label="pill", coefficients=path,
                shadow=radius * 0.2,
            )  # fmt: skip
        elif kind == 2:
            own = terms + 0.3 * blob(rng)
            one = plan.add(shapes.BLOB, place, half, turn=turn, surface=surface, label="grain", coefficients=own)
        else:
            corners = polygon(rng, half)
            one = plan.add(
                shapes.POLYGON, place, half, turn=turn, surface=surface, label="stone", coefficients=corners,
                round=size * 0.15, rough=size * 0.2,
            )  # fmt: skip
        if kind == 1 and kinds > 1:
            end = (place[0] + np.cos(turn) * half[0], place[1] + np.sin(turn) * half[0])
            plan.add(shapes.BOX, end, (half[0], half[0]), turn=turn, parent=one, label="half", shadow=0.0)


def _unit(rng: np.random.Generator) -> np.ndarray:  # type: ignore[type-arg]
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def land(plan: Plan) -> None:
    """Bands of ground behind each other under a sky, with things that stand on them."""
    rng, side = plan.rng, plan.side
    plan.ground(shown=True, label="sky", plain=0.5, busy=0.7)
    levels = np.sort(rng.uniform(0.15, 1.0, int(rng.integers(1, 5))))
    for level in levels:
        waves = [
            number
            for n in range(4)
            for number in (
                side * rng.uniform(0, 0.05) / (n + 1),
                rng.uniform(0.4, 1.6) * (n + 1) ** 2 / side,
                rng.random(),
            )
        ]
        surface = plan.surface(side * rng.uniform(0.05, 0.6), plain=0.2)
        surface[textures.RELIEF] = 0
        rough = side * rng.uniform(0.0, 0.12) if rng.random() < 0.6 else 0.0
        plan.add(
            shapes.GROUND, (side / 2, side * float(level)), (side * 2.0, side * 2.0), turn=rng.normal(0, 0.06),
            shadow=0.0, coefficients=waves, surface=surface, label="ground", rough=rough,
        )  # fmt: skip
        for _ in range(int(rng.integers(0, 5))):
            x, tall = float(rng.uniform(0, side)), side * np.exp(rng.uniform(np.log(0.04), np.log(0.25)))
            foot = side * float(level) + rng.uniform(0, 0.1) * side
            choice = rng.integers(4)
            if choice == 0:
                crown = plan.add(
                    shapes.BLOB, (x, foot - tall), (tall * 0.5, tall * 0.6), coefficients=blob(rng), label="tree",
                    rough=tall * 0.6, shadow=0.0,
                )  # fmt: skip
                plan.add(
                    shapes.BOX, (x, foot - tall * 0.25), (tall * 0.05, tall * 0.35), parent=crown, inside=False,
                    label="trunk", shadow=0.0,
                )  # fmt: skip
            elif choice == 1:
                house = plan.add(shapes.BOX, (x, foot - tall / 2), (tall * 0.6, tall / 2), label="house", shadow=0.0)
                roof = np.array([(-0.75, 0), (0.75, 0), (0.3, -0.5), (-0.3, -0.5)]) * tall
                corners = np.concatenate([roof, np.repeat(roof[-1:], 8, 0)]).flatten()
                plan.add(
                    shapes.POLYGON, (x, foot - tall), (tall, tall), coefficients=corners, parent=house, inside=False,
                    label="roof", shadow=0.0,
                )  # fmt: skip
            elif choice == 2:
                plan.add(shapes.BOX, (x, foot - tall), (max(1.0, tall * 0.03), tall), label="pole", shadow=0.0)
            else:
                plan.any_shape((x, foot - tall / 3), tall / 3, label="object")


def wires(plan: Plan) -> None:
    """Thin and long things: cables, bars, leaves, cracks."""
    rng, side = plan.rng, plan.side
    plan.ground()
    for _ in range(int(rng.integers(3, 9))):
        choice, at = rng.integers(5), plan.place(0.05)
        length = side * rng.uniform(0.12, 0.5)
        turn = rng.uniform(0, 2 * np.pi)
        width = side * np.exp(rng.uniform(np.log(0.004), np.log(0.03)))
        if choice == 0:
            path = stroke(rng, length, width, bend=1.0)
        elif choice == 1:
            path = bar(length, width)
        elif choice == 2:
            path = stroke(rng, length * 0.5, length * rng.uniform(0.08, 0.22), leaf=True, bend=0.25)
        elif choice == 3:
            path = stroke(rng, length, max(width * 0.5, 0.8), bend=1.6)
        else:
            plan.add(shapes.BOX, at, (length, width), turn=turn, label="bar")
            continue
        surface = plan.surface(4 * width)
        if choice == 3:
            surface[:6] *= np.float32(0.25)
        leaf = plan.add(
            shapes.STROKE, at, reach(path), turn=turn, coefficients=path, surface=surface,
            label=("cable", "bar", "leaf", "crack")[choice], shadow=0.0 if choice == 3 else None,
            rough=width * rng.choice([0, 2]) if choice == 3 else 0.0,
        )  # fmt: skip
        if choice == 2 and rng.random() < 0.6:
            vein = path.copy()
            vein[2::3][: shapes.JOINTS] = max(0.7, 0.004 * side)
            plan.add(
                shapes.STROKE, at, reach(path), turn=turn, coefficients=vein, label="vein", parent=leaf, shadow=0.0
            )


def rings(plan: Plan) -> None:
    """Rings, frames, washers, wheels and grates, and things seen through them."""
    rng, side = plan.rng, plan.side
    plan.ground()
    stray(plan, int(rng.integers(0, 4)))
    for _ in range(int(rng.integers(3, 9))):
        size = side * np.exp(rng.uniform(np.log(0.04), np.log(0.28)))
        half, turn = (size, size * rng.uniform(0.4, 1.0)), rng.uniform(0, np.pi)
        at, choice = plan.place(0.03), rng.integers(5)
        thick = min(half) * rng.uniform(0.04, 0.25)
        if choice == 0:
            plan.add(shapes.OVAL, at, half, turn=turn, ring=thick, label="ring")
        elif choice == 1:
            radius = min(half) * rng.choice([0, 0.3])
            frame = plan.add(shapes.BOX, at, half, turn=turn, ring=thick, round=radius, label="frame")
            if rng.random() < 0.4:
                inner = (half[0] - 2 * thick, half[1] - 2 * thick)
                plan.add(shapes.BOX, at, inner, turn=turn, parent=frame, inside=False, label="picture", shadow=0.0)
        elif choice == 2:
            teeth = np.zeros(16, np.float32)
            teeth[int(rng.integers(4, 8))] = rng.uniform(0.05, 0.2)
            plan.add(shapes.BLOB, at, (size, size), coefficients=teeth, hole=size * rng.uniform(0.2, 0.6), label="gear")
        elif choice == 3:
            plan.add(shapes.POLYGON, at, half, coefficients=polygon(rng, half), turn=turn, ring=thick, label="ring")
        else:
            times = int(rng.integers(2, 6))
            step = 2 * size / (2 * times + 1)
            plan.add(
                shapes.BOX, at, (step * rng.uniform(0.12, 0.3), size), turn=turn, pitch_u=step, times_u=times,
                label="grate",
            )  # fmt: skip


def hidden(plan: Plan) -> None:
    """Things that differ from what is under them in texture or light only."""
    rng, side = plan.rng, plan.side
    ground = plan.things[plan.ground(plain=0.1, busy=1.0)].surface
    for _ in range(int(rng.integers(2, 7))):
        size = side * np.exp(rng.uniform(np.log(0.07), np.log(0.3)))
        surface = ground.copy()
        surface[[6, 9]] = rng.uniform(0, 64, 2)
        choice = rng.integers(4)
        if choice == 0:
            surface[6:12] *= np.float32(np.exp(rng.choice([-1, 1]) * rng.uniform(0.25, 0.8)))
        elif choice == 1:
            surface[[7, 8, 10, 11]] = surface[[10, 11, 7, 8]]
        elif choice == 2:
            surface[:3] *= np.float32(np.exp(rng.choice([-1, 1]) * rng.uniform(0.05, 0.15)))
        surface[textures.BEVEL] = size * rng.choice([0.1, 0.5, 1.0])
        surface[textures.RELIEF] = plan.relief
        whole = plan.any_shape(plan.place(0.05), size, surface=surface, label="hidden", shadow=size * 0.08)
        if rng.random() < 0.2:
            parts_of(plan, whole)


def cells(plan: Plan) -> None:
    """Cells with nuclei, bright on dark or dark on bright."""
    rng, side = plan.rng, plan.side
    ground = plan.ground(plain=0.7, busy=0.3)
    plan.relief *= 0.2
    plan.shade *= rng.choice([0, 0.3])
    base = plan.things[ground].surface[:3]
    body = np.clip(base + rng.uniform(-0.35, 0.35, 3), 0, 1).astype(np.float32)
    core = np.clip(body + rng.choice([-1, 1]) * rng.uniform(0.1, 0.4), 0, 1).astype(np.float32)
    radius = side * np.exp(rng.uniform(np.log(0.02), np.log(0.11)))
    kernel, spread = rng.random() < 0.6, rng.uniform(0.05, 0.3)
    for _ in range(int(rng.integers(6, 40))):
        at = plan.place(-0.02)
        surface = plan.surface(radius, color=body * np.float32(np.exp(rng.normal(0, 0.08))), plain=0.3, busy=0.4)
        size = radius * np.exp(rng.normal(0, spread))
        half = (size * rng.uniform(0.9, 1.6), size)
        turn = rng.uniform(0, np.pi)
        whole = plan.add(
            shapes.BLOB, at, half, turn=turn, coefficients=blob(rng), surface=surface, label="cell", shadow=0.0
        )
        if kernel and len(plan.things) < 60:
            inner = plan.surface(radius / 2, color=core, plain=0.5, busy=0.3)
            plan.add(
                shapes.BLOB, at, (half[0] * 0.4, half[1] * 0.4), turn=turn, coefficients=blob(rng), surface=inner,
                label="nucleus", parent=whole, shadow=0.0,
            )  # fmt: skip


def crowd(plan: Plan) -> None:
    """Things of all sizes over each other until the frame is full, few of them whole."""
    rng, side = plan.rng, plan.side
    plan.ground()
    for size in np.sort(side * np.exp(rng.uniform(np.log(0.03), np.log(0.4), int(rng.integers(14, 36)))))[::-1]:
        plan.any_shape(plan.place(-0.1), float(size), label="object")


def beings(plan: Plan) -> None:
    """Bodies with limbs, heads and marks that are parts of one whole."""
    rng, side = plan.rng, plan.side
    if rng.random() < 0.5:
        land(plan)
    else:
        plan.ground()
    for _ in range(int(rng.integers(1, 4))):
        size = side * np.exp(rng.uniform(np.log(0.06), np.log(0.2)))
        at, turn = plan.place(0.12), rng.normal(0, 0.4)
        skin = plan.surface(2 * size)
        half = (size * rng.uniform(0.5, 1.2), size * rng.uniform(0.5, 0.9))
        body = plan.add(shapes.BLOB, at, half, turn=turn, coefficients=blob(rng), surface=skin, label="body")

        def away(
            share: float, angle: float, at: tuple[float, float] = at, half: tuple[float, float] = half
        ) -> tuple[float, float]:
            return at[0] + share * half[0] * float(np.cos(angle)), at[1] + share * half[1] * float(np.sin(angle))

        for angle in np.linspace(0, 2 * np.pi, int(rng.integers(3, 7)), endpoint=False) + rng.normal(0, 0.3):
            path = stroke(rng, size * rng.uniform(0.4, 0.8), size * rng.uniform(0.06, 0.16), bend=0.4)
            limb = skin if rng.random() < 0.6 else None
            plan.add(
                shapes.STROKE, away(1.3, angle), reach(path), turn=angle, coefficients=path, surface=limb, parent=body,
                inside=False, label="limb", shadow=0.0,
            )  # fmt: skip
        angle = rng.uniform(0, 2 * np.pi)
        head = plan.add(
            shapes.OVAL, away(1.2, angle), (size * 0.42, size * 0.36), turn=turn, surface=skin, parent=body,
            inside=False, label="head", shadow=size * 0.05,
        )  # fmt: skip
        middle = plan.things[head].outline[:2]
        for sign in (-1, 1):
            eye = (float(middle[0] + sign * size * 0.15), float(middle[1] - size * 0.08))
            plan.add(shapes.OVAL, eye, (size * 0.07, size * 0.07), parent=head, label="eye", shadow=0.0)
        if rng.random() < 0.5:
            parts_of(plan, body)
