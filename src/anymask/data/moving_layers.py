"""The layers of made clips: a photo far behind, and things cut out of others before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.data.motions import Bend, Matrix, Poses, placed
from anymask.pixels.resize import HW

if TYPE_CHECKING:
    from anymask.data.moving import Still

U8: TypeAlias = NDArray[np.uint8]
Bool: TypeAlias = NDArray[np.bool_]
Window: TypeAlias = tuple[slice, slice]

LEAST_SHARE, MOST_SHARE = 0.002, 0.6
"""Of a photo, that an object fills which is cut out of it."""
FINE = 33
"""Knots that a bending field is drawn on, each way."""
MARGIN = 2
"""Pixels around what is cut out, so that its soft edge is whole."""
LONGEST_BLUR = 31


@dataclass(frozen=True)
class Cutout:
    """A thing: its picture uint8 [h, w, 4] with opacity, at full size, half, quarter, ...; told: whether it is an
    object of the clip, or only passes before others."""

    levels: tuple[U8, ...]
    poses: Poses
    told: bool

    def again(self, poses: Poses) -> Cutout:
        """The same thing elsewhere."""
        return replace(self, poses=poses)


def cut(rng: np.random.Generator, still: Still, longest: int) -> tuple[U8, ...] | None:
    """One of the masks of a photo cut out of it, see `Cutout.levels`; None where what was drawn cannot be used.

    longest: pixels of its longer side, at most.
    """
    if not len(still.masks):
        return None
    mask = still.masks[int(rng.integers(len(still.masks)))]
    if not LEAST_SHARE < mask.mean() < MOST_SHARE:
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    edges = (top == 0) + (left == 0) + (bottom == mask.shape[0]) + (right == mask.shape[1])
    # what its photo's frame cuts off has a straight edge that no thing has
    if edges > 1 or (edges == 1 and rng.random() < 0.6):
        return None
    size = bottom - top, right - left
    whole = np.zeros((size[0] + 2 * MARGIN, size[1] + 2 * MARGIN, 4), np.uint8)
    whole[..., :3] = cv2.copyMakeBorder(
        still.pixels[top:bottom, left:right], MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REPLICATE
    )
    whole[MARGIN:-MARGIN, MARGIN:-MARGIN, 3] = mask[top:bottom, left:right] * 255
    scale = min(1.0, longest / max(whole.shape[:2]))
    levels = [_shrunk(whole, scale)]
    while max(levels[-1].shape[:2]) > 64:
        levels.append(_shrunk(levels[-1], 0.5))
    if min(levels[0].shape[:2]) < 8:
        return None
    return tuple(levels)


def _shrunk(pixels: U8, scale: float) -> U8:
    if scale == 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def lay(
    picture: U8, thing: Cutout, matrix: Matrix, ahead: Matrix, frame: int, side: int, shutter: float, gain: float
) -> tuple[Window, Bool] | None:
    """Lays a thing over `picture` [H, W, 3] in place; the window that it fills and its solid pixels there.

    matrix: 3x3, from its own coordinates to the frame in sides; ahead: on the next frame, for blur. side: pixels of a
    frame's side. gain: of its light. None where it is not in the frame.
    """
    height, width = picture.shape[:2]
    bend = thing.poses.bend
    reach = 0.5 if bend is None else 0.62
    corners = np.array([[-reach, -reach], [reach, -reach], [reach, reach], [-reach, reach]])
    shape = np.array(thing.levels[0].shape[:2], np.float64)
    corners = corners * (shape[::-1] / shape.max())
    seen = placed(corners, matrix) * side - 0.5
    move = (placed(np.zeros(2), ahead) - placed(np.zeros(2), matrix)) * side * shutter
    pad = 1 + int(np.abs(move).max() / 2)
    x0, y0 = np.maximum(np.floor(seen.min(0)).astype(int) - pad, 0)
    x1, y1 = np.minimum(np.ceil(seen.max(0)).astype(int) + pad + 1, (width, height))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    span = max(float(np.linalg.norm(seen[1] - seen[0])), float(np.linalg.norm(seen[3] - seen[0])))
    level = thing.levels[int(np.clip(np.floor(np.log2(max(1.0, shape.max() / span))), 0, len(thing.levels) - 1))]
    # window pixels to the thing's own coordinates to pixels of its picture
    long = max(level.shape[:2])
    to_own = np.linalg.inv(np.diag([side, side, 1.0]) @ matrix) @ np.array(
        [[1, 0, x0 + 0.5], [0, 1, y0 + 0.5], [0, 0, 1]]
    )
    to_level = np.array([[long, 0, level.shape[1] / 2 - 0.5], [0, long, level.shape[0] / 2 - 0.5], [0, 0, 1]])
    size = (int(x1 - x0), int(y1 - y0))
    if bend is None:
        inverse = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
        drawn = np.asarray(cv2.warpPerspective(level, to_level @ to_own, size, flags=inverse), np.uint8)
    else:
        own = _through(to_own, size)
        own += _bent(bend, frame, own, shape / shape.max())
        at = (own * long + np.array([level.shape[1] / 2 - 0.5, level.shape[0] / 2 - 0.5])).astype(np.float32)
        drawn = np.asarray(_looked_up(level, at, cv2.BORDER_CONSTANT), np.uint8)
    window = (slice(int(y0), int(y1)), slice(int(x0), int(x1)))
    drawn = _streaked(drawn, move)
    opacity = drawn[..., 3:].astype(np.float32) * (1 / 255)
    solid = np.asarray(drawn[..., 3] > 127)
    if not solid.any():
        return None
    below = picture[window]
    colour = np.minimum(drawn[..., :3] * np.float32(gain), 255)
    picture[window] = (below + (colour - below) * opacity + 0.5).astype(np.uint8)
    return window, solid


def _through(matrix: Matrix, size: tuple[int, int]) -> NDArray[np.float32]:
    """All pixels of a (w, h) window through a 3x3 map, [h, w, 2]."""
    x = np.arange(size[0], dtype=np.float32)[None]
    y = np.arange(size[1], dtype=np.float32)[:, None]
    m = matrix.astype(np.float32)
    last = m[2, 0] * x + m[2, 1] * y + m[2, 2]
    return np.stack([(m[row, 0] * x + m[row, 1] * y + m[row, 2]) / last for row in (0, 1)], -1)


def _looked_up(pixels: NDArray[Any], at: NDArray[np.float32], border: int) -> NDArray[Any]:
    """Pixels [H, W, C] at places (x, y), float32 [h, w, 2]: [h, w, C]."""
    # OpenCV takes no second map here, which its types do not know
    found: NDArray[Any] = cv2.remap(pixels, at, None, cv2.INTER_LINEAR, borderMode=border)  # type: ignore[call-overload]
    return found


def _bent(bend: Bend, frame: int, own: NDArray[np.float32], shape: NDArray[np.float64]) -> NDArray[np.float32]:
    """Displacements at own coordinates [h, w, 2], own coordinates themselves."""
    field = cv2.resize(bend.at(frame), (FINE, FINE), interpolation=cv2.INTER_CUBIC)
    across = ((own / shape[::-1] + 0.5) * (FINE - 1)).astype(np.float32)
    return np.asarray(_looked_up(field, across, cv2.BORDER_REPLICATE), np.float32)


def _streaked(drawn: U8, move: NDArray[np.float64]) -> U8:
    """Blurred along its movement, (x, y) pixels."""
    length = min(LONGEST_BLUR, round(float(np.abs(move).max())))
    if length < 2:
        return drawn
    kernel = np.zeros((length | 1, length | 1), np.uint8)
    middle = kernel.shape[0] // 2
    half = np.round(move / max(np.abs(move).max(), 1e-6) * (length / 2)).astype(int)
    cv2.line(kernel, (int(middle - half[0]), int(middle - half[1])), (int(middle + half[0]), int(middle + half[1])), 1)
    return np.asarray(cv2.filter2D(drawn, -1, kernel / np.float32(kernel.sum()), borderType=cv2.BORDER_REPLICATE))


@dataclass(frozen=True)
class Backdrop:
    """A photo, uint8 [H, W, 3], behind everything, and its own objects' masks, uint8 [H, W] of 0 and 255.

    maps: [T, 3, 3], frame pixels to its pixels. size: (H, W) of the frames.
    """

    pixels: U8
    masks: tuple[U8, ...]
    maps: Matrix
    size: HW
    bend: Bend | None

    @classmethod
    def before(
        cls, rng: np.random.Generator, pixels: U8, masks: Sequence[U8], view: Matrix, size: HW, bend: Bend | None
    ) -> Backdrop:
        """A photo as the moving camera sees it; `view` [T, 3, 3] maps world to frame, both in sides of the frame.

        The photo is placed so that the camera never looks beyond it.
        """
        side = max(size)
        corners = np.array([[0, 0], [size[1], 0], [size[1], size[0]], [0, size[0]]]) / side
        back = np.linalg.inv(view)
        world = np.concatenate([placed(corners, one) for one in back])
        least, most = world.min(0), world.max(0)
        span = (most - least) * 1.02
        height, width = pixels.shape[:2]
        scale = min(width / span[0], height / span[1]) * float(np.exp(rng.uniform(np.log(0.5), 0)))
        spare = np.array([width, height]) - span * scale
        start = spare * rng.uniform(size=2)
        # shrunk by averaging first, where a warp would skip pixels
        shrink = min(1.0, 1.2 * side / scale)
        small = _shrunk(pixels, shrink)
        smaller = tuple(_shrunk(mask * 255, shrink) for mask in masks)
        ratio = np.array([small.shape[1] / width, small.shape[0] / height])
        factor = scale * ratio
        offset = (start - least * scale) * ratio - 0.5
        to_photo = np.array([[factor[0], 0, offset[0]], [0, factor[1], offset[1]], [0, 0, 1.0]])
        to_sides = np.array([[1 / side, 0, 0.5 / side], [0, 1 / side, 0.5 / side], [0, 0, 1.0]])
        if rng.random() < 0.5:
            small = small[:, ::-1]
            smaller = tuple(mask[:, ::-1] for mask in smaller)
        return cls(
            np.ascontiguousarray(small),
            tuple(np.ascontiguousarray(mask) for mask in smaller),
            to_photo @ back @ to_sides,
            size,
            bend,
        )

    def at(self, frame: int, shutter: float) -> tuple[U8, Bool]:
        """The background on a frame, uint8 [H, W, 3], and its masks, bool [N, H, W]."""
        size = (self.size[1], self.size[0])
        matrix = self.maps[frame]
        if self.bend is None:

            def drawn(pixels: U8, border: int) -> U8:
                how = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
                return np.asarray(cv2.warpPerspective(pixels, matrix, size, flags=how, borderMode=border), np.uint8)
        else:
            at = _through(matrix, size)
            photo = np.array([self.pixels.shape[1], self.pixels.shape[0]], np.float32)
            shape = np.array([1.0, 1.0])
            at += _bent(self.bend, frame, at / photo - np.float32(0.5), shape) * photo

            def drawn(pixels: U8, border: int) -> U8:
                return np.asarray(_looked_up(pixels, at, border), np.uint8)

        picture = drawn(self.pixels, cv2.BORDER_REFLECT_101)
        following = self.maps[min(frame + 1, len(self.maps) - 1)]
        middle = np.array([self.size[1] / 2, self.size[0] / 2])
        move = (placed(middle, following) - placed(middle, matrix)) / max(1e-6, float(np.linalg.norm(matrix[:2, 0])))
        masks = np.zeros((len(self.masks), *self.size), np.bool_)
        for index, mask in enumerate(self.masks):
            masks[index] = drawn(mask, cv2.BORDER_CONSTANT) > 127
        return _streaked(picture, move * shutter).copy(), masks
