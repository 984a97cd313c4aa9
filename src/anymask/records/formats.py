"""What a folder run can write: every format under one name, as bytes, so that local folders and buckets are alike."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from anymask.errors import BadSetting
from anymask.records.coco import Coco
from anymask.records.cutouts import Cutouts
from anymask.records.geojson import GeoJson
from anymask.records.geopackage import GeoPackage
from anymask.records.geotiff import GeoTiff
from anymask.records.labelmap import LabelMap
from anymask.records.record import Record
from anymask.records.sa1b import Sa1b
from anymask.records.svg import Svg
from anymask.records.voc import Voc
from anymask.records.yolo import Yolo

Read = Callable[[str], bytes]
"""Gives back what `Format.files` left under a relative path."""


class Format(Protocol):
    """One format of a folder run.

    The same record and title always give the same bytes, whatever the hour (compressed ones with the same libraries):
    a resumed run leaves the files of an uninterrupted one.
    """

    @property
    def name(self) -> str:
        """As `format_named` takes it."""

    def files(self, record: Record, title: str) -> dict[str, bytes]:
        """The files of one image, by relative path with "/".

        title: unique relative name without a suffix; it may hold "/". Raises BadSetting for what the format cannot
        hold.
        """

    def finish(self, titles: Iterable[str], read: Read) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The files of the whole data set: relative path and content in pieces, to be written one after the other.

        titles: all images that `files` were left of, in the order they shall have; read through once for each file.
        read: gives back one of those files. What is held in memory does not grow with the number of masks.
        """


_ALL: tuple[Format, ...] = (
    Sa1b(),
    Coco(),
    Yolo(),
    Voc(),
    LabelMap(),
    Svg(),
    Cutouts(),
    GeoJson(),
    GeoPackage(),
    GeoTiff(),
)

FORMATS: tuple[str, ...] = tuple(one.name for one in _ALL)
"""The names that `format_named` knows."""


def format_named(name: str) -> Format:
    """A format by its name. Raises BadSetting, which names the choices."""
    for one in _ALL:
        if one.name == name:
            return one
    near = difflib.get_close_matches(str(name).lower(), FORMATS, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise BadSetting(f"formats are {', '.join(FORMATS)}; got {name!r}{hint}")
