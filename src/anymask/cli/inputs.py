"""Which pictures a command line means, and what their results are called."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from anymask.errors import BadImage

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".avif", ".heic"),
    *(".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".qoi"),
)
"""What is taken from a folder; a file that is named is tried whatever it is called."""

OWN = (".overlay", ".mask", ".cutout")
"""Parts of names that our own results have; they are not pictures to segment when they lie in a folder."""


def pictures(
    named: Sequence[str], *, recursive: bool = False, apart_from: Path | None = None
) -> tuple[list[Path], list[BadImage]]:
    """(files, problems): names as they are, the pictures of folders, matches of patterns.

    Files keep the order they are named in, folders and patterns give theirs by name; each file comes once.
    recursive: also those of folders within folders, hidden ones left out. apart_from: a folder of results, which is
    not searched when it lies within another.
    """
    found: dict[str, Path] = {}
    problems = []
    for name in named:
        path = Path(name).expanduser()
        if path.is_dir():
            files = _within(path, apart_from) if recursive else sorted(file for file in path.iterdir() if _wanted(file))
            if not files:
                problems.append(BadImage(f"the folder {name} holds no pictures"))
        elif not path.exists() and glob.has_magic(name):
            files = sorted(file for file in map(Path, glob.glob(str(path), recursive=True)) if file.is_file())
            if not files:
                problems.append(BadImage(f"no file matches {name}"))
        else:
            files = [path]
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values()), problems


def titles(paths: Sequence[Path]) -> list[str]:
    """One name for the results of each file, all different also where upper and lower case are the same.

    The file's name without its suffix; with it, where two files of a folder differ in nothing else; with as many
    folders before it as it takes, where files of several folders have one name.
    """
    folders = [os.path.abspath(path.parent) for path in paths]
    count = Counter((folder, path.stem.casefold()) for folder, path in zip(folders, paths, strict=True))
    short = [
        path.name if count[folder, path.stem.casefold()] > 1 else path.stem
        for folder, path in zip(folders, paths, strict=True)
    ]
    whole = [(*Path(folder).parts, name) for folder, name in zip(folders, short, strict=True)]
    names = short
    for depth in range(2, max(map(len, whole), default=2) + 1):
        longer = ["_".join(parts[-depth:]).replace(os.sep, "") for parts in whole]
        names = _only_where_shared(names, longer)
    names = list(names)
    # "a_b/c.png" and "a/b_c.png" may still meet
    taken: set[str] = set()
    for place, name in enumerate(names):
        number = 2
        while names[place].casefold() in taken:
            names[place], number = f"{name}-{number}", number + 1
        taken.add(names[place].casefold())
    return names


def _within(folder: Path, apart_from: Path | None) -> list[Path]:
    """The pictures of a folder and of all folders in it, each folder's own ones first, by name."""
    left_out = None if apart_from is None else os.path.realpath(apart_from)
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name[0] != "." and os.path.realpath(os.path.join(place, name)) != left_out
        )
        found += [file for file in map(Path(place).joinpath, sorted(names)) if _wanted(file)]
    return found


def _only_where_shared(names: list[str], longer: list[str]) -> list[str]:
    count = Counter(name.casefold() for name in names)
    return [more if count[name.casefold()] > 1 else name for name, more in zip(names, longer, strict=True)]


def _wanted(file: Path) -> bool:
    own = any(part in OWN for part in file.suffixes[:-1])
    return file.suffix.lower() in SUFFIXES and not own and not file.name.startswith(".") and file.is_file()
