"""NIfTI volumes with label volumes, as sets of axial slices, the patient's front above and right side on the left.

    imagesTr/CASE_0000.nii.gz   labelsTr/CASE.nii.gz   dataset.json       nnU-Net, Medical Segmentation Decathlon
    images/CASE.nii.gz          labels/CASE.nii.gz
    CASE.nii.gz                 CASE_labels.nii.gz     labels.json        also _label, _seg, _mask
    CASE_t1.nii.gz              CASE_seg.nii.gz                           BraTS

Of several channels the first is read where they are one file or numbered; BraTS' four pictures of a case are cases.
A volume that is compressed cannot be entered in the middle: the last two stay in memory, so read slices in turn.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.data import photo
from anymask.data.labelmaps import runs
from anymask.data.layout import Layout
from anymask.data.volumes import SliceSet, Spacing, Window, reading, window_of
from anymask.errors import BadImage, BadSetting
from anymask.extras import need
from anymask.masks.rle import RLE

SUFFIXES = (".nii.gz", ".nii")
ENDINGS = ("_labels", "_label", "_seg", "_mask", "_gt", "-labels", "-label", "-seg", "-mask")
"""What the names of label volumes end with where they lie beside their images."""

_FOLDERS = (("imagesTr", "labelsTr"), ("imagesVal", "labelsVal"), ("imagesTs", "labelsTs"), ("images", "labels"))
_CHANNEL = re.compile(r"_\d{4}$")


@dataclass(frozen=True)
class NiftiCase:
    """One image with its labels. labels: None where there are none. names: of numbers."""

    name: str
    image: Path
    labels: Path | None
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `Case.shape`."""
        return _head(self.image)[0]

    @property
    def spacing(self) -> Spacing:
        """Millimetres; zeros where the data does not say."""
        return _head(self.image)[1]

    def values(self, index: int) -> NDArray[Any]:
        """See `Case.values`."""
        return np.asarray(_volume(self.image)[index])

    def window(self) -> Window:
        """See `Case.window`."""
        return _window(self.image)

    def masks(self, index: int) -> list[tuple[str, RLE]]:
        """See `Case.masks`."""
        if self.labels is None:
            return []
        if _head(self.labels)[0] != self.shape:
            raise BadSetting(
                f"{self.labels} is {_head(self.labels)[0]} (slices, rows, columns), its image {self.shape}"
            )
        return numbered(_volume(self.labels)[index], self.names)


def numbered(numbers: NDArray[Any], names: Mapping[int, str]) -> list[tuple[str, RLE]]:
    """(label, mask) of each number of a slice above 0; labels are empty where no names are known."""
    found = sorted((number, mask) for number, mask in runs(np.rint(numbers)).items() if number > 0)
    return [(names.get(number, str(number)) if names else "", mask) for number, mask in found]


def _nibabel() -> Any:
    return need("nibabel", extra="medical", to="read NIfTI volumes")


@functools.lru_cache(maxsize=4096)
def _head(file: Path) -> tuple[tuple[int, int, int], Spacing]:
    """(slices, rows, columns) and spacing after the turn into axial slices, from the head alone."""
    nibabel = _nibabel()

    def read() -> tuple[tuple[int, int, int], Spacing]:
        image = nibabel.load(file)
        if len(image.shape) not in (3, 4) or not np.isfinite(image.affine).all():
            raise BadSetting(f"{file} is no volume: its shape is {image.shape}, or its place in the room not told")
        turn = nibabel.io_orientation(image.affine)[:, 0].astype(int)
        shape, zooms = [0, 0, 0], [0.0, 0.0, 0.0]
        for axis, to in enumerate(turn.tolist()):
            shape[to], zooms[to] = int(image.shape[axis]), float(image.header.get_zooms()[axis])
        if min(shape) < 1:
            raise BadSetting(f"{file} is no volume: its shape is {image.shape}")
        return (shape[2], shape[1], shape[0]), Spacing(zooms[2], zooms[1], zooms[0])

    found: tuple[tuple[int, int, int], Spacing] = reading(file, read)
    return found


@functools.lru_cache(maxsize=4)
def _volume(file: Path) -> NDArray[Any]:
    """[slices, rows, columns]: feet to head, front to back, the patient's right to left. An image and its labels
    are two entries, so two cases stay."""
    nibabel = _nibabel()

    def read() -> NDArray[Any]:
        image = nibabel.load(file)
        values = np.asanyarray(image.dataobj)
        values = values[..., 0] if values.ndim == 4 else values
        if values.dtype.kind not in "iufb":
            raise BadImage(f"{file} holds {values.dtype}, no numbers to show")
        turned = nibabel.apply_orientation(values, nibabel.io_orientation(image.affine))
        if turned.dtype.kind == "f":
            # values that the head scales come as float64, twice what they need
            turned = np.nan_to_num(turned.astype(np.float32), posinf=0, neginf=0)
        return np.ascontiguousarray(turned[::-1, ::-1].transpose(2, 1, 0))

    slices: NDArray[Any] = reading(file, read)
    slices.flags.writeable = False
    return slices


@functools.lru_cache(maxsize=4096)
def _window(file: Path) -> Window:
    return window_of(_volume(file))


def stem(file: Path) -> str:
    """A volume's name without .nii.gz."""
    return next((file.name[: -len(suffix)] for suffix in SUFFIXES if file.name.endswith(suffix)), file.stem)


def _volumes(folder: Path, *, deep: bool = False) -> list[Path]:
    found = folder.rglob("*.nii*") if deep else folder.glob("*.nii*")
    return sorted(file for file in found if file.name.endswith(SUFFIXES) and not file.name.startswith("."))


def names(folder: Path, case: str = "") -> dict[int, str]:
    """The names of label numbers, from dataset.json, labels.json or CASE.json in a folder or the one above.

    Empty if nothing tells. Raises BadSetting for a file that names no labels.
    """
    own = () if not case else (f"{case}.json",)
    for file in (place / name for place in (folder, folder.parent) for name in (*own, "dataset.json", "labels.json")):
        if file.is_file():
            try:
                said = json.loads(file.read_text("utf-8"))
                said = said.get(case, said)
                labels = said.get("labels", said)
                # the Decathlon writes number: name, nnU-Net name: number, or several for a region
                pairs = [(key, value) if str(key).isdigit() else (value, key) for key, value in labels.items()]
                return {int(key): str(name) for key, name in pairs if isinstance(key, (int, str))}
            except (ValueError, TypeError, AttributeError) as error:
                raise BadSetting(f"{file} names no labels: {error}") from None
    return {}


def cases(path: Path) -> list[tuple[str, list[NiftiCase]]]:
    """(name, volumes) of each set under a folder."""
    found = []
    for pictures, labels in _FOLDERS:
        if (path / pictures).is_dir() and (path / labels).is_dir():
            truths = {stem(file): file for file in _volumes(path / labels)}
            mine = []
            for file in _volumes(path / pictures):
                name = stem(file) if stem(file) in truths else _CHANNEL.sub("", stem(file))
                if name in truths and (stem(file) == name or stem(file).endswith("_0000")):
                    mine.append(NiftiCase(name, file, truths[name], names(path, name)))
            if mine:
                found.append((pictures if pictures != "images" else path.resolve().name, mine))
    if found:
        return found
    every = _volumes(path, deep=True)
    beside: dict[Path, Path] = {}
    for file in every:
        ending = next((ending for ending in ENDINGS if stem(file).endswith(ending)), None)
        if ending is not None:
            beside[file.parent / stem(file).removesuffix(ending)] = file
    mine = []
    labels_too = set(beside.values())
    for file in every:
        own = file.parent / stem(file)
        if file in labels_too:
            continue
        key = own if own in beside else next((one for one in beside if str(own).startswith(f"{one}_")), None)
        if key is not None:
            inside = file.parent.relative_to(path).as_posix()
            name = stem(file) if inside == "." else f"{inside}/{stem(file)}"
            mine.append(NiftiCase(name, file, beside[key], names(file.parent, stem(file))))
    return [(path.resolve().name, mine)] if mine else []


def nifti_sets(path: Path, *, window: Window | None = None, pieces: bool = False) -> Sequence[SliceSet]:
    """The sets of a folder. window, pieces: see `SliceSet`. Raises BadSetting, BadImage, MissingExtra."""
    found = cases(path) if path.is_dir() else []
    if not found:
        raise BadSetting(f"{path} holds no volumes with labels; expected {LAYOUT.looks}")
    return [SliceSet(name, mine, window=window, pieces=pieces) for name, mine in found]


LAYOUT = Layout(
    "nifti",
    "imagesTr/CASE_0000.nii.gz with labelsTr/CASE.nii.gz, or CASE.nii.gz with CASE_labels.nii.gz (_seg, _mask)",
    lambda path: photo.glance(path, lambda file: file.name.endswith(SUFFIXES)) and bool(cases(path)),
    nifti_sets,
)
