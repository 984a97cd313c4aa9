"""`anymask everything --ray`: what a command line's names mean when some are buckets."""

from __future__ import annotations

from pathlib import Path

import pytest

from anymask.cli.clusters import found, refuse_urls, url_of
from anymask.errors import BadSetting


def test_a_bucket_is_recognised_after_a_path_took_one_of_its_slashes():
    assert url_of(Path("s3://bucket/masks")) == "s3://bucket/masks"
    assert url_of(Path("masks")) is None and url_of(Path("/a:/b")) is None and url_of(Path("c:/masks")) is None


def test_pictures_of_folders_and_buckets_are_one_list_with_titles_of_their_own(tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'anymask[ray]'")
    (tmp_path / "a.png").write_bytes(b"")
    fsspec.filesystem("memory").pipe("/shop/photos/a.png", b"1")
    fsspec.filesystem("memory").pipe("/shop/photos/b.jpg", b"2")
    items, problems = found(
        [str(tmp_path), "memory://shop/photos", "memory://shop/none"], recursive=False, out=tmp_path
    )
    assert [one.at for one in items] == [
        str(tmp_path / "a.png"),
        "memory:///shop/photos/a.png",
        "memory:///shop/photos/b.jpg",
    ]
    assert items[2].title == "b" and len({one.title for one in items}) == 3
    assert [str(one) for one in problems] == ["memory://shop/none holds no pictures"]


def test_a_bucket_without_a_cluster_is_refused(tmp_path):
    with pytest.raises(BadSetting, match="add --ray local"):
        refuse_urls(["s3://bucket/a.png"], tmp_path)
    with pytest.raises(BadSetting, match="s3://bucket/out is a bucket"):
        refuse_urls(["a.png"], Path("s3://bucket/out"))
    refuse_urls(["a.png"], tmp_path)
