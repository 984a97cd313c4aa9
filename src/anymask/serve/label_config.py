"""What Label Studio says of a project and of a click, and masks in the form that it draws.

Coordinates there are percent of the picture's width and height.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

from anymask.errors import BadPrompt, BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import decode_one
from anymask.records.brush_rle import brush_rle

LONGEST = 200_000
"""Characters of a labelling configuration."""


@dataclass(frozen=True)
class Tags:
    """The tags of a project that concern masks.

    image: name of the Image tag. data: key of the task's data that holds the picture. brush, polygon: names of the
    tags that take masks; at least one is there. labels: of the tag that is used, in order.
    """

    image: str
    data: str
    brush: str | None
    polygon: str | None
    labels: tuple[str, ...]

    @classmethod
    def of(cls, config: str) -> Tags:
        """Read a labelling configuration, XML. Raises BadSetting where masks have no place in it."""
        if len(config) > LONGEST or "<!" in config.replace("<!--", ""):
            raise BadSetting("this labelling configuration is too long, or declares entities; use plain tags")
        try:
            root = ElementTree.fromstring(config)
        except ElementTree.ParseError as error:
            raise BadSetting(f"the labelling configuration is no XML: {error}") from None
        image = next((tag for tag in root.iter("Image") if tag.get("name") and tag.get("value", "")[:1] == "$"), None)
        if image is None:
            raise BadSetting('the labelling configuration needs an image, such as <Image name="image" value="$image"/>')
        name = image.get("name", "")
        mine = {
            kind: tag
            for kind in ("PolygonLabels", "BrushLabels")
            for tag in root.iter(kind)
            if tag.get("toName") == name and tag.get("name")
        }
        if not mine:
            raise BadSetting(
                f'the labelling configuration has no place for masks; add <BrushLabels name="mask" toName="{name}"> '
                "or PolygonLabels with the same labels"
            )
        used = mine.get("BrushLabels", mine.get("PolygonLabels"))
        assert used is not None
        labels = tuple(tag.get("value", "") for tag in used.iter("Label"))
        brush, polygon = mine.get("BrushLabels"), mine.get("PolygonLabels")
        return cls(
            name,
            image.get("value", "")[1:],
            None if brush is None else brush.get("name"),
            None if polygon is None else polygon.get("name"),
            labels,
        )


@dataclass(frozen=True)
class Pointed:
    """What somebody has pointed at, in pixels of a picture that is `size` (H, W). label: of the last thing drawn."""

    points: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]
    box: tuple[float, float, float, float] | None
    label: str | None
    size: tuple[int, int]

    @classmethod
    def of(cls, context: Mapping[str, Any] | None) -> Pointed | None:
        """Read the context of a prediction; None where nothing was pointed at. Raises BadPrompt."""
        items = (context or {}).get("result") or []
        points: list[tuple[float, float]] = []
        labels: list[int] = []
        box: tuple[float, float, float, float] | None = None
        label: str | None = None
        size = (0, 0)
        for item in items:
            try:
                kind, value = str(item["type"]).lower(), item["value"]
                size = int(item["original_height"]), int(item["original_width"])
                x, y = float(value["x"]) * size[1] / 100, float(value["y"]) * size[0] / 100
                if kind.startswith("keypoint"):
                    points.append((x, y))
                    # a key point without a sign is one that somebody set on the object
                    labels.append(int(bool(item.get("is_positive", value.get("positive", 1)))))
                elif kind.startswith("rectangle"):
                    wide, high = float(value["width"]) * size[1] / 100, float(value["height"]) * size[0] / 100
                    box = x, y, x + wide, y + high
                else:
                    continue
                named = value.get(kind) or value.get("labels") or []
                label = str(named[0]) if named else label
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise BadPrompt(f"this is no key point and no rectangle of Label Studio: {error!r}") from None
        if not points and box is None:
            return None
        return cls(tuple(points), tuple(labels), box, label, size)


def results(masks: Masks, tags: Tags, label: str | None) -> list[dict[str, Any]]:
    """The regions that Label Studio draws for the best of `masks`: one brush stroke, or a polygon for each piece."""
    if not len(masks):
        return []
    best = masks[:1]
    name = label if label in tags.labels or not tags.labels else tags.labels[0]
    named = [] if name is None else [name]
    if tags.brush is not None:
        value = {"format": "rle", "rle": brush_rle(decode_one(best.rle[0])), "brushlabels": named}
        return [_region(best, tags, tags.brush, "brushlabels", value)]
    assert tags.polygon is not None
    height, width = masks.size
    regions = []
    # holes have no place in Label Studio's polygons; every corner is a handle there, so there should not be thousands
    for polygon in best.polygons(simplify=1.0)[0]:
        corners = [[100 * float(x) / width, 100 * float(y) / height] for x, y in polygon.exterior]
        regions.append(_region(best, tags, tags.polygon, "polygonlabels", {"points": corners, "polygonlabels": named}))
    return regions


def _region(best: Masks, tags: Tags, tag: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    height, width = best.size
    return {
        "id": uuid4().hex[:10],
        "from_name": tag,
        "to_name": tags.image,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value,
        "score": float(best.scores[0]),
        "type": kind,
        "readonly": False,
    }
