"""The edge protocol: contours of a model's masks against those that people drew, on BSDS500.

Source: Segment Anything, section 7.2 and appendix D.2; the benchmark is that of `bsds`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from anymask.data.photo import rgb
from anymask.errors import BadSetting
from anymask.evaluate import bsds
from anymask.evaluate.bsds import Bsds, Counts
from anymask.evaluate.edge_maps import canny, mask_edges
from anymask.evaluate.overlap import Bools
from anymask.evaluate.protocol import Choice, Line, Outcome, Plot, Protocol, Row, Table, Unit, decimal

if TYPE_CHECKING:
    from anymask.models.interface import PromptModel

COUNTS = ("recalled", "contour", "right", "edge")
MEASURES = ("ODS", "OIS", "AP", "R50")


@dataclass(frozen=True)
class Drawn:
    """An image and the contours that people drew."""

    data: Bsds
    name: str

    def pixels(self) -> NDArray[np.uint8]:
        return rgb(self.data.images / f"{self.name}.jpg")

    def contours(self) -> list[Bools]:
        return self.data.contours(self.name)


@dataclass(frozen=True)
class Edges(Protocol):
    """detector: the model's masks, or Canny, which needs none. part: of BSDS500. thresholds: how many are scored.

    tolerance: a share of the diagonal. points_per_side, box_nms_thresh: of the model's masks. sigma: Canny's blur.
    `cap` counts images.
    """

    name: ClassVar[str] = "edges"
    half_by: ClassVar[Literal["autocast", "use"]] = "use"
    detector: Literal["masks", "canny"] = "masks"
    part: Literal["test", "val", "train"] = "test"
    thresholds: int = bsds.THRESHOLDS
    tolerance: float = bsds.TOLERANCE
    points_per_side: int = 16
    box_nms_thresh: float = 0.7
    sigma: float = 2.0

    def __post_init__(self) -> None:
        if self.thresholds < 1 or not 0 < self.tolerance < 1 or self.points_per_side < 1 or not self.sigma > 0:
            raise BadSetting(
                "edges takes thresholds and points_per_side of at least 1, a tolerance in 0..1, a sigma > 0"
            )

    @property
    def needs_model(self) -> bool:
        return self.detector == "masks"

    @property
    def title(self) -> str:
        return "Canny"

    def rivals(self) -> list[tuple[str, Protocol]]:
        return [("canny", dataclasses.replace(self, detector="canny"))]

    def units(self, data: Path, choice: Choice) -> list[Unit]:
        if choice.only:
            raise BadSetting("protocol edges has one set; choose another part of BSDS500 with --set part=val")
        found = Bsds.at(data, self.part)
        names = found.names()
        if choice.cap is not None and choice.cap < len(names):
            names = [names[int(place)] for place in np.linspace(0, len(names) - 1, choice.cap)]
        units = []
        for name in names:
            digest = hashlib.sha256((found.truth / f"{name}.mat").read_bytes()).hexdigest()
            units.append(Unit(f"BSDS500 {self.part}", name, 1, digest, lambda name=name: Drawn(found, name)))  # type: ignore[misc]
        return units

    def measure(self, model: PromptModel | None, unit: Unit, rng: np.random.Generator) -> Line:
        drawn = unit.read()
        edges = self.map(model, drawn.pixels())
        counts = bsds.image_counts(edges, drawn.contours(), self.thresholds, self.tolerance)
        return {name: getattr(counts, name).tolist() for name in COUNTS}

    def map(self, model: PromptModel | None, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The edge map of one image, float32 [H, W] in 0..1."""
        if self.detector == "canny":
            return canny(pixels, bsds.thresholds(self.thresholds), self.sigma)
        from anymask.pixels.image import Image

        assert model is not None
        embedding = model.encode([Image.open(pixels)])
        return mask_edges(model, embedding, points_per_side=self.points_per_side, box_nms_thresh=self.box_nms_thresh)

    def outcome(self, title: str, lines: Mapping[str, Sequence[Line]]) -> Outcome:
        sets: dict[str, Row] = {}
        rows, series, more = [], {}, {}
        for name, found in lines.items():
            made = bsds.scores([Counts(*(np.array(line[part]) for part in COUNTS)) for line in found])
            sets[name] = dict(zip(MEASURES, (made.ods, made.ois, made.ap, made.r50), strict=True))
            rows.append((name, (str(len(found)), *map(decimal, sets[name].values()), decimal(made.threshold))))
            series[title] = (made.recall.tolist(), made.precision.tolist())
            more = {"threshold": made.threshold}
        table = Table(f"{title}: edges", ("set", "images", *MEASURES, "threshold of ODS"), tuple(rows))
        plot = Plot("Edges: precision and recall", "recall", "precision", series)
        return Outcome(sets, next(iter(sets.values())), table, (plot,), more=more)
