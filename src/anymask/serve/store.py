"""What a server keeps for a while: the most recently used things, up to a number of bytes."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from anymask.masks.masks import Masks
from anymask.pixels.image import Image

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by name, the least recently used ones dropped when all together are more than `max_bytes`.

    Used from one thread, the event loop's.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self.dropped = 0
        self._values: OrderedDict[str, tuple[T, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))

    def get(self, name: str) -> T | None:
        """The value, now the most recently used, or None."""
        if name not in self._values:
            return None
        self._values.move_to_end(name)
        return self._values[name][0]

    def put(self, name: str, value: T, nbytes: int) -> None:
        """Keeps a value; one that is larger than all the room is kept alone."""
        self.drop(name)
        self._values[name] = (value, nbytes)
        self.nbytes += nbytes
        while self.nbytes > self.max_bytes and len(self._values) > 1:
            _, (_, gone) = self._values.popitem(last=False)
            self.nbytes -= gone
            self.dropped += 1

    def drop(self, name: str) -> bool:
        """Forgets a value; False if it was not there."""
        if name not in self._values:
            return False
        self.nbytes -= self._values.pop(name)[1]
        return True


@dataclass(frozen=True)
class Picture:
    """An uploaded image and what its sender called it."""

    image: Image
    name: str


@dataclass(frozen=True)
class Answer:
    """An answer that later clicks may build on. image: its picture's id. model: the name of the model that gave it."""

    image: str
    model: str
    masks: Masks


def size_of(masks: Masks) -> int:
    """Bytes that masks take, about."""
    return sum(len(rle["counts"]) + 200 for rle in masks.rle) + (0 if masks.logits is None else masks.logits.nbytes)


def fresh_name() -> str:
    """An id that nobody can guess."""
    return secrets.token_urlsafe(12)
