"""The rows of large JSON files, read piece by piece: where each lies, so that it need not be kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from anymask.errors import BadSetting

PIECE = 1 << 22
"""Bytes that are read at once."""

_SPACE = " \t\n\r"


class Row(NamedTuple):
    """One element of an array of the file, or a member that is no array.

    key: the member's name. start, stop: where its text lies in the file, in bytes. value: what it says, letters beyond
    ASCII not decoded. raw: its text, one letter a byte.
    """

    key: str
    start: int
    stop: int
    value: Any
    raw: str

    def decoded(self) -> Any:
        """What it says, all letters right. Raises ValueError for what is no UTF-8."""
        return self.value if self.raw.isascii() else json.loads(self.raw.encode("latin-1"))


def rows(path: Path, name: str = "") -> Iterator[Row]:
    """The elements of the arrays that the file's object has as members, in file order; other members whole.

    An array without elements gives nothing. Memory holds one piece of the file and one row, so that LVIS's gigabyte
    can be indexed anywhere. name: how messages call the file. Raises BadSetting for what is no JSON object, OSError.
    """
    with path.open("rb") as file:
        try:
            yield from _Reader(file).rows()
        except (ValueError, RecursionError) as error:
            raise BadSetting(f"{name or path} is damaged or no JSON object: {error}") from None


def load(path: Path, places: list[tuple[int, int]]) -> list[Any]:
    """The rows that lie at `places` (start, stop). Raises BadSetting when the file changed since, OSError."""
    found = []
    with path.open("rb") as file:
        for start, stop in places:
            file.seek(start)
            try:
                found.append(json.loads(file.read(stop - start)))
            except ValueError:
                raise BadSetting(f"{path} has changed since it was opened; open it again") from None
    return found


class _Reader:
    """A window of text over the file, one letter a byte, so that places in it are places in the file."""

    def __init__(self, file: Any) -> None:
        self.file, self.decoder = file, json.JSONDecoder()
        self.text, self.base, self.at, self.ended = "", 0, 0, False
        self._more()
        if self.text.startswith("\xef\xbb\xbf"):
            self.at = 3

    def rows(self) -> Iterator[Row]:
        self._expect("{")
        if self._peek() == "}":
            return
        while True:
            key = json.loads(self._value()[3].encode("latin-1"))
            if not isinstance(key, str):
                raise ValueError("a member has no name")
            self._expect(":")
            if self._peek() == "[":
                self.at += 1
                yield from self._elements(key)
            else:
                yield Row(key, *self._value())
            if self._either(",", "}") == "}":
                return

    def _elements(self, key: str) -> Iterator[Row]:
        if self._peek() == "]":
            self.at += 1
            return
        while True:
            yield Row(key, *self._value())
            if self._either(",", "]") == "]":
                return

    def _value(self) -> tuple[int, int, Any, str]:
        self._peek()
        while True:
            try:
                value, stop = self.decoder.raw_decode(self.text, self.at)
                # a number that ends with the window may go on behind it
                if stop < len(self.text) or self.ended:
                    start, self.at = self.at, stop
                    return self.base + start, self.base + stop, value, self.text[start:stop]
            except json.JSONDecodeError:
                if self.ended:
                    raise
            self._more()

    def _more(self) -> None:
        """Drops what was read, and reads as much again as is left, so that a long row costs no more than twice."""
        left = self.text[self.at :]
        piece = self.file.read(max(PIECE, len(left)))
        self.base, self.at, self.ended = self.base + self.at, 0, not piece
        self.text = left + piece.decode("latin-1")

    def _peek(self) -> str:
        while True:
            while self.at < len(self.text):
                letter = self.text[self.at]
                if letter not in _SPACE:
                    return letter
                self.at += 1
            if self.ended:
                raise ValueError("it ends too early")
            self._more()

    def _expect(self, wanted: str) -> None:
        if self._peek() != wanted:
            raise ValueError(f"{wanted!r} is missing at byte {self.base + self.at}")
        self.at += 1

    def _either(self, first: str, second: str) -> str:
        letter = self._peek()
        if letter not in (first, second):
            raise ValueError(f"{first!r} or {second!r} is missing at byte {self.base + self.at}")
        self.at += 1
        return letter
