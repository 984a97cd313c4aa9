"""Data of any known layout, by its path."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from anymask.data import coco, dicom, drawn, labelmaps, lvis, nifti, objects, sa1b, scene_sets, shards, stacks, yolo
from anymask.data.layout import Layout
from anymask.data.named import NAMED
from anymask.data.sample import Dataset, Stream
from anymask.errors import BadSetting

LAYOUTS: tuple[Layout, ...] = (
    scene_sets.LAYOUT,
    coco.LAYOUT,
    lvis.LAYOUT,
    yolo.LAYOUT,
    shards.LAYOUT,
    sa1b.LAYOUT,
    drawn.LAYOUT,
    objects.LAYOUT,
    labelmaps.LAYOUT,
    stacks.LAYOUT,
    nifti.LAYOUT,
    dicom.LAYOUT,
    shards.BY_NUMBER,
    labelmaps.AS_INSTANCES,
    labelmaps.AS_CLASSES,
)
"""All layouts, in the order in which they are tried. A new one is its reader's file and its name here."""


def open_data(path: str | os.PathLike[str], kind: str | None = None) -> list[Dataset | Stream]:
    """The sets that lie at a path, at least one; "scenes:" and settings instead of a path are generated scenes.

    kind: the name of a layout, of `LAYOUTS`, or of a data set, of `NAMED`; left out, the layout is recognised.
    Annotations are indexed now, pixels are read when they are asked for. Raises BadSetting, which says what layouts
    there are or what was expected where; MissingExtra where a library is needed; OSError for what cannot be opened.
    """
    where = Path(path).expanduser()
    if kind is not None and not scene_sets.generated(where):
        return list(NAMED[kind].open(where) if kind in NAMED else _layout(kind).open(where))
    for layout in LAYOUTS:
        if layout.recognises(where):
            return list(layout.open(where))
    if not where.exists():
        raise BadSetting(f"there is no data at {path}")
    raise BadSetting(f"{path} is of no layout that is known; say which with kind=:\n{known()}")


def known() -> str:
    """The layouts, a line each."""
    return "\n".join(f"  {one.name}: {one.looks}" for one in LAYOUTS)


def _layout(kind: str) -> Layout:
    for layout in LAYOUTS:
        if layout.name == kind:
            return layout
    names = [layout.name for layout in LAYOUTS]
    near = difflib.get_close_matches(kind.lower(), [*names, *NAMED], 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise BadSetting(f"layouts are {', '.join(names)}, data sets are {', '.join(NAMED)}; got {kind!r}{hint}")
