"""The options of everything mode, under their official names, and the published sets of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.session.grid import grids

if TYPE_CHECKING:
    from anymask.models.card import Card

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "sa1b": {
        "crop_n_layers": 2,
        "crop_n_points_downscale_factor": 2,
        "min_mask_region_area": 100,
        "max_area_share": 0.95,
    },
    "quick": {"coarse_score_thresh": 0.35},
    "lvis": {"points_per_side": 64, "box_nms_thresh": 0.9, "mask_nms_thresh": None, "max_masks": 1000},
    "proposals": {
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 0.9,
        "mask_nms_thresh": None,
        "max_masks": 1000,
        "min_mask_region_area": 0,
    },
}
"""Options that differ from the defaults.

default: the official generator's, with the thresholds that the model's card sets.
quick: a third fewer prompts: points between those of a coarse grid only where that found something.
sa1b: how the masks of SA-1B were made (Segment Anything, appendix B).
lvis: object proposals for LVIS (appendix D.3): a denser grid, a looser suppression, the best 1,000.
proposals: the same on the usual grid and without filters, for models whose scores are not SAM's.
"""


@dataclass(frozen=True)
class EverythingSettings:
    """How everything mode looks for masks. Raises BadSetting for values out of range.

    points_per_side: points along each side of the grid; None when `point_grids` are given.
    points_per_batch: prompts decoded at once; None takes what the memory allows.
    pred_iou_thresh: masks whose predicted IoU is not above it are dropped; 0 keeps all.
    stability_score_thresh: masks less stable are dropped; 0 keeps all. stability_score_offset: logits by which the
    threshold is moved up and down to see how stable a mask is.
    box_nms_thresh: of masks whose boxes have a higher IoU the one with the best predicted IoU stays.
    mask_nms_thresh: of masks that are left then and themselves have a higher IoU the one with the best predicted IoU
    stays; None lets boxes decide alone, as SAM does.
    crop_n_layers: layer n looks again at 4 ** n crops of the image. crop_nms_thresh: as box_nms_thresh, between crops,
    where the mask of the smaller crop stays. crop_overlap_ratio: see `grid.crops`.
    crop_n_points_downscale_factor: points along a side are divided by it with each layer.
    point_grids: one array [N, 2] of (x, y) in 0..1 for the image and each layer, in place of regular grids.
    min_mask_region_area: smaller holes are filled and smaller islands dropped, in pixels; 0 leaves masks as they are.
    max_area_share: masks of at least this share of the image are dropped; None keeps them.
    max_masks: only the best so many are kept, by the mean of predicted IoU and stability; None keeps all.
    coarse_score_thresh: every other point along both sides is asked first, and of the others those next to one whose
    best answer has a predicted IoU above it; where nothing answers, little is looked for. 0 asks all.

    Source: Segment Anything, appendix B; names and defaults of segment-anything's SamAutomaticMaskGenerator, besides
    the last four.
    """

    points_per_side: int | None = 32
    points_per_batch: int | None = None
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    point_grids: Sequence[NDArray[np.float64]] | None = None
    min_mask_region_area: int = 0
    max_area_share: float | None = None
    max_masks: int | None = None
    coarse_score_thresh: float = 0.0
    mask_nms_thresh: float | None = None

    def __post_init__(self) -> None:
        if (self.points_per_side is None) == (self.point_grids is None):
            raise BadSetting("give exactly one of points_per_side and point_grids; the other one is None")
        self._whole("points_per_side", 1, 1024)
        self._whole("points_per_batch", 1, 65536)
        self._whole("crop_n_layers", 0, 5)
        self._whole("crop_n_points_downscale_factor", 1, 64)
        self._whole("min_mask_region_area", 0, 1 << 40)
        self._whole("max_masks", 1, 1 << 40)
        for name in ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "crop_nms_thresh"):
            self._number(name, 0, 10)
        self._number("crop_overlap_ratio", 0, 0.99)
        self._number("max_area_share", 0, 1)
        self._number("mask_nms_thresh", 0, 10)
        self._number("coarse_score_thresh", 0, 10)
        self._number("stability_score_offset", 0, 1e6)
        if self.point_grids is not None:
            object.__setattr__(self, "point_grids", _grids(self.point_grids, self.crop_n_layers))
        elif self.points_per_side is not None:
            last = int(self.points_per_side / self.crop_n_points_downscale_factor**self.crop_n_layers)
            if last < 1:
                raise BadSetting(
                    f"{self.points_per_side} points a side divided by {self.crop_n_points_downscale_factor} for each "
                    f"of {self.crop_n_layers} crop layers leaves no point; take more points or fewer layers"
                )

    @classmethod
    def of(cls, preset: str = "default", card: Card | None = None, **options: Any) -> EverythingSettings:
        """A preset, with the thresholds that suit the model of `card`, and `options` on top. Raises BadSetting."""
        if preset not in PRESETS:
            raise BadSetting(f"there is no preset {preset!r}; choose {', '.join(PRESETS)}")
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise BadSetting(f"everything mode has no option {', '.join(unknown)}; it has {', '.join(known)}")
        chosen = {**(dict(card.everything) if card is not None else {}), **PRESETS[preset]}
        if options.get("point_grids") is not None and "points_per_side" not in options:
            chosen["points_per_side"] = None
        return cls(**{**chosen, **options})

    def grid(self, layer: int) -> NDArray[np.float64]:
        """The points of a layer, float64 [N, 2] (x, y) in 0..1."""
        if self.point_grids is not None:
            return self.point_grids[layer]
        assert self.points_per_side is not None
        return grids(self.points_per_side, layer, self.crop_n_points_downscale_factor)[layer]

    def described(self) -> dict[str, Any]:
        """The options as JSON can hold them."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.point_grids is not None:
            found["point_grids"] = [grid.tolist() for grid in self.point_grids]
        return found

    def _whole(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if value is None and name in ("points_per_side", "points_per_batch", "max_masks"):
            return
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
            raise BadSetting(f"{name} must be a whole number from {low} to {high}, got {value!r:.40}")
        object.__setattr__(self, name, int(value))

    def _number(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if value is None and name in ("max_area_share", "mask_nms_thresh"):
            return
        good = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or not low <= value <= high:
            raise BadSetting(f"{name} must be a number from {low} to {high}, got {value!r:.40}")
        object.__setattr__(self, name, float(value))


def _grids(given: Sequence[Any], layers: int) -> tuple[NDArray[np.float64], ...]:
    try:
        found = tuple(np.array(grid, np.float64) for grid in given)
    except (TypeError, ValueError):
        raise BadSetting("point_grids are arrays of numbers [N, 2], one for the image and each crop layer") from None
    if len(found) <= layers:
        raise BadSetting(f"{layers} crop layers take {layers + 1} point_grids, got {len(found)}")
    for grid in found:
        if grid.ndim != 2 or grid.shape[1] != 2 or len(grid) == 0:
            raise BadSetting(f"a point grid must be [N, 2] with at least one point, got {grid.shape}")
        if not ((grid >= 0) & (grid <= 1)).all():
            raise BadSetting("the points of a grid are (x, y) from 0 to 1, shares of the image's sides")
    return found
