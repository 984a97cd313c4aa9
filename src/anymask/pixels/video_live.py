"""Clips that go by once: a webcam, or an iterator of pictures."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np

from anymask.errors import BadImage, BadSetting
from anymask.pixels.image import Image
from anymask.pixels.video import Frames, same_size

KEPT = 1 << 26
"""Bytes of past frames that can be looked at again; of large frames it is at least two."""


class Live(Frames):
    """Frames that come one after the other and are gone afterwards, but for the last few.

    `count` is None until the source has ended.
    """

    def __init__(self, pictures: Iterator[Any], source: str, rate: float | None = None) -> None:
        self.source, self.rate, self.count = source, rate, None
        self._pictures = pictures
        self._next = 0
        self._past: OrderedDict[int, Image] = OrderedDict()
        first = self._come()
        if first is None:
            raise BadImage(f"{source} holds no frames")

    def __getitem__(self, index: int) -> Image:
        number = self._number(index)
        while number >= self._next:
            if self._come() is None:
                # the end is known now, and `_number` says so
                number = self._number(index)
        if number not in self._past:
            raise BadSetting(
                f"frame {number} of {self.source} has gone by; a live clip keeps its last {len(self._past)} frames, "
                f"{min(self._past)} to {max(self._past)}"
            )
        return self._past[number]

    def _walk(self, start: int, stop: int | None, step: int) -> Iterator[tuple[int, Image]]:
        index = start
        while stop is None or (index < stop if step > 0 else index > stop):
            if index >= self._next and self._come() is None:
                return
            if index < self._next:
                yield index, self[index]
                index += step

    def read(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[tuple[int, Image]]:
        # not ahead and in no thread: whoever wrote the iterator may not expect either
        if step == 1:
            return self._walk(self._number(start), stop, step)
        if step != -1:
            raise BadSetting(f"frames are read forward (step 1) or backward (step -1), got {step}")
        return self._walk(self._number(start), -1 if stop is None else stop, step)

    def _come(self) -> Image | None:
        """The next frame, kept; None at the end."""
        if self.count is not None:
            return None
        try:
            given = next(self._pictures)
        except StopIteration:
            self.count = self._next
            return None
        try:
            image = Image.open(given)
        except BadImage as error:
            raise BadImage(f"frame {self._next} of {self.source} cannot be read: {error}") from error
        if self._next == 0:
            self.size = image.size
        same_size(image, self.size, self._next, self.source)
        self._past[self._next] = image
        self._next += 1
        room = max(2, KEPT // max(1, 3 * image.size[0] * image.size[1]))
        while len(self._past) > room:
            self._past.popitem(last=False)
        return image

    def close(self) -> None:
        close = getattr(self._pictures, "close", None)
        if close is not None:
            close()


def camera(index: int) -> Live:
    """A webcam by its number, through OpenCV. Raises BadImage where none answers."""
    if index < 0:
        raise BadImage(f"webcams are numbered from 0, got {index}")
    import cv2

    device = cv2.VideoCapture(index)
    if not device.isOpened():
        device.release()
        raise BadImage(f"there is no webcam {index}, or another program uses it")
    rate = float(device.get(cv2.CAP_PROP_FPS))
    return Live(_captured(device), f"webcam {index}", rate if rate > 0 else None)


def _captured(device: Any) -> Iterator[Any]:
    try:
        while True:
            there, frame = device.read()
            if not there:
                return
            yield np.ascontiguousarray(frame[..., ::-1])
    finally:
        device.release()
