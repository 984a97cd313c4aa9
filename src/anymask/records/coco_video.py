"""COCO for video, as YouTube-VIS, OVIS and SA-Co have it: an annotation an object, with a mask or null for each frame.

    {"videos": [{"id", "width", "height", "length", "file_names"}],
     "annotations": [{"id", "video_id", "category_id", "segmentations": [RLE or null], "bboxes", "areas", "iscrowd"}],
     "categories": [{"id", "name"}]}

Beyond the published keys an annotation has "track_id", the object's number, and "scores", one a frame or null.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.records import atomic
from anymask.records.clip import ClipRecord, ClipRef
from anymask.records.coco import UNNAMED
from anymask.records.record import anymask_version

COLUMNS = ("segmentations", "bboxes", "areas", "scores")


def pieces(
    clip: ClipRef, objects: Sequence[int], frames: Iterable[tuple[int, Masks]], names: Mapping[int, str] | None = None
) -> Iterator[bytes]:
    """The file of one clip. frames: in order, gone through once; what is missing or empty is null.

    Columns of each object wait packed until all frames are through: about as many bytes as its outlines have points.
    Raises BadSetting for frames out of order.
    """
    names = names or {}
    columns = {one: {name: _Packed() for name in COLUMNS} for one in objects}
    done = 0
    for frame, masks in frames:
        if frame < done:
            raise BadSetting(f"frames come in order, got {frame} after {done - 1}")
        rows = {int(row["image_id"]): row for row in _rows(masks)}
        for one in objects:
            for name, column in columns[one].items():
                column.add("null", frame - done)
                column.add(json.dumps(rows[one][name]) if one in rows else "null")
        done = frame + 1
    labels = list(dict.fromkeys(names.get(one, UNNAMED) for one in objects)) or [UNNAMED]
    video = {
        "id": 1,
        "name": clip.name,
        "height": clip.size[0],
        "width": clip.size[1],
        "length": clip.count,
        "fps": clip.rate,
        "file_names": [clip.file(frame) for frame in range(clip.count)],
    }
    head: dict[str, Any] = {
        "info": {"description": f"made by anymask {anymask_version()}", "version": "1.0"},
        "licenses": [],
    }
    head |= {"videos": [video], "categories": [{"id": place, "name": label} for place, label in enumerate(labels, 1)]}
    yield (json.dumps(head)[:-1] + ', "annotations": [').encode("ascii")
    for number, one in enumerate(objects, 1):
        row = {"id": number, "video_id": 1, "track_id": one, "category_id": labels.index(names.get(one, UNNAMED)) + 1}
        row |= {"height": clip.size[0], "width": clip.size[1], "iscrowd": 0}
        yield ((",\n" if number > 1 else "\n") + json.dumps(row)[:-1]).encode("ascii")
        for name, column in columns[one].items():
            column.add("null", clip.count - done)
            yield f', "{name}": ['.encode("ascii")
            yield from column.content()
            yield b"]"
        yield b"}"
    yield b"\n]}\n"


def write(record: ClipRecord, path: str | os.PathLike[str]) -> Path:
    """Writes one clip's file, whole or not at all."""
    frames = sorted(record.frames.items())
    return atomic.write(path, b"".join(pieces(record.clip, record.objects, frames, record.names)))


def read(path: str | os.PathLike[str]) -> list[ClipRecord]:
    """One record a video, also of published files; objects have their "track_id" or, without, the annotation's number.

    Raises BadSetting for a damaged file or another format, OSError if it cannot be opened.
    """
    try:
        said = json.loads(Path(path).read_bytes())
        labels = {one["id"]: str(one["name"]) for one in said.get("categories", [])}
        found = []
        for video in said["videos"]:
            mine = [one for one in said["annotations"] or () if one["video_id"] == video["id"]]
            found.append(_record(video, mine, labels))
        return found
    except BadSetting as error:
        raise BadSetting(f"{path} is damaged: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, IndexError) as error:
        raise BadSetting(f"{path} is not a COCO file of video masks: {type(error).__name__} {error}") from None


def _record(video: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], labels: Mapping[Any, str]) -> ClipRecord:
    size = (int(video["height"]), int(video["width"]))
    files = tuple(map(str, video["file_names"]))
    name = str(video.get("name") or Path(files[0]).parent.name or video["id"])
    objects = [int(row.get("track_id", row["id"])) for row in rows]
    frames = {}
    for frame in range(len(files)):
        there = [(one, row) for one, row in zip(objects, rows, strict=True) if row["segmentations"][frame] is not None]
        if not there:
            continue
        scores = [row["scores"][frame] if row.get("scores") else row.get("score", 1.0) for _, row in there]
        coded = [row["segmentations"][frame] for _, row in there]
        frames[frame] = Masks(size, coded, scores=scores, ids=[one for one, _ in there])
    named = {one: labels.get(row["category_id"], UNNAMED) for one, row in zip(objects, rows, strict=True)}
    clip = ClipRef(name, size, len(files), video.get("fps"), files)
    return ClipRecord(clip, frames, {one: label for one, label in named.items() if label != UNNAMED})


def _rows(masks: Masks) -> Iterator[dict[str, Any]]:
    """What each object that is to be seen has on a frame."""
    for one, row in zip(masks.ids.tolist(), masks.to_coco(), strict=True):
        if row["area"]:
            values = (row["segmentation"], row["bbox"], row["area"], row["score"])
            yield {"image_id": one, **dict(zip(COLUMNS, values, strict=True))}


class _Packed:
    """Elements of an array, as packed text."""

    def __init__(self) -> None:
        self._packer, self._text, self._empty = zlib.compressobj(), bytearray(), True

    def add(self, text: str, times: int = 1) -> None:
        for _ in range(times):
            self._text += self._packer.compress((text if self._empty else ", " + text).encode("ascii"))
            self._empty = False

    def content(self) -> Iterator[bytes]:
        self._text += self._packer.flush()
        unpacker = zlib.decompressobj()
        for start in range(0, len(self._text), 1 << 16):
            yield unpacker.decompress(self._text[start : start + (1 << 16)])
        yield unpacker.flush()
