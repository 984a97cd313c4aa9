"""Where a box will be on the next frame: a Kalman filter of constant velocity.

Source: the motion model of SORT and DeepSORT (arXiv 1602.00763, 1703.07402), with its published deviations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

PLACE, SPEED = 1 / 20, 1 / 160
"""Deviations of a box's place and of its speed, as shares of its height."""


@dataclass(frozen=True)
class Motion:
    """What is believed of a box, in pixels of any grid, since all deviations follow its height.

    mean: [8], its centre (x, y), aspect and height, and their changes a frame. spread: [8, 8], their covariance.
    """

    mean: Numbers
    spread: Numbers

    @classmethod
    def begin(cls, box: Numbers) -> Motion:
        """At rest where a box [4] XYXY is, of at least one pixel."""
        seen = _seen(box)
        height = seen[3]
        deviation = np.array([2 * PLACE, 2 * PLACE, 0, 2 * PLACE, 10 * SPEED, 10 * SPEED, 0, 10 * SPEED]) * height
        deviation[2], deviation[6] = 1e-2, 1e-5
        return cls(np.concatenate([seen, np.zeros(4)]), np.diag(deviation**2))

    def ahead(self) -> Motion:
        """One frame later."""
        height = max(self.mean[3], 1.0)
        deviation = np.array([PLACE, PLACE, 0, PLACE, SPEED, SPEED, 0, SPEED]) * height
        deviation[2], deviation[6] = 1e-2, 1e-5
        step = np.eye(8) + np.eye(8, k=4)
        return Motion(step @ self.mean, step @ self.spread @ step.T + np.diag(deviation**2))

    def seen(self, box: Numbers) -> Motion:
        """Having seen the box [4] XYXY."""
        height = max(self.mean[3], 1.0)
        deviation = np.array([PLACE * height, PLACE * height, 1e-1, PLACE * height])
        expected = self.spread[:4, :4] + np.diag(deviation**2)
        gain = np.linalg.solve(expected, self.spread[:4]).T
        mean = self.mean + gain @ (_seen(box) - self.mean[:4])
        return Motion(mean, self.spread - gain @ expected @ gain.T)

    @property
    def box(self) -> Numbers:
        """[4] XYXY."""
        x, y, aspect, height = self.mean[:4]
        half = np.array([aspect * height, height]) / 2
        return np.concatenate([np.array([x, y]) - half, np.array([x, y]) + half])

    def packed(self) -> tuple[float, ...]:
        """As 72 numbers."""
        return (*self.mean.tolist(), *self.spread.ravel().tolist())

    @classmethod
    def unpacked(cls, numbers: tuple[float, ...]) -> Motion:
        """What `packed` gave."""
        return cls(np.array(numbers[:8]), np.array(numbers[8:72]).reshape(8, 8))


def box_of(mask: NDArray[np.bool_]) -> Numbers | None:
    """[4] XYXY around a mask [h, w], far sides exclusive; None of an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def overlap(one: Numbers, other: Numbers) -> float:
    """IoU of two boxes [4] XYXY."""
    inner = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    areas = [np.prod(np.clip(box[2:] - box[:2], 0, None)) for box in (one, other)]
    union = areas[0] + areas[1] - inner.prod()
    return float(inner.prod() / union) if union > 0 else 0.0


def _seen(box: Numbers) -> Numbers:
    width, height = np.maximum(box[2:] - box[:2], 1e-6)
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, width / height, height])
