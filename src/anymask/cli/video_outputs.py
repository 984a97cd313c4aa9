"""What `anymask video` writes while a clip is gone through, one class a kind; a killed run goes on with each."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.jobs.places import OWN, LocalFolder
from anymask.masks.masks import Masks
from anymask.masks.rle import decode_one, encode_one, merge
from anymask.pixels.image import Image
from anymask.pixels.video_write import Kind, VideoWriter, join, suffix
from anymask.prompts.clip_parse import Script
from anymask.records import coco_video, davis, sav
from anymask.records.clip import ClipRef

if TYPE_CHECKING:
    from anymask.track.session import VideoSession

PART = 200
"""Frames of a part of a film: what a kill costs at most."""

MARKED_S = 0.7
"""Seconds that a prompt stays to be seen in an overlay."""


@dataclass(frozen=True)
class Job:
    """What all outputs of a run share. place: the folder of results. title: of the clip. rate: frames a second."""

    place: LocalFolder
    title: str
    clip: ClipRef
    rate: float
    script: Script

    @property
    def own(self) -> str:
        """The folder in the place for what is needed until the run is through."""
        return f"{OWN}/{self.title}"

    def whole(self, masks: Masks | None) -> Masks:
        """A row for each object in the same order on every frame, so that each keeps its colour; absent ones empty."""
        nothing = encode_one(np.zeros(self.clip.size, np.bool_))
        found = dict.fromkeys(self.script.objects, (nothing, 0.0))
        if masks is not None:
            rows = zip(masks.ids.tolist(), masks.rle, masks.scores.tolist(), strict=True)
            found |= {one: (rle, score) for one, rle, score in rows if one in found}
        rles, scores = zip(*found.values(), strict=True)
        return Masks(self.clip.size, rles, scores, ids=list(found))


class Output(Protocol):
    """One kind of result. pictures: whether it wants the frames themselves. done: frames that lie there already."""

    pictures: bool
    done: int

    def add(self, frame: int, picture: Image | None, masks: Masks) -> None:
        """Takes the next frame, all objects in it; those before `done` are passed over."""

    def finish(self, session: VideoSession) -> str:
        """Completes the files; what to look at, relative to the folder."""

    def abandon(self) -> None:
        """Lets go of what is unfinished, after an error."""


class Film(Output):
    """A video, written in parts that are put together at the end."""

    pictures = True

    def __init__(self, job: Job, name: str, kind: Kind, draw: Callable[[int, Image, Masks], NDArray[np.uint8]]) -> None:
        self._job, self._name, self._kind, self._draw = job, name, kind, draw
        self._writer: VideoWriter | None = None
        there = 0
        while self._part(there).is_file():
            there += 1
        self.done = there * PART

    def _part(self, number: int) -> Path:
        return self._job.place.path(f"{self._job.own}/{self._name}-{number:05}{suffix(self._kind)}")

    def add(self, frame: int, picture: Image | None, masks: Masks) -> None:
        if frame < self.done or picture is None:
            return
        if self._writer is None:
            self._writer = VideoWriter(self._part(frame // PART), self._job.clip.size, self._job.rate, self._kind)
        self._writer.add(self._draw(frame, picture, masks))
        if (frame + 1) % PART == 0:
            self._writer.close()
            self._writer = None

    def finish(self, session: VideoSession) -> str:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        parts: list[Path] = []
        while self._part(len(parts)).is_file():
            parts.append(self._part(len(parts)))
        name = f"{self._job.title}.{self._name}{suffix(self._kind)}"
        join(parts, self._job.place.path(name), self._job.rate, self._kind)
        return name

    def abandon(self) -> None:
        if self._writer is not None:
            self._writer.discard()
            self._writer = None


class Labels(Output):
    """DAVIS PNGs in a folder of the clip's name."""

    pictures = False

    def __init__(self, job: Job) -> None:
        self._job = job
        too_high = [one for one in job.script.objects if one > davis.MOST]
        if too_high:
            raise BadSetting(f"PNGs hold objects 1 to {davis.MOST}, got {too_high}; use sav or coco, or other numbers")
        self.done = 0
        while self.done < job.clip.count and job.place.exists(self._name(self.done)):
            self.done += 1

    def _name(self, frame: int) -> str:
        return f"{self._job.title}/{davis.name(frame)}"

    def add(self, frame: int, picture: Image | None, masks: Masks) -> None:
        if frame >= self.done:
            self._job.place.write(self._name(frame), davis.as_bytes(masks))

    def finish(self, session: VideoSession) -> str:
        return f"{self._job.title}/{davis.name(0)} ..."

    def abandon(self) -> None:
        pass


class Text(Output):
    """One JSON file of all frames, put together at the end from what the session keeps."""

    pictures = False

    def __init__(self, job: Job, name: str, pieces: Callable[[Iterator[tuple[int, Masks]]], Iterator[bytes]]) -> None:
        self._job, self._name, self._pieces = job, name, pieces
        self.done = job.clip.count

    def add(self, frame: int, picture: Image | None, masks: Masks) -> None:
        pass

    def finish(self, session: VideoSession) -> str:
        self._job.place.write(self._name, self._pieces(known(session, self._job.clip.count)))
        return self._name

    def abandon(self) -> None:
        pass


class Strip(Output):
    """A picture of a few frames side by side."""

    pictures = False

    def __init__(self, job: Job) -> None:
        self._job, self.done = job, job.clip.count

    def add(self, frame: int, picture: Image | None, masks: Masks) -> None:
        pass

    def finish(self, session: VideoSession) -> str:
        from anymask.masks.filmstrip import Shot, chosen, film_strip

        count = self._job.clip.count
        said = self._job.script.said
        shots = []
        for frame in chosen(count):
            masks = self._job.whole(session.masks(frame))
            marks = [point for one in said if one.frame == frame for point in one.points]
            shots.append(Shot(session.frames[frame], masks, frame, marks))
        seen = np.stack([self._job.whole(session.masks(frame)).areas() > 0 for frame in range(count)], 1)
        names = [self._job.script.names.get(one, "") for one in self._job.script.objects]
        out = io.BytesIO()
        film_strip(shots, seen, names=names, rate=self._job.clip.rate).save(out, "PNG", optimize=True)
        name = f"{self._job.title}.strip.png"
        self._job.place.write(name, out.getvalue())
        return name

    def abandon(self) -> None:
        pass


def known(session: VideoSession, count: int) -> Iterator[tuple[int, Masks]]:
    """(frame, masks) of all frames that something is known of, in order."""
    for frame in range(count):
        masks = session.masks(frame)
        if masks is not None:
            yield frame, masks


def _overlay(job: Job) -> Output:
    def draw(frame: int, picture: Image, masks: Masks) -> NDArray[np.uint8]:
        marks: list[Sequence[Any]] = []
        boxes = []
        for one in job.script.said:
            if one.frame <= frame < one.frame + MARKED_S * job.rate:
                marks += one.points
                boxes += [one.box] if one.box is not None else []
        points, labels = [[x, y] for x, y, _ in marks], [label for _, _, label in marks]
        # a stretch of many objects is drawn as any other, or it would change its looks on the way
        drawn = masks.overlay(picture, points=points or None, labels=labels or None, boxes=boxes or None, opacity=0.45)
        return np.asarray(drawn, np.uint8)

    return Film(job, "overlay", "mp4", draw)


def _cut_out(frame: int, picture: Image, masks: Masks) -> NDArray[np.uint8]:
    inside = decode_one(merge(masks.rle))
    found = np.zeros((*masks.size, 4), np.uint8)
    # hidden pixels are black, so that nothing of the surroundings travels with the file
    found[inside, :3], found[inside, 3] = picture.pixels()[inside], 255
    return found


def _sav(job: Job) -> Output:
    edited = len({one.frame for one in job.script.said})
    name = f"{job.title}_auto.json"
    return Text(job, name, lambda frames: sav.pieces(job.clip, job.script.objects, frames, edited=edited))


def _coco(job: Job) -> Output:
    names = job.script.names
    return Text(
        job, f"{job.title}.coco.json", lambda frames: coco_video.pieces(job.clip, job.script.objects, frames, names)
    )


OUTPUTS: dict[str, Callable[[Job], Output]] = {
    "overlay": _overlay,
    "png": Labels,
    "sav": _sav,
    "coco": _coco,
    "alpha": lambda job: Film(job, "alpha", "alpha", _cut_out),
    "webm": lambda job: Film(job, "alpha", "webm", _cut_out),
    "strip": Strip,
}
"""The formats by name."""
