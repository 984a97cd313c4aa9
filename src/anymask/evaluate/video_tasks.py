"""How a clip is put to something that follows objects: prompted once, or corrected in rounds, offline or online.

Source: SAM 2 (arXiv 2408.00714), section 6.1 and appendix F.1 (semi-supervised, offline and online interactive).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anymask.data.clips import Clip
from anymask.errors import BadSetting
from anymask.evaluate.carried import Follower
from anymask.evaluate.jf import f, j
from anymask.evaluate.overlap import iou
from anymask.masks.masks import Masks
from anymask.masks.rle import RLE, decode_one
from anymask.prompts.simulate import innermost, next_click, tight_box

Mask = NDArray[np.bool_]
Skip = Literal["ends", "first", "none"]


@dataclass
class Played:
    """A clip, its true masks, and how to begin to follow objects in it.

    begin: a fresh follower of the clip. decided: (follower, frame, answers) -> the answers without shared pixels.
    skip: frames of an object that are not scored: the one it is given on and the clip's last annotated one ("ends", as
    DAVIS and SA-V), only the one it is given on ("first", as YouTube-VOS), or none.
    """

    clip: Clip
    begin: Callable[[], Follower]
    decided: Callable[[Follower, int, Masks], Masks]
    skip: Skip = "ends"
    _truths: dict[int, Mapping[int, RLE]] = field(default_factory=dict)

    def truth(self, frame: int, one: int) -> Mask:
        """bool [H, W] of an object on an annotated frame, empty where it is not to be seen."""
        if frame not in self._truths:
            self._truths[frame] = self.clip.truth(frame)
        rle = self._truths[frame].get(one)
        return np.zeros(self.clip.size, np.bool_) if rle is None else decode_one(rle)

    @cached_property
    def objects(self) -> Mapping[int, list[int]]:
        """Object -> the frames that it is scored on. Raises BadSetting where there are none at all."""
        annotated = self.clip.annotated
        last = annotated[-1] if self.skip == "ends" else len(self.clip)
        found = {
            one: [frame for frame in annotated if first + (self.skip != "none") <= frame < last]
            for one, first in self.clip.first.items()
        }
        found = {one: frames for one, frames in found.items() if frames}
        if not found:
            raise BadSetting(
                f"{self.clip.name} has no true masks to compare with after the frames that objects are given on; of "
                "data sets whose true masks are kept secret take another split"
            )
        return found


@dataclass
class Track:
    """The answers for some objects: frame -> object -> mask."""

    found: dict[int, dict[int, RLE]] = field(default_factory=dict)

    def add(self, frame: int, masks: Masks) -> None:
        """Takes a frame's answers, in place of earlier ones."""
        self.found.setdefault(frame, {}).update(zip(masks.ids.tolist(), masks.rle, strict=True))

    def mask(self, frame: int, one: int, size: tuple[int, int]) -> Mask:
        """bool [H, W], empty where nothing was answered."""
        rle = self.found.get(frame, {}).get(one)
        return np.zeros(size, np.bool_) if rle is None else decode_one(rle)


def measured(played: Played, track: Track, objects: list[int]) -> dict[int, dict[str, list[float]]]:
    """Object -> {"J": [...], "F": [...]} on its scored frames."""
    found = {}
    for one in objects:
        pairs = [(track.mask(at, one, played.clip.size), played.truth(at, one)) for at in played.objects[one]]
        found[one] = {"J": [j(*pair) for pair in pairs], "F": [f(*pair) for pair in pairs]}
    return found


def prompted(played: Played, prompt: str) -> Track:
    """Every object prompted once, on the first frame it is to be seen on, and followed to the clip's end.

    prompt: "mask", "box" or a number of clicks. Objects that begin on one frame are followed together; those that come
    later have a run of their own from there on.
    """
    track = Track()
    firsts = played.clip.first
    for start in sorted({firsts[one] for one in played.objects}):
        group = [one for one in played.objects if firsts[one] == start]
        with closing(played.begin()) as follower:
            for one in group:
                _point(follower, played, start, one, prompt)
            for frame, masks in follower.propagate():
                track.add(frame, _of(played.decided(follower, frame, masks), group))
    return track


def offline(played: Played, one: int, rounds: int, clicks: int) -> Iterator[Track]:
    """The track of an object after each round: clicks on its first frame, then on the frame with the lowest IoU.

    The whole clip is followed again in each round, and looked at as a whole. No frame is clicked in two rounds.
    """
    frame = played.clip.first[one]
    done: set[int] = set()
    answer = np.zeros(played.clip.size, np.bool_)
    with closing(played.begin()) as follower:
        for _ in range(rounds):
            done.add(frame)
            _click(follower, played, frame, one, answer, clicks)
            track = Track()
            for at, masks in follower.propagate(afresh=True):
                track.add(at, _of(masks, [one]))
            yield track
            left = [at for at in played.clip.annotated if at > played.clip.first[one] and at not in done]
            if not left:
                return
            answers = [track.mask(at, one, played.clip.size) for at in left]
            worst = int(
                np.argmin([_agreement(answer, played.truth(at, one)) for answer, at in zip(answers, left, strict=True)])
            )
            frame, answer = left[worst], answers[worst]


def online(played: Played, one: int, frames: int, clicks: int, below: float) -> tuple[Track, int]:
    """The track of an object in one pass that is stopped where IoU falls below `below`, and how often it was clicked.

    frames: that are clicked at most, the first one among them. What was passed is not looked at again.
    """
    first, track, asked = played.clip.first[one], Track(), 1
    annotated = set(played.clip.annotated)
    with closing(played.begin()) as follower:
        _click(follower, played, first, one, np.zeros(played.clip.size, np.bool_), clicks)
        for frame, masks in follower.propagate():
            masks = _of(masks, [one])
            if frame > first and frame in annotated and asked < frames:
                answer = masks.dense()[0] if len(masks) else np.zeros(played.clip.size, np.bool_)
                if _agreement(answer, played.truth(frame, one)) < below:
                    asked += 1
                    masks = _click(follower, played, frame, one, answer, clicks) or masks
            track.add(frame, masks)
    return track, asked


def _point(follower: Follower, played: Played, frame: int, one: int, prompt: str) -> None:
    truth = played.truth(frame, one)
    if prompt == "mask":
        follower.prompt(frame, one, mask=truth)
    elif prompt == "box":
        follower.prompt(frame, one, box=[float(edge) for edge in tight_box(truth)])
    else:
        _click(follower, played, frame, one, np.zeros_like(truth), int(prompt))


def _click(follower: Follower, played: Played, frame: int, one: int, answer: Mask, clicks: int) -> Masks | None:
    """Clicks on the innermost pixel of the larger error, one after the other; the last answer, None without a click."""
    truth = played.truth(frame, one)
    points: list[list[float]] = []
    labels: list[int] = []
    found = None
    for _ in range(clicks):
        if not points and not answer.any() and truth.any():
            x, y, inside = *innermost(truth)[:2], True
        else:
            click = next_click(answer, truth)
            if click is None:
                break
            x, y, inside = click
        # the middle of the pixel
        points.append([x + 0.5, y + 0.5])
        labels.append(int(inside))
        found = follower.prompt(frame, one, points=points, labels=labels)
        answer = found.dense()[0]
    return found


def _of(masks: Masks, objects: list[int]) -> Masks:
    return masks.where(np.isin(masks.ids, objects))


def _agreement(answer: Mask, truth: Mask) -> float:
    """IoU, 1 where both are empty: an object that is gone and not found is no error."""
    return float(iou(answer, truth)) if answer.any() or truth.any() else 1.0
