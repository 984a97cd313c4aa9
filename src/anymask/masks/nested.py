"""The containment tree as one picture: wholes, parts and parts of parts side by side, a family in one hue."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from anymask.errors import BadSetting
from anymask.masks.colours import RGB, distances
from anymask.masks.masks import Masks
from anymask.masks.mosaic import colours, edge, label_map, neighbours, painted
from anymask.masks.picture import canvas_of, line_width
from anymask.masks.tree import levels
from anymask.pixels.image import ImageLike

SIDE = 900
"""Pixels of a panel, its longer side at most."""

PAPER: RGB = (250, 250, 251)
INK: RGB = (28, 29, 33)

SHADES = (0.0, 0.5, -0.45, 0.25, -0.25)
"""Of a family's colour: how much lighter, or darker where negative."""


def nested(masks: Masks, image: ImageLike | None = None, *, side: int = SIDE) -> Pillow.Image:
    """The picture once for each level of the tree, a PIL image, RGB.

    First the wholes, then what lies directly in them, then all that lies deeper; levels without masks are left out.
    Everything in one whole has its hue, and in the later panels the line of what it lies in is drawn around it. Masks
    of one hue that touch differ in lightness, which every kind of colour vision keeps. The photo is grey there, so that
    only masks have colour. side: pixels of a panel, its longer side at most. Raises BadSetting.
    """
    if side < 64:
        raise BadSetting(f"a panel has at least 64 px, got {side}")
    canvas = canvas_of(masks, image)
    scale = min(1.0, side / max(masks.size))
    wide, high = (max(1, round(length * scale)) for length in (masks.size[1], masks.size[0]))
    photo = np.asarray(cv2.resize(canvas, (wide, high), interpolation=cv2.INTER_AREA), np.uint8)
    grey = np.asarray(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), np.uint8)
    ground = np.repeat((grey * 0.6 + 24).astype(np.uint8)[..., None], 3, 2)
    depth = np.minimum(levels(masks.parents), 2)
    maps = [_level(masks, depth == level, (wide, high)) for level in range(int(depth.max(initial=0)) + 1)]
    families = _families(masks, maps[0])
    line = max(1, round(line_width((high, wide)) * 0.7))
    panels = []
    for level, labels in enumerate(maps):
        table = _shaded(labels, families)
        panel = ground.copy()
        if level:
            # what the masks of this panel lie in
            around = np.nonzero(edge(maps[level - 1], line) & (maps[level - 1] > 0))
            panel[around] = families[maps[level - 1][around]]
        panels.append(Pillow.fromarray(painted(panel, labels, table, 0.55, line)))
    return _page(panels, [int((depth == level).sum()) for level in range(len(maps))])


def _level(masks: Masks, rows: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.int32]:
    """The label map of some masks, small; labels are rows of all masks, + 1."""
    chosen = np.flatnonzero(rows)
    labels = np.concatenate([[0], chosen + 1]).astype(np.int32)[label_map(masks[chosen])]
    return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.int32)


def _families(masks: Masks, wholes: NDArray[np.int32]) -> NDArray[np.uint8]:
    """uint8 [N + 1, 3]: for each label the colour of the whole that its mask lies in."""
    top = np.arange(len(masks))
    for _ in range(int(levels(masks.parents).max(initial=0))):
        above = masks.parents[top]
        top = np.where(above >= 0, above, top)
    table = np.zeros((len(masks) + 1, 3), np.uint8)
    table[1:] = np.array(colours(wholes, len(masks)), np.uint8).reshape(-1, 3)[top]
    return table


def _shaded(labels: NDArray[np.int32], families: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The table with shades of the family's colour, such that masks side by side differ."""
    table = families.copy()
    beside: dict[int, list[int]] = {}
    for first, second in neighbours(labels).tolist():
        beside.setdefault(first, []).append(second)
        beside.setdefault(second, []).append(first)
    done: set[int] = set()
    for label in sorted(beside, key=lambda one: (-len(beside[one]), one)):
        taken: list[RGB] = [_shade(table[other], 0) for other in beside[label] if other in done]
        done.add(label)
        if not taken:
            continue
        choice = [_shade(families[label], lighter) for lighter in SHADES]
        room = distances([*choice, *taken])[: len(choice), len(choice) :].min(1)
        # the plain colour wherever it will do
        table[label] = choice[int(np.argmax(np.minimum(room, 20)))]
    return table


def _shade(tint: NDArray[np.uint8], lighter: float) -> RGB:
    red, green, blue = (float(value) / 255 for value in tint)
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    light = light + (1 - light) * lighter if lighter > 0 else light * (1 + lighter)
    red, green, blue = colorsys.hls_to_rgb(hue, light, saturation)
    return (round(red * 255), round(green * 255), round(blue * 255))


def _page(panels: list[Pillow.Image], counts: list[int]) -> Pillow.Image:
    """Panels with a line of text above each: beside each other, or below where they are very wide."""
    wide, high = panels[0].size
    text = max(13, round(max(wide, high) / 42))
    gap, head = text, round(2.1 * text)
    across = wide < 2 * high
    columns, rows = (len(panels), 1) if across else (1, len(panels))
    page = Pillow.new("RGB", (columns * (wide + gap) + gap, rows * (high + head + gap)), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(text)
    names = (("whole", "wholes"), ("part", "parts"), ("part of parts", "parts of parts"))
    for place, (panel, count) in enumerate(zip(panels, counts, strict=True)):
        x, y = (gap + place * (wide + gap), 0) if across else (gap, place * (high + head + gap))
        draw.text((x, y + 0.45 * text), f"{count:,} {names[place][count != 1]}", fill=INK, font=font)
        page.paste(panel, (x, y + head))
    return page
