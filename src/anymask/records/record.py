"""Record: the masks of one image, and all that is needed to make them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import encode_one
from anymask.pixels.georeference import Georeference
from anymask.pixels.image import Image
from anymask.pixels.raster import Raster
from anymask.pixels.resize import HW
from anymask.prompts.prompts import Prompts


def anymask_version() -> str:
    """The version that is installed; from the package's metadata, since a room may not import the whole of anymask."""
    try:
        return version("anymask")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class ImageRef:
    """Which image: path as the user named it (None for one from memory), (H, W), SHA-256 of size and pixels.

    The digest is `Image.digest`: a copy saved in another format without loss is recognised as the same picture.
    geo: where the image lies on the earth, for the formats that can say so.
    """

    path: str | None
    size: HW
    sha256: str = ""
    geo: Georeference | None = None

    @classmethod
    def of(cls, image: Image) -> ImageRef:
        return cls(image.source, image.size, image.digest)

    @classmethod
    def of_raster(cls, raster: Raster) -> ImageRef:
        """An image read by windows; it has no digest, which would cost reading all of it."""
        return cls(raster.source, raster.size, geo=raster.geo)


@dataclass(frozen=True)
class Provenance:
    """How masks were made.

    model: a card's name. weights: digest of the weights. prompts: as `described` gives them. settings: options of the
    run. anymask: version. time: UTC, ISO 8601. All of it can be written as JSON.
    """

    model: str = ""
    weights: str = ""
    prompts: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    anymask: str = field(default_factory=anymask_version)
    time: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))


@dataclass(frozen=True)
class Record:
    """The masks of one image and how they were made."""

    image: ImageRef
    masks: Masks
    made_by: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if self.image.size != self.masks.size:
            raise BadSetting(f"the masks are {self.masks.size} (H, W), the image is {self.image.size}")


def described(prompts: Prompts) -> dict[str, Any]:
    """Prompts as JSON can hold them: points and labels of each object without padding, boxes, drawn masks as RLE.

    Logits of an earlier answer are named by their shape only; they are megabytes, and nobody drew them.
    """
    found: dict[str, Any] = {}
    if prompts.points is not None and prompts.point_labels is not None:
        used = prompts.point_labels >= 0
        pairs = list(zip(prompts.points, prompts.point_labels, used, strict=True))
        found["points"] = [points[keep].tolist() for points, _, keep in pairs]
        found["labels"] = [labels[keep].tolist() for _, labels, keep in pairs]
    if prompts.boxes is not None:
        found["boxes"] = prompts.boxes.tolist()
    if prompts.masks is not None:
        coded = [encode_one(mask) for mask in prompts.masks]
        found["masks"] = [{"size": rle["size"], "counts": rle["counts"].decode("ascii")} for rle in coded]
    if prompts.low_res is not None:
        found["low_res"] = list(prompts.low_res.shape)
    return found
