"""YOLO segmentation labels: a text file an image, a line an object, its outline in parts of the image's size.

    images/TITLE.jpg   labels/TITLE.txt: "0 0.1023 0.2001 0.1101 ..."   data.yaml

An object is one closed line there. Holes are joined to it by cuts without width, see `records.rings`. Corners are
pixels; a quarter of a pixel is added, so that readers that round and readers that cut digits off find the same pixel.
Read by OpenCV's fillPoly, as ultralytics and supervision do, a mask in one piece comes back pixel by pixel; one in
several pieces has lines one pixel wide between them, the price of staying one object. Empty masks are left out, and
scores and parents have no place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, UnidentifiedImageError
from PIL import Image as Pillow

from anymask.errors import BadSetting
from anymask.extras import need
from anymask.masks.masks import Masks
from anymask.masks.rle import encode_one
from anymask.pixels.resize import HW
from anymask.records import pictures
from anymask.records.coco import UNNAMED
from anymask.records.record import ImageRef, Provenance, Record
from anymask.records.rings import filled, ring
from anymask.records.xmltext import visible

INSIDE = 0.25
"""Where in its pixel a corner is written, in px."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def as_text(record: Record, names: tuple[str, ...] = (UNNAMED,)) -> str:
    """The lines of one image. names: of the classes, by number. Raises BadSetting for a label not among them."""
    height, width = record.image.size
    lines = []
    for rle, label in zip(record.masks.rle, record.masks.labels, strict=True):
        number = class_number(label, names)
        corners = ring(rle)
        if len(corners):
            shares = (corners + INSIDE) / np.array([width, height])
            lines.append(f"{number} " + " ".join(f"{share:.7f}" for share in shares.reshape(-1).tolist()) + "\n")
    return "".join(lines)


def class_number(label: str | None, names: tuple[str, ...]) -> int:
    """The place of a mask's label; None is "object". Raises BadSetting when it has none."""
    wanted = UNNAMED if label is None else label
    if wanted not in names:
        raise BadSetting(
            f"this format numbers its classes before the first image is written, and {wanted!r} is not among "
            f"{', '.join(map(repr, names[:5]))}; name all of them with names="
        )
    return names.index(wanted)


@dataclass(frozen=True)
class Yolo:
    """The format of folder runs: labels/TITLE.txt and the picture as images/TITLE for each image, one data.yaml.

    The picture is copied because readers look for labels in the folder beside its own. names: of the classes.
    """

    names: tuple[str, ...] = (UNNAMED,)
    name = "yolo"

    def files(self, record: Record, title: str) -> dict[str, bytes]:
        """The files of one image, by relative path."""
        found = {f"labels/{title}.txt": as_text(record, self.names).encode("ascii")}
        picture = pictures.file(record)
        if picture is not None:
            found[f"images/{title}.{picture[0]}"] = picture[1]
        return found

    def finish(self, titles: Iterable[str], read: Callable[[str], bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """data.yaml. Everything is one set: training and validation name the same folder until somebody splits it."""
        lines = ["train: images", "val: images", "names:"]
        # JSON's texts are YAML's, too
        lines += [f"  {place}: {json.dumps(visible(one), ensure_ascii=False)}" for place, one in enumerate(self.names)]
        yield "data.yaml", iter([("\n".join(lines) + "\n").encode("utf-8")])


def read(path: str | os.PathLike[str]) -> Iterator[Record]:
    """The records of a data set, by its data.yaml, in order of file names; pictures without labels have no masks.

    Every folder that "train", "val" and "test" name is read once. Class "object" becomes no label; lines are filled
    by OpenCV's fillPoly. Raises BadSetting for what is damaged, OSError for what cannot be opened, MissingExtra
    without PyYAML.
    """
    path = Path(path)
    root, names, splits = described(path)
    for folder in dict.fromkeys(folder for folders in splits.values() for folder in folders):
        images = root / folder
        if not images.is_dir():
            raise BadSetting(f"{path} names the folder {folder}, which is not there")
        for file in sorted(images.rglob("*")):
            if file.suffix.lower() in SUFFIXES:
                yield read_one(file, labels_of(file), names)


def described(path: Path) -> tuple[Path, Mapping[int, str], dict[str, list[str]]]:
    """(root, class names by number, folders of pictures by split) of a data.yaml. Raises as `read` does."""
    yaml = need("yaml", extra="yolo", to="read YOLO's data.yaml")
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
        names = data["names"]
        names = dict(enumerate(names)) if isinstance(names, list) else names
        names = {int(number): str(name) for number, name in names.items()}
        given = {key: data[key] for key in ("train", "val", "test") if data.get(key)}
        splits = {key: value if isinstance(value, list) else [value] for key, value in given.items()}
        if not all(isinstance(one, str) for folders in splits.values() for one in folders):
            raise TypeError("train, val and test are folders")
        return path.parent / str(data.get("path") or "."), names, splits
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadSetting(f"{path} is not the data.yaml of a YOLO data set: {type(error).__name__} {reason}") from None


def labels_of(image: Path) -> Path:
    """Where the labels of a picture lie: the last folder "images" on its way is called "labels"."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def read_one(image: Path, labels: Path, names: Mapping[int, str]) -> Record:
    """The record of one picture; without its file of labels it has no masks. Raises as `read` does."""
    try:
        with Pillow.open(image) as picture:
            # the outlines are of the picture as it is seen, turned as its camera was held
            size = picture.size if _lies(picture) else (picture.size[1], picture.size[0])
    except (UnidentifiedImageError, Pillow.DecompressionBombError) as error:
        raise BadSetting(f"{image} is damaged or no picture: {error}") from None
    found, called = [], []
    if labels.exists():
        try:
            for line in labels.read_text("utf-8").splitlines():
                if line.strip():
                    name, rle = _object(line.split(), size, names)
                    found.append(rle)
                    called.append(name)
        except (BadSetting, ValueError, OverflowError) as error:
            raise BadSetting(f"{labels}, line {len(found) + 1}: {error}") from None
    masks = Masks(size, found, labels=called)
    return Record(ImageRef(str(image), size), masks, Provenance(anymask="", time=""))


def _lies(picture: Pillow.Image) -> bool:
    """Whether EXIF turns it by a quarter."""
    try:
        return picture.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except Exception:  # damaged EXIF must not cost the picture
        return False


def _object(fields: list[str], size: HW, names: Mapping[int, str]) -> tuple[str | None, Any]:
    number, numbers = int(fields[0]), np.array([float(one) for one in fields[1:]])
    if number not in names:
        raise BadSetting(f"data.yaml has no class {number}")
    if len(numbers) < 6 or len(numbers) % 2:
        raise BadSetting(f"an outline has at least 3 corners (x, y), got {len(numbers)} numbers; boxes are no masks")
    if not np.isfinite(numbers).all() or np.abs(numbers).max() > 2:
        raise BadSetting("corners are parts of the image's size, 0 to 1")
    corners = np.floor(numbers.reshape(-1, 2) * np.array([size[1], size[0]])).astype(np.int64)
    name = names[number]
    return None if name == UNNAMED else name, encode_one(filled(corners, size))
