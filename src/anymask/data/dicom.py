"""DICOM series as sets of slices, with labels from DICOM SEG, a NIfTI volume, or an array on the same grid.

    SERIES/*.dcm        with SEG objects among them, or beside the files or the folder
                        SERIES_labels.nii.gz, labels.nii.gz, or SERIES_labels.npz (key "labels", [slices, H, W])

Slices are sorted along the normal of their plane. A NIfTI volume may have another orientation: each pixel takes the
label of the voxel that its centre lies in. Source: DICOM PS3.3, C.7.6.2 (image plane) and C.8.20 (segmentation).
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.data import nifti, photo
from anymask.data.layout import Layout
from anymask.data.volumes import TISSUE, SliceSet, Spacing, Window, reading, window_of
from anymask.errors import BadImage, BadSetting
from anymask.extras import need


def _pydicom() -> Any:
    return need("pydicom", extra="medical", to="read DICOM series")


@dataclass(frozen=True)
class Slice:
    """One file of a series. at: mm along the normal. origin: (x, y, z) mm of the first pixel's centre, LPS."""

    file: Path
    uid: str
    at: float
    origin: tuple[float, float, float]


@dataclass(frozen=True)
class Series:
    """One volume: slices in order. along, down: unit vectors of rows and columns, LPS. labels: files of the truth."""

    name: str
    slices: tuple[Slice, ...]
    shape: tuple[int, int, int]
    spacing: Spacing
    along: tuple[float, float, float]
    down: tuple[float, float, float]
    modality: str
    labels: tuple[Path, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)

    def values(self, index: int) -> NDArray[Any]:
        """See `Case.values`."""
        return _pixels(self.slices[index].file)

    def window(self) -> Window:
        """See `Case.window`."""
        return TISSUE if self.modality == "CT" else _window(self.slices[len(self.slices) // 2].file)

    def masks(self, index: int) -> list[tuple[str, NDArray[np.bool_]]]:
        """See `Case.masks`."""
        found: list[tuple[str, NDArray[np.bool_]]] = []
        for file in self.labels:
            if file.name.endswith(nifti.SUFFIXES):
                found += self._numbered(self._sampled(file, index))
            elif file.suffix == ".npz":
                found += self._numbered(self._listed(file, index))
            else:
                frames = reading(file, functools.partial(_segments, file))
                found += [(label, mask) for uid, label, mask in frames if uid == self.slices[index].uid]
        for _, mask in found:
            if mask.shape != self.shape[1:]:
                raise BadSetting(f"the labels of {self.name} are {mask.shape}, its slices {self.shape[1:]} (H, W)")
        return found

    def _numbered(self, numbers: NDArray[Any]) -> list[tuple[str, NDArray[np.bool_]]]:
        found = [int(number) for number in np.unique(numbers).tolist() if number > 0]
        return [(self.names.get(number, str(number)) if self.names else "", numbers == number) for number in found]

    def _listed(self, file: Path, index: int) -> NDArray[Any]:
        volume = _array(file)
        if volume.shape != self.shape:
            raise BadSetting(f"{file} holds {volume.shape} (slices, H, W), the series {self.shape}")
        return np.asarray(volume[index])

    def _sampled(self, file: Path, index: int) -> NDArray[Any]:
        """The labels of a NIfTI volume at the centres of a slice's pixels; outside of it there are none."""
        volume, affine = _grid(file)
        rows, columns = np.mgrid[: self.shape[1], : self.shape[2]].reshape(2, -1)
        origin = np.array(self.slices[index].origin)
        steps = np.outer(np.array(self.along) * self.spacing.columns, columns)
        steps += np.outer(np.array(self.down) * self.spacing.rows, rows)
        # DICOM counts to the left and the back, NIfTI to the right and the front
        world = (origin[:, None] + steps) * np.array([[-1.0], [-1.0], [1.0]])
        inverse = np.linalg.inv(affine)
        voxels = np.rint(inverse[:3, :3] @ world + inverse[:3, 3:]).astype(np.int64)
        inside = ((voxels >= 0) & (voxels < np.array(volume.shape)[:, None])).all(0)
        found = np.zeros(rows.shape, volume.dtype)
        found[inside] = volume[tuple(voxels[:, inside])]
        return np.rint(found.reshape(self.shape[1:]))


@functools.lru_cache(maxsize=8)
def _pixels(file: Path) -> NDArray[Any]:
    """[H, W] in the modality's units, bright where more; [H, W, 3] uint8 where it has colours."""
    pydicom = _pydicom()

    def read() -> NDArray[Any]:
        data = pydicom.dcmread(file)
        values = data.pixel_array
        if values.ndim == 3 and values.shape[2] == 3:
            return np.asarray(values, np.uint8)
        if values.ndim != 2:
            raise BadImage(f"{file} holds {values.shape}: several frames in one file are not read")
        slope, intercept = float(data.get("RescaleSlope", 1) or 1), float(data.get("RescaleIntercept", 0) or 0)
        found = values.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        return np.asarray(-found if data.get("PhotometricInterpretation") == "MONOCHROME1" else found)

    return np.asarray(reading(file, read))


@functools.lru_cache(maxsize=256)
def _window(file: Path) -> Window:
    """What the file asks for; else what suits its values."""
    pydicom = _pydicom()

    def read() -> Window | None:
        data = pydicom.dcmread(file, stop_before_pixels=True)
        told = (data.get(key) for key in ("WindowCenter", "WindowWidth"))
        first = [one[0] if hasattr(one, "__len__") and not isinstance(one, str) else one for one in told]
        # of a picture that is turned dark for bright the window would have to be, too
        if None in first or float(first[1]) <= 0 or data.get("PhotometricInterpretation") == "MONOCHROME1":
            return None
        return Window(float(first[0]), float(first[1]))

    found: Window | None = reading(file, read)
    return window_of(_pixels(file)) if found is None else found


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


@functools.lru_cache(maxsize=2)
def _segments(file: Path) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """(UID of the slice, label, bool [H, W]) of each frame of a SEG object that says which slice it is of."""
    pydicom = _pydicom()
    data = reading(file, lambda: pydicom.dcmread(file))
    frames = reading(file, lambda: data.pixel_array)
    frames = frames[None] if frames.ndim == 2 else frames
    labels = {int(one.SegmentNumber): str(one.get("SegmentLabel", "")) for one in data.SegmentSequence}
    kind = data.get("SegmentationType", "BINARY")
    half = int(data.get("MaximumFractionalValue", 1)) / 2 if kind == "FRACTIONAL" else 0
    shared = data.get("SharedFunctionalGroupsSequence")
    found = []
    for frame, groups in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        uid = _source(groups)
        if uid is None:
            raise BadSetting(f"{file} does not say which slices its frames are of")
        if kind == "LABELMAP":
            found += [(uid, labels.get(int(n), ""), frame == n) for n in np.unique(frame).tolist() if n > 0]
            continue
        chosen = groups.get("SegmentIdentificationSequence") or shared[0].SegmentIdentificationSequence
        found.append((uid, labels.get(int(chosen[0].ReferencedSegmentNumber), ""), frame > half))
    return found


def _source(groups: Any) -> str | None:
    """The UID of the image that a frame was drawn on."""
    for derivation in groups.get("DerivationImageSequence") or ():
        for source in derivation.get("SourceImageSequence") or ():
            return str(source.ReferencedSOPInstanceUID)
    return None


def _dicom(file: Path) -> bool:
    if file.suffix.lower() in (".dcm", ".dicom", ".ima"):
        return True
    if file.suffix and not file.suffix[1:].isdigit():
        return False
    try:
        # a pipe would be waited for
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name != "DICOMDIR" and _dicom(file))


def series(path: Path, labels: Path | None = None) -> list[Series]:
    """The series under a folder, by name. labels: the truth of the only one; left out, it is looked for.

    Raises BadSetting for series whose slices differ in size or plane.
    """
    pydicom = _pydicom()
    by_uid: dict[str, list[tuple[Path, Any]]] = defaultdict(list)
    segmentations: dict[str, list[Path]] = defaultdict(list)
    for file in _files(path):
        head, kind, of = reading(file, functools.partial(_head, pydicom, file))
        if kind == "SEG":
            for uid in of:
                segmentations[uid].append(file)
        elif kind:
            by_uid[of[0]].append((file, head))
    if labels is not None and len(by_uid) > 1:
        raise BadSetting(f"{path} holds {len(by_uid)} series; labels can be given for one")
    found = []
    for uid, files in by_uid.items():
        folder = files[0][0].parent
        truth = [labels] if labels is not None else [*segmentations[uid], *_beside(folder, alone=len(by_uid) == 1)]
        found.append(reading(folder, functools.partial(_series, path, files, tuple(truth))))
    return sorted(found, key=lambda one: one.name)


def _head(pydicom: Any, file: Path) -> tuple[Any, str, list[str]]:
    """(head of a file, SEG or IMAGE or "" for neither, the series that it is of)."""
    head = pydicom.dcmread(file, stop_before_pixels=True)
    if head.get("Modality") == "SEG":
        return head, "SEG", [str(one.SeriesInstanceUID) for one in head.get("ReferencedSeriesSequence") or ()]
    # whoever took the names out may have taken the series' out, too
    return head, "IMAGE" if head.get("Rows") else "", [str(head.get("SeriesInstanceUID") or file.parent)]


def _series(path: Path, files: Sequence[tuple[Path, Any]], labels: tuple[Path, ...]) -> Series:
    first = files[0][1]
    folder = files[0][0].parent
    number = first.get("SeriesNumber")
    inside = folder.relative_to(path).as_posix()
    name = path.resolve().name if inside == "." else inside
    plane = [float(value) for value in first.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0)]
    along, down = np.array(plane[:3]), np.array(plane[3:])
    normal = np.cross(along, down)
    slices = []
    for order, (file, head) in enumerate(files):
        if (head.Rows, head.Columns) != (first.Rows, first.Columns):
            raise BadSetting(
                f"{file} is {head.Rows} x {head.Columns}, others of its series {first.Rows} x {first.Columns}"
            )
        turned = [float(value) for value in head.get("ImageOrientationPatient") or plane]
        if not np.allclose(turned, plane, atol=1e-3):
            raise BadSetting(f"{file} lies in another plane than others of its series; scouts are to be taken out")
        where = head.get("ImagePositionPatient")
        at = float(np.dot(normal, [float(v) for v in where])) if where else float(head.get("InstanceNumber") or order)
        origin = tuple(float(value) for value in where) if where else (0.0, 0.0, float(order))
        slices.append(Slice(file, str(head.get("SOPInstanceUID") or ""), at, origin))  # type: ignore[arg-type]
    slices.sort(key=lambda one: one.at)
    step = float(np.median(np.diff([one.at for one in slices]))) if len(slices) > 1 else 0.0
    rows, columns = (float(value) for value in first.get("PixelSpacing") or (0, 0))
    named = next((nifti.names(file.parent, nifti.stem(file)) for file in labels if file.suffix != ".dcm"), {})
    return Series(
        name if number is None or len({one.file.parent for one in slices}) == 1 else f"{name}/{number}",
        tuple(slices),
        (len(slices), int(first.Rows), int(first.Columns)),
        Spacing(step, rows, columns),
        (float(along[0]), float(along[1]), float(along[2])),
        (float(down[0]), float(down[1]), float(down[2])),
        str(first.get("Modality") or ""),
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
    lambda path: photo.glance(path, _dicom),
    lambda path: [dicom_set(path)],
)
