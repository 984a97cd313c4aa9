"""Tar shards of SA-1B or of webdataset, as a stream: NAME.jpg and NAME.json anywhere in a shard.

Every process and every loader worker gets its own part, so that together they give each sample once. The order is
shuffled by shards, and within a window of samples; it depends on seed and epoch only. A stream says where it is
(`state`), and goes on from there (`resume`), also in another process of the same number.

The heads of a shard are read when its turn comes, its pictures one by one when asked for: a window of thousands of
samples costs kilobytes. Shards are files that can be sought in; compressed ones cannot.
"""

from __future__ import annotations

import functools
import glob
import io
import os
import random
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.data import photo, sa1b
from anymask.data.layout import Layout
from anymask.data.sample import Sample
from anymask.errors import AnymaskError, BadImage, BadSetting
from anymask.pixels.image import Image
from anymask.records import sa1b as records

WINDOW = 2000
"""Samples among which the next one is drawn."""

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Place:
    """Where a sample lies. picture, truth: (offset, length) in the shard, in bytes."""

    shard: Path
    name: str
    picture: tuple[int, int]
    truth: tuple[int, int]


@dataclass(frozen=True)
class Position:
    """How far a stream is: samples given of an epoch. To be saved with a training's state."""

    epoch: int = 0
    given: int = 0


class Shards:
    """Samples of tar files, each once an epoch. Iterated to its end, it begins anew the next time.

    window: of the shuffle; 0 keeps the order of the files. epochs: how often, None for ever. rank, world: which of how
    many processes this is; left out, torch.distributed is asked when the stream starts. In a loader's worker the part
    is divided further. broken: "raise" ends at a damaged sample, "skip" passes over it and counts it in `problems`.
    Raises BadSetting.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        name: str,
        *,
        seed: int = 0,
        window: int = WINDOW,
        epochs: int | None = 1,
        rank: int | None = None,
        world: int | None = None,
        broken: str = "raise",
    ) -> None:
        if not shards:
            raise BadSetting("a stream needs at least one tar file")
        if broken not in ("raise", "skip"):
            raise BadSetting(f"broken is 'raise' or 'skip', got {broken!r}")
        if window < 0 or (epochs is not None and epochs < 1):
            raise BadSetting(f"window is 0 or more and epochs 1 or more, got {window} and {epochs}")
        if (rank is None) != (world is None) or (rank is not None and world is not None and not 0 <= rank < world):
            raise BadSetting(f"rank is 0 to world - 1, both or neither, got {rank} and {world}")
        self.shards, self.name, self.licence = tuple(shards), name, ""
        self.seed, self.window, self.epochs = seed, window, epochs
        self.rank, self.world, self.broken = rank, world, broken
        self.problems: list[str] = []
        self.position = Position()
        self._through = False
        self._given = [0]

    def state(self) -> dict[str, Any]:
        """Where the stream is, as JSON can hold it; of this process, see `state_after` for the workers of a loader."""
        return {"epoch": self.position.epoch, "given": [self.position.given], "seed": self.seed}

    def state_after(self, batches: int, size: int, workers: int) -> dict[str, Any]:
        """Where the stream is when a loader has handed out so many batches since its beginning.

        For an endless stream and a DataLoader, whose workers make batches of `size` in turn. What they read ahead is
        read again. Each worker goes on exactly; the turns begin with the first one, so that batches come in the same
        order where their number was a multiple of the workers.
        """
        workers = max(1, workers)
        given = [size * ((batches - worker + workers - 1) // workers) for worker in range(workers)]
        return {"epoch": 0, "given": given, "seed": self.seed}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Goes on after the last sample that was given, with as many processes and workers as before.

        Raises BadSetting for a state of another seed.
        """
        if state.get("seed") != self.seed:
            raise BadSetting(f"the state is of a stream with seed {state.get('seed')}, this one has {self.seed}")
        self._given = [int(one) for one in state["given"]]
        self.position, self._through = Position(int(state["epoch"]), self._given[0]), False

    def __iter__(self) -> Iterator[Sample]:
        part, parts = self._part()
        if self._through:
            self.position, self._through = Position(), False
        if len(self._given) > 1:
            self.position, self._given = Position(self.position.epoch, self._given[self._worker()]), [0]
        while self.epochs is None or self.position.epoch < self.epochs:
            skip, count = self.position.given, 0
            for place in self._shuffled(self._places(part, parts), part):
                count += 1
                if count <= skip:
                    continue
                # counted before it is given: who saves a state after a step has used the sample
                self.position = Position(self.position.epoch, count)
                try:
                    yield read(place)
                except AnymaskError as error:
                    if self.broken == "raise":
                        raise
                    self.problems.append(str(error))
            if count == 0 and self.epochs is None:
                raise BadSetting(f"part {part} of {parts} of {self.name} has no samples; use fewer processes")
            # what is to be passed over may reach beyond an epoch
            self.position = Position(self.position.epoch + 1, max(0, skip - count))
        self._through = True

    def _worker(self) -> int:
        """Which of the workers that a state is of this is. Raises BadSetting where their number changed."""
        from torch.utils.data import get_worker_info

        worker = get_worker_info()
        if (1 if worker is None else worker.num_workers) != len(self._given):
            raise BadSetting(f"the state is of {len(self._given)} workers; resume with as many")
        return 0 if worker is None else int(worker.id)

    def _part(self) -> tuple[int, int]:
        """(which, of how many) parts of the samples are this worker's."""
        from torch.utils.data import get_worker_info

        rank, world = self.rank, self.world
        if rank is None or world is None:
            import torch.distributed as processes

            there = processes.is_available() and processes.is_initialized()
            rank, world = (processes.get_rank(), processes.get_world_size()) if there else (0, 1)
        worker = get_worker_info()
        if worker is None:
            return rank, world
        return rank * worker.num_workers + worker.id, world * worker.num_workers

    def _places(self, part: int, parts: int) -> Iterator[Place]:
        """The part's samples in the epoch's order of shards: whole shards, or where they are too few, every n-th."""
        shards = list(self.shards)
        if self.window:
            random.Random(f"{self.seed} {self.position.epoch}").shuffle(shards)
        if len(shards) >= parts:
            for shard in shards[part::parts]:
                yield from index(shard)
        else:
            for shard in shards:
                yield from index(shard)[part::parts]

    def _shuffled(self, places: Iterator[Place], part: int) -> Iterator[Place]:
        if not self.window:
            yield from places
            return
        draw = random.Random(f"{self.seed} {self.position.epoch} {part}")
        waiting: list[Place] = []
        for place in places:
            waiting.append(place)
            if len(waiting) > self.window:
                row = draw.randrange(len(waiting))
                waiting[row], waiting[-1] = waiting[-1], waiting[row]
                yield waiting.pop()
        draw.shuffle(waiting)
        yield from waiting


class ShardSet:
    """The same samples by number, in the order of the files: all heads are read first, about 400 bytes a sample.

    Safe to send to other processes. Raises BadSetting.
    """

    def __init__(self, shards: Sequence[Path], name: str) -> None:
        self.name, self.licence = name, ""
        self.places = [place for shard in shards for place in index(shard)]
        if not self.places:
            raise BadSetting(f"{shards[0]} and the others hold no picture with a JSON of its name")

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int, /) -> Sample:
        return read(self.places[index])


def index(shard: Path) -> list[Place]:
    """The samples of a shard, in the order of their pictures. Raises BadSetting for what is no plain tar file."""
    pictures: dict[str, tuple[int, int]] = {}
    truths: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                stem, suffix = os.path.splitext(member.name)
                if not member.isreg() or os.path.basename(stem).startswith("."):
                    continue
                stem = stem.removeprefix("./")
                if suffix == ".json":
                    truths[stem] = (member.offset_data, member.size)
                elif suffix.lower() in photo.SUFFIXES:
                    pictures[stem] = (member.offset_data, member.size)
                # a tar file keeps what it saw; nothing of it is needed again
                tar.members = []  # type: ignore[attr-defined]
    except FileNotFoundError:
        raise BadSetting(f"there is no shard {shard}") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadSetting(f"{shard} is no plain tar file, or damaged: {error}") from None
    return [Place(shard, stem, pictures[stem], truths[stem]) for stem in pictures if stem in truths]


def read(place: Place) -> Sample:
    """One sample; its pixels are read when asked for. Raises BadSetting, BadImage."""
    text = _bytes(place.shard, place.truth)
    found = sa1b.found(records.parse(text, f"{place.shard}: {place.name}.json"))
    return Sample(place.name, found.size, found.masks, found.labels, functools.partial(_pixels, place))


def _bytes(shard: Path, at: tuple[int, int]) -> bytes:
    try:
        with shard.open("rb") as file:
            file.seek(at[0])
            return file.read(at[1])
    except OSError as error:
        raise BadImage(f"{shard} cannot be read: {error.strerror or error}") from None


def _pixels(place: Place) -> NDArray[np.uint8]:
    try:
        return Image.open(io.BytesIO(_bytes(place.shard, place.picture))).pixels()
    except BadImage as error:
        raise BadImage(f"{place.shard}: {place.name}: {error}") from None


def files(path: Path) -> list[Path]:
    """The shards that a path means: a tar file, a folder of some, a pattern such as sa_0000{00..49}.tar or *.tar."""
    if path.is_dir():
        return sorted(path.glob("*.tar"))
    numbers = _BRACES.search(str(path))
    if numbers:
        first, last = numbers[1], numbers[2]
        names = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
        return [Path(str(path)[: numbers.start()] + name + str(path)[numbers.end() :]) for name in names]
    if path.suffix == ".tar":
        return [Path(name) for name in sorted(glob.glob(str(path)))] if glob.has_magic(str(path)) else [path]
    return []


def _found(path: Path) -> tuple[list[Path], str]:
    """(shards, name of the set). Raises BadSetting where one is missing."""
    found = files(path)
    missing = [file for file in found if not file.is_file()]
    if not found or missing:
        raise BadSetting(f"there is no shard {missing[0] if missing else path}; expected {LAYOUT.looks}")
    return found, path.resolve().name if path.is_dir() else path.stem


LAYOUT = Layout(
    "shards",
    "*.tar of SA-1B or webdataset, with NAME.jpg and NAME.json; a file, a folder, or sa_0000{00..49}.tar; a stream",
    lambda path: bool(files(path)),
    lambda path: [Shards(*_found(path))],
)
BY_NUMBER = Layout(
    "shards-by-number",
    "the same, not as a stream but as a set: all are listed first",
    lambda path: False,
    lambda path: [ShardSet(*_found(path))],
)
