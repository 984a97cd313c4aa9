"""Weights files of every honest form are read; every other one is refused with a sentence, and nothing in it runs."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import struct
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from anymask.errors import BadWeights
from anymask.models.weights import digest, read

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.0, -2.0]), "n": torch.tensor(7)}


class Payload:
    """A pickle that makes a folder when it is opened."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def same(read_back, state=STATE):
    return read_back.keys() == state.keys() and all(torch.equal(read_back[key], state[key]) for key in state)


def save_legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def save_wrapped(content, path):
    torch.save({"model": content, "epoch": 3, "optimizer": {"lr": (0.9, 0.99)}}, path)


def save_state_dict(content, path):
    torch.save({"state_dict": content, "note": "x"}, path)


def save_ordered(content, path):
    torch.save(
        collections.OrderedDict((key, torch.nn.Parameter(value.float())) for key, value in content.items()), path
    )


@pytest.mark.parametrize("save", [torch.save, save_legacy, save_wrapped, save_state_dict, save_file])
@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w"])
def test_every_honest_form_is_read_whatever_its_name(tmp_path, save, name):
    path = tmp_path / name
    save(STATE, str(path))
    assert same(read(path)) and same(read(str(path)))


def test_a_torch_file_named_safetensors_says_rename(tmp_path):
    torch.save(STATE, tmp_path / "w.safetensors")
    with pytest.raises(BadWeights, match=r"rename it to w\.pth"):
        read(tmp_path / "w.safetensors")


def test_parameters_come_back_as_plain_tensors(tmp_path):
    save_ordered(STATE, tmp_path / "w.pth")
    assert all(type(t) is torch.Tensor and not t.requires_grad for t in read(tmp_path / "w.pth").values())


def test_half_precision_is_kept_as_it_is(tmp_path):
    half = {"a": torch.randn(4).half(), "b": torch.randn(4).bfloat16()}
    save_file(half, str(tmp_path / "w.safetensors"))
    assert same(read(tmp_path / "w.safetensors"), half)


@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: {"a": p}, lambda p: {"model": {"a": torch.ones(2), "b": p}}])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_payload_never_runs(tmp_path, wrap, legacy):
    mark = tmp_path / "it ran"
    torch.save(wrap(Payload(mark)), tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(BadWeights, match="would run code out of the file"):
        read(tmp_path / "w.pth")
    assert not mark.exists()


def test_a_payload_in_a_bare_pickle_or_a_tar_never_runs(tmp_path):
    mark = tmp_path / "it ran"
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Payload(mark)))
    with tarfile.open(tmp_path / "tar.pth", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(Payload(mark))
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    for name in ("bare.pth", "tar.pth"):
        with pytest.raises(BadWeights):
            read(tmp_path / name)
    assert not mark.exists()


def test_a_torchscript_program_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather forget that it had these
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "w.pt"))
    with pytest.raises(BadWeights, match="TorchScript program"):
        read(tmp_path / "w.pt")


def test_objects_beside_tensors_are_named(tmp_path):
    torch.save({"model": STATE, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    with pytest.raises(BadWeights, match=r"argparse\.Namespace.*safetensors"):
        read(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "git-lfs pointer"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"\xef\xbb\xbf\n <html>", "web page"),
        (b'{"weight_map": {}}', "JSON"),
        (b"\x1f\x8b\x08\x00" + bytes(100), "compressed archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "neither"),
        (b"hello", "neither"),
        (b"PK\x03\x04" + bytes(30), "damaged"),
        (b"\x80\x02.", "damaged"),
        (b"\x80\x04\x95" + bytes(20), "damaged"),
        (struct.pack("<Q", 1 << 60) + b"{" + bytes(64), "damaged"),
        (struct.pack("<Q", 2) + b"{}", "no tensors"),
        (struct.pack("<Q", 17) + b'{"a":{"dtype":"F3', "damaged"),
    ],
)
def test_what_is_no_weights_file_is_named(tmp_path, content, message):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(BadWeights, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_zip_around_the_weights_says_unpack(tmp_path):
    torch.save(STATE, tmp_path / "inner.pt")
    with zipfile.ZipFile(tmp_path / "w.pt.zip", "w") as archive:
        archive.write(tmp_path / "inner.pt", "efficient_sam.pt")
    with pytest.raises(BadWeights, match="unpack it"):
        read(tmp_path / "w.pt.zip")


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(BadWeights, match="does not exist"):
        read(tmp_path / "nothing.pth")
    with pytest.raises(BadWeights, match="is a folder"):
        read(tmp_path)
    save_file(STATE, str(tmp_path / "model.safetensors"))
    with pytest.raises(BadWeights, match=r"for example .*model\.safetensors"):
        read(tmp_path)
    with pytest.raises(BadWeights, match="cannot be opened"):
        read("a\0b.pth")
    with pytest.raises(BadWeights, match="not a regular file"):
        read(os.devnull)
    with pytest.raises(BadWeights):
        read(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_one_may_not_read(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(STATE, path)
    path.chmod(0)
    with pytest.raises(BadWeights, match="Permission"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        (torch.ones(3), "holds a Tensor"),
        ({}, "no tensors"),
        ({"a": 1, "b": "x", "c": torch.ones(1)}, "2 entries that are not tensors"),
        ({1: torch.ones(1)}, "not tensors"),
        ({"model": {"model": {"model": {"model": {}}}}}, "not tensors"),
        ({"a": torch.tensor([1.0, float("nan")])}, r"NaN or infinity in 1 tensors \(a\)"),
        ({"a": torch.ones(2), "b": torch.tensor([float("inf")]).half()}, r"NaN or infinity in 1 tensors \(b\)"),
        ({"a": torch.ones(2, 2).to_sparse()}, "other than plain numbers"),
        ({"a": torch.empty(4, device="meta")}, "other than plain numbers"),
        ({"a": torch.ones(1).expand(1 << 40)}, "exhaust memory"),
        ({"a": torch.ones(1).expand(200, 200), "b": torch.ones(9)}, "exhaust memory"),
    ],
)
def test_contents_that_are_no_state_dict(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(BadWeights, match=message):
        read(tmp_path / "w.pth")


def test_large_finite_numbers_are_not_taken_for_infinity(tmp_path):
    state = {"a": torch.full((100,), 3e38), "b": torch.full((100,), 6e4).half()}
    torch.save(state, tmp_path / "w.pth")
    assert same(read(tmp_path / "w.pth"), state)


def rezip(source, target, change, compression=zipfile.ZIP_STORED):
    """Copy a torch file record by record, each passed through `change(name, bytes)`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))


def test_compressed_records_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "w.pth")
    rezip(tmp_path / "w.pth", tmp_path / "bomb.pth", lambda name, data: data, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bomb.pth").stat().st_size < 50_000
    with pytest.raises(BadWeights, match="compressed"):
        read(tmp_path / "bomb.pth")


@pytest.mark.parametrize("count", [b"K\xff", b"J\x00\x00\x00\x10"])
def test_a_tensor_that_claims_more_than_its_record_is_refused(tmp_path, count):
    torch.save({"a": torch.ones(16), "b": torch.ones(64)}, tmp_path / "w.pth")
    rezip(
        tmp_path / "w.pth",
        tmp_path / "lie.pth",
        lambda name, data: data.replace(b"K\x10", count) if name.endswith("data.pkl") else data,
    )
    with pytest.raises(BadWeights, match="damaged"):
        read(tmp_path / "lie.pth")


def test_a_pickle_that_unfolds_without_end_is_refused_at_once(tmp_path):
    bomb = b"\x80\x02}(X\x01\x00\x00\x00aK\x01\x85q\x00" + b"".join(
        b"h" + bytes([level]) + b"h" + bytes([level]) + b"\x86q" + bytes([level + 1]) for level in range(60)
    )
    torch.save(STATE, tmp_path / "w.pth")
    for tail in (b"h\x3c", b"h\x3cK\x01"):
        whole = bomb + tail + b"u."
        rezip(tmp_path / "w.pth", tmp_path / "b.pth", lambda name, d, w=whole: w if name.endswith("data.pkl") else d)
        (tmp_path / "bare.pth").write_bytes(whole)
        for name in ("b.pth", "bare.pth"):
            with pytest.raises(BadWeights):
                read(tmp_path / name)


@pytest.mark.parametrize("save", [torch.save, save_legacy, save_file])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.95, 0.999])
def test_a_truncated_file_is_refused(tmp_path, save, keep):
    state = {f"layer.{index}": torch.randn(50) for index in range(20)}
    path = tmp_path / "w"
    save(state, str(path))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(BadWeights):
        read(path)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    contents = []
    for save in (torch.save, save_legacy, save_file):
        save(STATE, str(folder / "w"))
        contents.append((folder / "w").read_bytes())
    return folder, contents


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_damage_whatever_gets_past_as_anything_but_a_typed_error(originals, data):
    folder, contents = originals
    content = bytearray(data.draw(st.sampled_from(contents)))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path = folder / "damaged"
    path.write_bytes(bytes(content))
    try:
        tensors = read(path)
    except BadWeights as error:
        assert str(path) in str(error) and len(str(error)) < 600
    else:
        # damage inside the numbers leaves other numbers, but never NaN, objects or more than the file holds
        assert all(torch.isfinite(tensor.float()).all() for tensor in tensors.values())


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"PK\x03\x04", b"\x10" + bytes(7) + b"{"]), rest=st.binary()
)
def test_random_bytes_are_refused(originals, start, rest):
    path = originals[0] / "random"
    path.write_bytes(start + rest)
    with pytest.raises(BadWeights):
        read(path)


def test_the_digest_follows_the_content(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(b"one")
    assert digest(path) == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert digest(path, "md5") == "f97c5d29941bfb1b2fdab0874906ab82"
    path.write_bytes(b"two!")
    assert digest(path) != "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


def test_the_digest_of_a_large_file_is_kept_between_processes(tmp_path, monkeypatch, own_home):
    from anymask.models import digest as room

    monkeypatch.setattr(room, "_WORTH_KEEPING", 1000)
    path = tmp_path / "w"
    path.write_bytes(np.arange(1000).tobytes())
    value = digest(path)
    monkeypatch.setattr(room, "_known", {})
    monkeypatch.setattr(room, "compute", lambda path, algorithm: pytest.fail("read again"))
    assert digest(path) == value
    (own_home / "digests.json").write_text("not json")
    monkeypatch.setattr(room, "_known", {})
    monkeypatch.setattr(room, "compute", lambda path, algorithm: value)
    assert digest(path) == value
