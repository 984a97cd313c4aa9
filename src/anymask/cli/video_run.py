"""One clip with what is asked of it: tracked, written as it comes, gone on with after a kill."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.errors import BadSetting, NotWritten

if TYPE_CHECKING:
    from anymask.cli.video_outputs import Job, Output
    from anymask.cli.video_show import Show
    from anymask.models.interface import Model
    from anymask.pixels.video import Frames
    from anymask.prompts.clip_parse import Script
    from anymask.track.session import VideoSession

QUESTION = "question.json"
"""What is being done, in the folder of the run; there as soon as all prompts were given."""
SESSION = "session"


@dataclass
class Run:
    """One clip with what is asked of it. seen: object -> (frames on which it is to be seen, sum of scores there)."""

    source: str
    frames: Frames
    script: Script
    out: Path
    forms: list[str]
    policy: str
    rate: float | None
    keep: bool
    show: Show
    frame: int = 0
    files: list[str] = field(default_factory=list)
    seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    seconds: float = 0.0
    fresh: int = 0

    def __post_init__(self) -> None:
        from anymask.cli.video_outputs import Job
        from anymask.jobs.places import LocalFolder
        from anymask.pixels.video_write import FALLBACK
        from anymask.records.clip import ClipRef

        if self.frames.count is None:
            raise BadSetting(f"{self.source} has no end; anymask.video in Python follows objects in live clips")
        path = Path(self.source)
        title = path.name if path.is_dir() else path.stem
        files = tuple(one.name for one in _pictures(self.frames))
        clip = ClipRef(title or "clip", self.frames.size, self.frames.count, self.rate or self.frames.rate, files)
        self.job: Job = Job(
            LocalFolder(self.out), clip.name, clip, self.rate or self.frames.rate or FALLBACK, self.script
        )
        self.folder = self.job.place.path(self.job.own)

    def question(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """What results depend on, as JSON holds it."""
        said = []
        for one in self.script.said:
            drawn = None if one.mask is None else hashlib.sha256(one.mask.tobytes()).hexdigest()
            said.append({"frame": one.frame, "object": one.object, "points": one.points, "box": one.box, "mask": drawn})
        found: dict[str, Any] = {
            "size": self.frames.size,
            "count": self.frames.count,
            "said": said,
            "names": dict(self.script.names),
        }
        found |= {"policy": self.policy, "rate": self.job.rate, **about}
        whole: dict[str, Any] = json.loads(json.dumps(found))
        return whole

    def through(self) -> bool:
        """Whether an earlier run has left all that is asked for; without loading a model."""
        before = self._before()
        if before is None or not set(self.forms) <= set(before.get("done", {})):
            return False
        about = {name: before["question"].get(name) for name in ("model", "weights")}
        if self.question(about) != before["question"]:
            return False
        self.files = [before["done"][one] for one in self.forms]
        self.seen = {int(one): (count, total) for one, (count, total) in before["seen"].items()}
        return all(self.job.place.exists(name.removesuffix(" ...")) for name in self.files)

    def tidy(self) -> None:
        """Removes what an earlier run needed on the way, if a kill has kept it from doing so itself."""
        if not (self.keep or (self._before() or {}).get("kept")):
            # who is at work here tidies up himself
            with suppress(NotWritten), self._alone():
                self._tidy()

    def go(self, model: Model, *, overwrite: bool) -> None:
        """Tracks, writes as it comes, tidies up. Raises BadSetting where the folder holds another run of the clip."""
        start = time.perf_counter()
        with self._alone():
            self._go(model, overwrite)
            self.seconds = time.perf_counter() - start

    @property
    def _lock(self) -> Path:
        # beside the folder, which is emptied
        return self.folder.with_name(f"{self.folder.name}.lock")

    def _alone(self) -> AbstractContextManager[None]:
        from anymask.jobs.alone import alone

        return alone(
            self._lock, f"another run follows {self.job.title} into {self.out}; wait for it", self.out, tidy=True
        )

    def _go(self, model: Model, overwrite: bool) -> None:
        from anymask.cli.video_outputs import OUTPUTS

        session = self._session(model, overwrite)
        outputs = {one: OUTPUTS[one](self.job) for one in self.forms}
        try:
            with self.show.progress() as tell:
                self._follow(session, list(outputs.values()), tell)
            self.files = [output.finish(session) for output in outputs.values()]
        except BaseException:
            for output in outputs.values():
                with suppress(Exception):
                    output.abandon()
            raise
        finally:
            session.close()
        self._note(dict(zip(outputs, self.files, strict=True)))

    def _session(self, model: Model, overwrite: bool) -> VideoSession:
        from anymask.track.saved import restore
        from anymask.track.session import VideoSession

        question = self.question({"model": model.card.name, "weights": model.weights})
        before = None if overwrite else self._before()
        if before is not None and before["question"] != question:
            other = sorted(name for name in question if question[name] != before["question"].get(name))
            raise BadSetting(
                f"{self.out} holds another run of {self.job.title} ({', '.join(other)}); give another -o, or forget it "
                "with --overwrite"
            )
        place = self.folder / SESSION
        if before is not None and place.is_dir():
            return restore(place, self.frames, model)  # type: ignore[arg-type]
        # what a kill left before all prompts were given, or files of a run that is not known any more
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self.job.place.list(self.job.title):
            if Path(path).suffix == ".png" and Path(path).stem.isdecimal():
                self.job.place.remove(path)
        session = VideoSession(self.frames, model, folder=place, policy=self.policy)  # type: ignore[arg-type]
        for one in self.script.said:
            points = [[x, y] for x, y, _ in one.points] or None
            labels = [label for _, _, label in one.points] or None
            session.prompt(one.frame, one.object, points=points, labels=labels, box=one.box, mask=one.mask)
        self._write({"question": question})
        return session

    def _follow(self, session: VideoSession, outputs: list[Output], tell: Callable[[int, int, int], None]) -> None:
        """Backward first, where an object begins later; then forward, so that outputs get frames in order."""
        count = self.job.clip.count
        firsts = {
            one: min(said.frame for said in self.script.said if said.object == one) for one in self.script.objects
        }
        back = max(firsts.values())
        total = count + back
        done = 0
        if back:
            for frame, _ in session.propagate(reverse=True):
                self.frame = frame
                done = min(done + 1, back)
                tell(done, total, 0)
        pictures = None
        waiting = [output for output in outputs if output.pictures]
        if waiting:
            pictures = self.frames.read(min(min(output.done for output in waiting), count - 1))
        try:
            for frame, known in self._forward(session, min(firsts.values())):
                self.frame = frame
                masks = self.job.whole(known)
                wanted = [output for output in waiting if frame >= output.done]
                picture = None
                if wanted and pictures is not None:
                    picture = next(image for number, image in pictures if number == frame)
                for output in outputs:
                    output.add(frame, picture, masks)
                self._count(masks)
                tell(back + frame + 1, total, sum(masks.areas() > 0))
        finally:
            close = getattr(pictures, "close", None)
            if close is not None:
                close()

    def _forward(self, session: VideoSession, first: int) -> Iterator[tuple[int, Any]]:
        for frame in range(first):
            yield frame, session.masks(frame)
        # what is known of objects that begin later was found backward
        for frame, _ in session.propagate(start=first):
            yield frame, session.masks(frame)

    def _count(self, masks: Any) -> None:
        for one, area, score in zip(masks.ids.tolist(), masks.areas().tolist(), masks.scores.tolist(), strict=True):
            if area:
                count, total = self.seen.get(one, (0, 0.0))
                self.seen[one] = count + 1, total + score

    def _before(self) -> dict[str, Any] | None:
        try:
            found = json.loads((self.folder / QUESTION).read_text("utf-8"))
            return found if isinstance(found["question"], dict) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _note(self, done: Mapping[str, str]) -> None:
        """Says that all is there, and removes what was needed on the way."""
        before = self._before() or {"question": {}}
        before["done"] = {**before.get("done", {}), **done}
        before["seen"] = {str(one): said for one, said in self.seen.items()}
        before["kept"] = self.keep
        self._write(before)
        if not self.keep:
            self._tidy()

    def _tidy(self) -> None:
        """Removes what was needed on the way, and files that a kill has left half-written."""
        from anymask.jobs.alone import free

        for path in self.folder.iterdir():
            if path.name != QUESTION:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        # other clips' runs may be writing into the same folder
        if all(free(lock) for lock in self._lock.parent.glob("*.lock") if lock != self._lock):
            self.job.place.sweep()

    def _write(self, said: Mapping[str, Any]) -> None:
        self.job.place.write(f"{self.job.own}/{QUESTION}", (json.dumps(said) + "\n").encode("ascii"))


def _pictures(frames: Frames) -> list[Path]:
    """The files of a folder of frames, in order; none for a video file."""
    listed = getattr(frames, "_pictures", None) or ()
    return [one for one in listed if isinstance(one, Path)]
