"""The threads that own the models: clicks first, encoding beside them, long work when there is time.

Decodes wait in one bounded queue; those on the same picture are decoded together. Encoding and everything mode run in
threads of their own with a lower priority than the clicks', so that a click never waits for either to end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from anymask.errors import ServerBusy
from anymask.masks.masks import Masks
from anymask.models.interface import Embedding
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts
from anymask.serve.metrics import Metrics
from anymask.serve.models import Models
from anymask.session.answers import as_masks
from anymask.session.clicks import Question
from anymask.session.embeddings import EmbeddingCache

TOGETHER = 8
"""Questions on one picture that are decoded in one pass."""

ENCODES = 32
"""Pictures that may wait to be encoded."""

NICER = 10
"""How much lower the priority of threads is that nobody's pointer waits for."""

_log = logging.getLogger("anymask.serve")


@dataclass(eq=False)
class Ask:
    """Something a person points at. more: what else is to be asked once these answers are known. settle: turns all
    answers into candidates and a note.

    best: only the best candidate is of interest.
    """

    image: Image
    model: str
    questions: Sequence[Question]
    settle: Callable[[Sequence[Masks]], tuple[Masks, str]]
    more: Callable[[Sequence[Masks]], Sequence[Question]] = lambda answers: ()
    best: bool = False
    embedding: Embedding | None = None
    future: Future[tuple[Masks, str]] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class Encode:
    """A picture to be encoded; everybody who waits for it shares the future, which gives seconds.

    wanted: by how many.
    """

    image: Image
    model: str
    wanted: int = 1
    future: Future[float] = field(default_factory=Future)
    begun: float | None = None


class Engine:
    """Answers what is asked of pictures. `start` before use, `stop` after.

    crew: (decodes at once, threads of each). waiting: decodes that may wait.
    """

    def __init__(
        self, models: Models, embeddings: EmbeddingCache, metrics: Metrics, *, crew: tuple[int, int], waiting: int
    ) -> None:
        self.models, self.embeddings, self.metrics = models, embeddings, metrics
        self.crew, self.waiting = crew, waiting
        self._asks: deque[Ask] = deque()
        self._encodes: deque[Encode] = deque()
        self._encoding: dict[tuple[str, str], Encode] = {}
        self._seconds: dict[str, float] = {}
        lock = threading.RLock()
        # two conditions on one lock: a click must not wake the encoder in place of the decoder
        self._changed, self._pictures = threading.Condition(lock), threading.Condition(lock)
        self._threads: list[threading.Thread] = []
        self._closing = False

    def start(self) -> None:
        """Starts the threads."""
        work = [(f"decode-{number}", self._decode_all) for number in range(self.crew[0])]
        for name, run in [*work, ("encode", self._encode_all)]:
            thread = threading.Thread(target=run, name=f"anymask-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, seconds: float = 10.0) -> None:
        """Takes no more, finishes decodes that were asked for, drops encodes that have not begun, and returns."""
        with self._changed:
            self._closing = True
            dropped = list(self._encodes)
            self._encodes.clear()
            self._changed.notify_all()
            self._pictures.notify_all()
        for one in dropped:
            _fail(one.future, ServerBusy("the server is being stopped; ask again when it is back", 5))
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    # asking

    def encode(self, image: Image, model: str) -> Encode:
        """Has a picture encoded; joins those who asked for the same. Raises ServerBusy."""
        key = (image.digest, model)
        with self._changed:
            known = self._encoding.get(key)
            if known is not None:
                known.wanted += 1
                return known
            self._open_for(len(self._encodes), ENCODES, "pictures wait to be encoded", self.expected(model))
            one = self._encoding[key] = Encode(image, model)
            self._encodes.append(one)
            self._pictures.notify()
        return one

    def known(self, image: Image, model: str) -> Embedding | None:
        """The picture's embedding if it is in memory."""
        loaded = self.models.loaded(model)
        return None if loaded is None else self.embeddings.in_memory(image, loaded)

    def decode(self, ask: Ask) -> Future[tuple[Masks, str]]:
        """Has questions answered, encoding first where needed. Raises ServerBusy."""
        ask.embedding = ask.embedding or self.known(ask.image, ask.model)
        if ask.embedding is not None:
            self._enqueue(ask)
            return ask.future
        first = self.encode(ask.image, ask.model)

        def go_on(done: Future[float]) -> None:
            error = None if done.cancelled() else done.exception()
            if error is None:
                try:
                    ask.embedding = self.known(ask.image, ask.model)
                    self._enqueue(ask)
                    return
                except ServerBusy as busy:
                    error = busy
            _fail(ask.future, error)

        first.future.add_done_callback(go_on)
        return ask.future

    def position(self, one: Encode) -> int:
        """How many pictures are encoded before this one."""
        with self._changed:
            return self._encodes.index(one) + 1 if one in self._encodes else 0

    def drop(self, one: Encode) -> bool:
        """One less wants an encode; it is taken back if nobody does and it has not begun, and the answer is True."""
        with self._changed:
            one.wanted -= 1
            if one.wanted > 0 or one not in self._encodes:
                return False
            self._encodes.remove(one)
            self._encoding.pop((one.image.digest, one.model), None)
        one.future.cancel()
        return True

    def expected(self, model: str) -> float:
        """Seconds that an encode takes, as far as is known."""
        return self._seconds.get(model, 1.0)

    @property
    def queue(self) -> dict[str, int]:
        """How much waits."""
        return {"decode": len(self._asks), "encode": len(self._encodes)}

    def _enqueue(self, ask: Ask) -> None:
        with self._changed:
            self._open_for(len(self._asks), self.waiting, "clicks wait for their answer", 1.0)
            self._asks.append(ask)
            self._changed.notify()

    def _open_for(self, count: int, limit: int, what: str, wait: float) -> None:
        if self._closing:
            raise ServerBusy("the server is being stopped; ask again when it is back", 5)
        if count >= limit:
            raise ServerBusy(f"{count} {what} already; try again in a moment", max(1.0, wait))

    # working

    def _decode_all(self) -> None:
        torch.set_num_threads(self.crew[1])
        while True:
            with self._changed:
                while not self._asks and not (self._closing and not self._encoding):
                    self._changed.wait(0.5 if self._closing else None)
                if not self._asks:
                    return
                batch = self._take()
            self.metrics.waited([time.monotonic() - ask.since for ask in batch])
            live = [ask for ask in batch if ask.future.set_running_or_notify_cancel()]
            if live:
                self._answer(live)

    def _take(self) -> list[Ask]:
        """The next ask, and those that wait for the same picture and model."""
        first = self._asks.popleft()
        batch, count, rest = [first], len(first.questions), deque[Ask]()
        for ask in self._asks:
            same = ask.model == first.model and ask.image.digest == first.image.digest
            if same and count + len(ask.questions) <= TOGETHER:
                batch.append(ask)
                count += len(ask.questions)
            else:
                rest.append(ask)
        self._asks = rest
        return batch

    def _answer(self, asks: list[Ask]) -> None:
        try:
            answers = self._decoded([(ask, ask.questions) for ask in asks])
            more = [(ask, questions) for ask in asks if (questions := ask.more(answers[id(ask)]))]
            for one, found in self._decoded(more).items():
                answers[one] += found
        except Exception:
            if len(asks) > 1:
                # one of them is at fault; the others shall have their answers
                for ask in asks:
                    self._answer([ask])
                return
            answers = {}
            _fail_from_here(asks[0].future)
            return
        for ask in asks:
            try:
                ask.future.set_result(ask.settle(answers[id(ask)]))
            except Exception:
                _fail_from_here(ask.future)

    def _decoded(self, asked: list[tuple[Ask, Sequence[Question]]]) -> dict[int, list[Masks]]:
        """The answers to some questions of each ask, by its id; questions of one form are decoded together."""
        if not asked:
            return {}
        first = asked[0][0]
        model = self.models.get(first.model)
        embedding = next((ask.embedding for ask, _ in asked if ask.embedding is not None), None)
        if embedding is None:
            # dropped from the cache between encoding and now
            embedding = self.embeddings.encode([first.image], model)[0]
        groups: dict[tuple[Any, ...], list[tuple[Ask, int, Prompts]]] = {}
        for ask, questions in asked:
            for number, question in enumerate(questions):
                prompts = question.prompts
                several = prompts.ambiguous if question.multimask is None else question.multimask
                groups.setdefault((several, *_form(prompts)), []).append((ask, number, prompts))
        found: dict[tuple[int, int], Masks] = {}
        for (several, *_), members in groups.items():
            started = time.perf_counter()
            joined = _joined([prompts for _, _, prompts in members])
            with torch.no_grad():
                decoded = model.decode(embedding, joined, multimask=several)
            for row, (ask, number, _) in enumerate(members):
                rows = slice(row, row + 1)
                one = replace(decoded, logits=decoded.logits[rows], scores=decoded.scores[rows])
                found[id(ask), number] = as_masks(one, best=ask.best, both=several == "both", image=ask.image)
            self.metrics.decoded(len(members), time.perf_counter() - started)
        return {id(ask): [found[id(ask), number] for number in range(len(questions))] for ask, questions in asked}

    def _encode_all(self) -> None:
        _be_nicer()
        while True:
            with self._changed:
                while not self._encodes and not self._closing:
                    self._pictures.wait()
                if not self._encodes:
                    return
                one = self._encodes.popleft()
                one.begun = time.monotonic()
            started = time.perf_counter()
            error: BaseException | None = None
            try:
                model = self.models.get(one.model)
                started = time.perf_counter()
                self.embeddings.encode([one.image], model)
            except Exception as problem:
                error = problem
                _log.debug("encoding failed", exc_info=True)
            seconds = time.perf_counter() - started
            with self._changed:
                self._encoding.pop((one.image.digest, one.model), None)
                self._changed.notify_all()
            if error is None:
                self._seconds[one.model] = 0.7 * self._seconds.get(one.model, seconds) + 0.3 * seconds
                self.metrics.encoded(seconds)
                with contextlib.suppress(Exception):
                    one.future.set_result(seconds)
            else:
                _fail(one.future, error)


def _form(prompts: Prompts) -> tuple[object, ...]:
    """Prompts of equal form can be decoded together and are answered as if each were asked alone."""
    points = None if prompts.points is None else prompts.points.shape[1]
    return (points, prompts.boxes is None, prompts.low_res is None, prompts.masks is None)


def _joined(parts: list[Prompts]) -> Prompts:
    if len(parts) == 1:
        return parts[0]
    columns = {}
    for name in ("points", "point_labels", "boxes", "low_res", "masks"):
        values = [getattr(part, name) for part in parts]
        columns[name] = None if values[0] is None else np.concatenate(values)
    return Prompts(**columns)


def _fail(future: Future[object] | Future[float] | Future[tuple[Masks, str]], error: BaseException | None) -> None:
    with contextlib.suppress(Exception):  # cancelled meanwhile
        future.set_exception(error or ServerBusy("the picture was not encoded; ask again"))


def _fail_from_here(future: Future[tuple[Masks, str]]) -> None:
    import sys

    _fail(future, sys.exc_info()[1])


def _be_nicer() -> None:
    """Lowers the priority of this thread where the system knows priorities of threads."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICER)
