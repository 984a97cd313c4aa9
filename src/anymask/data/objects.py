"""Folders with a black and white picture for each object: ID/images/*.png with ID/masks/*.png (BBBC038, DSB 2018)."""

from __future__ import annotations

from pathlib import Path

from anymask.data import photo
from anymask.data.layout import Layout
from anymask.data.paired import Found, Pair, PairedSet
from anymask.errors import BadImage, BadSetting
from anymask.masks.rle import encode_one
from anymask.records import labelmap


def masks(pair: Pair[Path]) -> Found:
    """A mask for each file in a folder, what is not black. Raises BadSetting, BadImage."""
    size = photo.size_of(pair.picture)
    found = []
    for file in photo.pictures(pair.truth):
        try:
            dense = labelmap.levels(file) > 0
        except OSError as error:
            raise BadImage(f"{file} cannot be read: {error.strerror or error}") from None
        if dense.shape != size:
            raise BadSetting(f"{file} is {dense.shape} (H, W), its picture {size}")
        if dense.any():
            found.append(encode_one(dense))
    return Found(size, tuple(found))


def pairs(path: Path) -> list[Pair[Path]]:
    """The pictures of the folders in a folder that hold images/ and masks/."""
    found = []
    for folder in sorted(one for one in path.iterdir() if one.is_dir()):
        if (folder / "masks").is_dir() and (folder / "images").is_dir():
            pictures = photo.pictures(folder / "images")
            if len(pictures) == 1:
                found.append(Pair(folder.name, pictures[0], folder / "masks"))
    return found


def objects_set(path: Path, name: str = "") -> PairedSet[Path]:
    """The set of a folder. Raises BadSetting."""
    found = pairs(path) if path.is_dir() else []
    if not found:
        raise BadSetting(f"{path} holds no folder with images/ and masks/; expected {LAYOUT.looks}")
    return PairedSet(name or path.resolve().name, found, masks)


def _recognises(path: Path) -> bool:
    """Where two folders or more hold one picture each, as sets of label maps hold many."""
    return path.is_dir() and len(pairs(path)) > 1


LAYOUT = Layout(
    "objects", "ID/images/one.png with ID/masks/*.png, a file for each object", _recognises, lambda p: [objects_set(p)]
)
