"""Answers and memories of frames: the last ones in memory, all of them in a folder, each frame a file of its own.

A file is written whole or not at all and belongs to one frame, so that a run that is killed at any moment leaves whole
frames and nothing else. What an object's entry is worth after later edits is not decided here: entries carry the number
of edits that had been made (`Entry.serial`).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from anymask.errors import BadSetting, NotWritten
from anymask.masks.rle import RLE
from anymask.pixels.resize import HW
from anymask.records import atomic
from anymask.track.answer import Answer, Entry

FRAMES = "frames"


@dataclass(frozen=True)
class Note:
    """What is known of an object's entry without its tensors; rle, score and presence are the shown answer's."""

    serial: int
    reverse: bool
    taken_back: bool
    rle: RLE
    score: float
    presence: float
    whole: bool
    """Whether features and logits are still there, see `Store.thin`."""


class Store:
    """Entries of objects (by number) on frames. kept: frames whose tensors stay in memory. device: where they go."""

    def __init__(self, folder: Path, size: HW, *, kept: int, device: torch.device) -> None:
        self.folder, self.size, self.kept, self.device = folder, size, kept, device
        self._held: OrderedDict[int, dict[int, Entry]] = OrderedDict()
        self._noted: OrderedDict[int, dict[int, Note]] = OrderedDict()

    def entry(self, frame: int, number: int) -> Entry | None:
        """All that is known of an object on a frame."""
        return self._entries(frame).get(number)

    def notes(self, frame: int) -> Mapping[int, Note]:
        """What is known of all objects on a frame, without tensors."""
        if frame in self._held:
            return {number: noted(entry) for number, entry in self._held[frame].items()}
        if frame not in self._noted:
            self._remember(self._noted, frame, {number: note for number, (note, _) in self._read(frame, False).items()})
        self._noted.move_to_end(frame)
        return self._noted[frame]

    def put(self, frame: int, entries: Mapping[int, Entry]) -> None:
        """Entries of some objects on a frame; those of others stay. Raises NotWritten."""
        self._write(frame, {**self._entries(frame), **entries})

    def forget(self, number: int, frames: range) -> None:
        """Takes an object's entries from some frames."""
        for frame in frames:
            entries = self._entries(frame)
            if number in entries:
                self._write(frame, {one: entry for one, entry in entries.items() if one != number})

    def thin(self, frame: int) -> None:
        """Lets go of features and logits on a frame; masks, scores and pointers stay."""
        notes = self.notes(frame)
        if any(note.whole for note in notes.values()):
            empty = torch.empty(0, device=self.device)
            slim = {
                number: replace(
                    entry, answers=tuple(replace(one, logits=empty, features=None) for one in entry.answers)
                )
                for number, entry in self._entries(frame).items()
            }
            self._write(frame, slim)
            self._held.pop(frame, None)

    def frames(self) -> Iterator[int]:
        """The frames that have entries, in no order."""
        for path in (self.folder / FRAMES).glob("*.safetensors"):
            yield int(path.stem)

    def path(self, frame: int) -> Path:
        """Where a frame's file is, or would be."""
        return self.folder / FRAMES / f"{frame:08d}.safetensors"

    def clear(self) -> None:
        """No entries at all."""
        for frame in list(self.frames()):
            self.path(frame).unlink(missing_ok=True)
        self._held.clear()
        self._noted.clear()

    def _entries(self, frame: int) -> dict[int, Entry]:
        if frame not in self._held:
            self._remember(self._held, frame, {number: entry for number, (_, entry) in self._read(frame, True).items()})
        self._held.move_to_end(frame)
        return self._held[frame]

    def _remember(self, into: OrderedDict[int, Any], frame: int, value: Any) -> None:
        into[frame] = value
        while len(into) > self.kept:
            into.popitem(last=False)

    def _write(self, frame: int, entries: dict[int, Entry]) -> None:
        packed, facts = {}, {}
        for number, entry in entries.items():
            facts[number], tensors = pack(entry)
            packed.update({f"{number}/{name}": tensor for name, tensor in tensors.items()})
        write(self.path(frame), packed, facts)
        self._noted.pop(frame, None)
        self._remember(self._held, frame, entries)
        self._held.move_to_end(frame)

    def _read(self, frame: int, tensors: bool) -> dict[int, tuple[Note, Entry]]:
        path = self.path(frame)
        if not path.exists():
            return {}
        try:
            with safe_open(path, framework="pt", device=str(self.device)) as file:
                facts = json.loads(file.metadata()["facts"])
                names = file.keys() if tensors else []
                loaded = {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError, KeyError, ValueError):
            return {}  # only a failing disc leaves such a file; the frame is tracked again
        found = {}
        for number, fact in facts.items():
            own = {name.partition("/")[2]: tensor for name, tensor in loaded.items() if name.startswith(f"{number}/")}
            entry = unpack(fact, own, self.size)
            found[int(number)] = (replace(noted(entry), whole=fact["whole"]), entry)
        return found


def noted(entry: Entry) -> Note:
    """An entry without its tensors."""
    shown = entry.answers[0]
    return Note(
        entry.serial, entry.reverse, entry.taken_back, shown.rle, shown.score, shown.presence, shown.logits.numel() > 0
    )


def pack(entry: Entry) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """An entry as facts for JSON and tensors by name."""
    tensors: dict[str, Tensor] = {}
    lines = []
    for line, one in enumerate(entry.answers):
        tensors |= {f"{line}/logits": one.logits, f"{line}/pointer": one.pointer}
        if one.features is not None:
            tensors[f"{line}/features"] = one.features
        lines.append(
            {
                "score": one.score,
                "presence": one.presence,
                "rle": one.rle["counts"].decode("ascii"),
                "line": one.line,
                "carried": one.carried,
            }
        )
    facts = {
        "serial": entry.serial,
        "reverse": entry.reverse,
        "taken_back": entry.taken_back,
        "whole": entry.answers[0].logits.numel() > 0,
        "lines": lines,
    }
    return facts, tensors


def unpack(facts: Mapping[str, Any], tensors: Mapping[str, Tensor], size: HW) -> Entry:
    """What `pack` packed; tensors that were not loaded are empty."""
    none = torch.empty(0)
    answers = tuple(
        Answer(
            logits=tensors.get(f"{line}/logits", none),
            score=one["score"],
            presence=one["presence"],
            pointer=tensors.get(f"{line}/pointer", none),
            features=tensors.get(f"{line}/features"),
            rle={"size": list(size), "counts": one["rle"].encode("ascii")},
            line=one["line"],
            carried=tuple(one["carried"]),
        )
        for line, one in enumerate(facts["lines"])
    )
    return Entry(answers, facts["reverse"], facts["serial"], facts["taken_back"])


def write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[Any, Any]) -> None:
    """Tensors and facts to a file, whole or not at all. Raises NotWritten."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        atomic.write(path, save(plain, {"facts": json.dumps(facts)}))
    except OSError as error:
        raise NotWritten(
            f"{path} cannot be written ({error.strerror or error}); make room, or give another folder, and go on: "
            "the frames before are there"
        ) from error


def read_packed(path: Path, size: HW, device: torch.device) -> Entry:
    """An entry that `pack` and `write` put into a file of its own. Raises BadSetting where it is missing or damaged."""
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            facts = json.loads(file.metadata()["facts"])
            return unpack(facts, {name: file.get_tensor(name) for name in file.keys()}, size)  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise BadSetting(f"{path} cannot be read, the saved session is damaged: {error}") from error
