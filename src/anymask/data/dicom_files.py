"""Single DICOM files: where their pictures lie in the room, their pixels, and what is segmented in them.

A file holds one slice, or, as enhanced ones of newer scanners and clips do, many frames. Source: DICOM PS3.3, C.7.6.2
(image plane), C.7.6.16 (functional groups of frames), C.8.20 (segmentation).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.data.labelmaps import runs
from anymask.data.volumes import Window, reading, window_of
from anymask.errors import BadImage, BadSetting
from anymask.extras import need
from anymask.masks.rle import RLE, encode_one
from anymask.pixels.resize import HW


@dataclass(frozen=True)
class Frame:
    """One picture of a file.

    number: of the frame from 0, None where the file has but one. uid: of the picture, frames with their number from 1.
    order: where nothing else tells it. origin: (x, y, z) of the first pixel's centre, plane: unit vectors along rows
    and down columns, mm, LPS; None where the file does not say. spacing: mm between rows, columns; 0 if not told.
    """

    file: Path
    number: int | None
    uid: str
    size: HW
    order: float
    origin: tuple[float, ...] | None
    plane: tuple[float, ...] | None
    spacing: tuple[float, float]


@dataclass(frozen=True)
class Head:
    """What a file says of itself. segments: the series that it segments, if that is what it does; frames: else."""

    series: str
    number: str
    modality: str
    frames: tuple[Frame, ...] = ()
    segments: tuple[str, ...] = ()


def pydicom() -> Any:
    """The library. Raises MissingExtra."""
    return need("pydicom", extra="medical", to="read DICOM series")


def is_dicom(file: Path) -> bool:
    """Whether a file is one by its suffix, or, without a suffix or with a number for one, by its head."""
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


def head(file: Path) -> Head:
    """What a file holds; no frames where it holds no pictures. Raises BadImage, MissingExtra."""
    library = pydicom()
    return reading(file, lambda: _head(library.dcmread(file, stop_before_pixels=True), file))  # type: ignore[no-any-return]


def _head(data: Any, file: Path) -> Head:
    # whoever took the names out may have taken the series' out, too
    series, number = str(data.get("SeriesInstanceUID") or file.parent), str(data.get("SeriesNumber") or "")
    modality = str(data.get("Modality") or "")
    if modality == "SEG":
        of = tuple(str(one.SeriesInstanceUID) for one in data.get("ReferencedSeriesSequence") or ())
        return Head(series, number, modality, segments=of)
    if not data.get("Rows"):
        return Head(series, number, modality)
    count = int(data.get("NumberOfFrames") or 1)
    several = count > 1 or data.get("PerFrameFunctionalGroupsSequence") is not None
    uid, size = str(data.get("SOPInstanceUID") or ""), (int(data.Rows), int(data.Columns))
    frames = []
    for row in range(count):
        spacing = _told(data, row, "PixelMeasuresSequence", "PixelSpacing") or (0.0, 0.0)
        frames.append(
            Frame(
                file,
                row if several else None,
                f"{uid}#{row + 1}" if several else uid,
                size,
                float(row if several else data.get("InstanceNumber") or 0),
                _told(data, row, "PlanePositionSequence", "ImagePositionPatient"),
                _told(data, row, "PlaneOrientationSequence", "ImageOrientationPatient"),
                (spacing[0], spacing[1]),
            )
        )
    # a file of frames is a volume, or a clip, of its own
    return Head(f"{series}/{file}" if several else series, number, modality, tuple(frames))


def _told(data: Any, row: int, group: str, key: str) -> tuple[float, ...] | None:
    """The numbers of a key, of a frame's own group, of that of all frames, or of the file."""
    for groups in (data.get("PerFrameFunctionalGroupsSequence"), data.get("SharedFunctionalGroupsSequence")):
        if groups:
            mine = groups[row if len(groups) > 1 else 0].get(group)
            if mine and mine[0].get(key) is not None:
                return _numbers(mine[0].get(key))
    return None if data.get(key) in (None, "") else _numbers(data.get(key))


def _numbers(value: Any) -> tuple[float, ...]:
    several = hasattr(value, "__len__") and not isinstance(value, str)
    return tuple(float(one) for one in (value if several else [value]))


def pixels(frame: Frame) -> NDArray[Any]:
    """[H, W] in the modality's units, bright where more; [H, W, 3] uint8 where it has colours. Raises BadImage."""
    shown = _pixels(frame.file)
    return np.asarray(shown if frame.number is None else shown[frame.number])


@functools.lru_cache(maxsize=2)
def _pixels(file: Path) -> NDArray[Any]:
    """The frames of a file, [H, W] or [frames, H, W], each followed by 3 where they have colours."""
    library = pydicom()

    def read() -> NDArray[Any]:
        data = library.dcmread(file)
        values = data.pixel_array
        several = data.get("NumberOfFrames") is not None or data.get("PerFrameFunctionalGroupsSequence") is not None
        if int(data.get("SamplesPerPixel") or 1) == 3:
            return np.asarray(values[None] if several and values.ndim == 3 else values, np.uint8)
        values = values[None] if several and values.ndim == 2 else values
        if values.ndim not in (2, 3):
            raise BadImage(f"{file} holds {values.shape}: neither a picture nor frames of one")
        found = values.astype(np.float32)
        for row in range(len(found)) if several else [slice(None)]:
            at = row if isinstance(row, int) else 0
            slope = _told(data, at, "PixelValueTransformationSequence", "RescaleSlope")
            intercept = _told(data, at, "PixelValueTransformationSequence", "RescaleIntercept")
            found[row] = found[row] * np.float32((slope or (1,))[0]) + np.float32((intercept or (0,))[0])
        return -found if data.get("PhotometricInterpretation") == "MONOCHROME1" else found

    return np.asarray(reading(file, read))


@functools.lru_cache(maxsize=256)
def window(frame: Frame) -> Window:
    """What the file asks for; else what suits its values. Raises BadImage."""
    library = pydicom()

    def read() -> Window | None:
        data = library.dcmread(frame.file, stop_before_pixels=True)
        level = _told(data, frame.number or 0, "FrameVOILUTSequence", "WindowCenter")
        width = _told(data, frame.number or 0, "FrameVOILUTSequence", "WindowWidth")
        # of a picture that is turned dark for bright the window would have to be, too
        if not level or not width or width[0] <= 0 or data.get("PhotometricInterpretation") == "MONOCHROME1":
            return None
        return Window(level[0], width[0])

    found: Window | None = reading(frame.file, read)
    return window_of(pixels(frame)) if found is None else found


@functools.lru_cache(maxsize=2)
def segments(file: Path) -> Sequence[tuple[str, str, RLE]]:
    """(UID of the picture, label, mask) of each frame of a SEG object.

    Raises BadImage; BadSetting where it does not say which pictures its frames are of.
    """
    library = pydicom()
    return reading(file, lambda: _segments(library.dcmread(file), file))  # type: ignore[no-any-return]


def _segments(data: Any, file: Path) -> list[tuple[str, str, RLE]]:
    frames = data.pixel_array
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
            found += [(uid, labels.get(number, ""), mask) for number, mask in sorted(runs(frame).items())]
            continue
        chosen = groups.get("SegmentIdentificationSequence") or shared[0].SegmentIdentificationSequence
        found.append((uid, labels.get(int(chosen[0].ReferencedSegmentNumber), ""), encode_one(frame > half)))
    return found


def _source(groups: Any) -> str | None:
    """The picture that a frame was drawn on, as `Frame.uid` has it."""
    for derivation in groups.get("DerivationImageSequence") or ():
        for source in derivation.get("SourceImageSequence") or ():
            frame = source.get("ReferencedFrameNumber")
            uid = str(source.ReferencedSOPInstanceUID)
            return uid if frame is None else f"{uid}#{int(_numbers(frame)[0])}"
    return None
