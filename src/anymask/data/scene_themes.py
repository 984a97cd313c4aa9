"""What generated scenes are of: tables with things, sheets, shelves, fronts, heaps, land, wires, cells and more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anymask.data import scene_shapes as shapes
from anymask.data import scene_textures as textures
from anymask.data.scene_things import Plan, bar, blob, letter, polygon, reach, stroke


def plan_scene(plan: Plan) -> None:
    """Fill a plan with one theme, or one over another."""
    names = list(THEMES)
    weights = np.array([THEMES[name][1] for name in names])
    name = names[int(plan.rng.choice(len(names), p=weights / weights.sum()))]
    THEMES[name][0](plan)
    if plan.rng.random() < 0.2:
        _stray(plan, int(plan.rng.integers(1, 4)))


def _stray(plan: Plan, count: int) -> None:
    """Things of any kind on whatever is there."""
    for _ in range(count):
        plan.any_shape(plan.place(-0.05), plan.side * plan.rng.uniform(0.03, 0.22), label="object")


def _parts(plan: Plan, whole: int, depth: int = 0) -> None:
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
                _parts(plan, part, 1)


def _text(plan: Plan, parent: int, at: tuple[float, float], half: tuple[float, float], turn: float) -> None:
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


def table(plan: Plan) -> None:
    """Things of all kinds lying about, some with parts, some clear."""
    rng = plan.rng
    plan.ground()
    crowd = rng.uniform(0.6, 1.5)
    for _ in range(int(rng.integers(4, 13))):
        size = plan.side * np.exp(rng.uniform(np.log(0.03), np.log(0.26))) * crowd
        clear = rng.uniform(0.3, 0.7) if rng.random() < 0.05 else 0.0
        whole = plan.any_shape(plan.place(-0.02), size, label="object", clear=clear)
        if rng.random() < 0.4 and not clear:
            _parts(plan, whole)


def sheets(plan: Plan) -> None:
    """Plain sheets, cards and panels over each other, with print on them."""
    rng = plan.rng
    plan.ground(plain=0.5)
    tidy = rng.random() < 0.5
    for _ in range(int(rng.integers(2, 9))):
        wide, high = (float(v) for v in plan.side * np.exp(rng.uniform(np.log(0.06), np.log(0.36), 2)))
        half = (wide, high)
        turn = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.02) if tidy else rng.uniform(0, np.pi)
        color = None if rng.random() < 0.6 else np.full(3, rng.uniform(0.75, 1.0), np.float32)
        surface = plan.surface(min(half), color=color, plain=0.8, busy=0.5)
        surface[textures.BEVEL], surface[textures.RELIEF] = 1.5, rng.choice([0, 0.3])
        at = plan.place(0.02)
        sheet = plan.add(
            shapes.BOX, at, half, turn=turn, label="sheet", surface=surface, shear=rng.normal(0, 0.08),
            shadow=plan.side * rng.uniform(0, 0.02), round=min(half) * rng.choice([0, 0, 0.1, 0.3]),
        )  # fmt: skip
        if rng.random() < 0.55:
            _text(plan, sheet, at, half, turn)
        elif rng.random() < 0.5:
            inner = (wide * rng.uniform(0.4, 0.9), high * rng.uniform(0.4, 0.9))
            plan.add(shapes.BOX, at, inner, turn=turn, label="field", parent=sheet, shadow=0.0)


def shelf(plan: Plan) -> None:
    """Rows of book spines, boxes or bars that touch."""
    rng, side = plan.rng, plan.side
    plan.ground(shown=False)
    rows = int(rng.integers(1, 4))
    lying = rng.random() < 0.3
    alike = rng.random() < 0.3
    base = plan.surface(side * 0.05)
    for row in range(rows):
        bottom = side * (row + 0.96) / rows
        x = side * rng.uniform(-0.05, 0.1)
        tallest = side / rows * rng.uniform(0.7, 0.95)
        width = side * rng.uniform(0.04, 0.13)
        while x < side * rng.uniform(0.85, 1.1):
            half = (width * np.exp(rng.normal(0, 0.3)) / 2, tallest * rng.uniform(0.7, 1.0) / 2)
            if rng.random() < 0.06:
                x += 2 * half[0]
                continue
            turn = rng.normal(0, 0.012) + (rng.uniform(-0.25, 0.25) if rng.random() < 0.06 else 0)
            at = (x + half[0], bottom - half[1])
            x += 2 * half[0] * rng.uniform(0.99, 1.03)
            if lying:
                at, half = (bottom - half[1], x - half[0]), (half[1], half[0])
            surface = base if alike else plan.surface(float(min(half)), plain=0.75, busy=0.5)
            book = plan.add(
                shapes.BOX, at, (float(half[0]), float(half[1])), turn=turn, surface=surface, label="spine",
                round=float(min(half)) * rng.choice([0, 0.15]), shadow=side * 0.008,
            )  # fmt: skip
            if rng.random() < 0.5:
                along = 1 if not lying else 0
                for _ in range(int(rng.integers(1, 3))):
                    share = rng.uniform(-0.8, 0.8)
                    spot = (at[0] + half[0] * share * (1 - along), at[1] + half[1] * share * along)
                    size = [half[0] * rng.uniform(0.6, 1.2), half[1] * rng.uniform(0.6, 1.2)]
                    size[along] = half[along] * rng.uniform(0.02, 0.25)
                    plan.add(shapes.BOX, spot, (size[0], size[1]), turn=turn, label="label", parent=book, shadow=0.0)
        if rng.random() < 0.7:
            middle, board = (side / 2, bottom + side * 0.02), (float(side), side * 0.02)
            if lying:
                middle, board = middle[::-1], board[::-1]
            plan.add(shapes.BOX, middle, board, label="board", shadow=side * 0.01)


def front(plan: Plan) -> None:
    """A wall with rows of windows that have panes, in front of a sky."""
    rng, side = plan.rng, plan.side
    plan.ground(shown=True, label="sky", plain=0.8, busy=0.5)
    turn, shear = rng.normal(0, 0.03), rng.normal(0, 0.12)
    half = (side * rng.uniform(0.3, 0.75), side * rng.uniform(0.3, 0.75))
    middle = (side * rng.uniform(0.35, 0.65), side * (1 - rng.uniform(0.0, 0.4)) - half[1] * rng.uniform(0, 0.6))
    wall = plan.add(shapes.BOX, middle, half, turn=turn, shear=shear, label="wall", shadow=side * 0.02)
    across, down = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    cell = np.array([1.9 * half[0] / across, 1.9 * half[1] / down])
    size = cell * rng.uniform(0.2, 0.42, 2)
    surface = plan.surface(float(size.min()), plain=0.6, busy=0.5)
    panes = plan.surface(float(size.min()) / 2, plain=0.6, busy=0.6)
    split = rng.choice([0, 0, 2, 4]) if size.min() > 0.02 * side and across * down <= 12 else 0
    arched = rng.random() < 0.2
    frame = np.linalg.inv(
        np.array([[np.cos(turn) + shear * np.sin(turn), np.sin(turn) - shear * np.cos(turn)],
                  [-np.sin(turn), np.cos(turn)]])
    )  # fmt: skip
    for i in range(across):
        for j in range(down):
            if rng.random() < 0.06:
                continue
            local = np.array([(i + 0.5) * cell[0] - 0.95 * half[0], (j + 0.5) * cell[1] - 0.95 * half[1]])
            at = np.array(middle) + frame @ local
            own = surface.copy()
            own[:3] *= np.float32(rng.uniform(0.75, 1.2))
            window = plan.add(
                shapes.OVAL if arched else shapes.BOX, (at[0], at[1]), (size[0], size[1]), turn=turn, shear=shear,
                surface=own, label="window", parent=wall, shadow=0.0, coefficients=[1.0],
            )  # fmt: skip
            for pane in range(split):
                inner = size / 2 * (0.86 if split == 4 else np.array([0.86, 1.8]))
                place = np.array([(pane % 2 - 0.5) * size[0], (pane // 2 - 0.5) * size[1] * (split == 4)])
                spot = at + frame @ place
                plan.add(
                    shapes.BOX, (spot[0], spot[1]), (inner[0], inner[1]), turn=turn, shear=shear, surface=panes,
                    label="pane", parent=window, shadow=0.0,
                )  # fmt: skip
    if rng.random() < 0.5:
        door = (middle[0] + half[0] * rng.uniform(-0.6, 0.6), middle[1] + half[1] * 0.8)
        plan.add(shapes.BOX, door, (half[0] * 0.12, half[1] * 0.2), turn=turn, label="door", parent=wall, shadow=0.0)
    if rng.random() < 0.5:
        _stray(plan, 1)


def panels(plan: Plan) -> None:
    """Arrays of equal plates seen askew, as solar fields, tiles or keys are."""
    rng, side = plan.rng, plan.side
    plan.ground()
    for _ in range(int(rng.integers(1, 4))):
        turn, shear = rng.uniform(0, np.pi), rng.normal(0, 0.25)
        half = side * np.exp(rng.uniform(np.log(0.02), np.log(0.1), 2))
        gap = 1 + rng.choice([0.03, 0.1, 0.4])
        across, down = rng.integers(1, 7), rng.integers(1, 6)
        surface, origin = plan.surface(float(half.min())), np.array(plan.place(0.15))
        frame = np.linalg.inv(
            np.array([[np.cos(turn) + shear * np.sin(turn), np.sin(turn) - shear * np.cos(turn)],
                      [-np.sin(turn), np.cos(turn)]])
        )  # fmt: skip
        array = plan.add(
            shapes.BOX, (origin[0], origin[1]), (half[0] * gap * across, half[1] * gap * down), turn=turn, shear=shear,
            label="array",
        ) if rng.random() < 0.5 else -1  # fmt: skip
        radius = float(half.min()) * rng.choice([0, 0, 0.3])
        for i in range(int(across)):
            for j in range(int(down)):
                local = half * gap * np.array([2 * i - across + 1, 2 * j - down + 1])
                at = origin + frame @ local
                plan.add(
                    shapes.BOX, (at[0], at[1]), (half[0], half[1]), turn=turn, shear=shear, surface=surface,
                    label="panel", round=radius, parent=array, shadow=float(half.min()) * 0.1,
                )  # fmt: skip


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
        apart = min((float(np.hypot(*(at - other))) for other in laid), default=1e9)
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
    _stray(plan, int(rng.integers(0, 4)))
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
            _parts(plan, whole)


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
            _parts(plan, body)


THEMES: dict[str, tuple[Callable[[Plan], None], float]] = {
    "table": (table, 3.0),
    "sheets": (sheets, 2.0),
    "shelf": (shelf, 1.5),
    "front": (front, 1.5),
    "panels": (panels, 1.0),
    "heap": (heap, 1.5),
    "land": (land, 1.5),
    "wires": (wires, 1.2),
    "rings": (rings, 1.0),
    "hidden": (hidden, 1.2),
    "cells": (cells, 0.8),
    "crowd": (crowd, 1.2),
    "beings": (beings, 1.0),
}
"""Themes and how often each is drawn, relative to the others."""
