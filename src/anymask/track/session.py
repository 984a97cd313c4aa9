"""VideoSession: a clip and a model, prompts on any frame for any object, and the objects followed through the clip."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from anymask.errors import BadPrompt, BadSetting
from anymask.masks.masks import Masks
from anymask.models.interface import Decoded, Embedding
from anymask.models.video import Recalled, Tracked, VideoModel
from anymask.pixels.image import Image
from anymask.pixels.resize import HW
from anymask.pixels.video import Frames, FramesLike
from anymask.session.answers import as_masks
from anymask.track import history, saved
from anymask.track.answer import Answer, Entry, without_holes
from anymask.track.follow import follow
from anymask.track.opening import device_of, following_model, locked
from anymask.track.policies import policy_of, room_of
from anymask.track.settings import TrackSettings
from anymask.track.step import on_device
from anymask.track.store import Store
from anymask.track.thing import Said, Thing, checked_number

EMBEDDINGS = 2
"""Frames whose embeddings are kept: the one that is pointed at, and the one that is tracked."""


def video(
    source: FramesLike,
    model: VideoModel | str | None = None,
    *,
    folder: str | Path | None = None,
    **options: Any,
) -> VideoSession:
    """A clip in which objects can be pointed at and followed.

    >>> clip = anymask.video("clip.mp4")
    >>> clip.click(420, 310)
    >>> for frame, masks in clip.propagate(): ...

    source: a video file, a folder of pictures, a sequence or iterator of pictures, the number of a webcam, or Frames.
    model: a model that follows objects, or its name; none means the model inside.
    folder: where the session keeps what it knows, so that a killed run can be gone on with (`anymask.track.restore`);
        by default a temporary folder. It must be empty or not there yet.
    options: see `TrackSettings`.
    Raises BadImage, BadSetting, NotWritten.
    """
    return VideoSession(source, model, folder=folder, **options)


class VideoSession:
    """A clip, a model, and the objects that are followed; made by `anymask.video`.

    Prompts may be given at any time, for any object, on any frame; an object begins with its first one. What is tracked
    lies in a folder and not in memory, which stays the same for a clip of any length.
    """

    def __init__(
        self,
        source: FramesLike,
        model: VideoModel | str | None = None,
        *,
        folder: str | Path | None = None,
        **options: Any,
    ) -> None:
        settings = TrackSettings.of(**options)
        frames = Frames.open(source)
        self._begin(frames, following_model(model), settings, folder)
        if folder is not None:
            if saved.state_of(self.folder) is not None:
                self.close()
                raise BadSetting(
                    f"the folder {folder} holds a session already; anymask.track.restore goes on with it, or give "
                    "another folder"
                )
            self._save_state()

    def _begin(self, frames: Frames, model: VideoModel, settings: TrackSettings, folder: str | Path | None) -> None:
        self.frames, self.model, self.settings = frames, model, settings
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="anymask-video-") if folder is None else folder)
        if self._temporary:
            # also when nobody closes the session
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._lock = locked(self.folder)
        self.policy = policy_of(settings, model, frames.count)
        device = torch.device("cpu") if settings.offload else device_of(model)
        self._store = Store(self.folder, frames.size, kept=room_of(settings, model), device=device)
        self._things: dict[int, Thing] = {}
        self._serial = 0
        self._numbers = 0
        self._needed: set[int] = set()
        self._embeddings: OrderedDict[int, Embedding] = OrderedDict()

    # what is there

    @property
    def size(self) -> HW:
        """(H, W) of the clip in pixels."""
        return self.frames.size

    @property
    def objects(self) -> tuple[int, ...]:
        """The objects' numbers, in the order in which they came."""
        return tuple(self._things)

    def masks(self, frame: int) -> Masks | None:
        """What is known of a frame, a row for each object with its number in `ids`; None where nothing is.

        Columns: scores (predicted IoU) and the detail "presence", a logit that is above 0 where the object is there.
        An object that is not there has a row with an empty mask.
        """
        number = self.frames._number(frame)
        notes = self._store.notes(number)
        rows: list[tuple[int, Any, float, float]] = []
        for thing in self._things.values():
            answer = thing.pending[number][0] if number in thing.pending else thing.prompted.get(number)
            shown: Any = answer if answer is not None else notes.get(thing.number)
            if shown is not None:
                rows.append((thing.name, shown.rle, shown.score, shown.presence))
        return self._rows(rows) if rows else None

    def logits(self, frame: int) -> tuple[tuple[int, ...], torch.Tensor]:
        """(objects, their low-resolution logits [N, h, w]) on a frame, holes filled; above 0 is the object.

        Raises BadSetting where nothing is known of the frame.
        """
        number = self.frames._number(frame)
        known = [(thing.name, thing.latest(number)) for thing in self._things.values()]
        found = [(name, answer.logits) for name, answer in known if answer is not None and answer.logits.numel()]
        if not found:
            raise BadSetting(f"no logits are kept of frame {number}; point at an object there, or propagate over it")
        return tuple(name for name, _ in found), torch.stack([one for _, one in found])

    # pointing

    def click(self, x: float, y: float, inside: bool = True, *, frame: int = 0, object: int = 1) -> Masks:
        """Adds a click at (x, y) pixels that belongs to the object (inside) or does not.

        Earlier prompts on the frame count on, and its mask, be it tracked or pointed at, is refined.
        Returns one row. Raises BadPrompt, BadSetting for a frame that is not there.
        """
        if not isinstance(inside, (bool, int, np.bool_)) or inside not in (0, 1):
            raise BadPrompt(f"inside is True or False, got {inside!r:.40}")
        number = self.frames._number(frame)
        thing = self._things.get(checked_number(object))
        if not inside and (thing is None or (thing.latest(number) is None and number not in thing.said)):
            raise BadPrompt("the first click must be inside the object; a click outside takes away from a mask")
        return self.prompt(frame, object, points=[[x, y]], labels=[int(inside)], clear=False)

    def box(self, x0: float, y0: float, x1: float, y1: float, *, frame: int = 0, object: int = 1) -> Masks:
        """Sets the box around the object, XYXY in pixels; an earlier one is replaced, clicks stay. Else as `click`."""
        return self.prompt(frame, object, box=[x0, y0, x1, y1], clear=False)

    def draw(self, mask: Any, *, frame: int = 0, object: int = 1) -> Masks:
        """Takes a drawn mask, boolean [H, W] in the clip's size, as the answer; it replaces clicks and boxes."""
        return self.prompt(frame, object, mask=mask)

    def prompt(
        self,
        frame: int,
        object: int = 1,
        *,
        points: Any = None,
        labels: Any = None,
        box: Any = None,
        mask: Any = None,
        clear: bool = True,
    ) -> Masks:
        """What `click`, `box` and `draw` call: prompts for one object on one frame, and the answer, one row.

        points: [[x, y], ...] pixels. labels: 1 inside, 0 outside, all inside when left out. box: XYXY. mask: drawn.
        clear: forget what was said about the object on this frame before; its mask is refined all the same.
        Raises BadPrompt; nothing has changed then.
        """
        number, name = self.frames._number(frame), checked_number(object)
        said = Said.of(self.size, points, labels, box, mask)
        thing = self._things.get(name)
        if thing is not None and not clear and number in thing.said:
            said = thing.said[number].and_then(said)
        fresh = thing is None
        if thing is None:
            thing = Thing(name, self._numbers, self._store)
        answer, counts = self._answered(thing, number, said)
        if fresh:
            self._things[name] = thing
            self._numbers += 1
        self._serial += 1
        thing.said[number] = said
        thing.pending[number] = (answer, counts)
        thing.edited(self._serial, number)
        if self.frames.count is None:
            # a live clip does not come back to this frame
            self.settle()
        self._save_state()
        row = self._rows([(name, answer.rle, answer.score, answer.presence)])
        return row.replace(logits=answer.logits.float().cpu().numpy()[None])

    def _answered(self, thing: Thing, frame: int, said: Said) -> tuple[Answer, bool]:
        """The answer to what was said, and whether the frame counts as prompted from now on."""
        backward = thing.tracked(frame)
        fresh = backward is None
        if backward is not None:
            history.recover(self, thing, frame, backward, itself=True)
        embedding = self.embedding(frame)
        with torch.no_grad():
            if said.mask is not None:
                tracked = self.model.drawn(embedding, said.prompts(self.size, None))
            else:
                prompts = said.prompts(self.size, thing.latest(frame))
                recalled = Recalled() if backward is None else self.policy.recalled(thing, frame, backward, 0)
                device = next(iter(embedding.tensors.values())).device
                tracked = self.model.track(embedding, [on_device(recalled, device)], prompts)
        best = int(tracked.best[0])
        answer = self.answers(tracked, [0], [best])[0]
        if said.mask is not None:
            # what was drawn is shown as it was drawn; the network's frame is coarser
            answer = Answer(answer.logits, answer.score, answer.presence, answer.pointer, None, said.mask)
        return answer, fresh or self.settings.corrections_prompt or frame in thing.prompted

    # following

    def propagate(
        self,
        start: int | None = None,
        stop: int | None = None,
        reverse: bool = False,
        *,
        early: bool = False,
        afresh: bool = False,
    ) -> Iterator[tuple[int, Masks]]:
        """Follows the objects through the clip: (frame, masks of all objects known there), frame after frame.

        start: the first frame; left out, each object is followed from its earliest prompted frame. stop: the frame
        before which to end; left out, the end of the clip, or its beginning. reverse: backward in time.
        early: also look for objects on frames that lie before their first prompted one.
        afresh: track again what is known and still holds; else it is given as it is, which is what makes a killed run
        go on where it was, and a correction cost no more than the frames that depend on it.

        Objects and prompts may be added or taken away between two frames; they count from the next frame on.
        Raises BadPrompt where nothing has been pointed at, BadSetting for frames that are not there, BadImage.
        """
        return follow(self, start, stop, reverse, early, afresh)

    def settle(self) -> None:
        """Puts into memory what was pointed at since tracking last began. `propagate` does this by itself."""
        for thing in self._things.values():
            for frame, (answer, counts) in list(thing.pending.items()):
                whole = self.memorised(frame, [answer], prompted=self.settings.binarise)[0]
                if counts:
                    thing.prompted[frame] = whole
                else:
                    # tracked over again as soon as tracking comes by, hence one edit too old
                    backward = bool(thing.tracked(frame))
                    self._store.put(frame, {thing.number: Entry((whole,), backward, self._serial - 1)})
                del thing.pending[frame]
                around = self.settings.forget_around
                if around:
                    self._store.forget(thing.number, range(max(0, frame - around), frame + around + 1))
        self._save_state()

    def remove(self, object: int) -> None:
        """Forgets an object and all that was said about it. Raises BadPrompt for one that is not there."""
        thing = self._known(object)
        del self._things[thing.name]
        self._serial += 1
        self._save_state()

    def clear(self, frame: int, object: int) -> None:
        """Takes back what was said about an object on a frame. Raises BadPrompt for an object that is not there."""
        number, thing = self.frames._number(frame), self._known(object)
        self._serial += 1
        thing.take_back(number, self._serial)
        self._save_state()

    def reset(self) -> None:
        """Back to no objects and no prompts."""
        self._things.clear()
        self._store.clear()
        self._serial += 1
        self._save_state()

    def _known(self, object: int) -> Thing:
        name = checked_number(object)
        if name not in self._things:
            there = ", ".join(map(str, self._things)) or "none yet"
            raise BadPrompt(f"there is no object {name}; objects are: {there}")
        return self._things[name]

    # what following needs

    def embedding(self, frame: int, image: Image | None = None) -> Embedding:
        """A frame's embedding; the last few are kept. image: the frame, where it has been read already."""
        if frame not in self._embeddings:
            with torch.no_grad():
                encoded = self.model.encode([self.frames[frame] if image is None else image])
            self._embeddings[frame] = encoded
            while len(self._embeddings) > EMBEDDINGS:
                self._embeddings.popitem(last=False)
        self._embeddings.move_to_end(frame)
        return self._embeddings[frame]

    def answers(self, tracked: Tracked, rows: list[int], candidates: list[int]) -> list[Answer]:
        """Chosen candidates of some rows as answers without memories."""
        logits = tracked.logits[rows, candidates].float()
        scores = tracked.scores[rows, candidates].float()
        filled = torch.stack([without_holes(one, self.settings.fill_holes) for one in logits])
        masks = as_masks(Decoded(filled[:, None], scores[:, None], tracked.resize))
        device = self._store.device
        presence = tracked.presence.float().cpu()
        return [
            Answer(
                logits=filled[at].to(device, copy=True),
                score=float(scores[at]),
                presence=float(presence[row]),
                pointer=tracked.pointers[row, candidates[at]].to(device, copy=True),
                features=None,
                rle=masks.rle[at],
            )
            for at, row in enumerate(rows)
        ]

    def memorised(
        self, frame: int, answers: list[Answer], *, prompted: bool, logits: torch.Tensor | None = None
    ) -> list[Answer]:
        """Answers on a frame with their memories. logits: [P, h, w] in place of the answers' own."""
        embedding = self.embedding(frame)
        device = next(iter(embedding.tensors.values())).device
        seen = torch.stack([one.logits for one in answers]).to(device) if logits is None else logits
        presence = torch.tensor([one.presence for one in answers], device=device)
        with torch.no_grad():
            features = self.model.memorise(embedding, seen, presence, prompted=prompted)
        features = features.to(self._store.device, getattr(torch, self.settings.precision))
        return [
            Answer(one.logits, one.score, one.presence, one.pointer, own.clone(), one.rle, one.line, one.carried)
            for one, own in zip(answers, features, strict=True)
        ]

    def _rows(self, rows: list[tuple[int, Any, float, float]]) -> Masks:
        names, rles, scores, presence = zip(*rows, strict=True) if rows else ((), (), (), ())
        return Masks(
            self.size,
            list(rles),
            scores=np.array(scores, np.float32),
            ids=np.array(names, np.int64),
            details={"presence": np.array(presence, np.float32)},
        )

    # keeping

    def save(self, folder: str | Path) -> Path:
        """Writes all that the session knows into a folder, whole or not at all; an earlier state there is replaced.

        `anymask.track.restore` goes on from it. Raises NotWritten.
        """
        return saved.save(self, Path(folder))

    def _save_state(self) -> None:
        if not self._temporary:
            saved.write_state(self, self.folder)

    def close(self) -> None:
        """Lets go of the clip and of the temporary folder, where there is one."""
        self.frames.close()
        self._embeddings.clear()
        self._lock.release()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> VideoSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"VideoSession({self.frames!r}, {self.model.card.name}, {len(self._things)} objects)"
