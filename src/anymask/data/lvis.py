"""LVIS: COCO's photos with the masks of 1,203 categories.

    lvis_v1_val.json or annotations/lvis_v1_val.json     val2017/, train2017/ or images/val2017/, images/train2017/

The file has no file_name; "coco_url" names folder and photo, and LVIS's val holds photos of COCO's train2017.
Source: the LVIS data set's description of its format, version 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from anymask.data.coco import CocoSet
from anymask.data.layout import Layout
from anymask.errors import BadSetting


class ByUrl:
    """Finds COCO's photos by the last two parts of coco_url. Safe to send to other processes."""

    def __init__(self, roots: list[Path]) -> None:
        self.roots = roots

    def __call__(self, image: Mapping[str, Any]) -> Path:
        at = PurePosixPath(str(image["coco_url"]))
        names = [f"{at.parent.name}/{at.name}", f"images/{at.parent.name}/{at.name}", at.name]
        tries = [root / name for root in self.roots for name in names]
        return next((path for path in tries if path.is_file()), tries[0])


def files(path: Path) -> list[Path]:
    """The LVIS files under a path, by name."""
    if path.is_file():
        return [path] if path.name.startswith("lvis_") and path.suffix == ".json" else []
    found = [file for place in (path, path / "annotations") for file in sorted(place.glob("lvis_*.json"))]
    # lists of images of the test sets have no masks
    return [file for file in found if "image_info" not in file.name]


def lvis_set(file: Path) -> CocoSet:
    """One file; `categories` holds the frequency of each: f, c or r. Raises BadSetting where its photos are missing."""
    folder = file.resolve().parent
    roots = [folder, folder.parent]
    found = CocoSet(file, ByUrl(roots), file.stem)
    if "coco_url" not in found.images[0]:
        raise BadSetting(f"{file} is no LVIS file of version 1: its images have no coco_url")
    first = found.find(found.images[0])
    if not first.is_file():
        raise BadSetting(f"{file} lists {found.images[0]['coco_url']}; expected {first}, or the same within images/")
    return found


def _open(path: Path) -> list[CocoSet]:
    found = files(path)
    if not found:
        raise BadSetting(f"{path} holds no LVIS file; expected {LAYOUT.looks}")
    return [lvis_set(file) for file in found]


LAYOUT = Layout(
    "lvis",
    "lvis_*.json, or annotations/lvis_*.json, with COCO's folders train2017/ and val2017/ beside or in images/",
    lambda path: bool(files(path)),
    _open,
)
