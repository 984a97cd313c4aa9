"""A folder run that is killed at random moments ends with the files of one that nobody disturbed."""

from __future__ import annotations

import random
import signal
import sys
import time

import pytest
from killing import Found, contents, ended, group, kill, outlived, pictures, rounds, start

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts processes in /proc")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(folder of pictures, the files of a run from beginning to end, seconds that it took)."""
    base = tmp_path_factory.mktemp("undisturbed")
    folder = pictures(base / "pictures", 30)
    begun = time.monotonic()
    ended(start(folder, base / "out", 0.01, 2))
    return folder, contents(base / "out"), time.monotonic() - begun


def test_killed_job_resumes_without_losing_doubling_or_tearing_anything(undisturbed, tmp_path):
    folder, expected, seconds = undisturbed
    assert {"annotations.json", "manifest.jsonl", "anymask-job.json"} < set(expected) and len(expected) == 63
    found = Found()
    for seed in range(10):
        found.add(rounds(folder, tmp_path / str(seed), expected, 4, seed, time.monotonic() + 60, seconds, pause=0.04))
        # a fast machine may be done before it is hit
        if seed > 0 and found.kills.total() >= 3:
            break
    assert found.faults == 0, found
    assert found.kills.total() >= 3, "nothing was killed"


def test_workers_end_with_a_coordinator_that_is_killed(undisturbed, tmp_path):
    folder, _, _ = undisturbed
    process = start(folder, tmp_path / "out", 5.0, 2)
    locks = tmp_path / "out" / ".anymask"
    while len(list(locks.glob("worker-*"))) < 2:
        time.sleep(0.02)
    assert len(group(process.pid)) >= 3
    kill(process, "coordinator", random.Random(0))
    process.communicate(timeout=30)
    assert outlived(process.pid) == [], "although they were in the middle of a picture"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_soon_and_leaves_nothing_unfinished(undisturbed, tmp_path, number):
    folder, expected, _ = undisturbed
    process = start(folder, tmp_path / "out", 0.2, 2)
    segments = tmp_path / "out" / ".anymask" / "manifest"
    while not (segments.is_dir() and any(segments.iterdir())):
        time.sleep(0.02)
    begun = time.monotonic()
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 3 and said == b"", "it says that it was stopped, without a traceback"
    assert time.monotonic() - begun < 5 and outlived(process.pid) == []
    assert list((tmp_path / "out" / ".anymask" / "unfinished").iterdir()) == []
    assert not (tmp_path / "out" / "annotations.json").exists()
    ended(start(folder, tmp_path / "out", 0.0, 2))
    assert contents(tmp_path / "out") == expected
