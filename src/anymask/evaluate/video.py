"""Objects followed through clips: J&F of what was prompted once, or corrected in rounds of clicks.

Source of the measures: DAVIS, see `jf`; of the tasks: SAM 2, see `video_tasks`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from anymask.data.clip_layouts import open_clips
from anymask.data.clips import Clip
from anymask.errors import BadSetting
from anymask.evaluate import video_tasks
from anymask.evaluate.carried import Carried, Follower, Seen
from anymask.evaluate.jf import statistics
from anymask.evaluate.protocol import (
    Choice,
    Line,
    Outcome,
    Plot,
    Precision,
    Protocol,
    Row,
    Table,
    Unit,
    decimal,
    mean_of_sets,
)
from anymask.evaluate.video_tasks import Played, Skip, Track, measured
from anymask.masks.masks import Masks
from anymask.track.opening import DEFAULT

if TYPE_CHECKING:
    from anymask.models.interface import PromptModel

By = Literal["model", "copied", "flow", "neighbours"]
TITLES: Mapping[By, str] = {
    "model": "video",
    "copied": "first mask copied",
    "flow": "carried by optical flow",
    "neighbours": "nearest neighbours of features",
}
FEW = 60
"""Clips that have a row and a bar of their own."""
PARTS = 10
"""Points of the curve along a clip."""


@dataclass(frozen=True)
class Video(Protocol):
    """task: "semi-supervised" prompts once, "offline" and "online" correct. prompts: of the semi-supervised task.

    clicks, frames: of the others, clicks a frame and frames at most. below: IoU under which the online one stops.
    policy: what an object is reminded of, see `anymask.track`. by: the model, or what needs none.
    skip: frames that are not scored, see `video_tasks.Played`. split: of the data.
    """

    name: ClassVar[str] = "video"
    half_by: ClassVar[Literal["autocast", "use"]] = "use"
    counted: ClassVar[tuple[str, str]] = ("objects", "clips")
    usual: ClassVar[str | None] = DEFAULT
    precise: ClassVar[Precision] = "float32"

    task: Literal["semi-supervised", "offline", "online"] = "semi-supervised"
    prompts: tuple[str, ...] = ("mask", "1")
    clicks: int = 3
    frames: int = 8
    below: float = 0.75
    policy: str = "recent"
    by: By = "model"
    skip: Skip = "ends"
    split: str | None = None

    def __post_init__(self) -> None:
        for prompt in self.prompts:
            if prompt not in ("mask", "box") and not (prompt.isdecimal() and 1 <= int(prompt) <= 20):
                raise BadSetting(f"prompts are mask, box or a number of clicks from 1 to 20, got {prompt!r}")
        if not self.prompts:
            raise BadSetting("say what objects are prompted with: prompts=mask, box, 1, 3 or 5")
        if self.clicks < 1 or self.frames < 1:
            raise BadSetting(f"clicks and frames are at least 1, got {self.clicks} and {self.frames}")
        if not 0 < self.below <= 1:
            raise BadSetting(f"below is an IoU between 0 and 1, got {self.below:g}")
        for name, value, there in (("by", self.by, tuple(TITLES)), ("skip", self.skip, ("ends", "first", "none"))):
            if value not in there:
                raise BadSetting(f"{name} is one of {', '.join(there)}; got {value!r}")

    @property
    def needs_model(self) -> bool:
        return self.by == "model"

    @property
    def title(self) -> str:
        return TITLES[self.by]

    @property
    def rounds(self) -> tuple[str, ...]:
        """The columns of figures: prompts, or numbers of frames that were clicked."""
        if self.task == "semi-supervised":
            return self.prompts
        return tuple(str(number) for number in range(1, self.frames + 1))

    def rivals(self) -> list[tuple[str, Protocol]]:
        ways: tuple[By, ...] = ("copied", "flow", "neighbours")
        return [(by, dataclasses.replace(self, by=by)) for by in ways]

    def units(self, data: Path, choice: Choice) -> list[Unit]:
        clips = open_clips(data, choice.kind, self.split)
        names = list(dict.fromkeys(clip.dataset for clip in clips))
        unknown = sorted(set(choice.only) - set(names))
        if unknown:
            raise BadSetting(f"{data} has no set {', '.join(unknown)}; it has {', '.join(names)}")
        units = []
        for name in names:
            mine = [clip for clip in clips if clip.dataset == name]
            if choice.only and name not in choice.only:
                continue
            if choice.cap is not None and choice.cap < len(mine):
                mine = [mine[int(place)] for place in np.linspace(0, len(mine) - 1, choice.cap)]
            for clip in mine:
                known = {*clip.names, *clip.truth(clip.annotated[0])}
                units.append(Unit(name, clip.name, len(known), clip.digest, lambda clip=clip: clip))  # type: ignore[misc]
        return units

    def measure(self, model: PromptModel | None, unit: Unit, rng: np.random.Generator) -> Line:
        played = self._played(model, unit.read())
        objects = list(played.objects)
        line: Line = {"clip": unit.name, "frames": len(played.clip), "objects": objects, "found": {}}
        if self.task != "semi-supervised":
            line["found"], line["clicked"] = self._corrected(played, objects)
            return line
        seconds = 0.0
        for prompt in self.prompts:
            start = time.perf_counter()
            track = video_tasks.prompted(played, prompt)
            seconds += time.perf_counter() - start
            line["found"][prompt] = _listed(measured(played, track, objects))
        return line | {"fps": round(len(self.prompts) * len(played.clip) / max(seconds, 1e-9), 3)}

    def _corrected(self, played: Played, objects: list[int]) -> tuple[dict[str, Any], dict[str, int]]:
        """(round -> figures, round -> frames that were clicked)"""
        found: dict[str, dict[int, dict[str, list[float]]]] = {round: {} for round in self.rounds}
        clicked = dict.fromkeys(self.rounds, 0)
        for one in objects:
            if self.task == "offline":
                last = None
                for number, track in enumerate(video_tasks.offline(played, one, self.frames, self.clicks), 1):
                    last = measured(played, track, [one])[one]
                    found[str(number)][one] = last
                    clicked[str(number)] += number
                for number in range(1, self.frames + 1):
                    # clips with fewer frames than rounds keep what they had
                    if one not in found[str(number)] and last is not None:
                        found[str(number)][one] = last
                continue
            before: tuple[dict[str, list[float]], int] | None = None
            for number in range(1, self.frames + 1):
                # a pass that stopped less often than it might have is the same with more stops
                if before is None or before[1] == number - 1:
                    track, asked = video_tasks.online(played, one, number, self.clicks, self.below)
                    before = measured(played, track, [one])[one], asked
                found[str(number)][one] = before[0]
                clicked[str(number)] += before[1]
        return {round: _listed(rows) for round, rows in found.items()}, clicked

    def _played(self, model: PromptModel | None, clip: Clip) -> Played:
        seen: Seen = {}

        def begin() -> Follower:
            if self.by != "model":
                return Carried(clip.frames, self.by, seen=seen)
            from anymask.track.session import VideoSession

            session = VideoSession(list(clip.frames), model, policy=self.policy)  # type: ignore[arg-type]
            return session

        return Played(clip, begin, apart if clip.apart else lambda follower, frame, masks: masks, self.skip)

    def outcome(self, title: str, lines: Mapping[str, Sequence[Line]]) -> Outcome:
        sets = {name: self.row([one for line in found for one in _objects(line)]) for name, found in lines.items()}
        mean = mean_of_sets(sets)
        clips: dict[str, Row] = {}
        for name, found in lines.items():
            clips |= {f"{name}/{line['clip']}": self.row(_objects(line)) for line in found}
        by_clip = {measure: _mean(row[measure] for row in clips.values()) for measure in mean}
        every = [one for found in lines.values() for line in found for one in _objects(line)]
        table = self._table(title, lines, sets, clips, by_clip)
        more = {"clips": clips, "mean_of_clips": by_clip, "mean_of_objects": self.row(every), "fps": _speeds(lines)}
        return Outcome(sets, mean, table, self._plots(clips, every, by_clip), (), more)

    def row(self, objects: Sequence[Mapping[str, Mapping[str, Sequence[float]]]]) -> Row:
        """Means over objects, as DAVIS takes them: J&F, J and F of each round, and J's recall and decay of the last."""
        found: Row = {}
        for round in self.rounds:
            parts = {name: [statistics(one[round][name]) for one in objects] for name in ("J", "F")}
            means = {name: _mean(part.mean for part in stats) for name, stats in parts.items()}
            found |= {f"J&F {round}": (means["J"] + means["F"]) / 2, f"J {round}": means["J"], f"F {round}": means["F"]}
            found[f"J recall {round}"] = _mean(part.recall for part in parts["J"])
            found[f"J decay {round}"] = _mean(part.decay for part in parts["J"])
        return found

    def _table(
        self,
        title: str,
        lines: Mapping[str, Sequence[Line]],
        sets: Mapping[str, Row],
        clips: Mapping[str, Row],
        by_clip: Row,
    ) -> Table:
        semi = self.task == "semi-supervised"
        columns = {}
        for round in self.rounds:
            said = _said(round) if semi else f"{round} frame{'s' * (round != '1')}"
            columns[f"J&F {round}"] = f"J&F {said}"
            if semi:
                columns |= {f"J {round}": "J", f"F {round}": "F", f"J decay {round}": "decay"}

        def shown(row: Row) -> tuple[str, ...]:
            return tuple(decimal(row[name]) for name in columns)

        counts = [str(len(line["objects"])) for found in lines.values() for line in found]
        rows = [(name, (count, shown(row))) for (name, row), count in zip(clips.items(), counts, strict=True)]
        rows = rows if len(rows) <= FEW else []
        footer = [
            (name, (str(sum(len(line["objects"]) for line in lines[name])), shown(row))) for name, row in sets.items()
        ]
        footer.append((f"mean of {len(clips)} clips", (str(sum(map(int, counts))), shown(by_clip))))
        flat = tuple((name, (count, *cells)) for name, (count, cells) in [*rows, *footer])
        how = "prompted once" if semi else f"{self.task}, {self.clicks} clicks a frame"
        return Table(f"{title}: {how}", ("clip", "objects", *columns.values()), flat, footer=len(footer))

    def _plots(self, clips: Mapping[str, Row], every: Sequence[Any], by_clip: Row) -> tuple[Plot, ...]:
        if self.task != "semi-supervised":
            numbers = [int(round) for round in self.rounds]
            series: dict[str, Any] = {self.task: (numbers, [by_clip[f"J&F {round}"] for round in self.rounds])}
            return (Plot(f"J&F, {self.clicks} clicks a frame, mean over clips", "frames clicked", "J&F", series),)
        names = [name.partition("/")[2] for name in clips]
        bars = {_said(one): (names, [row[f"J&F {one}"] for row in clips.values()]) for one in self.prompts}
        along = {_said(one): _along([found[one] for found in every]) for one in self.prompts}
        plots = (Plot("J&F along the clip, mean over objects", "part of the clip", "J&F", along),)
        return plots if len(clips) > FEW else (Plot("J&F by clip", "", "J&F", bars, "bars"), *plots)

    def illustrate(
        self, model: PromptModel | None, units: Sequence[Unit], lines: Sequence[Line], out: Path
    ) -> list[Path]:
        """OUT.worst.mp4: the clip with the lowest J&F, answered once more, with what was missed and too much."""
        from anymask.evaluate.video_worst import write

        last = self.rounds[0] if self.task == "semi-supervised" else self.rounds[-1]
        scores = [self.row(_objects(line))[f"J&F {last}"] for line in lines]
        played = self._played(model, units[int(np.nanargmin(scores))].read())
        track = self._again(played, last)
        return [write(played, track, f"{_said(last) if self.task == 'semi-supervised' else self.task}", out)]

    def _again(self, played: Played, round: str) -> Track:
        """The answers of a round."""
        if self.task == "semi-supervised":
            return video_tasks.prompted(played, round)
        track = Track()
        for one in played.objects:
            if self.task == "offline":
                *_, single = video_tasks.offline(played, one, int(round), self.clicks)
            else:
                single, _ = video_tasks.online(played, one, int(round), self.clicks, self.below)
            for frame, masks in single.found.items():
                track.found.setdefault(frame, {}).update(masks)
        return track


def apart(follower: Follower, frame: int, masks: Masks) -> Masks:
    """Answers of which no two share a pixel: what two claim belongs to the one with the higher logit there.

    Without logits to the more confident one. So are label maps made, which DAVIS judges.
    """
    if len(masks) < 2:
        return masks
    dense = masks.dense()
    shared = dense.sum(0) > 1
    if not shared.any():
        return masks
    claims = np.broadcast_to(masks.scores[:, None], (len(masks), int(shared.sum()))).astype(np.float32)
    logits = _logits(follower, frame, masks)
    if logits is not None:
        claims = logits[:, shared]
    owner = np.where(dense[:, shared], claims, -np.inf).argmax(0)
    dense[:, shared] = owner[None] == np.arange(len(masks))[:, None]
    return Masks.from_dense(dense, ids=masks.ids, scores=masks.scores)


def _logits(follower: Follower, frame: int, masks: Masks) -> Any:
    """float32 [N, H, W] of what a session answered, None where it keeps no logits of all objects."""
    from anymask.track.session import VideoSession

    if not isinstance(follower, VideoSession):
        return None
    import torch

    from anymask.models.interface import Decoded

    objects, logits = follower.logits(frame)
    if set(masks.ids.tolist()) - set(objects):
        return None
    rows = [objects.index(one) for one in masks.ids.tolist()]
    resize = follower.embedding(frame).resize[0]
    return Decoded(logits[rows][:, None].float(), torch.zeros(len(rows), 1), resize).upscaled()[:, 0].cpu().numpy()


def _listed(found: Mapping[int, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """As JSON holds it: names are texts, figures are short."""
    return {
        str(one): {name: [round(value, 6) for value in values] for name, values in parts.items()}
        for one, parts in found.items()
    }


def _objects(line: Line) -> list[dict[str, Any]]:
    """Of each object: round -> measure -> figures by frame."""
    return [{round: found[str(one)] for round, found in line["found"].items()} for one in line["objects"]]


def _said(prompt: str) -> str:
    return prompt if not prompt.isdecimal() else f"{prompt} click{'s' * (prompt != '1')}"


def _mean(values: Any) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _along(objects: Sequence[Mapping[str, Sequence[float]]]) -> tuple[list[float], list[float]]:
    """J&F in each part of the clip, the mean over objects."""
    curves = []
    for one in objects:
        both = (np.asarray(one["J"]) + np.asarray(one["F"])) / 2
        curves.append([float(part.mean()) if len(part) else np.nan for part in np.array_split(both, PARTS)])
    parts = [(place + 0.5) / PARTS for place in range(PARTS)]
    return parts, [_mean(column) for column in np.array(curves).T.tolist()]


def _speeds(lines: Mapping[str, Sequence[Line]]) -> dict[str, float]:
    """Frames a second of each set, reading included."""
    return {name: _mean(line.get("fps", np.nan) for line in found) for name, found in lines.items()}
