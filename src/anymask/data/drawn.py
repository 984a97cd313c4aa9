"""Outlines in JSON files of other tools: VGG Image Annotator, VISOR, WoodScape.

The picture's size is read from its head, since most of these files do not tell it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anymask.data import coco, photo
from anymask.data.layout import Layout
from anymask.data.paired import Found, Pair, PairedSet
from anymask.errors import BadSetting
from anymask.masks.rle import encode_one

VIA = ("via_region_data.json", "via_project.json", "via_export_json.json")
NAMES = ("label", "name", "class", "type", "category", "species", "object")
"""Attributes of a VIA region that say what it is; the first that it has counts."""


@dataclass(frozen=True)
class Outline:
    """One object. rings: x and y in turn, px. label: "" if it has none. holes: rings within rings cut holes."""

    rings: tuple[tuple[float, ...], ...]
    label: str = ""
    holes: bool = False


def masks(pair: Pair[tuple[Outline, ...]]) -> Found:
    """The masks of outlines. Raises BadSetting, BadImage."""
    size = photo.size_of(pair.picture)
    found, labels = [], []
    for outline in pair.truth:
        try:
            if outline.holes:
                # the data set's own tools draw all rings at once with OpenCV, on whole pixels
                dense = np.zeros(size, np.uint8)
                rings = [np.rint(np.reshape(ring, (-1, 2))).astype(np.int32) for ring in outline.rings if len(ring) > 4]
                cv2.fillPoly(dense, rings, (1,))
                mask = encode_one(dense.view(np.bool_)) if dense.any() else None
            else:
                mask = coco.shape(outline.rings, size)
        except (BadSetting, ValueError) as error:
            raise BadSetting(f"an outline of {pair.name} is damaged: {error}") from None
        if mask is not None:
            found.append(mask)
            labels.append(outline.label)
    return Found(size, tuple(found), tuple(labels) if any(labels) else ())


Outlined = PairedSet[tuple[Outline, ...]]


def _read(file: Path, what: str, read: Callable[[Any], Iterable[tuple[str, tuple[Outline, ...]]]]) -> dict[str, Any]:
    """Outlines by picture. Raises BadSetting."""
    try:
        return dict(read(json.loads(file.read_text("utf-8"))))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise BadSetting(f"{file} is no {what}: {type(error).__name__} {error}") from None


def via_set(file: Path, folder: Path, name: str = "") -> Outlined:
    """The pictures of a file of the VGG Image Annotator. folder: of pictures. Boxes and points are no masks."""
    drawn = _read(file, "VIA file", _via)
    pairs = [Pair(one, folder / one, outlines) for one, outlines in drawn.items() if (folder / one).is_file()]
    if not pairs:
        raise BadSetting(f"{file} names no picture that lies in {folder}")
    return PairedSet(name or folder.resolve().name, pairs, masks)


def _via(data: Any) -> Iterable[tuple[str, tuple[Outline, ...]]]:
    for one in data.get("_via_img_metadata", data).values():
        # version 1 numbers its regions, version 2 lists them
        regions = one["regions"].values() if isinstance(one["regions"], Mapping) else one["regions"]
        found = []
        for region in regions:
            ring = _ring(region["shape_attributes"])
            told = region.get("region_attributes") or {}
            label = next((str(told[key]) for key in NAMES if isinstance(told.get(key), str) and told[key]), "")
            if ring:
                found.append(Outline((ring,), label))
        yield str(one["filename"]), tuple(found)


def _ring(shape: Mapping[str, Any]) -> tuple[float, ...]:
    if shape["name"] in ("polygon", "polyline"):
        return tuple(
            float(value) for pair in zip(shape["all_points_x"], shape["all_points_y"], strict=True) for value in pair
        )
    if shape["name"] in ("circle", "ellipse"):
        radii = (shape.get("rx", shape.get("r")), shape.get("ry", shape.get("r")))
        turn, angles = float(shape.get("theta", 0)), np.linspace(0, 2 * np.pi, 73)[:-1]
        x, y = float(radii[0]) * np.cos(angles), float(radii[1]) * np.sin(angles)  # type: ignore[arg-type]
        turned = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1)
        return tuple((turned + np.array([shape["cx"], shape["cy"]])).reshape(-1).tolist())
    return ()


def visor_set(annotations: Sequence[Path], frames: Path, name: str) -> Outlined:
    """Sparse annotations of VISOR, a JSON a video. frames: folder of VIDEO/*.jpg or PARTICIPANT/VIDEO/*.jpg."""
    pairs = []
    for file in annotations:
        video = file.stem
        folders = [frames / video, frames / video.split("_")[0] / video, frames]
        for picture, outlines in _read(file, "VISOR file", _visor).items():
            place = next((folder / picture for folder in folders if (folder / picture).is_file()), None)
            if place is not None:
                pairs.append(Pair(f"{video}/{picture}", place, outlines))
    if not pairs:
        raise BadSetting(f"no frame of VISOR's annotations lies in {frames}")
    return PairedSet(name, pairs, masks)


def _visor(data: Any) -> Iterable[tuple[str, tuple[Outline, ...]]]:
    for one in data["video_annotations"]:
        found = []
        for drawn in one["annotations"]:
            rings = tuple(tuple(float(value) for point in ring for value in point) for ring in drawn["segments"])
            found.append(Outline(rings, str(drawn["name"]), holes=True))
        yield str(one["image"]["name"]), tuple(found)


def woodscape_set(annotations: Path, pictures: Path, name: str = "woodscape") -> Outlined:
    """WoodScape's instances, a JSON a picture: instance_annotations/00000_FV.json, rgb_images/00000_FV.png."""
    pairs = []
    for file in sorted(annotations.glob("*.json")):
        picture = pictures / f"{file.stem}.png"
        if picture.is_file():
            outlines = _read(file, "file of WoodScape", _woodscape)
            pairs.append(Pair(picture.name, picture, next(iter(outlines.values()), ())))
    if not pairs:
        raise BadSetting(f"no file in {annotations} has its picture in {pictures}")
    return PairedSet(name, pairs, masks)


def _woodscape(data: Any) -> Iterable[tuple[str, tuple[Outline, ...]]]:
    for key, one in data.items():
        found = []
        for drawn in one["annotation"]:
            ring = tuple(float(value) for point in drawn["segmentation"] for value in point[:2])
            found.append(Outline((ring,), str(drawn["tags"][0]) if drawn["tags"] else ""))
        yield str(key), tuple(found)


def _via_files(path: Path) -> list[Path]:
    """The VIA files in a folder, or in the folders within."""
    if not path.is_dir():
        return [path] if path.name in VIA and path.is_file() else []
    own = [path / name for name in VIA if (path / name).is_file()]
    return own or sorted(file for name in VIA for file in path.glob(f"*/{name}"))


def _open(path: Path) -> list[Outlined]:
    found = _via_files(path)
    if not found:
        raise BadSetting(f"{path} holds no VIA file; expected {LAYOUT.looks}")
    return [via_set(file, file.resolve().parent) for file in found]


LAYOUT = Layout("via", "via_region_data.json with its pictures beside", lambda path: bool(_via_files(path)), _open)
