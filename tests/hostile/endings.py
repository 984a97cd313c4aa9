"""What a hostile case must end in: an answer, or one sentence of a typed error, and soon."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

from anymask.errors import AnymaskError

PLANNED: Counter[str] = Counter()
"""Generated cases by test."""
ENDED: Counter[str] = Counter()
"""What they ended in."""

SECONDS = 30
"""After so long, on whatever machine, a case hangs."""
INSIDE = ("Traceback", "RuntimeError", "TypeError", "ValueError", "aten::", "c10::", "numpy.core", "INTERNAL ASSERT")
"""What no sentence for a person holds."""


def hostile(cases: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Settings of a test of so many generated cases, the same ones on each run."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        PLANNED[f"{test.__module__}.{test.__name__}"] = cases
        apply = settings(
            max_examples=cases, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        marked: Callable[..., None] = apply(test)
        return marked

    return mark


def ends_well(call: Callable[[], Any]) -> Any:
    """The answer of a call, or None after a typed error with a sentence; anything else fails the test."""
    signal.alarm(SECONDS)
    try:
        answer = call()
    except AnymaskError as error:
        sentence = str(error)
        assert 10 <= len(sentence) <= 1200 and "\n" not in sentence.strip(), repr(sentence)
        assert not any(word in sentence for word in INSIDE), sentence
        ENDED["typed errors"] += 1
        return None
    finally:
        signal.alarm(0)
    ENDED["answers"] += 1
    return answer
