"""Boxes that stand for masks: which of several overlapping ones stay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nms(boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: the rows that stay, best score first.

    boxes: [N, 4] XYXY, areas taken as (x1 - x0) * (y1 - y0). scores: [N]; among equals the earlier row goes first.
    threshold: a box goes when its IoU with a better one that stays is above it. Boxes without area suppress nothing.
    Arithmetic in float32 and comparison in float64, as torchvision's operator does it, so that both agree to the last
    row.
    """
    boxes = np.ascontiguousarray(boxes, np.float32).reshape(-1, 4)
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    x0, y0, x1, y1 = boxes[order].T
    areas = (x1 - x0) * (y1 - y0)
    alive = np.ones(len(order), np.bool_)
    kept = []
    for place in range(len(order)):
        if not alive[place]:
            continue
        kept.append(order[place])
        # only what follows and is still there: a handful of long vector operations for each box that stays
        rest = place + 1 + np.flatnonzero(alive[place + 1 :])
        width = np.minimum(x1[place], x1[rest]) - np.maximum(x0[place], x0[rest])
        height = np.minimum(y1[place], y1[rest]) - np.maximum(y0[place], y0[rest])
        inside = np.maximum(width, np.float32(0)) * np.maximum(height, np.float32(0))
        with np.errstate(divide="ignore", invalid="ignore"):
            iou = inside / (areas[place] + areas[rest] - inside)
        alive[rest[iou.astype(np.float64) > threshold]] = False
    return np.array(kept, np.int64)
