"""Microscopy: TIFF images and stacks with label images of the same planes.

    images/NAME.tif      masks/NAME.tif (or labels/)
    NAME.tif             NAME_masks.tif (_mask, _labels, _label, _seg, as Cellpose and others leave them)
    01/t000.tif          01_GT/SEG/man_seg000.tif        Cell Tracking Challenge; also man_seg_000_012.tif, one slice

Each plane (time, depth) is a picture; channels become its colours. Values of more than 8 bits are stretched from the
0.2 to the 99.8 percentile of the stack, each channel by itself, since instruments rarely use the range of their type.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.data import photo
from anymask.data.labelmaps import MAPS, PHOTOS, runs
from anymask.data.layout import Layout
from anymask.data.paired import within
from anymask.data.volumes import SliceSet, Spacing, Window, reading
from anymask.errors import BadImage, BadSetting
from anymask.extras import need
from anymask.masks.rle import RLE

SUFFIXES = (".tif", ".tiff")
ENDINGS = ("_masks", "_mask", "_labels", "_label", "_seg", "_gt", "_cp_masks")
PERCENTILES = (0.2, 99.8)
SAMPLED = 16
"""Planes of a stack that its percentiles are taken from."""

_TRACKED = re.compile(r"man_seg_?(\d+)(?:_(\d+))?$")


@dataclass(frozen=True)
class StackCase:
    """One TIFF and its labels. plane: the only one that has labels, None for all.

    channels: numbers of those that become red, green, blue; left out, the first three. One channel is shown grey, two
    as red and green.
    """

    name: str
    image: Path
    labels: Path
    plane: int | None = None
    channels: tuple[int, ...] | None = None

    @property
    def spacing(self) -> Spacing:
        """Zeros: TIFF has no one way to tell."""
        return Spacing(0, 0, 0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `Case.shape`."""
        planes, _, height, width = _planes(self.image, self._split).shape
        return (1 if self.plane is not None else planes), height, width

    @property
    def _split(self) -> bool:
        """Whether the first axis of a nameless stack is one of planes: its labels tell."""
        return self.plane is not None or _depth(self.labels) > 1

    def values(self, index: int) -> NDArray[Any]:
        """See `Case.values`."""
        planes = _planes(self.image, self._split)
        at = index if self.plane is None else self.plane
        if at >= len(planes):
            raise BadImage(f"{self.image} has {len(planes)} planes, {self.labels} is of plane {at}")
        chosen = self.channels if self.channels is not None else tuple(range(min(3, planes.shape[1])))
        if not chosen or max(chosen) >= planes.shape[1]:
            raise BadSetting(f"{self.image} has {planes.shape[1]} channels, asked for {chosen}")
        lows, highs = _stretch(self.image, self._split)
        shown = np.zeros((*planes.shape[2:], 3), np.uint8)
        for place, channel in enumerate(chosen[:3]):
            values = np.asarray(planes[at, channel])
            if values.dtype != np.uint8:
                low, high = lows[channel], highs[channel]
                values = np.rint(np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)
            shown[:, :, place] = values
        return np.repeat(shown[:, :, :1], 3, axis=2) if len(chosen) == 1 else shown

    def window(self) -> Window:
        """See `Case.window`."""
        return Window(127.5, 255)

    def masks(self, index: int) -> list[tuple[str, RLE]]:
        """See `Case.masks`."""
        planes = _planes(self.labels, True)
        if planes.shape[1] != 1:
            raise BadSetting(f"{self.labels} has {planes.shape[1]} channels; labels have one")
        if (1 if self.plane is not None else len(planes), *planes.shape[2:]) != self.shape:
            raise BadSetting(
                f"{self.labels} is {(len(planes), *planes.shape[2:])} (planes, H, W), its image {self.shape}"
            )
        return [("", mask) for number, mask in sorted(runs(np.asarray(planes[index, 0])).items()) if number > 0]


def _tifffile() -> Any:
    return need("tifffile", extra="tiff", to="read TIFF stacks")


@functools.lru_cache(maxsize=4)
def _planes(file: Path, split: bool) -> NDArray[Any]:
    """[planes, channels, H, W]; mapped where it lies in the file as it is, else read.

    split: what an axis without a meaning is: planes, or else channels.
    """
    tifffile = _tifffile()

    def read() -> tuple[NDArray[Any], str]:
        with tifffile.TiffFile(file) as opened:
            series = opened.series[0]
            plain = series.dataoffset is not None
            axes = str(series.axes)
            values = tifffile.memmap(file, mode="r") if plain else series.asarray()
            return values.reshape(series.shape), axes

    values, axes = reading(file, read)
    # nameless axes are Q or I
    named = axes.replace("S", "C") if split else axes.replace("S", "C").replace("Q", "C").replace("I", "C")
    if "Y" not in named or "X" not in named or named.count("C") > 1:
        raise BadImage(f"{file} has axes {axes} of {values.shape}; planes and one axis of channels are read")
    order = [place for place, axis in enumerate(named) if axis not in "CYX"]
    channels = [place for place, axis in enumerate(named) if axis == "C"]
    moved = values.transpose([*order, *channels, named.index("Y"), named.index("X")])
    height, width = moved.shape[-2:]
    count = moved.shape[len(order)] if channels else 1
    return moved.reshape(-1, count, height, width)


@functools.lru_cache(maxsize=4096)
def _depth(file: Path) -> int:
    """Planes of an image of labels, from its head."""
    tifffile = _tifffile()

    def read() -> int:
        with tifffile.TiffFile(file) as opened:
            series = opened.series[0]
            return int(
                np.prod([side for axis, side in zip(series.axes, series.shape, strict=True) if axis not in "YX"])
            )

    return int(reading(file, read))


@functools.lru_cache(maxsize=256)
def _stretch(file: Path, split: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(lowest, highest) shown value of each channel."""
    planes = _planes(file, split)
    step = max(1, len(planes) // SAMPLED)
    found = [np.percentile(np.asarray(planes[::step, channel]), PERCENTILES) for channel in range(planes.shape[1])]
    return tuple(float(low) for low, _ in found), tuple(float(high) for _, high in found)


def _tiffs(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.name[0] != ".")


def _stem(file: Path) -> str:
    """Of NAME.tif and NAME.ome.tif."""
    return file.stem.removesuffix(".ome")


def cases(path: Path) -> list[StackCase]:
    """The images with labels under a folder, by name."""
    pictures = next((path / name for name in PHOTOS if (path / name).is_dir() and _tiffs(path / name)), None)
    maps = next((path / name for name in MAPS if (path / name).is_dir() and _tiffs(path / name)), None)
    if pictures is not None and maps is not None:
        truths = {within(file.with_name(_bare(file)), maps): file for file in _tiffs(maps)}
        named = {within(file.with_name(_stem(file)), pictures): file for file in _tiffs(pictures)}
        return [StackCase(name, file, truths[name]) for name, file in named.items() if name in truths]
    found = _tracked(path)
    if found:
        return found
    every = _tiffs(path)
    beside = {file.with_name(_bare(file)): file for file in every if _bare(file) != _stem(file)}
    return [
        StackCase(within(file.with_name(_stem(file)), path), file, beside[file.with_name(_stem(file))])
        for file in every
        if file.with_name(_stem(file)) in beside
    ]


def _bare(file: Path) -> str:
    """The name of the image that labels are of."""
    stem = _stem(file)
    ending = max((one for one in ENDINGS if stem.endswith(one)), key=len, default="")
    return stem.removesuffix(ending)


def _tracked(path: Path) -> list[StackCase]:
    """The Cell Tracking Challenge's: 01/ with 01_GT/SEG/, of one sequence or of several."""
    found = []
    for truth in sorted(path.glob("*_GT/SEG/man_seg*.tif")):
        told = _TRACKED.match(truth.stem)
        sequence = truth.parent.parent.name.removesuffix("_GT")
        image = None if told is None else path / sequence / f"t{told[1]}.tif"
        if told is not None and image is not None and image.is_file():
            plane = None if told[2] is None else int(told[2])
            name = f"{sequence}/t{told[1]}" + ("" if plane is None else f"/{plane:04d}")
            found.append(StackCase(name, image, truth, plane))
    return found


def stack_set(path: Path, *, channels: tuple[int, ...] | None = None, pieces: bool = False) -> SliceSet:
    """The planes under a folder as one set. channels: see `StackCase`. Raises BadSetting, BadImage, MissingExtra."""
    found = cases(path) if path.is_dir() else []
    if not found:
        raise BadSetting(f"{path} holds no TIFF with labels; expected {LAYOUT.looks}")
    chosen = [StackCase(one.name, one.image, one.labels, one.plane, channels) for one in found]
    return SliceSet(path.resolve().name, chosen, pieces=pieces)


LAYOUT = Layout(
    "tiff",
    "images/NAME.tif with masks/NAME.tif, or NAME.tif with NAME_masks.tif, or 01/t000.tif with 01_GT/SEG/",
    lambda path: photo.glance(path, lambda file: file.suffix.lower() in SUFFIXES) and bool(cases(path)),
    lambda path: [stack_set(path)],
)
