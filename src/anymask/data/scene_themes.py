"""What generated scenes are of, and how often."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from anymask.data.scene_built import front, panels, sheets, shelf, table
from anymask.data.scene_grown import beings, cells, crowd, heap, hidden, land, rings, wires
from anymask.data.scene_parts import stray
from anymask.data.scene_things import Plan


def plan_scene(plan: Plan, themes: Sequence[str] = ()) -> None:
    """Fill a plan with one theme, and sometimes things of other kinds over it. themes: to draw from, all if empty."""
    names = [name for name in THEMES if not themes or name in themes]
    weights = np.array([THEMES[name][1] for name in names])
    name = names[int(plan.rng.choice(len(names), p=weights / weights.sum()))]
    THEMES[name][0](plan)
    if plan.rng.random() < 0.2:
        stray(plan, int(plan.rng.integers(1, 4)))


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
