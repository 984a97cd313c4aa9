"""A job on a local folder: what it leaves, what it goes on with, and what it refuses."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import threading

import pytest
from killing import contents, pictures
from pycocotools.coco import COCO
from steps import Broken, Light, job

from anymask.errors import BadImage, BadSetting, NotWritten
from anymask.jobs import folder
from anymask.jobs.manifest import Item
from anymask.jobs.places import LocalFolder
from anymask.jobs.pool import WorkerFailed
from anymask.jobs.settings import JobSettings, Shares


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Six pictures and a text that calls itself one."""
    place = pictures(tmp_path_factory.mktemp("many") / "in", 6)
    return sorted(place.iterdir())


def test_a_folder_becomes_a_data_set_and_a_bad_file_is_reported(many, tmp_path):
    report, told = job(many, tmp_path / "out")
    assert len(report.done) == 6 and [one.title for one in report.failed] == ["bad"] and report.fresh == 7
    assert "bad.png is a text file" in report.failed[0].failed
    assert [(done, total) for _, done, total in told] == [(n, 7) for n in range(1, 8)]
    dataset = COCO(str(tmp_path / "out" / "annotations.json"))
    assert [one["file_name"] for one in dataset.loadImgs(dataset.getImgIds())] == [f"p{n:04d}.png" for n in range(6)]
    assert len(dataset.getAnnIds()) == 18
    rows = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [row["title"] for row in rows] == [path.stem for path in many]
    assert "failed" in rows[0] and rows[1]["files"] == ["parts/p0000.json"] and rows[1]["masks"] == 3


def test_a_job_that_is_done_does_nothing_again(many, tmp_path):
    job(many, tmp_path / "out")
    before = contents(tmp_path / "out")
    report, told = job(many, tmp_path / "out", recipe=Broken("die"))
    assert report.fresh == 0 and told == [] and len(report.entries) == 7, "no worker was started"
    assert contents(tmp_path / "out") == before


def test_what_failed_is_tried_again_on_request(many, tmp_path):
    mended = tmp_path / "in"
    mended.mkdir()
    for path in many:
        (mended / path.name).write_bytes(path.read_bytes())
    job(sorted(mended.iterdir()), tmp_path / "out")
    (mended / "bad.png").write_bytes(many[-1].read_bytes())
    assert len(job(sorted(mended.iterdir()), tmp_path / "out")[0].failed) == 1
    report, told = job(sorted(mended.iterdir()), tmp_path / "out", retry_failed=True)
    assert report.failed == [] and [entry.title for entry, *_ in told] == ["bad"]
    assert len(COCO(str(tmp_path / "out" / "annotations.json")).getImgIds()) == 7


def test_a_folder_that_grew_is_added_to_and_titles_stay(many, tmp_path):
    job(many[1:3], tmp_path / "out")
    other = tmp_path / "p0000.png"
    other.write_bytes(many[4].read_bytes())
    report, told = job([other, *many[1:4]], tmp_path / "out")
    assert sorted(entry.title for entry, *_ in told) == ["p0000-2", "p0002"] and len(report.done) == 4
    assert len(COCO(str(tmp_path / "out" / "annotations.json")).getImgIds()) == 4


def test_a_result_that_was_deleted_is_made_again(many, tmp_path):
    job(many, tmp_path / "out")
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "parts" / "p0002.json").unlink()
    report, _ = job(many, tmp_path / "out")
    assert report.fresh == 1 and contents(tmp_path / "out") == before


def test_other_settings_are_refused_with_what_differs(many, tmp_path):
    settings = JobSettings("coco", "lite", "abc", options={"points_per_side": 32, "max_masks": None})
    job(many[1:2], tmp_path / "out", settings=settings)
    before = contents(tmp_path / "out")
    other = JobSettings("coco", "lite", "abd", options={"points_per_side": 16, "max_masks": 9}, tile=64)
    with pytest.raises(BadSetting) as caught:
        job(many[1:2], tmp_path / "out", settings=other)
    text = str(caught.value)
    for part in (
        "points_per_side was 32 and is 16 now",
        "max_masks was not set and is 9 now",
        "the weights are others",
    ):
        assert part in text
    assert "tile was not set and is 64 now" in text and "--overwrite" in text and "lite" not in text
    assert contents(tmp_path / "out") == before


def test_starting_anew_removes_an_earlier_jobs_files_and_no_others(many, tmp_path):
    job(many, tmp_path / "out")
    (tmp_path / "out" / "mine.txt").write_text("mine")
    report, _ = job(many, tmp_path / "out", recipe=Light("sa1b"), overwrite=True)
    assert report.fresh == 7
    names = {"manifest.jsonl", "anymask-job.json", "mine.txt", *(f"p{n:04d}.json" for n in range(6))}
    assert set(contents(tmp_path / "out")) == names


def test_two_runs_at_once_on_one_folder_are_refused(many, tmp_path):
    refused = []

    def second(settled, done, total):
        def try_it():
            with pytest.raises(NotWritten, match="another run is at work") as caught:
                job(many, tmp_path / "out")
            refused.append(caught.value)

        if done == 1:
            thread = threading.Thread(target=try_it)
            thread.start()
            thread.join()

    job(many, tmp_path / "out", tell=second)
    assert len(refused) == 1


def test_results_among_the_pictures_are_refused(many):
    with pytest.raises(BadSetting, match="another folder"):
        job(many, many[0].parent)


def test_a_surprise_and_a_deadly_picture_cost_no_other(many, tmp_path):
    mixed = tmp_path / "in"
    mixed.mkdir()
    for name in ("deadly.png", "odd.png", "fine1.png", "fine2.png", "fine3.png"):
        (mixed / name).write_bytes(many[1].read_bytes())
    report, _ = job(sorted(mixed.iterdir()), tmp_path / "out")
    failed = {one.title: one.failed for one in report.failed}
    assert sorted(failed) == ["deadly", "odd"] and len(report.done) == 3
    assert "ended 2 times, killed by SIGKILL" in failed["deadly"] and "ZeroDivisionError: odd" in failed["odd"]
    again, told = job(sorted(mixed.iterdir()), tmp_path / "out")
    assert told == [] and len(again.failed) == 2, "they are in the manifest, and not tried again unasked"


@pytest.mark.parametrize(("how", "error", "text"), [("raise", BadImage, "no step"), ("die", WorkerFailed, "code 7")])
def test_a_step_that_cannot_be_made_ends_the_run(many, tmp_path, how, error, text):
    with pytest.raises(error, match=text):
        job(many, tmp_path / "out", recipe=Broken(how))
    report, _ = job(many, tmp_path / "out")
    assert len(report.done) == 6


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="limits file sizes by the system's means")
def test_a_full_disc_is_a_typed_error_and_the_job_goes_on_afterwards(many, tmp_path):
    with pytest.raises(NotWritten, match=r"disc of .* is full; free some space and give the same command again"):
        job(many, tmp_path / "out", recipe=Full())
    assert list((tmp_path / "out" / ".anymask" / "unfinished").iterdir()) == []
    report, told = job(many, tmp_path / "out")
    assert len(report.done) == 6 and len(told) >= 1
    job(many, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


class Full(Light):
    """Light work in a process for which the disc is full when the third file comes."""

    def __call__(self):
        step = super().__call__()
        real, count = os.fsync, []

        def fsync(number):
            count.append(number)
            if len(count) > 4:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(number)

        os.fsync = fsync
        return step


def test_a_place_that_cannot_be_written_says_so(many, tmp_path):
    (tmp_path / "wall").write_text("")
    for out in (tmp_path / "wall", tmp_path / "wall" / "out"):
        with pytest.raises((BadSetting, NotWritten), match="wall"):
            job(many, out)


def test_a_name_that_the_file_system_refuses_is_a_failed_picture(many, tmp_path):
    items = [Item("x" * 300, "p.png", str(many[1])), Item("y", "q.png", str(many[2]))]
    report = folder.run(items, tmp_path / "out", JobSettings("sa1b"), lambda *_: Light("sa1b"), Shares(1, 8), workers=1)
    assert [one.title for one in report.done] == ["y"] and "too long" in report.failed[0].failed


def test_damaged_files_of_a_job_are_one_sentence(many, tmp_path):
    job(many[1:2], tmp_path / "out")
    for name, text in ((".anymask/images.jsonl", "damaged"), ("anymask-job.json", "cannot be read")):
        LocalFolder(tmp_path / "out").write(name, b"{")
        with pytest.raises(BadSetting, match=text):
            job(many[1:2], tmp_path / "out")
    assert len(job(many[1:2], tmp_path / "out", overwrite=True)[0].done) == 1


def test_starting_anew_can_be_broken_off_anywhere(many, tmp_path, monkeypatch):
    job(many[:3], tmp_path / "out", workers=1)
    before = contents(tmp_path / "out")
    real, count, limit = LocalFolder.remove, [0], [0]

    def remove(self, path):
        count[0] += 1
        if count[0] > limit[0]:
            raise KeyboardInterrupt
        real(self, path)

    for stop in (0, 1, 2, 4, 5, 6, 7):
        count[0], limit[0] = 0, stop
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(LocalFolder, "remove", remove)
            folder.clear(LocalFolder(tmp_path / "out"))
        job(many[:3], tmp_path / "out", workers=1)
        assert contents(tmp_path / "out") == before
    folder.clear(LocalFolder(tmp_path / "out"))
    assert contents(tmp_path / "out") == {}


def test_a_killed_worker_is_replaced_and_fewer_go_on(many, tmp_path):
    mixed = tmp_path / "in"
    mixed.mkdir()
    for number, path in enumerate(many[1:] * 2):
        (mixed / f"{number:02d}.png").write_bytes(path.read_bytes())
    report, _ = job(sorted(mixed.iterdir()), tmp_path / "out", recipe=Once(mark=str(tmp_path / "mark")))
    assert len(report.done) == 12 and report.failed == []


@dataclasses.dataclass(frozen=True)
class Once(Light):
    """Light work whose first picture kills its worker, once. mark: a file that says that it was."""

    mark: str = ""

    def __call__(self):
        step = super().__call__()

        def once(item):
            try:
                os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return step(item)
            os.kill(os.getpid(), 9)

        return once
