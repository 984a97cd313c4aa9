"""Light, lens and sensor of made clips, as they change from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.data.motions import wander
from anymask.pixels.resize import HW

U8 = NDArray[np.uint8]
_FIELD = 512


@dataclass(frozen=True)
class Light:
    """How a clip was lit and taken.

    gains: [things, T], light on each thing. shutter: share of the time from frame to frame that it is open.
    gain: [T]; tint: [3]; shade: depth, waves along x and y, and phase [T] of uneven light; blur: px; noise: levels of
    255; quality: of JPEG, 0 for none.
    """

    size: HW
    gains: NDArray[np.float64]
    shutter: float
    gain: NDArray[np.float64]
    tint: NDArray[np.float64]
    shade: tuple[float, float, float, NDArray[np.float64]]
    blur: float
    noise: float
    quality: int

    @classmethod
    def random(cls, rng: np.random.Generator, size: HW, frames: int, things: int) -> Light:
        """Lit and taken at random."""
        gains = (
            np.exp(rng.normal(0, 0.15, (things, 1)) + np.stack([wander(rng, frames, 0.015) for _ in range(things)]))
            if things
            else np.ones((0, frames))
        )
        shutter = 0.0 if rng.random() < 0.5 else rng.uniform(0.2, 0.8)
        gain = np.exp(rng.normal(0, 0.12) + wander(rng, frames, rng.choice([0.0, 0.01, 0.03], p=[0.5, 0.35, 0.15])))
        depth = rng.choice([0.0, rng.uniform(0.05, 0.35)])
        phase = rng.uniform(0, 6.3) + wander(rng, frames, rng.choice([0.0, 0.08]))
        shade = (float(depth), rng.uniform(-4, 4), rng.uniform(-4, 4), phase)
        blur = 0.0 if rng.random() < 0.7 else rng.uniform(0.4, 1.1)
        noise = 0.0 if rng.random() < 0.5 else rng.uniform(1, 7)
        quality = 0 if rng.random() < 0.7 else int(rng.integers(35, 90))
        return cls(size, gains, float(shutter), gain, np.exp(rng.normal(0, 0.05, 3)), shade, blur, noise, quality)

    def shone(self, picture: U8, frame: int, rng: np.random.Generator) -> U8:
        """The picture that the camera takes, uint8 [H, W, 3]."""
        depth, across, down, phase = self.shade
        factor = (self.gain[frame] * self.tint).astype(np.float32)
        if depth:
            x = np.linspace(0, across, self.size[1], dtype=np.float32)[None]
            y = np.linspace(0, down, self.size[0], dtype=np.float32)[:, None]
            uneven = 1 + np.float32(depth) * np.sin(x + y + np.float32(phase[frame]))
            lit = picture * uneven[..., None] * factor
        elif self.noise:
            lit = picture * factor
        else:
            table = np.clip(np.arange(256)[:, None] * factor + 0.5, 0, 255).astype(np.uint8)
            return self._lens(np.asarray(cv2.LUT(picture, table[None]), np.uint8))
        if self.noise:
            top, left = (int(at) for at in rng.integers(0, _FIELD, 2))
            field = _grain()[top : top + self.size[0], left : left + self.size[1]]
            if field.shape != self.size:
                field = np.asarray(cv2.resize(_grain(), (self.size[1], self.size[0])), np.float32)
            lit = lit + field[..., None] * np.float32(self.noise)
        return self._lens(np.clip(lit + 0.5, 0, 255).astype(np.uint8))

    def _lens(self, picture: U8) -> U8:
        if self.blur:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), self.blur), np.uint8)
        if self.quality:
            _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            picture = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
        return picture


@cache
def _grain() -> NDArray[np.float32]:
    """Noise of deviation 1 to cut windows from, [2 * _FIELD, 2 * _FIELD]."""
    return np.random.default_rng(7).normal(size=(2 * _FIELD, 2 * _FIELD)).astype(np.float32)
