"""The layouts in which clips with true masks are published.

    davis2017    JPEGImages/480p/CLIP/00000.jpg   Annotations/480p/CLIP/00000.png   ImageSets/2017/val.txt
    davis2016    the same with ImageSets/480p/val.txt or ImageSets/2016/val.txt; all objects are one
    vos          JPEGImages/CLIP/00000.jpg   Annotations/CLIP/00000.png   YouTube-VOS (with meta.json), MOSE, LVOS
    sa-v         JPEGImages_24fps/CLIP/00000.jpg   Annotations_6fps/CLIP/000/00000.png   sav_val.txt
    clips        SET/CLIP/frames/00000.jpg   SET/CLIP/masks/00000.png   SET/CLIP/meta.json (may be missing)

Of a folder that holds several splits, such as train/ and valid/, the one for validation is taken if none is named.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anymask.data.clips import Clip
from anymask.data.photo import SUFFIXES
from anymask.errors import BadSetting

FOR_VALIDATION = ("val", "valid", "sav_val")


@dataclass(frozen=True)
class ClipLayout:
    """name: as `open_clips` takes it. recognises: whether a folder is of it. open: (folder, split) -> clips."""

    name: str
    recognises: Callable[[Path], bool]
    open: Callable[[Path, str | None], list[Clip]]


def open_clips(path: str | os.PathLike[str], kind: str | None = None, split: str | None = None) -> list[Clip]:
    """The clips under a folder, in order of name, at least one; none of their pictures is read yet.

    kind: name of a layout, recognised if None. split: "val", "train" and so on, as the data calls it.
    Raises BadSetting: nothing there, of no known layout, no such split.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise BadSetting(f"there is no folder {path}")
    names = [layout.name for layout in LAYOUTS]
    if kind is not None and kind not in names:
        near = difflib.get_close_matches(kind.lower(), names, 1)
        raise BadSetting(f"layouts of clips are {', '.join(names)}; got {kind!r}" + (f"; {near[0]}?" if near else ""))
    for layout in LAYOUTS:
        if layout.name == kind or (kind is None and layout.recognises(root)):
            clips = layout.open(root, split)
            if clips:
                return clips
            raise BadSetting(f"{path} has no clip with true masks in the layout {layout.name}")
    raise BadSetting(f"{path} is of no layout of clips that is known; say which with kind=: {', '.join(names)}")


def _clip(dataset: str, name: str, frames: Path, maps: Path, rate: float | None, **more: Any) -> Clip | None:
    """A clip of a folder of pictures and one of label maps; None where it has no map."""
    pictures = _pictures(frames)
    place = {path.stem: number for number, path in enumerate(pictures)}
    found = {place[path.stem]: {0: path} for path in _pictures(maps) if path.stem in place}
    return Clip(dataset, name, pictures, found, rate, **more) if found else None


def _pictures(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != "."))


def _listed(file: Path) -> list[str]:
    """The clips that a list names: a name a line, or as DAVIS 2016 has it the paths of each frame and its mask."""
    lines = [line.split() for line in file.read_text("utf-8").splitlines() if line.strip()]
    return list(dict.fromkeys(Path(line[0]).parent.name if "/" in line[0] else line[0] for line in lines))


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir() and one.name[0] != ".") if folder.is_dir() else []


# DAVIS


def _davis(lists: Sequence[str], dataset: str, merged: bool) -> Callable[[Path, str | None], list[Clip]]:
    def opened(root: Path, split: str | None) -> list[Clip]:
        folder = next((root / "ImageSets" / one for one in lists if (root / "ImageSets" / one).is_dir()), None)
        if folder is None:
            raise BadSetting(f"{root} has no lists of clips; expected ImageSets/{lists[0]}/val.txt")
        there = sorted(file.stem for file in folder.glob("*.txt"))
        chosen = split or ("val" if "val" in there else there[0] if there else "val")
        if chosen not in there:
            raise BadSetting(f"{root} has no split {chosen!r}; it has {', '.join(there) or 'none'}")
        sizes = [one.name for one in _folders(root / "JPEGImages")]
        size = "480p" if "480p" in sizes else sizes[0] if sizes else "480p"
        pairs = [(name, root / "JPEGImages" / size / name, root / "Annotations" / size / name)
                 for name in _listed(folder / f"{chosen}.txt")]  # fmt: skip
        clips = (_clip(dataset, name, frames, maps, 24.0, merged=merged) for name, frames, maps in pairs)
        return [clip for clip in clips if clip is not None]

    return opened


def _has_lists(*names: str) -> Callable[[Path], bool]:
    return lambda root: any((root / "ImageSets" / name).is_dir() for name in names)


# YouTube-VOS, MOSE, LVOS


def _splits(root: Path, pictures: str) -> Iterator[tuple[str, Path]]:
    """(name of the split, folder) where the pictures' folder lies in `root` or in a folder of it."""
    if (root / pictures).is_dir():
        yield root.name, root
        return
    for folder in _folders(root):
        if (folder / pictures).is_dir():
            yield folder.name, folder


def _chosen(root: Path, pictures: str, split: str | None) -> tuple[str, Path]:
    there = dict(_splits(root, pictures))
    if split is None:
        split = next((one for one in FOR_VALIDATION if one in there), next(iter(there), ""))
    if split not in there:
        raise BadSetting(f"{root} has no split {split!r}; it has {', '.join(there) or 'none'}")
    name = root.name if there[split] == root else f"{root.name}-{split}"
    return name, there[split]


def _vos(root: Path, split: str | None) -> list[Clip]:
    name, folder = _chosen(root, "JPEGImages", split)
    said = _json(folder / "meta.json").get("videos", {})
    clips = []
    for maps in _folders(folder / "Annotations"):
        objects = said.get(maps.name, {}).get("objects", {}) if isinstance(said, dict) else {}
        names = {int(one): str(row.get("category", "")) for one, row in objects.items() if str(one).isdigit()}
        clips.append(_clip(name, maps.name, folder / "JPEGImages" / maps.name, maps, None, names=names))
    return [clip for clip in clips if clip is not None]


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise BadSetting(f"{file} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadSetting(f"{file} is no JSON object")
    return found


# SA-V


def _sa_v(root: Path, split: str | None) -> list[Clip]:
    name, folder = _chosen(root, "JPEGImages_24fps", split)
    lists = sorted(folder.glob("sav_*.txt"))
    wanted = _listed(lists[0]) if lists else [one.name for one in _folders(folder / "Annotations_6fps")]
    clips = []
    for clip in wanted:
        pictures = _pictures(folder / "JPEGImages_24fps" / clip)
        place = {path.stem: number for number, path in enumerate(pictures)}
        maps: dict[int, dict[int, Path]] = {}
        for one in _folders(folder / "Annotations_6fps" / clip):
            if one.name.isdigit():
                for path in _pictures(one):
                    if path.stem in place:
                        # objects are numbered from 0 there, and 0 is the background everywhere else
                        maps.setdefault(place[path.stem], {})[int(one.name) + 1] = path
        if maps:
            clips.append(Clip(name, clip, pictures, maps, 24.0))
    return clips


# shared/data/video


def _of_folders(root: Path, split: str | None) -> list[Clip]:
    if split is not None:
        raise BadSetting(f"{root} is not divided into splits, got {split!r}")
    clips = []
    for folder in sorted(found.parent for found in root.glob("*/*/frames")):
        told = folder / "meta.json"
        said = _json(told) if told.is_file() else {}
        names = {int(one): str(name) for one, name in said.get("objects", {}).items()}
        rate = float(said["fps"]) if said.get("fps") else None
        clip = _clip(folder.parent.name, folder.name, folder / "frames", folder / "masks", rate, names=names)
        if clip is not None:
            clips.append(clip)
    return clips


LAYOUTS = (
    ClipLayout("davis2017", _has_lists("2017"), _davis(("2017",), "davis2017", merged=False)),
    ClipLayout("davis2016", _has_lists("480p", "2016"), _davis(("480p", "2016"), "davis2016", merged=True)),
    ClipLayout("sa-v", lambda root: any(_splits(root, "JPEGImages_24fps")), _sa_v),
    ClipLayout("vos", lambda root: any(_splits(root, "JPEGImages")), _vos),
    ClipLayout("clips", lambda root: any(root.glob("*/*/frames")), _of_folders),
)
"""In the order in which they are tried."""
