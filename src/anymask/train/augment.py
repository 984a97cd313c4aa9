"""Random views of a photo: geometry, colour, and objects pasted from other photos."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PAD = 127
"""Value of the frame where the photo does not reach, as at inference."""

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """An affine map from a photo (already shrunk by `shrink`) into a square frame."""

    matrix: NDArray[np.float64]
    shrink: float
    side: int

    def image(self, pixels: U8) -> U8:
        """uint8 [H, W, 3] -> [side, side, 3]; outside of the photo PAD."""
        warped = cv2.warpAffine(
            self._shrunk(pixels), self.matrix, (self.side, self.side), flags=cv2.INTER_LINEAR, borderValue=(PAD,) * 3
        )
        return np.asarray(warped, np.uint8)

    def mask(self, mask: U8) -> NDArray[np.bool_]:
        """uint8 [H, W] of 0 and 1 -> bool [side, side]."""
        warped = cv2.warpAffine(self._shrunk(mask * 255), self.matrix, (self.side, self.side), flags=cv2.INTER_LINEAR)
        return np.asarray(warped) > 127

    def _shrunk(self, pixels: U8) -> U8:
        if self.shrink == 1:
            return pixels
        size = (max(1, round(pixels.shape[1] * self.shrink)), max(1, round(pixels.shape[0] * self.shrink)))
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def random_view(
    size: tuple[int, int],
    around: tuple[float, float],
    side: int,
    scales: tuple[float, float],
    rng: np.random.Generator,
) -> View:
    """A random view of a photo of (H, W) `size` that shows the point `around` (x, y).

    scales: least and greatest magnification, where 1 fits the photo's long side to the frame; log-uniform.
    """
    height, width = size
    scale = side / max(height, width) * float(np.exp(rng.uniform(*np.log(scales))))
    shrink = 1.0
    if scale < 0.6:
        # a bilinear warp skips pixels beyond a factor of two, so the bulk of the shrinking is done by averaging
        shrink = max(scale, 1 / 16)
        size_now = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        around = (around[0] * size_now[1] / width, around[1] * size_now[0] / height)
        height, width = size_now
        scale /= shrink
    aspect = float(np.exp(rng.uniform(-0.12, 0.12) / 2))
    linear = np.diag([scale * aspect, scale / aspect])
    if rng.random() < 0.3:
        angle = np.deg2rad(rng.uniform(-7, 7))
        linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ linear
    if rng.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
    if rng.random() < 0.05:
        linear = linear @ np.diag([1.0, -1.0])
    corners = linear @ np.array([[0, width, 0, width], [0, 0, height, height]])
    least, most = corners.min(1), corners.max(1)
    shift = -least
    place = linear @ np.array(around)
    for axis in range(2):
        spare = most[axis] - least[axis] - side
        if spare > 0:
            # the window starts where it still shows the point
            at = place[axis] - least[axis]
            first, last = np.clip([at - 0.95 * side, at - 0.05 * side], 0, spare)
            start = rng.uniform(first, last)
            shift[axis] -= start
    # cv2 counts from pixel centres
    shift += 0.5 * (linear.sum(1)) - 0.5
    return View(np.column_stack([linear, shift]), shrink, side)


def recolour(image: U8, rng: np.random.Generator) -> U8:
    """Gamma, contrast, brightness, channel shift, saturation; grey in 6 %, blur in 10 % of all calls."""
    unit = np.arange(256, dtype=np.float32) / 255
    table = unit ** float(np.exp(rng.uniform(-0.35, 0.35)))
    table = (table - 0.5) * float(np.exp(rng.uniform(-0.3, 0.3))) + 0.5 + rng.uniform(-0.12, 0.12)
    shifts = rng.uniform(-0.06, 0.06, 3)
    tables = np.clip((table[:, None] + shifts) * 255, 0, 255).astype(np.uint8)
    image = np.asarray(cv2.LUT(image, tables[None]), np.uint8)
    chance = rng.random()
    saturation = 0.0 if chance < 0.06 else float(np.exp(rng.uniform(-0.5, 0.4)))
    if chance < 0.6:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = np.asarray(cv2.addWeighted(image, saturation, grey, 1 - saturation, 0), np.uint8)
    if rng.random() < 0.1:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    return image


def paste(image: U8, donor: U8, mask: U8, rng: np.random.Generator) -> tuple[U8, NDArray[np.bool_]] | None:
    """An object cut from `donor` by `mask` ([H, W] of 0 and 1) and laid over `image` [S, S, 3] at a random place.

    Returns the new image and where the object is, bool [S, S]; None where the object is too thin to be laid.
    """
    side = image.shape[0]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    cut, alpha = donor[window], mask[window]
    scale = rng.uniform(0.1, 0.6) * side / max(alpha.shape)
    width, height = round(alpha.shape[1] * scale), round(alpha.shape[0] * scale)
    if width < 6 or height < 6:
        return None
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    cut = np.asarray(cv2.resize(cut, (width, height), interpolation=how), np.uint8)
    soft = np.asarray(cv2.resize(alpha * 255, (width, height), interpolation=how), np.float32)[..., None] / 255
    if rng.random() < 0.5:
        cut, soft = cut[:, ::-1], soft[:, ::-1]
    x, y = int(rng.integers(0, side - width + 1)), int(rng.integers(0, side - height + 1))
    image = image.copy()
    below = image[y : y + height, x : x + width]
    image[y : y + height, x : x + width] = (below * (1 - soft) + cut * soft).astype(np.uint8)
    where = np.zeros((side, side), bool)
    where[y : y + height, x : x + width] = soft[..., 0] > 0.5
    return image, where
