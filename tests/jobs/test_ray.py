"""A job by Ray: the files of a run on one machine, whoever dies on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from killing import contents, pictures
from staged import Staged, items_of, job, ray_options
from steps import Light
from steps import job as local_job

from anymask.jobs.buckets import Bucket

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'anymask[ray]'")
pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'anymask[ray]'")

pytestmark = [
    pytest.mark.slow,
    # Ray's own: sockets and processes that it leaves to the collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*", "ignore::FutureWarning:ray.*"),
]

COUNT = 24
HERE = str(Path(__file__).parent)


@pytest.fixture
def temp():
    """A short path, since a socket's may have 107 characters only."""
    place = tempfile.mkdtemp(prefix="r", dir="/tmp")
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster():
    """Ray here with two cores, for all tests but that of a killed driver."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    # Ray's workers look for modules where it was started
    os.environ["PYTHONPATH"] = HERE
    place = tempfile.mkdtemp(prefix="r", dir="/tmp")
    ray.init(address="local", log_to_driver=False, **ray_options(place))
    yield
    ray.shutdown()
    del os.environ["PYTHONPATH"]
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Pictures, and a text that calls itself one."""
    return sorted(pictures(tmp_path_factory.mktemp("many") / "in", COUNT).iterdir())


@pytest.fixture(scope="module")
def expected(many, tmp_path_factory):
    """What the run on one machine leaves."""
    out = tmp_path_factory.mktemp("local") / "out"
    local_job(many, out)
    return contents(out)


def listed(out: Path) -> Counter:
    """How often each title is listed."""
    lines = [line for path in (out / ".anymask/manifest").glob("*.jsonl") for line in path.read_text().splitlines()]
    return Counter(json.loads(line)["title"] for line in lines)


def left(driver: int, out: Path) -> None:
    """Ends what Ray leaves of a killed driver: its group, and actors, whose processes the manifest tells."""
    costs = [
        json.loads(line)["cost"]
        for path in (out / ".anymask/manifest").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    with suppress(ProcessLookupError):
        os.killpg(driver, signal.SIGKILL)
    for number in {one[stage] for one in costs for stage in one}:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize("stage", ["first", "second"])
def test_an_actor_that_is_killed_costs_nothing(cluster, many, expected, tmp_path, stage):
    killed = []

    def kill(settled):
        if not killed and settled.entry.failed is None:
            killed.append(settled.entry.cost[stage])
            os.kill(killed[0], signal.SIGKILL)

    report, told = job(items_of(many), tmp_path / "out", recipe=Staged(pause=0.4), tell=kill)
    assert killed and len({one.entry.cost[stage] for one in told if one.entry.cost}) > 1, "another took over"
    assert contents(tmp_path / "out") == expected
    assert set(listed(tmp_path / "out").values()) == {1} and report.fresh == len(told) == COUNT + 1
    assert [one.title for one in report.failed] == ["bad"] and "bad.png is a text file" in report.failed[0].failed


def test_two_workers_share_work_of_one_stage(cluster, many, expected, tmp_path):
    report, _ = job(items_of(many), tmp_path / "out", recipe=Light(), workers=2)
    assert contents(tmp_path / "out") == expected and len(report.done) == COUNT


def test_a_local_run_is_gone_on_with_by_ray_and_the_other_way_round(cluster, many, expected, tmp_path):
    local_job(many[:9], tmp_path / "out")
    report, told = job(items_of(many[:17]), tmp_path / "out")
    assert len(told) == 8 and len(report.entries) == 17
    report, told = local_job(many, tmp_path / "out")
    assert len(told) == COUNT + 1 - 17 and contents(tmp_path / "out") == expected
    assert set(listed(tmp_path / "out").values()) == {1}


def test_an_image_that_kills_its_actor_each_time_is_noted_and_the_rest_is_done(cluster, many, tmp_path):
    deadly = tmp_path / "in" / "deadly.png"
    deadly.parent.mkdir()
    deadly.write_bytes(many[-1].read_bytes())
    report, _ = job(items_of([*many[:4], deadly]), tmp_path / "out")
    assert sorted(one.title for one in report.failed) == ["bad", "deadly"] and len(report.done) == 3
    assert "3 workers died of it" in next(one for one in report.failed if one.title == "deadly").failed


def test_pictures_and_results_may_lie_in_a_bucket(cluster, many, expected, tmp_path):
    items = [one.__class__(one.title, one.source, f"file://{one.at}") for one in items_of(many)]
    bucket = Bucket(f"file://{tmp_path / 'out'}")
    report, told = job(items[:10], bucket)
    assert len(told) == 10
    report, told = job(items, bucket)
    assert len(told) == COUNT + 1 - 10 and len(report.done) == COUNT
    got = contents(tmp_path / "out")
    assert got.keys() == expected.keys()
    assert all(got[name] == content for name, content in expected.items() if name.startswith(("parts/", "annot")))


def test_a_killed_driver_is_gone_on_with_on_one_machine(many, expected, tmp_path, temp):
    line = [sys.executable, f"{HERE}/staged.py", str(many[0].parent), str(tmp_path / "out"), temp]
    env = {**os.environ, "PYTHONPATH": HERE, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    said = (tmp_path / "said").open("wb")
    process = subprocess.Popen(line, start_new_session=True, stdout=said, stderr=said, env=env)
    last = time.monotonic() + 120
    try:
        while sum(listed(tmp_path / "out").values()) < 3 and process.poll() is None and time.monotonic() < last:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
        said.close()
        left(process.pid, tmp_path / "out")
    before = listed(tmp_path / "out")
    assert 3 <= sum(before.values()) < COUNT, (tmp_path / "said").read_text()
    _, told = local_job(many, tmp_path / "out")
    assert len(told) == COUNT + 1 - sum(before.values()) and not set(before) & {entry.title for entry, *_ in told}
    assert contents(tmp_path / "out") == expected
