"""Themes of generated scenes that people made: tables with things, sheets, shelves, fronts, panels."""

from __future__ import annotations

import numpy as np

from anymask.data import scene_shapes as shapes
from anymask.data import scene_textures as textures
from anymask.data.scene_parts import parts_of, stray, text_on
from anymask.data.scene_things import Plan


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
            parts_of(plan, whole)


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
            text_on(plan, sheet, at, half, turn)
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
        stray(plan, 1)


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
