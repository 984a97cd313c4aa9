"""Everything mode: all the objects of an image, without a prompt.

A grid of points is asked of the model, on the image and on crops of it; answers are filtered by predicted IoU and by
stability, and of those whose boxes overlap, on request also of those that overlap themselves, the best stays. Written
over encode and decode alone, so that every member has it. Source: Segment Anything, appendix B; equal logits give the
records of segment-anything's SamAutomaticMaskGenerator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from anymask.masks.boxes import nms
from anymask.masks.clean import without_small
from anymask.masks.masks import Masks
from anymask.masks.rle import RLE, between, iou, of_lengths
from anymask.masks.rle import edges as edges_of
from anymask.masks.tree import parents
from anymask.models.interface import Decoded, PromptModel
from anymask.pixels.image import Image, ImageLike
from anymask.pixels.resize import HW
from anymask.session.batches import Batches
from anymask.session.full_size import FullSize, Sight
from anymask.session.grid import Crop, beside, coarse, crops
from anymask.session.session import _loaded
from anymask.session.settings import EverythingSettings

NEAR_EDGE = 20
"""Pixels; a box that comes so near to a crop's inner edge is cut off there, and another crop shows the whole."""

Tell = Callable[[int, int], None]
"""Called with (prompts answered, prompts in all)."""


@dataclass(frozen=True)
class Candidate:
    """A mask that passed the filters.

    score: predicted IoU. stability: 0..1. point: (x, y) px that was asked. crop: the part of the image it was seen in.
    """

    sight: Sight
    score: np.float32
    stability: np.float32
    point: tuple[float, float]
    crop: Crop

    @property
    def box(self) -> tuple[int, int, int, int]:
        """XYXY of the pixels themselves, x1 and y1 inclusive, as the official suppression takes boxes."""
        x0, y0, x1, y1 = self.sight.box
        return (x0, y0, x1 - 1, y1 - 1) if self.sight.area else (0, 0, 0, 0)


def everything(
    image: ImageLike,
    model: PromptModel | str | None = None,
    preset: str = "default",
    *,
    tell: Tell | None = None,
    **options: Any,
) -> Masks:
    """Masks of all objects in an image.

    image: path, bytes, PIL image, numpy HWC or torch CHW array, or an anymask Image.
    model: a loaded model or a model's name; none means the model inside.
    preset: "default", "sa1b" or "lvis", see `settings.PRESETS`. options: those of `EverythingSettings`, on top of it.
    tell: called as the work goes on, with prompts answered and prompts in all.

    Returns Masks in the official order (of a single crop: best predicted IoU first): `scores` is the predicted IoU,
    `parents` the smallest mask that each lies in, and `details` hold stability_score float32 [N], point_coords float64
    [N, 2] (x, y) px, crop_box int64 [N, 4] XYWH px. Raises BadImage, BadSetting, UnknownModel, NotEnoughMemory.
    """
    loaded = _loaded(model)
    settings = EverythingSettings.of(preset, loaded.card, **options)
    opened = Image.open(image)
    masks = as_masks(find(loaded, opened, settings, tell), opened)
    return masks.replace(parents=parents(masks))


def find(
    model: PromptModel,
    image: Image,
    settings: EverythingSettings,
    tell: Tell | None = None,
    *,
    threshold: float = 0.0,
) -> list[Candidate]:
    """The candidates that stay, in the official order; see `everything`. threshold: logits above it are foreground."""
    parts = crops(image.size, settings.crop_n_layers, settings.crop_overlap_ratio)
    batches = Batches(model, settings.points_per_batch, sum(len(settings.grid(part.layer)) for part in parts), tell)
    found: list[Candidate] = []
    for part in parts:
        found += _in_crop(model, image, part, settings, batches, threshold)
    if len(parts) > 1:
        # smaller crops first: they saw the object larger
        sizes = np.array([one.crop.size[0] * one.crop.size[1] for one in found], np.float32)
        found = _suppressed(found, np.float32(1) / sizes, settings.crop_nms_thresh)
    if settings.min_mask_region_area > 0:
        found = _cleaned(found, image.size, settings)
    if settings.mask_nms_thresh is not None:
        found = _distinct(found, image.size, settings.mask_nms_thresh)
    if settings.max_masks is not None and len(found) > settings.max_masks:
        merit = np.array([(one.score + one.stability) / 2 for one in found])
        best = np.sort(np.argsort(-merit, kind="stable")[: settings.max_masks])
        found = [found[row] for row in best]
    return found


def as_masks(found: list[Candidate], image: Image) -> Masks:
    """Candidates as Masks, with their details."""
    count = len(found)
    corners = [(one.crop.x0, one.crop.y0, one.crop.size[1], one.crop.size[0]) for one in found]
    return Masks(
        image.size,
        [coded(one.sight.edges, image.size) for one in found],
        scores=[one.score for one in found],
        image=image,
        details={
            "stability_score": np.array([one.stability for one in found], np.float32),
            "point_coords": np.array([one.point for one in found], np.float64).reshape(count, 2),
            "crop_box": np.array(corners, np.int64).reshape(count, 4),
        },
    )


def coded(edges: NDArray[np.int64], size: HW) -> RLE:
    """The mask as an RLE."""
    return of_lengths(between(edges, size), size)


def _in_crop(
    model: PromptModel, image: Image, crop: Crop, settings: EverythingSettings, batches: Batches, threshold: float
) -> list[Candidate]:
    """The candidates of one crop, duplicates suppressed, best predicted IoU first."""
    whole = crop.size == image.size
    seen = image if whole else Image.open(image.pixels()[crop.y0 : crop.y1, crop.x0 : crop.x1])
    with torch.no_grad():
        embedding = model.encode([seen])
    points = settings.grid(crop.layer) * np.array([crop.size[1], crop.size[0]])
    found: list[Candidate] = []
    full: FullSize | None = None
    quick = settings.coarse_score_thresh > 0
    rows = coarse(len(points)) if quick else np.arange(len(points))
    for second in (False, True):
        best = np.zeros(len(rows), np.float32)
        for start, decoded in batches.decoded(embedding, points[rows], crop.size, settings.pred_iou_thresh):
            full = full or _full_size(decoded, image, crop, settings, threshold)
            best[start : start + len(decoded.scores)] = decoded.scores.float().amax(1).cpu().numpy()
            for row, sight, score in _good(decoded, full, settings):
                x, y = points[rows[start + row]]
                one = Candidate(sight, score, sight.stability, (float(x) + crop.x0, float(y) + crop.y0), crop)
                if _wanted(one, image.size, settings):
                    found.append(one)
        if second or not quick:
            break
        left = len(points) - len(rows)
        rows = beside(len(points), rows[best > settings.coarse_score_thresh])
        batches.skip(left - len(rows))
    return _suppressed(found, np.array([one.score for one in found]), settings.box_nms_thresh)


def _full_size(decoded: Decoded, image: Image, crop: Crop, settings: EverythingSettings, threshold: float) -> FullSize:
    planes, height, width = decoded.logits.shape[1:]
    return FullSize(
        decoded.resize,
        (height, width),
        planes=planes,
        canvas=image.size,
        corner=(crop.x0, crop.y0),
        threshold=threshold,
        offset=settings.stability_score_offset,
    )


def _good(decoded: Decoded, full: FullSize, settings: EverythingSettings) -> list[tuple[int, Sight, np.float32]]:
    """(prompt, mask, score) of the answers whose predicted IoU and stability suffice."""
    scores = decoded.scores.float().cpu().numpy()
    keep = scores > settings.pred_iou_thresh if settings.pred_iou_thresh > 0 else np.ones(scores.shape, np.bool_)
    found = []
    for row in np.flatnonzero(keep.any(1)):
        logits = decoded.logits[row].float().cpu().numpy()
        exact: torch.Tensor | None = None
        for rank in np.flatnonzero(keep[row]):
            sight = full.look(logits[rank])
            if sight is None:
                if exact is None:
                    # all of a prompt's answers together: torch rounds differently for a single plane
                    exact = replace(decoded, logits=decoded.logits[row : row + 1].cpu()).upscaled()[0]
                sight = full.look_at(exact[rank])
            if settings.stability_score_thresh <= 0 or sight.stability >= settings.stability_score_thresh:
                found.append((int(row), sight, scores[row, rank]))
    return found


def _wanted(one: Candidate, size: HW, settings: EverythingSettings) -> bool:
    """Whether a mask is whole (not cut off by its crop's inner edge) and not the whole image."""
    height, width = size
    share = settings.max_area_share
    if share is not None and one.sight.area >= share * height * width:
        return False
    crop = (one.crop.x0, one.crop.y0, one.crop.x1, one.crop.y1)
    sides = zip(one.box, crop, (0, 0, width, height), strict=True)
    return not any(abs(side - edge) <= NEAR_EDGE < abs(side - outer) for side, edge, outer in sides)


def _suppressed(found: list[Candidate], scores: NDArray[np.float32], threshold: float) -> list[Candidate]:
    boxes = np.array([one.box for one in found], np.float32).reshape(-1, 4)
    return [found[row] for row in nms(boxes, scores, threshold)]


def _distinct(found: list[Candidate], size: HW, threshold: float) -> list[Candidate]:
    """Those that do not cover what a better one covers. A stray pixel makes another box, and hardly another mask."""
    rles = [coded(one.sight.edges, size) for one in found]
    order = np.argsort([-one.score for one in found], kind="stable")
    alive = np.ones(len(found), np.bool_)
    for place, row in enumerate(order):
        rest = order[place + 1 :]
        rest = rest[alive[rest]]
        if alive[row] and len(rest):
            alive[rest[iou([rles[row]], [rles[other] for other in rest])[0] > threshold]] = False
    return [one for one, stays in zip(found, alive, strict=True) if stays]


def _cleaned(found: list[Candidate], size: HW, settings: EverythingSettings) -> list[Candidate]:
    """Small holes filled and small islands dropped; of masks that became alike, untouched ones stay first."""
    sights = [_clean(one.sight, size, settings.min_mask_region_area) for one in found]
    fresh = [replace(one, sight=sight or one.sight) for one, sight in zip(found, sights, strict=True)]
    untouched = np.array([sight is None for sight in sights], np.float32)
    return _suppressed(fresh, untouched, max(settings.box_nms_thresh, settings.crop_nms_thresh))


def _clean(sight: Sight, size: HW, least: int) -> Sight | None:
    """A mask without small holes and islands, None where it has none.

    Only its box is looked at, and a pixel around it, where that tells as much as the whole image would.
    """
    height, width = size
    if not sight.area:
        return None
    x0, y0, x1, y1 = sight.box
    beyond = (x0 * height, y0 * width, (width - x1) * height, (height - y1) * width)
    if any(0 < pixels < least for pixels in beyond):
        # so little is left beside the box that it may itself be a small hole
        x0, y0, x1, y1 = 0, 0, width, height
        beyond = (0, 0, 0, 0)
    x0, y0, x1, y1 = max(0, x0 - 1), max(0, y0 - 1), min(width, x1 + 1), min(height, y1 + 1)
    left, top, right, bottom = (pixels > 0 for pixels in beyond)
    mask = _dense(sight.edges - x0 * height, (height, x1 - x0))[y0:y1]
    mask, filled = without_small(mask, least, "holes", goes_on=(left, top, right, bottom))
    mask, dropped = without_small(mask, least, "islands")
    if not filled and not dropped:
        return None
    edges = edges_of(mask)
    high = y1 - y0
    if high == height:
        edges = edges + x0 * height
    else:
        # an end lies one beyond the last pixel, which may be the next column's first
        last = np.arange(len(edges)) % 2
        x, y = np.divmod(edges - last, high)
        edges = (x + x0) * height + (y + y0) + last
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (x0 + int(columns[0]), y0 + int(rows[0]), x0 + int(columns[-1]) + 1, y0 + int(rows[-1]) + 1)
    return Sight(edges, box, int(np.count_nonzero(mask)), sight.above, sight.below)


def _dense(edges: NDArray[np.int64], size: HW) -> NDArray[np.bool_]:
    """bool [H, W]"""
    flat = np.zeros(size[0] * size[1] + 1, np.int8)
    flat[edges[::2]] = 1
    flat[edges[1::2]] -= 1
    return np.cumsum(flat[:-1], dtype=np.int8).view(np.bool_).reshape(size[1], size[0]).T
