"""Watches over the cases: none may hang, and all together take little memory."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from endings import ENDED, SECONDS

MEMORY = 1 << 30
"""Bytes that the process may grow by over all cases."""


@pytest.fixture(autouse=True, scope="session")
def watched() -> Iterator[None]:
    """Stops a case that hangs, and counts the memory."""

    def hangs(number: int, frame: Any) -> None:
        raise TimeoutError(f"a case took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, hangs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    signal.signal(signal.SIGALRM, before)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    unit = 1 if sys.platform == "darwin" else 1024
    # other tests of a worker count as well; by itself this folder needs a tenth
    if "PYTEST_XDIST_WORKER" not in os.environ:
        assert grown * unit < MEMORY, f"the process grew by {grown * unit >> 20} MiB"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if ENDED:
        parts = ", ".join(f"{count:,} {what}" for what, count in sorted(ENDED.items()))
        terminalreporter.write_line(f"hostile cases: {sum(ENDED.values()):,} ({parts})")
