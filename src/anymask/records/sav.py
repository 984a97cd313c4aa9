"""SA-V: one JSON a clip, as the data set of SAM 2 is published.

    {"masklet": [[{"size", "counts"}, an object each], ... a frame each], "masklet_id": [...], "video_id": "sav_000001",
     "video_frame_count": 120.0, "video_height": ..., "masklet_first_appeared_frame": [...], ...}

Source: the README of SA-V in facebookresearch/sam2. Published files hold every fourth frame; one key more, which
readers that look keys up by name pass over, says how many frames lie between two: "masklet_frame_step".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import RLE, area, encode_one
from anymask.records import atomic
from anymask.records.clip import ClipRecord, ClipRef


def pieces(
    clip: ClipRef, objects: Sequence[int], frames: Iterable[tuple[int, Masks]], *, step: int = 1, edited: int = 0
) -> Iterator[bytes]:
    """The file, frame by frame, so that memory does not grow with the clip.

    objects: the order of masks within a frame. frames: in order; those that are missing, and objects that are missing
    on one, are empty masks. step: only every so many frames. edited: frames that people prompted.
    Raises BadSetting for frames out of order.
    """
    if step < 1:
        raise BadSetting(f"step is at least 1, got {step}")
    empty = _text(encode_one(np.zeros(clip.size, np.bool_)))
    seen = _Seen(len(objects))
    yield b'{"masklet": ['
    given = iter(frames)
    held = next(given, None)
    for place, frame in enumerate(range(0, clip.count, step)):
        while held is not None and held[0] < frame:
            before, held = held[0], next(given, None)
            if held is not None and held[0] <= before:
                raise BadSetting(f"frames come in order, got {held[0]} after {before}")
        there: dict[int, RLE] = {}
        if held is not None and held[0] == frame:
            there = dict(zip(held[1].ids.tolist(), held[1].rle, strict=True))
        row = [_text(there[one]) if one in there else empty for one in objects]
        seen.add(frame, [int(area([there[one]])[0]) if one in there else 0 for one in objects])
        yield ((",\n" if place else "\n") + json.dumps(row)).encode("ascii")
    pixels = clip.size[0] * clip.size[1]
    means = seen.means()
    said: dict[str, Any] = {
        "video_id": clip.name,
        "video_duration": clip.count / clip.rate if clip.rate else None,
        "video_frame_count": float(clip.count),
        "video_height": float(clip.size[0]),
        "video_width": float(clip.size[1]),
        "video_resolution": float(pixels),
        "video_environment": [],
        "video_split": "",
        "masklet_id": list(objects),
        "masklet_size_rel": [mean / pixels for mean in means],
        "masklet_size_abs": means,
        "masklet_size_bucket": [_bucket(mean) for mean in means],
        "masklet_visibility_changes": seen.changes,
        "masklet_first_appeared_frame": seen.first,
        "masklet_frame_count": [seen.frames] * len(objects),
        "masklet_edited_frame_count": [edited] * len(objects),
        "masklet_type": ["auto"] * len(objects),
        "masklet_stability_score": None,
        "masklet_num": len(objects),
        "masklet_frame_step": step,
    }
    yield ("\n], " + json.dumps(said)[1:] + "\n").encode("ascii")


def write(record: ClipRecord, path: str | os.PathLike[str], *, step: int = 1) -> Path:
    """Writes one clip's file, whole or not at all."""
    return atomic.write(path, b"".join(pieces(record.clip, record.objects, sorted(record.frames.items()), step=step)))


def read(path: str | os.PathLike[str]) -> ClipRecord:
    """The record of an SA-V file, also of those published; objects have the file's numbers, frames those of the video.

    Empty masks are left out. Raises BadSetting for a damaged file or another format, OSError if it cannot be opened.
    """
    try:
        said = json.loads(Path(path).read_bytes())
        rows, ids = said["masklet"], [int(one) for one in said["masklet_id"]]
        size = (int(said["video_height"]), int(said["video_width"]))
        count = int(said["video_frame_count"])
        step = int(said.get("masklet_frame_step") or max(1, round(count / max(len(rows), 1))))
        frames = {}
        for place, row in enumerate(rows):
            if len(row) != len(ids):
                raise BadSetting(f"frame {place} has {len(row)} masks for {len(ids)} objects")
            masks = Masks(size, row, ids=ids)
            frames[place * step] = masks.where(masks.areas() > 0)
        duration = said.get("video_duration")
        rate = count / float(duration) if duration else None
        clip = ClipRef(str(said["video_id"]), size, max(count, (len(rows) - 1) * step + 1), rate)
        return ClipRecord(clip, frames)
    except BadSetting as error:
        raise BadSetting(f"{path} is damaged: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BadSetting(f"{path} is not an SA-V file: {type(error).__name__} {error}") from None


class _Seen:
    """What is counted of each object while its masks go by."""

    def __init__(self, count: int) -> None:
        self.frames = 0
        self.first: list[int | None] = [None] * count
        self.changes, self.visible = [0] * count, [0] * count
        self._sums, self._last = [0] * count, [False] * count

    def add(self, frame: int, areas: Sequence[int]) -> None:
        self.frames += 1
        for place, pixels in enumerate(areas):
            there = pixels > 0
            if self.first[place] is not None:
                self.changes[place] += there != self._last[place]
            elif there:
                self.first[place] = frame
            self._last[place] = there
            self.visible[place] += there
            self._sums[place] += pixels

    def means(self) -> list[float]:
        """Mean pixels on the frames where an object is to be seen."""
        return [total / max(count, 1) for total, count in zip(self._sums, self.visible, strict=True)]


def _bucket(pixels: float) -> str:
    side = math.sqrt(pixels)
    return "small" if side < 32 else "medium" if side < 96 else "large"


def _text(rle: RLE) -> dict[str, Any]:
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
