"""Volumes as sets of slices: each slice a grey picture, each label in it a mask."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from anymask.data.labelmaps import cut
from anymask.data.sample import Sample
from anymask.errors import BadImage, BadSetting
from anymask.masks.rle import RLE, area, decode_one


class Spacing(NamedTuple):
    """Millimetres between slices, rows and columns; 0 where the data does not say."""

    slices: float
    rows: float
    columns: float


@dataclass(frozen=True)
class Window:
    """Which values are shown from black to white: level in the middle, width from end to end."""

    level: float
    width: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.level) and self.width > 0):
            raise BadSetting(f"a window has a level and a width above 0, got {self.level} and {self.width}")

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """uint8 of the same shape."""
        low = self.level - self.width / 2
        shown = (np.asarray(values, np.float32) - np.float32(low)) / np.float32(self.width)
        return (np.clip(shown, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


WINDOWS: Mapping[str, Window] = {
    "soft tissue": Window(40, 400),
    "lung": Window(-600, 1500),
    "bone": Window(400, 1800),
    "brain": Window(40, 80),
}
"""Windows of computed tomography in Hounsfield units, as viewers offer them."""

TISSUE = WINDOWS["soft tissue"]

AIR = -500
"""Volumes with values below are taken for Hounsfield units: nothing else measures air so."""


def window_of(values: NDArray[Any]) -> Window:
    """The soft tissue window for Hounsfield units; else the 0.5 to 99.5 percentiles of what is not 0 (as MedSAM does).

    values: of a volume or a part of it, any shape; of large ones some two million are looked at.
    """
    values = values.reshape(-1)[:: max(1, values.size // 2_000_000)]
    if values.size and values.min() < AIR:
        return TISSUE
    shown = values[values != 0]
    if not shown.size:
        return Window(0.5, 1)
    low, high = np.percentile(shown, (0.5, 99.5))
    return Window(float(low + high) / 2, max(float(high - low), 1e-6))


class Case(Protocol):
    """One volume."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""

    @property
    def spacing(self) -> Spacing: ...
    def values(self, index: int) -> NDArray[Any]:
        """A slice [H, W] as measured, or [H, W, 3] uint8 where it has colours. Raises BadImage."""

    def window(self) -> Window:
        """What is shown of it unasked."""

    def masks(self, index: int) -> list[tuple[str, RLE]]:
        """(label, mask) of what a slice holds; they may overlap or be empty. Raises BadSetting, BadImage."""


class SliceSet:
    """The slices of volumes, those without a label included. Safe to send to other processes.

    window: left out, each case's own. pieces: each connected piece of a label is a mask of its own.
    """

    def __init__(
        self,
        name: str,
        cases: Sequence[Case],
        *,
        window: Window | None = None,
        pieces: bool = False,
        licence: str = "",
    ) -> None:
        if not cases:
            raise BadSetting(f"{name} holds no volume")
        self.name, self.licence, self.cases = name, licence, tuple(cases)
        self.window, self.pieces = window, pieces
        self._last = np.cumsum([case.shape[0] for case in self.cases])

    def __len__(self) -> int:
        return int(self._last[-1])

    def place(self, index: int) -> tuple[Case, int]:
        """The volume of a sample, and which of its slices it is."""
        index = range(len(self))[index]
        number = int(np.searchsorted(self._last, index, side="right"))
        return self.cases[number], index - int(self._last[number] - self.cases[number].shape[0])

    def spacing(self, index: int) -> Spacing:
        """Of the volume that a sample is from."""
        return self.place(index)[0].spacing

    def __getitem__(self, index: int, /) -> Sample:
        case, number = self.place(index)
        masks: list[RLE] = []
        labels: list[str] = []
        for label, mask in case.masks(number):
            if area([mask])[0]:
                found = cut(decode_one(mask)) if self.pieces else [mask]
                masks += found
                labels += [label] * len(found)
        named = any(labels)
        return Sample(
            case.name if case.shape[0] == 1 else f"{case.name}/{number:04d}",
            case.shape[1:],
            tuple(masks),
            tuple(labels) if named else (),
            functools.partial(picture, case, number, self.window),
        )


def picture(case: Case, index: int, window: Window | None = None) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] of a slice, seen through a window. Raises BadImage."""
    values = case.values(index)
    if values.ndim == 3:
        return np.ascontiguousarray(values, np.uint8)
    shown = (window or case.window())(values)
    return np.repeat(shown[:, :, None], 3, axis=2)


def reading(name: object, read: Callable[[], Any]) -> Any:
    """What a library reads of a file; the many ways in which it may fail become BadImage."""
    try:
        return read()
    except (BadImage, BadSetting, ImportError):
        raise
    except MemoryError:
        raise BadImage(f"{name} is too large for the memory of this machine") from None
    except Exception as error:  # decoders of volumes raise whatever their parts do
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadImage(f"{name} cannot be read: {reason}") from None
