"""Buckets as places of results: the behaviours of a folder, through fsspec."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import uuid

import pytest

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'anymask[ray]'")

from anymask.errors import BadSetting, NotWritten  # noqa: E402
from anymask.jobs import manifest  # noqa: E402
from anymask.jobs.buckets import Bucket, pictures, place_of, read_url  # noqa: E402
from anymask.jobs.manifest import Entry, Item, Segments  # noqa: E402
from anymask.jobs.places import LocalFolder  # noqa: E402


@pytest.fixture(params=["memory", "file", "folder"])
def place(request, tmp_path):
    """A place of each kind, empty: the same is asked of all."""
    if request.param == "memory":
        return Bucket(f"memory://{uuid.uuid4().hex}/out")
    return Bucket(f"file://{tmp_path}/out") if request.param == "file" else LocalFolder(tmp_path / "out")


def test_what_is_written_is_read_and_replaced(place):
    place.write("a/b.json", b"one")
    place.write("a/b.json", b"two")
    place.write("a/c.json", iter([b"th", b"ree"]))
    place.write("a/deep/d.json", b"")
    assert place.read("a/b.json") == b"two" and place.read("a/c.json") == b"three"
    assert place.exists("a/b.json") and not place.exists("a/x.json") and not place.exists("a")
    assert place.list("a") == ["a/b.json", "a/c.json"] and place.list("none") == []
    place.remove("a/b.json")
    place.remove("a/b.json")
    assert place.list("a") == ["a/c.json"]
    with pytest.raises(FileNotFoundError):
        place.read("a/b.json")


def test_content_that_fails_on_the_way_leaves_the_older_file(place):
    def broken():
        yield b"new"
        raise ZeroDivisionError

    place.write("all.json", b"old")
    with pytest.raises(ZeroDivisionError):
        place.write("all.json", broken())
    assert place.read("all.json") == b"old"
    with pytest.raises(ZeroDivisionError):
        place.write("fresh.json", broken())
    assert not place.exists("fresh.json")


@pytest.mark.parametrize("path", ["", "/a", "../a", "a/../../b", "a//b", "a\0b"])
def test_names_that_lead_out_are_refused(place, path):
    with pytest.raises(BadSetting, match="no name for a file"):
        place.write(path, b"")


def test_the_manifest_lies_in_a_bucket_as_in_a_folder(place):
    manifest.write_index(place, [Item("p", "p.png", "s3://b/p.png")])
    segments = Segments(place, "t", every=2)
    segments.add(Entry("p", None, ("p.json",)))
    assert manifest.listed(place) == {}
    segments.add(Entry("q", "broken"))
    assert manifest.listed(place).keys() == {"p", "q"}
    assert manifest.read_index(place) == [Item("p", "p.png", "s3://b/p.png")]


def test_a_place_goes_to_other_processes():
    url = f"memory://{uuid.uuid4().hex}"
    place = Bucket(url)
    place.write("a", b"1")
    assert pickle.loads(pickle.dumps(place)).read("a") == b"1" and str(place) == url


def test_pictures_of_a_bucket_are_found_by_their_endings(tmp_path):
    root = f"memory://{uuid.uuid4().hex}"
    place = Bucket(root)
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "more/c.png", ".trash/d.png"):
        place.write(name, name.encode())
    assert [one.rpartition("/")[2] for one in pictures(root, (".png", ".jpg"))] == ["a.png", "b.JPG"]
    deep = pictures(root, (".png", ".jpg"), recursive=True)
    assert len(deep) == 3 and read_url(deep[-1]) == b"more/c.png"
    assert pictures(deep[0], (".png",)) == [deep[0]]


def test_a_url_is_a_bucket_and_a_path_is_a_folder(tmp_path):
    assert isinstance(place_of("memory://x"), Bucket) and isinstance(place_of(str(tmp_path)), LocalFolder)


def test_an_unknown_protocol_is_told():
    with pytest.raises(BadSetting, match="nosuch"):
        Bucket("nosuch://bucket/out").read("a")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_takes_nothing_says_so(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(NotWritten, match="give the same command again"):
        Bucket(f"file://{tmp_path}/out").write("a", b"")


def test_nothing_optional_is_loaded_before_it_is_needed():
    line = "import sys, anymask.jobs.buckets, anymask.jobs.ray_pipeline; print({'ray', 'fsspec'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"
