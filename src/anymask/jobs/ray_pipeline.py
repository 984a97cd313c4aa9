"""A job on many machines: read, encode, everything else, write, as a Ray Data pipeline.

    report = run(items, "s3://bucket/masks", JobSettings(format="sa1b"), recipe, shares, address="ray://head:10001")

Which images are done is known from the same manifest as on one machine (`manifest`), and the same image gives the same
bytes, so either kind of run goes on with what the other began. Who does what:

* The driver, this process, alone lists images in the manifest, after Ray handed it the word that their files are
  written. Ray may do a block again, after a machine was lost; its files are then written again with the same bytes,
  and listed once.
* Encoding and the rest are actors, which load their model once. Ray starts a dead actor anew and gives what it had in
  hand to another. An image that was in work at three deaths is noted as failed, or it would kill actors for ever.
* Errors of an image are its entry in the manifest; only a place that takes nothing more ends the run.

The driver may be killed at any moment: what was written and not listed yet is made again.
"""

from __future__ import annotations

import logging
import os
import pickle
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from anymask.errors import BadSetting, NotWritten
from anymask.extras import need
from anymask.jobs import folder, manifest
from anymask.jobs.alone import alone_in
from anymask.jobs.buckets import is_url, place_of, read_url
from anymask.jobs.folder import Report, Tell
from anymask.jobs.manifest import Entry, Item, Segments
from anymask.jobs.places import LocalFolder, Place
from anymask.jobs.settings import JobSettings, Shares
from anymask.jobs.stages import Stages, stages_of
from anymask.jobs.work import Answer, Recipe
from anymask.jobs.worker import Settled, _divide, _threads, told

SLICE = 50_000
"""Images that one pipeline is handed: what Ray keeps of each block in the driver's memory stays bounded."""

BLOCK = 8
"""Images that travel together at most: with embeddings 40 to 70 MB, and what is done again when an actor dies."""

DEATHS = 3
"""An image that was in work when so many actors died is not tried again."""

EVERY = 32
"""Lines gathered for a bucket's manifest before they are written."""

Row = dict[str, Any]


def run(
    items: Sequence[Item],
    out: str | os.PathLike[str] | Place,
    settings: JobSettings,
    recipe: Recipe,
    shares: Shares,
    *,
    address: str = "local",
    workers: int | None = None,
    gpus: bool = False,
    retry_failed: bool = False,
    overwrite: bool = False,
    tell: Tell | None = None,
    ray_options: Mapping[str, Any] | None = None,
) -> Report:
    """Does what `folder.run` does, by a Ray cluster.

    items: pictures; `at` is a path that every machine of the cluster sees, or a URL that fsspec knows. out: a folder
    that every machine sees, a URL, or a place. address: of the cluster as Ray takes it; "local" starts Ray on this
    machine; a Ray that this process is connected to already is used as it is. workers: actors in all, by default as
    many as the cluster has cores for. gpus: half a GPU for each actor. ray_options: further ones of `ray.init`.

    Raises BadSetting, NotWritten, MissingExtra, and Ray's own errors when the cluster cannot be had.
    """
    begun = time.perf_counter()
    place = place_of(os.fspath(out)) if isinstance(out, (str, os.PathLike)) else out
    if workers is not None and workers < 1:
        raise BadSetting(f"there is no work without workers; got {workers}")
    if isinstance(place, LocalFolder):
        if place.root.exists() and not place.root.is_dir():
            raise BadSetting(f"{out} is a file; results need a folder")
        folder._apart([one for one in items if not is_url(one.at)], place.root)
    # an object store has no locks: two runs at once on one bucket do images twice, with the same bytes
    alone = alone_in(place) if isinstance(place, LocalFolder) else nullcontext()
    with alone, folder._signals() as caught:
        if isinstance(place, LocalFolder):
            folder._tidied(place)
        if overwrite:
            folder.clear(place)
        shares = folder._agreed(place, settings, shares)
        index = manifest.extended(manifest.read_index(place), items, folder.RESERVED)
        manifest.write_index(place, index)
        entries = manifest.listed(place)
        pending = _pending(place, index, items, entries, retry_failed)
        gone = {one.title for one in pending}
        entries = {title: one for title, one in entries.items() if title not in gone}
        total = len(entries) + len(pending)
        fresh = 0
        if pending:
            segments = Segments(place, manifest.token(), 1 if isinstance(place, LocalFolder) else EVERY)
            try:
                with _connected(address, shares, workers, ray_options or {}):
                    for start in range(0, len(pending), SLICE):
                        part = pending[start : start + SLICE]
                        for settled in _settled(part, place, stages_of(recipe), shares, workers, gpus):
                            if settled.entry.title in entries:
                                continue
                            segments.add(settled.entry)
                            entries[settled.entry.title] = settled.entry
                            fresh += 1
                            if tell is not None:
                                tell(settled, len(entries), total)
                            if caught:
                                break
                        if caught:
                            break
            finally:
                segments.flush()
                if isinstance(place, LocalFolder):
                    folder._tidied(place)
        if not caught:
            titles = [one.title for one in index if one.title in entries and entries[one.title].failed is None]
            folder.complete(place, settings.format, titles, lambda: bool(caught))
        if not caught:
            place.write(manifest.LISTING, manifest.listing(index, entries))
    ordered = [entries[one.title] for one in index if one.title in entries]
    return Report(ordered, total, fresh, time.perf_counter() - begun, caught[0] if caught else None)


def _pending(
    place: Place, index: Iterable[Item], items: Iterable[Item], entries: dict[str, Entry], retry_failed: bool
) -> list[Item]:
    """As on one machine; of a bucket the manifest is believed, for asking for each file costs a request an image."""
    if isinstance(place, LocalFolder):
        return list(folder._pending(place, index, items, entries, retry_failed))
    asked = {one.at for one in items}
    return [
        one
        for one in index
        if one.at in asked
        and (one.title not in entries or (retry_failed and entries[one.title].failed is not None))
    ]  # fmt: skip


@contextmanager
def _connected(address: str, shares: Shares, workers: int | None, options: Mapping[str, Any]) -> Iterator[None]:
    """Ray, started or joined for the while, or the one that is there."""
    # nothing is reported to anybody
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # CPU actors on a machine with GPUs: what they see is decided here, not by Ray
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray = need("ray", extra="ray", to="work on many machines")
    need("ray.data", extra="ray", to="work on many machines")
    if ray.is_initialized():
        yield
        return
    how: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        how["include_dashboard"] = False
        if workers is not None:
            how["num_cpus"] = workers * shares.threads
    try:
        ray.init(**{**how, **options})
    except (ConnectionError, ValueError) as error:
        raise BadSetting(f"no Ray cluster answers at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _settled(
    items: Sequence[Item], place: Place, stages: Stages, shares: Shares, workers: int | None, gpus: bool
) -> Iterator[Settled]:
    """What became of each image, as it is written. Raises NotWritten."""
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    staged = hasattr(stages, "first") and not _single(stages)
    slots, each = _slots(ray.cluster_resources(), shares.threads, workers, gpus, least=2 if staged else 1)
    deaths = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Deaths).remote()
    rows = [{"row": pickle.dumps({"item": one})} for one in items]
    # the fewer images there are, the finer they are divided
    block = max(1, min(BLOCK, len(items) // (8 * slots)))
    data: Any = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // block))
    # waiting for a network takes no core
    tasks: dict[str, Any] = {"batch_size": 1, "num_cpus": 0, "compute": ray.data.TaskPoolStrategy(size=max(2, slots))}
    data = data.map_batches(_Read().rows, **tasks)
    kinds = [First, Second] if staged else [Second]
    for kind in kinds:
        # of two stages the slower one gets more actors, as Ray sees queues grow
        most = max(1, slots - len(kinds) + 1)
        pool = ray.data.ActorPoolStrategy(min_size=1 if staged else most, max_size=most)
        given = (stages, shares.threads, deaths)
        data = data.map_batches(kind, batch_size=1, compute=pool, fn_constructor_args=given, **each)
    data = data.map_batches(_Write(place).rows, **tasks)
    for batch in data.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
        for packed in batch["row"]:
            row = pickle.loads(packed)
            if "stop" in row:
                raise NotWritten(row["stop"])
            yield row["settled"]


def _single(stages: Stages) -> bool:
    from anymask.jobs.stages import OneStage

    return isinstance(stages, OneStage)


def _slots(
    has: Mapping[str, float], threads: int, workers: int | None, gpus: bool, least: int
) -> tuple[int, dict[str, Any]]:
    """(actors in all, what each asks Ray for)."""
    if gpus:
        return max(least, workers or int(2 * has.get("GPU", 0))), {"num_cpus": 0, "num_gpus": 0.5}
    cores = has.get("CPU", 1.0)
    if cores < least * threads:
        # the stages of a small machine take turns
        return least, {"num_cpus": cores / least if cores < least else cores // least}
    return max(least, workers or int(cores // threads)), {"num_cpus": threads}


class Deaths:
    """Remembers which images are in work, so that one that kills its actor is known when it comes again."""

    def __init__(self) -> None:
        self.begun: dict[tuple[str, str], int] = {}

    def begin(self, stage: str, title: str) -> int:
        """How often the image was begun here without an end, this time included."""
        self.begun[stage, title] = self.begun.get((stage, title), 0) + 1
        return self.begun[stage, title]

    def end(self, stage: str, title: str) -> None:
        """The image did no harm."""
        self.begun.pop((stage, title), None)


class _Each(ABC):
    """A stage of the pipeline: a batch is one pickled row; what is settled passes through."""

    def __call__(self, batch: Row) -> Row:
        """What Ray calls of an actor."""
        return self.rows(batch)

    def rows(self, batch: Row) -> Row:
        """A batch {"row": object [N] of bytes}, and the same out."""
        import numpy as np

        out = np.empty(len(batch["row"]), object)
        for number, packed in enumerate(batch["row"]):
            row = pickle.loads(packed)
            if "settled" not in row and "stop" not in row:
                row = self.done(row)
            out[number] = pickle.dumps(row, protocol=5)
        return {"row": out}

    @abstractmethod
    def done(self, row: Row) -> Row:
        """The row with what this stage adds."""


def _failed(item: Item, error: Exception) -> Row:
    return {"settled": Settled(Entry(item.title, failed=told(error, item.source)), listed=False)}


class _Read(_Each):
    """Bytes of pictures in buckets; a path is read where it is needed, large TIFF files window by window."""

    def done(self, row: Row) -> Row:
        item: Item = row["item"]
        if not is_url(item.at):
            return {**row, "content": None}
        try:
            return {**row, "content": read_url(item.at)}
        except Exception as error:
            return _failed(item, error)


class _Actor(_Each):
    """A stage with a model."""

    def __init__(self, threads: int, deaths: Any, make: Callable[[], Any]) -> None:
        # before numpy and torch are loaded, and as every worker does, or results differ in the last bit
        _divide(threads)
        self.deaths, self.stage = deaths, type(self).__name__
        self.work = make()
        _threads(threads)

    def done(self, row: Row) -> Row:
        import ray

        item: Item = row["item"]
        if ray.get(self.deaths.begin.remote(self.stage, item.title)) > DEATHS:
            self.deaths.end.remote(self.stage, item.title)
            text = f"{item.source}: {DEATHS} workers died of it, which happens when memory runs out"
            return {"settled": Settled(Entry(item.title, failed=text), listed=False)}
        try:
            return self.one(row)
        except Exception as error:  # as on one machine: no surprise with one picture may cost the others
            return _failed(item, error)
        finally:
            self.deaths.end.remote(self.stage, item.title)

    @abstractmethod
    def one(self, row: Row) -> Row:
        """`done`, which need not care about pictures that fail."""


class First(_Actor):
    """Encodes."""

    def __init__(self, stages: Stages, threads: int, deaths: Any) -> None:
        super().__init__(threads, deaths, stages.first)

    def one(self, row: Row) -> Row:
        return {**row, "given": self.work(row["item"], row["content"])}


class Second(_Actor):
    """Everything after encoding, to the bytes of the files."""

    def __init__(self, stages: Stages, threads: int, deaths: Any) -> None:
        super().__init__(threads, deaths, stages.second)

    def one(self, row: Row) -> Row:
        return {"item": row["item"], "answer": self.work(row["item"], row["content"], row.get("given"))}


class _Write(_Each):
    """Writes the files of an image."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def done(self, row: Row) -> Row:
        item: Item = row["item"]
        answer: Answer = row["answer"]
        try:
            for path, content in answer.files.items():
                self.place.write(path, content)
        except NotWritten as error:
            return {"stop": str(error)}
        except Exception as error:
            return _failed(item, error)
        entry = Entry(item.title, None, tuple(answer.files), answer.facts, answer.cost)
        return {"settled": Settled(entry, answer.show, listed=False)}
