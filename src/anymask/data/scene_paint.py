"""Painting generated scenes: thing is laid on thing as labels, and each pixel is coloured once at the end.

All of it is torch, on any device. On a CPU a scene is painted alone, each thing in the window that it fills; on a GPU
many scenes are painted together, each thing on whole frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anymask.data import scene_shapes as shapes
from anymask.data import scene_textures as textures
from anymask.data.scene_camera import taken
from anymask.data.scene_things import Plan, Thing

SMALLEST = 20
"""Visible pixels that a thing has at least; others have no mask."""


@dataclass(frozen=True)
class SceneBatch:
    """B scenes; N is the largest number of masks in one, scenes with fewer end in empty masks.

    images: uint8 [B, S, S, 3] RGB. visible: bool [B, N, S, S], what is seen of each thing, its parts included.
    amodal: bool [B, N, S, S], the whole thing as far as it lies in the frame. parents: int64 [B, N], -1 none.
    labels: for each scene, as many as it has masks.
    """

    images: Tensor
    visible: Tensor
    amodal: Tensor
    parents: Tensor
    labels: tuple[tuple[str, ...], ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Masks of each scene."""
        return tuple(len(labels) for labels in self.labels)


class _Canvas:
    """B frames while things are laid on them, [B, S, S] each: who is seen, who gives the colour, what clear thing is
    over it, how deep within its outline a pixel lies (px), how much light falls there; amodal: bool [B, N, S, S].
    """

    def __init__(self, plans: Sequence[Plan], device: torch.device) -> None:
        self.plans, self.device, self.side = plans, device, plans[0].side
        size = (len(plans), self.side, self.side)
        self.amodal = _zeros((size[0], max(len(plan.things) for plan in plans), *size[1:]), device)
        self.seen, self.glass = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
        # what is opaque gives the colour where it is seen; only clear things keep the two apart
        self.glassy = any(thing.clear > 0 for plan in plans for thing in plan.things)
        self.paint = self.seen.clone() if self.glassy else self.seen
        self.depth = torch.full(size, float(self.side), device=device)
        self.light = torch.ones(size, device=device)

    def lay_alone(self, k: int, rows: slice, columns: slice, d: Tensor) -> None:
        """Thing k of the only scene onto its window, in place; d: [1, h, w] distances there. For the CPU.

        Numpy shares torch's memory, and writes where a mask says in a fifth of the time.
        """
        things, thing, away = self.plans[0].things, self.plans[0].things[k], d[0].numpy()
        amodal = self.amodal[0].numpy()[:, rows, columns]
        seen, paint, glass, depth, light = (
            column[0].numpy()[rows, columns] for column in (self.seen, self.paint, self.glass, self.depth, self.light)
        )
        inside = amodal[k]
        np.less(away, 0, out=inside)
        parent = thing.parent
        if parent >= 0 and thing.inside:
            inside &= amodal[parent]
        while parent >= 0 and not thing.inside:
            amodal[parent] |= inside
            thing, parent = things[parent], things[parent].parent
        if things[k].shadow[0] > 0:
            light *= _unshaded(d, [things[k].shadow])[0].numpy()
        np.copyto(seen, k, where=inside)
        if things[k].clear:
            np.copyto(glass, k, where=inside)
            return
        if self.glassy:
            np.copyto(paint, k, where=inside)
            np.copyto(glass, 0, where=inside)
        np.copyto(light, 1, where=inside)
        np.copyto(depth, -away, where=inside)

    def lay_together(self, k: int, members: Sequence[int], d: Tensor) -> None:
        """Thing k of the scenes `members` onto whole frames; d: [M, S, S]."""
        here = [self.plans[b].things[k] for b in members]
        inside = d < 0
        for i, (b, thing) in enumerate(zip(members, here, strict=True)):
            parent = thing.parent
            if parent >= 0 and thing.inside:
                inside[i] &= self.amodal[b, parent]
            self.amodal[b, k] = inside[i]
            while parent >= 0 and not thing.inside:
                self.amodal[b, parent] |= inside[i]
                thing, parent = self.plans[b].things[parent], self.plans[b].things[parent].parent
        part = torch.tensor(members, device=self.device)
        lit = self.light[part]
        if any(thing.shadow[0] > 0 for thing in here):
            lit = lit * _unshaded(d, [thing.shadow for thing in here])
        solid = inside
        if self.glassy:
            opaque = torch.tensor([thing.clear == 0 for thing in here], device=self.device)[:, None, None]
            solid = inside & opaque
            self.paint[part] = torch.where(solid, k, self.paint[part])
            over = torch.where(opaque, 0, k).to(torch.uint8)
            self.glass[part] = torch.where(inside, over, self.glass[part])
        self.seen[part] = torch.where(inside, k, self.seen[part])
        self.light[part] = torch.where(solid, 1.0, lit)
        self.depth[part] = torch.where(solid, -d, self.depth[part])


def painted(planned: Sequence[tuple[Plan, NDArray[np.float32]]], device: torch.device) -> SceneBatch:
    """Scenes painted together, thing over thing, then coloured all at once from who is seen where."""
    plans = [plan for plan, _ in planned]
    side = plans[0].side
    outlines = _stacked([[t.outline for t in p.things] for p in plans], shapes.COLUMNS, device)
    coefficients = _stacked([[t.coefficients for t in p.things] for p in plans], shapes.COEFFICIENTS, device)
    surfaces = _stacked([[t.surface for t in p.things] for p in plans], textures.COLUMNS, device)
    steps = torch.arange(side, device=device, dtype=torch.float32)
    canvas = _Canvas(plans, device)

    def distances(k: int, members: Sequence[int], rows: slice, columns: slice) -> Tensor:
        here = [plans[b].things[k] for b in members]
        known = np.stack([t.outline for t in here]), np.stack([t.coefficients for t in here])
        index = torch.tensor(members, device=device) if len(plans) > 1 else slice(0, 1)
        x, y, table = steps[None, None, columns], steps[None, rows, None], outlines[index, k]
        d = shapes.distance(here[0].family, x, y, table, coefficients[index, k], known)
        if known[0][:, shapes.ROUGH].any():
            scale = 64 / side * 3
            ragged = textures.looked_up(textures.CLOUDS, x * scale + 37 * k, y * scale + 11 * k)
            d = d + table[:, shapes.ROUGH, None, None] * (ragged - 0.5)
        return d

    whole = slice(0, side)
    for k in range(canvas.amodal.shape[1]):
        if len(plans) == 1 and device.type == "cpu":
            rows, columns = _window(plans[0].things[k], side)
            if rows.stop > rows.start and columns.stop > columns.start:
                canvas.lay_alone(k, rows, columns, distances(k, [0], rows, columns))
            continue
        families: dict[int, list[int]] = {}
        for b, plan in enumerate(plans):
            if k < len(plan.things):
                families.setdefault(plan.things[k].family, []).append(b)
        for members in families.values():
            canvas.lay_together(k, members, distances(k, members, whole, whole))
    source = torch.tensor([p.light for p in plans], dtype=torch.float32, device=device)
    image = textures.shaded(canvas.paint, canvas.depth.clamp_min_(0), surfaces, source) * canvas.light[:, None]
    if canvas.glassy:
        image = _through_glass(image, canvas.glass, plans, surfaces)
    picture = taken(image, torch.from_numpy(np.stack([c for _, c in planned])).to(device))
    pixels = (picture.clamp_(0, 1) * 255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return _kept(pixels, canvas.seen, canvas.amodal, plans)


def _window(thing: Thing, side: int) -> tuple[slice, slice]:
    """Rows and columns that a thing and its shadow can reach."""
    if thing.family == shapes.GROUND:
        return slice(0, side), slice(0, side)
    strength, dx, dy, soft = thing.shadow
    # plain numbers: numpy's own cost would be more than that of the sums
    x, y, ux, uy, vx, vy, a, b, widened, _, _, _, _, pitch_u, pitch_v, times_u, times_v, rough = thing.outline.tolist()
    a, b = a + pitch_u * times_u, b + pitch_v * times_v
    if thing.family == shapes.BLOB:
        wide = 1 + float(np.abs(thing.coefficients).sum())
        a, b = a * wide, b * wide
    area = abs(ux * vy - uy * vx)
    margin = 2 + rough + (widened if thing.family == shapes.POLYGON else 0.0)
    margin += (max(abs(dx), abs(dy)) + soft) if strength > 0 else 0
    reach_x, reach_y = (abs(vy) * a + abs(uy) * b) / area + margin, (abs(vx) * a + abs(ux) * b) / area + margin

    def span(middle: float, reach: float) -> slice:
        return slice(min(max(int(middle - reach), 0), side), min(max(int(middle + reach) + 2, 0), side))

    return span(y, reach_y), span(x, reach_x)


def _unshaded(d: Tensor, casts: Sequence[tuple[float, float, float, float]]) -> Tensor:
    """The share of light that things leave to what is under them, float32 [M, h, w].

    casts: strength, dx, dy and softness of each shadow.
    """
    height, width = d.shape[1:]
    moved = []
    for one, (_, dx, dy, _) in zip(d, casts, strict=True):
        rows = (torch.arange(height, device=d.device) - round(dy)).clamp_(0, height - 1)
        columns = (torch.arange(width, device=d.device) - round(dx)).clamp_(0, width - 1)
        moved.append(one.index_select(0, rows).index_select(1, columns))
    strength, _, _, soft = torch.tensor(casts, dtype=d.dtype, device=d.device).T[:, :, None, None]
    dark = torch.stack(moved) if len(moved) > 1 else moved[0][None]
    return dark.div_(-2 * soft).add_(0.5).clamp_(0, 1).mul_(-strength).add_(1)


def _through_glass(image: Tensor, glass: Tensor, plans: Sequence[Plan], surfaces: Tensor) -> Tensor:
    """What clear things let through, with their own colour over it."""
    clear = torch.ones(surfaces.shape[:2], device=image.device)
    for b, plan in enumerate(plans):
        for k, thing in enumerate(plan.things):
            if thing.clear:
                clear[b, k] = thing.clear
    through = torch.stack([c[g.int()] for c, g in zip(clear, glass, strict=True)])[:, None]
    tint = torch.stack([s[g.int(), :3] for s, g in zip(surfaces, glass, strict=True)]).permute(0, 3, 1, 2)
    return image * through + tint * (1 - through)


def _stacked(rows: list[list[NDArray[np.float32]]], width: int, device: torch.device) -> Tensor:
    table = np.zeros((len(rows), max(map(len, rows)), width), np.float32)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return torch.from_numpy(table).to(device)


def _kept(pixels: Tensor, seen: Tensor, amodal: Tensor, plans: Sequence[Plan]) -> SceneBatch:
    """Masks of things that are shown and seen well enough; a part whose whole is left out goes to the next whole."""
    chosen: list[list[int]] = []
    for one, plan in zip(seen, plans, strict=True):
        areas = torch.bincount(one.flatten(), minlength=len(plan.things)).tolist()
        for k in range(len(plan.things) - 1, -1, -1):
            if plan.things[k].parent >= 0:
                areas[plan.things[k].parent] += areas[k]
        chosen.append([k for k, t in enumerate(plan.things) if t.shown and areas[k] >= SMALLEST])
    size = (len(plans), max(map(len, chosen)), *seen.shape[1:])
    shown, whole = _zeros(size, seen.device), _zeros(size, seen.device)
    parents = torch.full(size[:2], -1, dtype=torch.int64)
    for b, (plan, kept) in enumerate(zip(plans, chosen, strict=True)):
        places = {k: i for i, k in enumerate(kept)}

        def whole_of(k: int, things: list[Thing] = plan.things, places: dict[int, int] = places) -> int:
            """The next thing up that is kept, -1 none."""
            while k >= 0 and k not in places:
                k = things[k].parent
            return k

        for k, i in places.items():
            _are(seen[b], k, shown[b, i])
            whole[b, i] = amodal[b, k]
            parents[b, i] = places.get(whole_of(plan.things[k].parent), -1)
        for k in range(len(plan.things) - 1, -1, -1):
            # a part belongs to its whole, with all that the part itself has taken in by now
            if plan.things[k].parent >= 0 and (up := whole_of(plan.things[k].parent)) >= 0:
                shown[b, places[up]] |= shown[b, places[k]] if k in places else seen[b] == k
    labels = tuple(tuple(p.things[k].label for k in kept) for p, kept in zip(plans, chosen, strict=True))
    return SceneBatch(pixels, shown, whole, parents.to(pixels.device), labels)


def _are(seen: Tensor, k: int, out: Tensor) -> None:
    """Writes where `seen` is k; numpy compares bytes in a tenth of torch's time on a CPU."""
    if seen.device.type == "cpu":
        np.equal(seen.numpy(), k, out=out.numpy())
    else:
        torch.eq(seen, k, out=out)


def _zeros(size: Sequence[int], device: torch.device) -> Tensor:
    """bool; on a CPU of pages that the system makes when they are written to, so that empty masks cost nothing."""
    if device.type == "cpu":
        return torch.from_numpy(np.zeros(size, np.bool_))
    return torch.zeros(size, dtype=torch.bool, device=device)
