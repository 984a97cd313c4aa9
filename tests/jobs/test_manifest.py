"""The manifest and the places that it lies in."""

from __future__ import annotations

import pytest

from anymask.errors import BadSetting
from anymask.jobs import manifest
from anymask.jobs.manifest import Entry, Item, Segments, extended, listed
from anymask.jobs.places import LocalFolder, pieces


@pytest.fixture
def place(tmp_path):
    return LocalFolder(tmp_path / "out")


def test_entries_of_many_writers_are_read_together_and_each_at_once(place):
    first, second = Segments(place, "a"), Segments(place, "b")
    for number in range(manifest.FULL + 3):
        first.add(Entry(f"x{number}", files=(f"x{number}.json",), facts={"masks": number}))
        if number == 1:
            assert sorted(listed(place)) == ["x0", "x1"]
    second.add(Entry("y", failed="it is a text"))
    found = listed(place)
    assert len(found) == manifest.FULL + 4 and found["x7"].facts == {"masks": 7} and found["y"].failed == "it is a text"
    assert sorted(listed(place, "b")) == ["y"]
    assert len(place.list(manifest.SEGMENTS)) == 3, "a full segment is followed by another"


def test_gathered_entries_are_written_when_there_are_enough(place):
    segments = Segments(place, "a", every=3)
    for name in "xy":
        segments.add(Entry(name))
    assert listed(place) == {}
    segments.add(Entry("z"))
    assert sorted(listed(place)) == ["x", "y", "z"]
    segments.add(Entry("w"))
    segments.flush()
    assert sorted(listed(place)) == ["w", "x", "y", "z"]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_done_counts_before_failed_whoever_wrote_it(place, order):
    Segments(place, order[0]).add(Entry("x", failed="no"))
    Segments(place, order[1]).add(Entry("x", files=("x.json",)))
    assert listed(place)["x"].failed is None


def test_a_damaged_line_counts_for_nothing(place):
    Segments(place, "a").add(Entry("x"))
    good = place.read(f"{manifest.SEGMENTS}/a-0.jsonl")
    place.write(f"{manifest.SEGMENTS}/b-0.jsonl", good[:20] + b"\n\xff\xfe\n[]\n{}\n" + good.replace(b'"x"', b'"y"'))
    assert sorted(listed(place)) == ["x", "y"]


def test_titles_may_hold_anything(place):
    title = 'größe "1"\n\udcff\u2028'
    Segments(place, "a").add(Entry(title))
    assert list(listed(place)) == [title]
    manifest.write_index(place, [Item(title, title, "/" + title)])
    assert manifest.read_index(place) == [Item(title, title, "/" + title)]


def test_the_list_grows_at_its_end_and_titles_stay_unique():
    known = [Item("a", "a.png", "/1/a.png")]
    wanted = [Item("A", "A.png", "/2/A.png"), Item("x", "a.png", "/1/a.png"), Item("job", "job.png", "/2/job.png")]
    titles = [one.title for one in extended(known, wanted, ["job"])]
    assert titles == ["a", "A-2", "job-2"]


def test_files_appear_whole_or_not_at_all(place):
    place.write("a/b.txt", b"old")

    def failing():
        yield b"new"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        place.write("a/b.txt", failing())
    assert place.read("a/b.txt") == b"old" and place.list(".anymask/unfinished") == []
    place.write("a/b.txt", iter([b"ne", b"w"]))
    assert place.read("a/b.txt") == b"new" and place.exists("a/b.txt") and not place.exists("a/c.txt")
    place.remove("a/b.txt")
    place.remove("a/b.txt")
    assert place.list("a") == [] and place.list("none") == []


def test_what_a_killed_writer_left_is_swept_away(place):
    place.write("a", b"")
    (place.root / ".anymask" / "unfinished" / "123").write_bytes(b"half")
    assert place.sweep() == 1 and place.list(".anymask/unfinished") == []


@pytest.mark.parametrize("name", ["../x", "/x", "a/../x", "", "a//b", "./a", "a\0"])
def test_no_name_leads_out_of_the_folder(place, name):
    with pytest.raises(BadSetting):
        place.write(name, b"")


def test_content_comes_in_large_pieces():
    found = list(pieces([b"abc"] * 10, 7))
    assert b"".join(found) == b"abc" * 10 and [len(one) for one in found] == [9, 9, 9, 3]
