"""Masks as SVG: one path a mask, holes by the even-odd rule, in the image's pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from anymask.masks.colours import RGB, colour
from anymask.masks.masks import Masks
from anymask.masks.outlined import outlined
from anymask.records import atomic
from anymask.records.record import Record
from anymask.records.xmltext import plain, visible


def as_text(record: Record, *, simplify: float = 0.0, colours: Sequence[RGB] | None = None) -> str:
    """An SVG document whose viewBox is the image's size, so that it lies exactly over the picture.

    simplify: see `Masks.polygons`; 0 keeps every pixel edge. colours: (red, green, blue) of each mask, 0..255.
    """
    drawn = [colour(row) for row in range(len(record.masks))] if colours is None else colours
    height, width = record.image.size
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    ]
    if record.image.path:
        lines.append(f"<title>{plain(record.image.path)}</title>")
    lines.extend(_path(mask, row, simplify, drawn[row]) for row, mask in enumerate(record.masks))
    return "\n".join([*lines, "</svg>"]) + "\n"


def write(record: Record, path: str | os.PathLike[str], *, simplify: float = 0.0) -> Path:
    """Writes the document, whole or not at all."""
    return atomic.write(path, as_text(record, simplify=simplify))


class Svg:
    """The format of folder runs: TITLE.svg for each image."""

    name = "svg"

    def files(self, record: Record, title: str) -> dict[str, bytes]:
        """The files of one image, by relative path."""
        return {f"{title}.svg": as_text(record).encode("utf-8")}

    def finish(self, titles: Iterable[str], read: Callable[[str], bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Nothing: the data set has no files of its own."""
        return iter(())


def _path(mask: Masks, row: int, simplify: float, tint: RGB) -> str:
    rings = [ring for part in outlined(mask.rle[0], simplify=simplify) for ring in part.rings]
    red, green, blue = tint
    label = "" if mask.labels[0] is None else f" data-label={quoteattr(visible(mask.labels[0]))}"
    return (
        f'<path id="mask-{row}" data-object="{int(mask.ids[0])}" data-score="{mask.scores[0]:.4f}"{label} '
        f'fill="rgb({red},{green},{blue})" fill-opacity="0.5" fill-rule="evenodd" d="{"".join(map(_drawn, rings))}"/>'
    )


def _drawn(ring: NDArray[np.int32]) -> str:
    """One ring in relative moves; along pixel edges most are horizontal or vertical, which take one number."""
    points = ring.tolist()
    parts = [f"M{points[0][0]} {points[0][1]}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        if y0 == y1:
            parts.append(f"h{x1 - x0}")
        elif x0 == x1:
            parts.append(f"v{y1 - y0}")
        else:
            parts.append(f"l{x1 - x0} {y1 - y0}")
    return "".join([*parts, "z"])
