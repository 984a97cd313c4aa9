"""COCO instance files and their photos, in the three ways that people keep them.

    SET/annotations.json                   SET/images/*                  anymask, and one folder a set
    annotations/instances_SPLIT.json       SPLIT/*, images/SPLIT/*       COCO itself, CVAT, Datumaro
    SPLIT/_annotations.coco.json           SPLIT/*                       exports of Roboflow

The file is read once, when it is opened, and only where each annotation lies is kept: 24 bytes each. Its text is read
again when its photo is asked for, so that LVIS's gigabyte of outlines needs no gigabytes of memory in each worker.
Crowds (iscrowd) and annotations without a mask are left out.
"""

from __future__ import annotations

import functools
import math
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as official

from anymask.data import json_rows, photo
from anymask.data.layout import Layout
from anymask.data.sample import Sample
from anymask.errors import BadSetting
from anymask.masks.rle import RLE, area, checked
from anymask.pixels.resize import HW

FAR = 4
"""Outlines that leave their image by more than so many times its size are damaged, and would cost gigabytes to draw."""


class CocoSet:
    """One instance file and its photos, in the file's order. Safe to send to other processes.

    file: the JSON. name, licence: of the set. find: the path of a photo, from its row of "images".
    """

    def __init__(self, file: Path, find: Callable[[Mapping[str, Any]], Path], name: str) -> None:
        self.file, self.name, self.find = file, name, find
        self.categories: dict[int, Mapping[str, Any]] = {}
        """Rows of "categories", by id: LVIS's frequency is among them."""
        self.images: list[Mapping[str, Any]] = []
        """Rows of "images": id, file_name, height, width and what else the file has, but for dates and Flickr."""
        self.licence = ""
        self._index()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> Sample:
        """Raises BadSetting, which names the annotation, where one is damaged."""
        row = range(len(self.images))[index]
        image = self.images[row]
        size = (int(image["height"]), int(image["width"]))
        masks, labels = [], []
        for annotation in self.annotations(row):
            try:
                mask = shape(annotation["segmentation"], size)
                label = str(self.categories[annotation["category_id"]]["name"]) if self.categories else ""
            except (BadSetting, KeyError, TypeError, ValueError) as error:
                said = f"no category {error}" if isinstance(error, KeyError) else error
                raise BadSetting(f"{self.file}, annotation {annotation.get('id')}: {said}") from None
            if mask is not None:
                masks.append(mask)
                labels.append(label)
        read = functools.partial(photo.rgb, self.find(image), size)
        return Sample(self.name_of(image), size, tuple(masks), tuple(labels) if self.categories else (), read)

    def name_of(self, image: Mapping[str, Any]) -> str:
        """What the sample of a row of "images" is called; LVIS's have no file_name."""
        return str(PurePosixPath(str(image.get("file_name") or self.find(image).name)))

    def annotations(self, index: int) -> list[dict[str, Any]]:
        """The rows of "annotations" of a photo, crowds left out, in file order."""
        first, last = self._first[index], self._first[index + 1]
        return json_rows.load(self.file, self._places[first:last].tolist())

    def _index(self) -> None:
        """One pass over the file; annotations may stand before the images."""
        numbers: dict[Any, int] = {}
        owner, start, stop = array("q"), array("q"), array("q")
        info: Any = {}
        licences: list[Any] = []
        try:
            for row in json_rows.rows(self.file):
                if row.key == "annotations":
                    if not row.value.get("iscrowd") and row.value.get("segmentation"):
                        owner.append(numbers.setdefault(row.value["image_id"], len(numbers)))
                        start.append(row.start)
                        stop.append(row.stop)
                elif row.key == "images":
                    image = _kept(row.decoded())
                    if not 0 < int(image["height"]) * int(image["width"]) < 2**32 or int(image["height"]) < 1:
                        raise ValueError(f"image {image['id']} has no size")
                    self.images.append(image)
                elif row.key == "categories":
                    self.categories[row.value["id"]] = row.decoded()
                elif row.key == "info":
                    info = row.decoded()
                elif row.key == "licenses":
                    licences.append(row.decoded())
            place = {image["id"]: row for row, image in enumerate(self.images)}
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, BadSetting):
                raise
            raise BadSetting(f"{self.file} is no COCO instance file: {type(error).__name__} {error}") from None
        if not self.images:
            raise BadSetting(f"{self.file} is no COCO instance file: it lists no images")
        self.licence = _licence(info, licences)
        if len(place) < len(self.images):
            raise BadSetting(f"{self.file} is damaged: two of its images share an id")
        lost = [one for one in numbers if one not in place]
        if lost:
            raise BadSetting(f"{self.file} has annotations of images it does not list: {sorted(map(str, lost))[:3]}")
        rows = np.zeros(len(numbers), np.int64)
        for one, number in numbers.items():
            rows[number] = place[one]
        owners = rows[np.frombuffer(owner, np.int64)] if owner else np.zeros(0, np.int64)
        order = np.argsort(owners, kind="stable")
        self._places = np.array([start, stop], np.int64).reshape(2, -1).T[order]
        self._first = np.searchsorted(owners[order], np.arange(len(self.images) + 1))


def shape(segmentation: Any, size: HW) -> RLE | None:
    """The mask of an annotation: polygons, plain or compressed run lengths; None where it has no pixel.

    Polygons are drawn by pycocotools, whose rule for pixels on the outline is that of COCO's own figures. size: (H, W)
    of the image. Raises BadSetting.
    """
    if isinstance(segmentation, Mapping):
        mask = checked(segmentation, size)
    else:
        outlines = [_outline(one, size) for one in segmentation]
        # with fewer than three corners pycocotools sees a box, or nothing
        outlines = [one for one in outlines if len(one) >= 6]
        if not outlines:
            return None
        drawn = official.merge(official.frPyObjects(outlines, *size))
        mask = {"size": list(size), "counts": bytes(drawn["counts"])}
    return mask if area([mask])[0] else None


def _outline(values: Any, size: HW) -> list[float]:
    corners = np.asarray(values, np.float64).reshape(-1)
    if len(corners) % 2:
        raise BadSetting(f"an outline is x and y in turn, got {len(corners)} numbers")
    limit = FAR * max(size)
    if not (np.abs(corners) <= limit).all():
        raise BadSetting(f"an outline lies far outside of its image of {size[1]} x {size[0]}")
    return [float(value) for value in corners.tolist()]


def _kept(image: Mapping[str, Any]) -> dict[str, Any]:
    """A row of an image in a third of the memory: its keys are the same texts as those of all others."""
    return {sys.intern(key): value for key, value in image.items() if key not in ("flickr_url", "date_captured")}


def _licence(info: Any, licences: Sequence[Any]) -> str:
    """What the file says of its licence: of the set, or, where few are listed, of its images."""
    if isinstance(info, Mapping):
        for key in ("licence", "license", "rights"):
            if isinstance(info.get(key), str) and info[key]:
                return str(info[key])
    names = [str(one.get("name") or one.get("url") or "") for one in licences if isinstance(one, Mapping)]
    names = list(dict.fromkeys(name for name in names if name))
    if len(names) > 3:
        return f"of each image, one of {len(names)}: {names[0]}, ..."
    return "; ".join(names)


class Beside:
    """Finds photos by their file_name in the first folder that holds it. Safe to send to other processes."""

    def __init__(self, folders: Iterable[Path], key: str = "file_name") -> None:
        self.folders, self.key = tuple(folders), key

    def __call__(self, image: Mapping[str, Any]) -> Path:
        name = PurePosixPath(str(image[self.key]).replace("\\", "/"))
        tries = [folder / one for one in (str(name).lstrip("/"), name.name) for folder in self.folders]
        return next((path for path in tries if path.is_file()), tries[0])


class NoPhotos(BadSetting):
    """An instance file whose photos are not there."""


def coco_set(file: Path, folders: Sequence[Path], name: str) -> CocoSet:
    """A set, its photos in one of the folders. Raises BadSetting where the first photo is in none of them."""
    found = CocoSet(file, Beside(folders), name)
    first = found.find(found.images[0])
    if not first.is_file():
        tried = ", ".join(dict.fromkeys(str(folder) for folder in folders))
        raise NoPhotos(f"{file} lists {found.images[0].get('file_name')}, which is in none of: {tried}")
    # the folder that holds one mostly holds all, and is looked into first
    found.find = Beside(sorted(folders, key=lambda folder: folder not in first.parents))
    return found


def files(path: Path) -> list[tuple[Path, str, list[Path]]]:
    """(JSON, name of the set, folders that may hold its photos) of each set under a path, by name."""
    if path.is_file():
        # LVIS' files look alike and name their photos in another way
        return [_one(path)] if path.suffix.lower() == ".json" and not path.name.startswith("lvis_") else []
    found = [file for file in (path / "annotations.json", path / "_annotations.coco.json") if file.is_file()]
    if not found:
        found = sorted((path / "annotations").glob("instances_*.json"))
    if not found:
        found = sorted(file for key in ("annotations.json", "_annotations.coco.json") for file in path.glob(f"*/{key}"))
    return [_one(file) for file in found]


def _one(file: Path) -> tuple[Path, str, list[Path]]:
    folder = file.resolve().parent
    if file.stem.startswith("instances_"):
        split = file.stem.removeprefix("instances_")
        roots = [folder.parent, folder] if folder.name == "annotations" else [folder]
        inside = [split, f"images/{split}", f"{split}/images", f"train/{split}", "images", "."]
        return file, split, [root / one for root in roots for one in inside]
    return file, folder.name, [folder / "images", folder, folder.parent / "images"]


def _recognises(path: Path) -> bool:
    found = files(path)
    if path.is_file() and found:
        # any JSON may be called so: an instance file says "images" and "annotations" somewhere at its beginning or end
        return _speaks_of(path, b'"images"') and _speaks_of(path, b'"annotations"')
    return bool(found)


def _speaks_of(file: Path, word: bytes) -> bool:
    length = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(1 << 16)
        opened.seek(max(0, length - (1 << 16)))
        if word in head or word in opened.read():
            return True
        # the other array may begin anywhere
        opened.seek(0)
        last = b""
        for _ in range(math.ceil(length / (1 << 22))):
            piece = opened.read(1 << 22)
            if word in last + piece:
                return True
            last = piece[-len(word) :]
    return False


def coco_sets(path: Path) -> list[CocoSet]:
    """The sets under a path. Raises BadSetting.

    Annotations are often unpacked with more splits than photos: splits without photos are left out if others have
    theirs.
    """
    found = files(path)
    if not found:
        raise BadSetting(f"{path} holds no COCO instance file; expected {LAYOUT.looks}")
    sets, missing = [], []
    for file, name, folders in found:
        # train2017's file is 450 MB: not to be read when its folder is not there
        there = [folder for folder in folders if folder.name != "." and folder.is_dir()]
        if len(found) > 1 and not there and file.name.startswith("instances_"):
            missing.append(NoPhotos(f"the photos of {file} are in none of: {', '.join(map(str, folders))}"))
            continue
        try:
            sets.append(coco_set(file, folders, name))
        except NoPhotos as error:
            missing.append(error)
    if not sets:
        raise missing[0]
    return sets


LAYOUT = Layout(
    "coco",
    "SET/annotations.json with SET/images/, or annotations/instances_SPLIT.json with SPLIT/ beside that folder, or "
    "SPLIT/_annotations.coco.json with the photos beside it, or such a JSON itself",
    _recognises,
    coco_sets,
)
