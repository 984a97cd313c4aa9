"""Pictures of masks: laid over the photo, and cut out of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from anymask.errors import BadSetting
from anymask.masks import rle as coding
from anymask.masks.colours import RGB, colour
from anymask.pixels.image import Image, ImageLike
from anymask.pixels.resize import HW

if TYPE_CHECKING:
    from anymask.masks.masks import Masks

GROUND: RGB = (46, 48, 52)
"""What masks are drawn on when no picture is known."""

GREEN: RGB = (20, 175, 75)
RED: RGB = (225, 45, 45)
WHITE: RGB = (255, 255, 255)
DARK: RGB = (25, 25, 28)

_BITS = 4  # fractional bits of OpenCV's drawing coordinates: 1/16 px


def overlay(
    masks: Masks,
    image: ImageLike | None = None,
    *,
    opacity: float = 0.45,
    dim: float = 0.0,
    points: Any = None,
    labels: Any = None,
    boxes: Any = None,
) -> Pillow.Image:
    """The picture with each mask as a translucent colour with a contour, and what was pointed at.

    image: left out, the masks' own picture; without one, a neutral ground.
    opacity: of the fill, 0..1. dim: how much darker everything outside the masks becomes, 0..1.
    points: [..., 2] (x, y) px to mark: a green disc with a plus inside, a red one with a minus outside, so that colour
    is not the only difference. labels: one for each point, 1 inside (default), 0 outside, others are not drawn.
    boxes: [..., 4] XYXY px.

    Line widths follow the size of the picture. Colours go by `ids`. Large masks are drawn first, so that small ones on
    top of them stay visible. One mask is dense at a time. Returns a PIL image, RGB.
    """
    for name, value in (("opacity", opacity), ("dim", dim)):
        if not 0 <= value <= 1:
            raise BadSetting(f"{name} is 0 to 1, got {value}")
    canvas = canvas_of(masks, image)
    unit = line_width(masks.size)
    if dim and len(masks):
        covered = coding.decode_one(coding.merge(masks.rle))
        canvas[~covered] = (canvas[~covered] * (1 - dim)).astype(np.uint8)
    number = {one: place for place, one in enumerate(dict.fromkeys(masks.ids.tolist()))}
    alike = len(number) < len(masks)
    for row in np.argsort(-masks.areas(), kind="stable").tolist():
        # candidates of one object share an id and would share a colour
        _draw(canvas, masks, row, colour(row if alike else number[int(masks.ids[row])]), opacity, unit)
    for box in _marks(boxes, 4, "boxes"):
        _box(canvas, box, unit)
    places = _marks(points, 2, "points")
    kinds = np.ones(len(places)) if labels is None else np.asarray(labels).reshape(-1)
    if len(kinds) != len(places):
        raise BadSetting(f"there must be one label for each of {len(places)} points, got {len(kinds)}")
    for place, kind in zip(places, kinds.tolist(), strict=True):
        if kind in (0, 1):
            _point(canvas, place, bool(kind), unit)
    return Pillow.fromarray(canvas)


def cutouts(masks: Masks, image: ImageLike | None = None) -> list[Pillow.Image]:
    """Each mask's part of the picture, RGBA, cropped to the mask's box; an empty mask gives one transparent pixel.

    Hidden pixels are black, so that nothing of the surroundings travels with the file.
    """
    picture = _picture(masks, image)
    if picture is None:
        raise BadSetting("to cut masks out the picture is needed: masks.cutouts(image)")
    pixels = picture.pixels()
    found = []
    for rle, box in zip(masks.rle, masks.boxes().astype(int).tolist(), strict=True):
        x0, y0, x1, y1 = box
        if x1 == x0:
            found.append(Pillow.new("RGBA", (1, 1)))
            continue
        inside = coding.decode_one(rle)[y0:y1, x0:x1]
        part = np.zeros((y1 - y0, x1 - x0, 4), np.uint8)
        part[inside, :3] = pixels[y0:y1, x0:x1][inside]
        part[inside, 3] = 255
        found.append(Pillow.fromarray(part))
    return found


def line_width(size: HW) -> float:
    """Width of a contour in pixels for a picture of (H, W): visible on a thumbnail, not clumsy on a small picture."""
    return max(1.6, math.sqrt(size[0] * size[1]) / 270)


def _picture(masks: Masks, image: ImageLike | None) -> Image | None:
    picture = masks.image if image is None else Image.open(image)
    if picture is not None and picture.size != masks.size:
        raise BadSetting(f"the masks are {masks.size} (H, W), the picture is {picture.size}")
    return picture


def canvas_of(masks: Masks, image: ImageLike | None) -> NDArray[np.uint8]:
    """A copy of the picture to draw on, uint8 [H, W, 3]; a neutral ground where none is known."""
    picture = _picture(masks, image)
    if picture is not None:
        return np.array(picture.pixels(), np.uint8)
    canvas = np.empty((*masks.size, 3), np.uint8)
    canvas[:] = GROUND
    return canvas


def _draw(canvas: NDArray[np.uint8], masks: Masks, row: int, tint: RGB, opacity: float, unit: float) -> None:
    """One mask: a fill, a contour just inside its edge, and a white hairline just outside that holds on any ground."""
    x0, y0, x1, y1 = masks[row].boxes()[0].astype(int).tolist()
    if x1 == x0:
        return
    margin = int(unit * 2) + 3
    height, width = masks.size
    left, top = max(x0 - margin, 0), max(y0 - margin, 0)
    right, bottom = min(x1 + margin, width), min(y1 + margin, height)
    inside = coding.decode_one(masks.rle[row])[top:bottom, left:right]
    # a mask that reaches the border of the picture gets no contour there: the object goes on outside
    framed = cv2.copyMakeBorder(inside.view(np.uint8), margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    within = np.asarray(cv2.distanceTransform(framed, cv2.DIST_L2, 5), np.float32)
    beyond = np.asarray(cv2.distanceTransform(1 - framed, cv2.DIST_L2, 5), np.float32)
    # smoothing the distance, not the mask, rounds the staircase of pixels and keeps thin parts
    depth = cv2.GaussianBlur(within - beyond, (0, 0), 0.35 * unit + 0.35)[margin:-margin, margin:-margin]
    area = canvas[top:bottom, left:right]
    ground = np.empty_like(area)
    ground[:] = tint
    cv2.copyTo(cv2.addWeighted(area, 1 - opacity, ground, opacity, 0), (depth > 0).view(np.uint8), area)
    # only the pixels of the line are blended one by one; at the edge itself depth jumps from -1 to 1, 0 lies between
    near = np.nonzero((depth < unit + 0.5) & (depth > -0.6 * unit - 0.5))
    deep = depth[near]
    line = np.clip(unit - deep + 0.5, 0, 1) * np.clip(deep + 0.5, 0, 1)
    rim = np.clip(unit * 0.6 + deep + 0.5, 0, 1) * np.clip(0.5 - deep, 0, 1) * 0.85
    colours = area[near].astype(np.float32)
    for weight, value in ((rim, WHITE), (line, tint)):
        colours += weight[:, None] * (np.array(value, np.float32) - colours)
    area[near] = np.clip(np.rint(colours), 0, 255).astype(np.uint8)


def _marks(values: Any, width: int, name: str) -> NDArray[np.float64]:
    if values is None:
        return np.zeros((0, width))
    try:
        marks = np.asarray(values, np.float64)
        if marks.shape[-1] != width or not np.isfinite(marks).all():
            raise ValueError
    except (TypeError, ValueError, IndexError):
        raise BadSetting(f"{name} to draw must be finite numbers [..., {width}] in pixels") from None
    return marks.reshape(-1, width)


def _fixed(*values: float) -> tuple[int, ...]:
    # OpenCV counts from pixel centres, we from pixel corners
    return tuple(round((value - 0.5) * 2**_BITS) for value in values)


def _point(canvas: NDArray[np.uint8], place: NDArray[np.float64], inside: bool, unit: float) -> None:
    x, y = place.tolist()
    if not (-1e4 < x < 1e6 and -1e4 < y < 1e6):
        return
    radius = 3.2 * unit
    centre = _fixed(x, y)
    for size, value in ((radius + unit * 1.1, DARK), (radius + unit * 0.7, WHITE), (radius, GREEN if inside else RED)):
        cv2.circle(canvas, centre, round(size * 2**_BITS), value, -1, cv2.LINE_AA, _BITS)
    arm, half = radius * 0.55, radius * 0.16
    _bar(canvas, x - arm, y - half, x + arm, y + half)
    if inside:
        _bar(canvas, x - half, y - arm, x + half, y + arm)


def _bar(canvas: NDArray[np.uint8], x0: float, y0: float, x1: float, y1: float) -> None:
    corners = np.array([_fixed(x0, y0), _fixed(x1, y0), _fixed(x1, y1), _fixed(x0, y1)], np.int32)
    cv2.fillConvexPoly(canvas, corners, WHITE, cv2.LINE_AA, _BITS)


def _box(canvas: NDArray[np.uint8], box: NDArray[np.float64], unit: float) -> None:
    height, width = canvas.shape[:2]
    # a box that reaches over the border is drawn at the border, where it can be seen
    x0, x1 = np.clip(box[[0, 2]], unit, width - unit).tolist()
    y0, y1 = np.clip(box[[1, 3]], unit, height - unit).tolist()
    corners = np.array([[_fixed(x0, y0), _fixed(x1, y0), _fixed(x1, y1), _fixed(x0, y1)]], np.int32)
    for thickness, value in ((unit * 2.2, DARK), (unit * 1.2, WHITE)):
        cv2.polylines(canvas, list(corners), True, value, max(1, round(thickness)), cv2.LINE_AA, _BITS)
