"""DICOM series as sets of slices, with labels from DICOM SEG, a NIfTI volume, or an array on the same grid.

    SERIES/*.dcm        with SEG objects among them, or beside the files or the folder
                        SERIES_labels.nii.gz, labels.nii.gz, or SERIES_labels.npz (key "labels", [slices, H, W])

Slices are sorted along the normal of their plane. A NIfTI volume may have another orientation: each pixel takes the
label of the voxel that its centre lies in. Source: DICOM PS3.3, C.7.6.2 (image plane) and C.8.20 (segmentation).
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.data import dicom_files, nifti, photo
from anymask.data.dicom_files import Frame, Head
from anymask.data.layout import Layout
from anymask.data.volumes import TISSUE, SliceSet, Spacing, Window, reading
from anymask.errors import BadSetting
from anymask.extras import need
from anymask.masks.rle import RLE


@dataclass(frozen=True)
class Series:
    """One volume: slices in order. along, down: unit vectors of rows and columns, LPS. labels: files of the truth."""

    name: str
    slices: tuple[Frame, ...]
    shape: tuple[int, int, int]
    spacing: Spacing
    along: tuple[float, ...]
    down: tuple[float, ...]
    modality: str
    number: str
    labels: tuple[Path, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)

    def values(self, index: int) -> NDArray[Any]:
        """See `Case.values`."""
        return dicom_files.pixels(self.slices[index])

    def window(self) -> Window:
        """See `Case.window`."""
        return TISSUE if self.modality == "CT" else dicom_files.window(self.slices[len(self.slices) // 2])

    def masks(self, index: int) -> list[tuple[str, RLE]]:
        """See `Case.masks`."""
        found: list[tuple[str, RLE]] = []
        for file in self.labels:
            if file.name.endswith(nifti.SUFFIXES):
                found += nifti.numbered(self._sampled(file, index), self.names)
            elif file.suffix == ".npz":
                found += nifti.numbered(self._listed(file, index), self.names)
            else:
                uid = self.slices[index].uid
                found += [(label, mask) for of, label, mask in dicom_files.segments(file) if of == uid]
        for _, mask in found:
            if tuple(mask["size"]) != self.shape[1:]:
                raise BadSetting(f"the labels of {self.name} are {mask['size']}, its slices {self.shape[1:]} (H, W)")
        return found

    def _listed(self, file: Path, index: int) -> NDArray[Any]:
        volume = _array(file)
        if volume.shape != self.shape:
            raise BadSetting(f"{file} holds {volume.shape} (slices, H, W), the series {self.shape}")
        return np.asarray(volume[index])

    def _sampled(self, file: Path, index: int) -> NDArray[Any]:
        """The labels of a NIfTI volume at the centres of a slice's pixels; outside of it there are none."""
        volume, affine = _grid(file)
        rows, columns = np.mgrid[: self.shape[1], : self.shape[2]].reshape(2, -1)
        told = self.slices[index].origin
        if told is None:
            raise BadSetting(f"{self.slices[index].file} does not say where it lies, so {file} cannot be laid over it")
        origin = np.array(told)
        steps = np.outer(np.array(self.along) * self.spacing.columns, columns)
        steps += np.outer(np.array(self.down) * self.spacing.rows, rows)
        # DICOM counts to the left and the back, NIfTI to the right and the front
        world = (origin[:, None] + steps) * np.array([[-1.0], [-1.0], [1.0]])
        inverse = np.linalg.inv(affine)
        voxels = np.rint(inverse[:3, :3] @ world + inverse[:3, 3:]).astype(np.int64)
        inside = ((voxels >= 0) & (voxels < np.array(volume.shape)[:, None])).all(0)
        found = np.zeros(rows.shape, volume.dtype)
        found[inside] = volume[tuple(voxels[:, inside])]
        return found.reshape(self.shape[1:])


@functools.lru_cache(maxsize=2)
def _array(file: Path) -> NDArray[Any]:
    def read() -> NDArray[Any]:
        with np.load(file, allow_pickle=False) as data:
            return np.asarray(data["labels"])

    return np.asarray(reading(file, read))


@functools.lru_cache(maxsize=2)
def _grid(file: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The voxels of a NIfTI file [X, Y, Z] as they lie, and its affine to mm, RAS."""
    nibabel = need("nibabel", extra="medical", to="read NIfTI volumes")
    image = reading(file, lambda: nibabel.load(file))
    return reading(file, lambda: np.asanyarray(image.dataobj)), np.asarray(image.affine, np.float64)


def series(path: Path, labels: Path | None = None) -> list[Series]:
    """The series under a folder, by name. labels: the truth of the only one; left out, it is looked for.

    Raises BadSetting for series whose slices differ in size or plane.
    """
    dicom_files.pydicom()
    pictures: dict[str, list[Head]] = defaultdict(list)
    segments: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(one for one in path.rglob("*") if one.name != "DICOMDIR" and dicom_files.is_dicom(one)):
        head = dicom_files.head(file)
        for uid in head.segments:
            segments[uid].append(file)
        if head.frames:
            pictures[head.series].append(head)
    if labels is not None and len(pictures) > 1:
        raise BadSetting(f"{path} holds {len(pictures)} series; labels can be given for one")
    found = []
    for uid, heads in pictures.items():
        folder = heads[0].frames[0].file.parent
        # the series of a file of frames has the file's path behind
        own = segments[uid.partition("/")[0]]
        truth = [labels] if labels is not None else [*own, *_beside(folder, alone=len(pictures) == 1)]
        found.append(reading(folder, functools.partial(_series, path, heads, tuple(truth))))
    count = Counter(one.name for one in found)
    found = [replace(one, name=f"{one.name}/{_apart(one)}") if count[one.name] > 1 else one for one in found]
    return sorted(found, key=lambda one: one.name)


def _apart(one: Series) -> str:
    """What tells series of one folder apart: clips are files, others have numbers, or at least other first slices."""
    first = one.slices[0]
    return first.file.stem if first.number is not None or not one.number else f"{one.number}-{first.file.stem}"


def _series(path: Path, heads: Sequence[Head], labels: tuple[Path, ...]) -> Series:
    frames = [frame for head in heads for frame in head.frames]
    first = frames[0]
    inside = first.file.parent.relative_to(path).as_posix()
    plane = first.plane if first.plane is not None and len(first.plane) == 6 else (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    normal = np.cross(np.array(plane[:3]), np.array(plane[3:]))
    for frame in frames:
        if frame.size != first.size:
            raise BadSetting(f"{frame.file} is {frame.size} (H, W), others of its series {first.size}")
        if frame.plane is not None and not np.allclose(frame.plane, plane, atol=1e-3):
            raise BadSetting(
                f"{frame.file} lies in another plane than others of its series; scouts are to be taken out"
            )
    placed = all(frame.origin is not None for frame in frames)
    at = {
        frame: float(np.dot(normal, np.array(frame.origin))) if placed else frame.order for frame in frames
    }  # fmt: skip
    frames.sort(key=lambda frame: at[frame])
    step = float(np.median(np.diff([at[frame] for frame in frames]))) if placed and len(frames) > 1 else 0.0
    named = next((nifti.names(file.parent, nifti.stem(file)) for file in labels if file.suffix != ".dcm"), {})
    return Series(
        path.resolve().name if inside == "." else inside,
        tuple(frames),
        (len(frames), *first.size),
        Spacing(step, *first.spacing),
        tuple(plane[:3]),
        tuple(plane[3:]),
        heads[0].modality,
        heads[0].number,
        labels,
        named,
    )


def _beside(folder: Path, *, alone: bool) -> list[Path]:
    """A volume of labels for a series: named after its folder, or, where it is the only one, simply labels."""
    stems = [f"{folder.name}{ending}" for ending in nifti.ENDINGS] + (["labels", "label", "seg"] if alone else [])
    tries = [
        place / f"{one}{end}" for one in stems for place in (folder, folder.parent) for end in (*nifti.SUFFIXES, ".npz")
    ]
    return [file for file in tries if file.is_file()][:1]


def dicom_set(
    path: Path, *, labels: Path | None = None, window: Window | None = None, pieces: bool = False
) -> SliceSet:
    """The series under a folder as one set. labels: see `series`; the rest: see `SliceSet`."""
    found = series(path, labels) if path.is_dir() else []
    if not found:
        raise BadSetting(f"{path} holds no DICOM series; expected {LAYOUT.looks}")
    return SliceSet(path.resolve().name, found, window=window, pieces=pieces)


LAYOUT = Layout(
    "dicom",
    "SERIES/*.dcm, labels as DICOM SEG among them, or SERIES_labels.nii.gz or .npz beside",
    lambda path: photo.glance(path, dicom_files.is_dicom),
    lambda path: [dicom_set(path)],
)
