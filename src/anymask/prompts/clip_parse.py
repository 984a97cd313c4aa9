"""Prompts on the frames of a clip, from the text that people type on a command line or keep in a file.

420,310   420,310,0   420,310@12   2:420,310@12      a point: object 2 on frame 12; object 1 on frame 0 if not said
10,20,200,180@12                                     a box
first.png@0                                          a mask; of a label map each number is an object
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadPrompt
from anymask.pixels.resize import HW
from anymask.prompts.parse import box, point
from anymask.prompts.prompts import Prompts

_WHERE = re.compile(r"(?:(?P<object>\d{1,6}):)?(?P<what>.*?)(?:@(?P<frame>\d{1,9}))?", re.ASCII | re.DOTALL)

ReadMasks = Callable[[Path], Mapping[int, NDArray[np.bool_]]]
"""The masks in a picture: number -> bool [H, W]; 0 where it is black and white and so names no object."""


@dataclass(frozen=True)
class Pointed:
    """What is said about one object on one frame, in pixels. points: (x, y, label). box: XYXY. mask: bool [H, W]."""

    frame: int
    object: int
    points: tuple[tuple[float, float, int], ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: NDArray[np.bool_] | None = None

    def check(self, size: HW, count: int | None) -> None:
        """Raises BadPrompt where it does not fit a clip of (H, W) and so many frames."""
        if count is not None and self.frame >= count:
            raise BadPrompt(
                f"the clip has the frames 0 to {count - 1}, object {self.object} is prompted on {self.frame}"
            )
        if self.mask is not None and (self.points or self.box is not None):
            raise BadPrompt(
                f"object {self.object} has a mask on frame {self.frame} and points or a box too; a mask is the answer "
                "itself, give corrections on another frame"
            )
        Prompts.of(
            [[x, y] for x, y, _ in self.points] or None,
            [label for _, _, label in self.points] or None,
            self.box,
            self.mask,
            size=size,
        )
        if self.points and self.box is None and not any(label for _, _, label in self.points):
            raise BadPrompt(f"object {self.object} has only points outside on frame {self.frame}; give one inside")


@dataclass(frozen=True)
class Script:
    """All that is said about a clip, by frame, then object. names: of objects that have one."""

    said: tuple[Pointed, ...]
    names: Mapping[int, str]

    @property
    def objects(self) -> tuple[int, ...]:
        """The objects' numbers, ascending."""
        return tuple(sorted({one.object for one in self.said}))

    @classmethod
    def of(
        cls,
        points: Sequence[str],
        boxes: Sequence[str],
        masks: Sequence[str],
        objects: Path | None,
        read: ReadMasks,
    ) -> Script:
        """From the options of a command line, see the top of this file; objects: a JSON file.

        All points without a number, a box and a mask are of object 1; several boxes without points and masks are one
        object each. Raises BadPrompt, which repeats the text that it could not read.
        """
        found: list[Pointed] = []
        for text in points:
            number, frame, what = _where(text)
            found.append(Pointed(frame, number or 1, (point(what),)))
        several = len(boxes) > 1 and not points and not masks and objects is None
        for place, text in enumerate(boxes, 1):
            number, frame, what = _where(text)
            found.append(Pointed(frame, number or (place if several else 1), box=box(what)))
        for text in masks:
            number, frame, what = _where(text, file=True)
            found += _drawn(read(Path(what)), frame, number, text)
        names: dict[int, str] = {}
        if objects is not None:
            more, names = _listed(objects, read)
            found += more
        if not found:
            raise BadPrompt("say what to follow: --point X,Y or --box X0,Y0,X1,Y1 or --mask FILE, each with @FRAME")
        return cls(tuple(_joined(found)), names)


def _where(text: str, *, file: bool = False) -> tuple[int | None, int, str]:
    """(object, frame, the rest)"""
    # a Windows path begins with a letter and a colon, and a file's name may hold an @
    if file and Path(text).exists():
        return None, 0, text
    match = _WHERE.fullmatch(text.strip())
    assert match is not None
    number, frame = match["object"], match["frame"]
    if number is not None and int(number) < 1:
        raise BadPrompt(f"objects are numbered from 1, got {text!r}")
    if match["what"].count("@"):
        raise BadPrompt(f"after @ comes the number of a frame, got {text!r}")
    return None if number is None else int(number), int(frame or 0), match["what"]


def _drawn(masks: Mapping[int, NDArray[np.bool_]], frame: int, number: int | None, text: str) -> list[Pointed]:
    if number is not None and len(masks) > 1:
        raise BadPrompt(
            f"{text} holds {len(masks)} objects, numbered {', '.join(map(str, masks))}; leave the number out"
        )
    if not masks:
        raise BadPrompt(f"{text} holds no mask: it is black all over")
    return [Pointed(frame, number or one or 1, mask=mask) for one, mask in masks.items()]


def _joined(found: Iterable[Pointed]) -> list[Pointed]:
    """One entry an object and frame, in order of frames."""
    joined: dict[tuple[int, int], Pointed] = {}
    for one in found:
        key = (one.frame, one.object)
        before = joined.get(key)
        if before is None:
            joined[key] = one
            continue
        for name in ("box", "mask"):
            if getattr(before, name) is not None and getattr(one, name) is not None:
                raise BadPrompt(
                    f"object {one.object} has two {name}{'es' if name == 'box' else 's'} on frame {one.frame}; to tell "
                    f"objects apart put a number in front, as in 2:{'10,20,200,180' if name == 'box' else 'FILE'}"
                )
        mask = one.mask if before.mask is None else before.mask
        joined[key] = replace(before, points=before.points + one.points, box=before.box or one.box, mask=mask)
    return [joined[key] for key in sorted(joined)]


def _listed(path: Path, read: ReadMasks) -> tuple[list[Pointed], dict[int, str]]:
    """What a JSON file says:

    [{"id": 1, "name": "dog", "prompts": [{"frame": 0, "points": [[420, 310], [500, 80, 0]], "box": [...],
      "mask": "dog.png"}]}]

    The list may be under the key "objects"; one prompt may stand in the object itself; files lie beside the JSON.
    """
    try:
        said = json.loads(path.read_text("utf-8"))
        rows = said["objects"] if isinstance(said, dict) else said
        found: list[Pointed] = []
        names: dict[int, str] = {}
        for place, row in enumerate(rows, 1):
            number = row.get("id", place)
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(f"an object's id is a whole number from 1 on, got {number!r}")
            if row.get("name"):
                names[number] = str(row["name"])
            for one in row.get("prompts", [row]):
                found.append(_prompt(one, number, path.parent, read))
        return found, names
    except (OSError, UnicodeDecodeError) as error:
        raise BadPrompt(f"{path} cannot be read: {error}") from None
    except BadPrompt as error:
        raise BadPrompt(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadPrompt(
            f'{path} is no list of objects such as [{{"id": 1, "prompts": [{{"frame": 0, "points": [[420, 310]]}}]}}]: '
            + f"{type(error).__name__} {error}"
        ) from None


def _prompt(row: Mapping[str, Any], number: int, folder: Path, read: ReadMasks) -> Pointed:
    frame = row.get("frame", 0)
    if isinstance(frame, bool) or not isinstance(frame, int) or frame < 0:
        raise ValueError(f"a frame is a whole number from 0 on, got {frame!r}")
    points = tuple(point(",".join(map(str, one))) for one in row.get("points", ()))
    corners = box(",".join(map(str, row["box"]))) if row.get("box") else None
    if row.get("mask"):
        (drawn,) = _drawn(read(folder / str(row["mask"])), frame, number, str(row["mask"]))
        return replace(drawn, points=points, box=corners)
    if not points and corners is None:
        raise ValueError(f"object {number} has no points, box or mask on frame {frame}")
    return Pointed(frame, number, points, corners)
