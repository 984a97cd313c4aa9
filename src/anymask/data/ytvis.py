"""Videos with masks in the form of YouTube-VIS, which OVIS has too: each frame is a sample.

annotations_train.json      train/VIDEO/img_0000001.jpg
"""

from __future__ import annotations

import functools
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anymask.data import coco, json_rows, photo
from anymask.data.sample import Sample
from anymask.errors import BadSetting


class FrameSet:
    """The frames of videos, in the file's order. Safe to send to other processes. folders: that may hold them."""

    def __init__(self, file: Path, folders: Sequence[Path], name: str) -> None:
        self.file, self.folders, self.name, self.licence = file, tuple(folders), name, ""
        self.videos: list[Mapping[str, Any]] = []
        self.categories: dict[int, str] = {}
        owner, start, stop = array("q"), array("q"), array("q")
        try:
            for row in json_rows.rows(file):
                if row.key == "videos":
                    video = row.decoded()
                    if int(video["height"]) < 1 or int(video["width"]) < 1 or not isinstance(video["file_names"], list):
                        raise ValueError(f"video {video['id']} has no size or no frames")
                    self.videos.append(video)
                elif row.key == "categories":
                    self.categories[row.value["id"]] = str(row.decoded()["name"])
                elif row.key == "annotations" and not row.value.get("iscrowd"):
                    owner.append(int(row.value["video_id"]))
                    start.append(row.start)
                    stop.append(row.stop)
            self._last = np.cumsum([len(video["file_names"]) for video in self.videos]).tolist()
            place = {int(video["id"]): number for number, video in enumerate(self.videos)}
            owners = np.array([place[one] for one in owner], np.int64)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, BadSetting):
                raise
            raise BadSetting(f"{file} is no file of video masks: {type(error).__name__} {error}") from None
        if not self._last or self._last[-1] == 0:
            raise BadSetting(f"{file} is no file of video masks: it lists no frames")
        order = np.argsort(owners, kind="stable")
        self._places = np.array([start, stop], np.int64).reshape(2, -1).T[order]
        self._first = np.searchsorted(owners[order], np.arange(len(self.videos) + 1))

    def __len__(self) -> int:
        return int(self._last[-1])

    def __getitem__(self, index: int, /) -> Sample:
        """Raises BadSetting."""
        index = range(len(self))[index]
        number = bisect_right(self._last, index)
        video = self.videos[number]
        frame = index - (self._last[number - 1] if number else 0)
        size = (int(video["height"]), int(video["width"]))
        masks, labels = [], []
        places = tuple(map(tuple, self._places[self._first[number] : self._first[number + 1]].tolist()))
        for row in _rows(self.file, places):
            try:
                said = row["segmentations"][frame]
                mask = None if said is None else coco.shape(said, size)
                label = self.categories.get(row["category_id"], "")
            except (BadSetting, KeyError, TypeError, ValueError, IndexError) as error:
                raise BadSetting(f"{self.file}, annotation {row.get('id')}, frame {frame}: {error}") from None
            if mask is not None:
                masks.append(mask)
                labels.append(label)
        name = str(video["file_names"][frame])
        tries = [folder / name for folder in self.folders]
        path = next((one for one in tries if one.is_file()), tries[0])
        return Sample(name, size, tuple(masks), tuple(labels), functools.partial(photo.rgb, path, size))


@functools.lru_cache(maxsize=4)
def _rows(file: Path, places: tuple[tuple[int, int], ...]) -> list[Any]:
    """The annotations of a video: those of the next frame are the same."""
    return json_rows.load(file, list(places))
