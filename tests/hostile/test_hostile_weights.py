"""Whatever is given for a weights file loads as a model, or is refused in a sentence; nothing in it runs."""

from __future__ import annotations

import builtins
import io
import json
import math
import os
import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from endings import ends_well, hostile
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from anymask.models.catalogue import card
from anymask.models.load import load
from anymask.models.weights import read


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """What an honest file of the tiny row holds."""
    torch.manual_seed(0)
    return dict(card("sam-tiny-test").build().state_dict())


SAVERS = {
    "zip": torch.save,
    "legacy": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    "safetensors": lambda content, path: save_file(content, str(path)),
}


@pytest.fixture(scope="module")
def honest(place, state) -> dict[str, bytes]:
    """The same tensors in every container."""
    files = {}
    for kind, save in SAVERS.items():
        save(state, place / "honest")
        files[kind] = (place / "honest").read_bytes()
    return files


def reads(path: Path) -> None:
    tensors = ends_well(lambda: read(path))
    if tensors is not None:
        total = sum(tensor.nbytes for tensor in tensors.values())
        assert tensors and total <= 4 * path.stat().st_size
        # what is handed on can be used: to touch a lying tensor would end the process
        assert all(bool(torch.isfinite(tensor.float()).all()) for tensor in tensors.values() if not tensor.is_complex())


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.what = function, arguments

    def __reduce__(self) -> Any:
        return self.what


def payloads(mark: str) -> dict[str, Any]:
    """Calls that would leave a folder or a file named `mark`."""
    return {
        "mkdir": Call(os.mkdir, mark),
        "system": Call(os.system, f"touch '{mark}'"),
        "exec": Call(builtins.exec, f"open({mark!r}, 'w')"),
        "eval": Call(builtins.eval, f"open({mark!r}, 'w')"),
        "open": Call(builtins.open, mark, "w"),
        "map": Call(builtins.list, Call(builtins.map, os.mkdir, [mark])),
        "getattr": Call(Call(builtins.getattr, os, "mkdir"), mark)
        if False
        else Call(builtins.getattr, Path(mark), "touch"),
        "import": Call(builtins.__import__, "antigravity"),
        "loads": Call(pickle.loads, pickle.dumps(Call(os.mkdir, mark))),
        "torch.load": Call(torch.load, mark),
        "Path.touch": Call(Path.touch, Path(mark)),
        "hub": Call(torch.hub.load_state_dict_from_url, "file:///etc/passwd", mark),
    }


NAMES = sorted(payloads("x"))


@hostile(300)
@given(
    name=st.sampled_from(NAMES),
    around=st.sampled_from(["bare", "value", "key beside", "list", "model", "state_dict", "tuple", "nested"]),
    container=st.sampled_from(["zip", "legacy", "pickle", "zip with a payload"]),
    protocol=st.integers(2, 5),
    suffix=st.sampled_from([".pth", ".pt", ".bin", ".ckpt", ".safetensors", ""]),
)
def test_payloads_of_any_kind_never_run(place, name, around, container, protocol, suffix):
    mark = place / "it ran"
    payload = payloads(str(mark))[name]
    ones = torch.ones(2)
    content = {
        "bare": payload,
        "value": {"a": payload},
        "key beside": {"a": ones, "b": payload},
        "list": [ones, payload],
        "model": {"model": {"a": ones, "b": payload}, "epoch": 1},
        "state_dict": {"state_dict": {"a": ones}, "hyper": payload},
        "tuple": (payload,),
        "nested": {"a": {"b": {"c": [payload]}}},
    }[around]
    path = place / f"payload{suffix}"
    if container == "pickle":
        path.write_bytes(pickle.dumps(payload if around == "bare" else {"a": payload}, protocol))
    elif container == "zip with a payload":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({"a": payload}, protocol))
            archive.writestr("archive/version", "3\n")
    else:
        torch.save(content, path, _use_new_zipfile_serialization=container == "zip", pickle_protocol=protocol)
    assert ends_well(lambda: load(weights=path, device="cpu")) is None
    assert not mark.exists(), "code out of a weights file ran"


OPCODES = b"(.012FIJKMNPQRSTUVXabcdeghijlopqrstu}]G" + bytes(range(0x80, 0x96))
GLOBALS = [
    "cos\nsystem\n",
    "cbuiltins\neval\n",
    "ctorch._utils\n_rebuild_tensor_v2\n",
    "ccollections\nOrderedDict\n",
    "ctorch\nFloatStorage\n",
]


@hostile(250)
@given(
    body=st.lists(
        st.one_of(
            st.sampled_from(OPCODES).map(lambda code: bytes([code])),
            st.binary(max_size=4),
            st.sampled_from(GLOBALS).map(str.encode),
            st.sampled_from(
                [b"X\x02\x00\x00\x00id", b"K\x05", b"(lp0\n", b"\x8a\xff", b"B\xff\xff\xff\x7f", b"U\x03abc"]
            ),
        ),
        max_size=25,
    ),
    container=st.sampled_from(["pickle", "zip"]),
)
def test_pickles_of_random_opcodes(place, body, container):
    content = b"\x80\x02" + b"".join(body) + b"."
    path = place / "opcodes.pth"
    if container == "pickle":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3\n")
    reads(path)


@hostile(250)
@given(data=st.data())
def test_damaged_model_files(place, honest, data):
    kind = data.draw(st.sampled_from(sorted(honest)))
    content = bytearray(honest[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        # directories of names and sizes: the first bytes of safetensors and pickles, the last ones of ZIP
        where = data.draw(st.sampled_from(["start", "end", "anywhere"]))
        span = min(len(content), 3000)
        first = {"start": 0, "end": len(content) - span, "anywhere": 0}[where]
        last = {"start": span, "end": len(content), "anywhere": len(content)}[where]
        spot = data.draw(st.integers(first, last))
        content[spot : spot + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    keep = data.draw(st.sampled_from([1.0, 1.0, 0.999, 0.5, 0.01]))
    path = place / "damaged.pth"
    path.write_bytes(content[: int(keep * len(content))])
    reads(path)


wild = st.one_of(
    st.integers(-4, 40), st.sampled_from([2**31, 2**32, 2**62, 2**63, 2**64, 10**30, -1, 1.5, None, "8", True, [], {}])
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(
            ["F32", "F16", "BF16", "F64", "I64", "I8", "U8", "BOOL", "F8_E4M3", "X9", "", 5, None]
        ),
        "shape": st.one_of(st.lists(wild, max_size=4), wild),
        "data_offsets": st.one_of(st.lists(wild, max_size=3), wild),
        "extra": wild,
    },
)
whole = st.sampled_from(
    [
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        {"dtype": "F16", "shape": [8], "data_offsets": [16, 32]},
        {"dtype": "U8", "shape": [0], "data_offsets": [32, 32]},
    ]
)


@hostile(350)
@given(
    header=st.one_of(
        st.dictionaries(
            st.one_of(st.text(max_size=6), st.just("__metadata__")), st.one_of(entries, whole, wild), max_size=4
        ),
        st.lists(wild, max_size=3),
        wild,
    ),
    length=st.one_of(st.none(), st.none(), st.integers(0, 200), st.sampled_from([2**31, 2**63, 2**64 - 1])),
    body=st.integers(0, 64),
    padding=st.integers(0, 9),
)
def test_safetensors_headers_that_lie(place, header, length, body, padding):
    text = json.dumps(header).encode() + b" " * padding
    path = place / "header.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + bytes(body))
    reads(path)


record_changes = st.dictionaries(
    st.integers(0, 12), st.sampled_from(["rename", "double", "drop", "cut", "grow", "escape", "squeeze"]), max_size=3
)


@hostile(150)
@given(
    changes=record_changes,
    renamed=st.sampled_from(["x", "archive/data.pkl", "a/../../b", "ARCHIVE/VERSION", "archive/code/a.py"]),
    records=st.integers(1, 12),
    field=st.sampled_from([b"", b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04"]),
    offset=st.integers(4, 44),
    value=st.sampled_from([0, 1, 2**31, 2**32 - 1]),
)
def test_archives_with_records_that_lie(place, changes, renamed, records, field, offset, value):
    """Records renamed, doubled, left out, cut or lengthened; sizes in the ZIP's own directory changed."""
    path = place / "records.pth"
    torch.save({f"layer.{index}": torch.ones(4) for index in range(8)}, path)
    with zipfile.ZipFile(path) as old:
        held = [(name, old.read(name)) for name in old.namelist()]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as new:
        warnings.simplefilter("ignore")  # zipfile warns of doubled names
        for index, (name, content) in enumerate(held[: records + 4]):
            what = changes.get(index, "")
            if what == "drop":
                continue
            name = {"rename": renamed, "escape": "../" * 8 + "tmp/escaped"}.get(what, name)
            content = {"cut": content[: len(content) // 2], "grow": content + bytes(64)}.get(what, content)
            new.writestr(name, content, zipfile.ZIP_DEFLATED if what == "squeeze" else zipfile.ZIP_STORED)
            if what == "double":
                new.writestr(name, content)
    whole = bytearray(buffer.getvalue())
    if field and field in whole:
        spot = whole.find(field) + offset
        whole[spot : spot + 4] = struct.pack("<I", value)
    path.write_bytes(whole)
    reads(path)


CHANGES = (  # noqa: SIM905 - a list of 28 strings is no easier to read
    "drop add rename reshape transpose nan inf half bfloat double int8 bool complex float8 empty string none number "
    "sparse meta expand nested prefix parameter list huge zero-dim view"
).split()


def changed(state: dict[str, torch.Tensor], key: str, what: str) -> dict[str, Any]:
    """The state dict with one thing wrong, or only odd."""
    out: dict[str, Any] = dict(state)
    tensor = state[key]
    new = {
        "reshape": lambda: tensor.reshape(-1),
        "transpose": lambda: tensor.transpose(0, -1) if tensor.ndim else tensor,
        "nan": lambda: torch.full_like(tensor, math.nan),
        "inf": lambda: torch.full_like(tensor, math.inf),
        "half": tensor.half,
        "bfloat": tensor.bfloat16,
        "double": tensor.double,
        "int8": lambda: tensor.to(torch.int8),
        "bool": lambda: tensor > 0,
        "complex": lambda: tensor.to(torch.complex64),
        "float8": lambda: tensor.to(torch.float8_e4m3fn),
        "empty": lambda: tensor.new_empty(0),
        "string": lambda: "weights",
        "none": lambda: None,
        "number": lambda: 3.0,
        "sparse": lambda: tensor.to_sparse() if tensor.ndim else tensor,
        "meta": lambda: tensor.to("meta"),
        "expand": lambda: torch.ones(()).expand(tensor.shape),
        "nested": lambda: {key: tensor},
        "parameter": lambda: torch.nn.Parameter(tensor),
        "list": lambda: [tensor],
        "huge": lambda: torch.ones(()).expand(2**40),
        "zero-dim": lambda: torch.tensor(1.0),
        "view": lambda: torch.cat([tensor.reshape(-1), tensor.reshape(-1)])[: tensor.numel()].view(tensor.shape),
    }
    if what == "drop":
        del out[key]
    elif what == "add":
        out[f"{key}.more"] = torch.ones(2)
    elif what == "rename":
        out[key.replace(".", "_")] = out.pop(key)
    elif what == "prefix":
        return {f"module.{name}": value for name, value in out.items()}
    else:
        out[key] = new[what]()
    return out


@hostile(120)
@given(data=st.data())
def test_state_dicts_with_something_wrong(place, state, data):
    content: dict[str, Any] = state
    for _ in range(data.draw(st.integers(1, 2))):
        plain = {
            name: value
            for name, value in content.items()
            if isinstance(value, torch.Tensor) and value.layout == torch.strided
        }
        key = data.draw(
            st.sampled_from(sorted(name for name in plain if name in content and plain[name].device.type == "cpu"))
        )
        content = content | changed(plain, key, data.draw(st.sampled_from(CHANGES)))
    path = place / "wrong.pth"
    kind = data.draw(st.sampled_from(["zip", "legacy", "safetensors"]))
    try:
        SAVERS[kind](content, path)
    except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError, KeyError):
        return  # what its own library does not write is not met on a disk
    name = data.draw(st.sampled_from(["sam-tiny-test", "sam-tiny-test", None]))
    model = ends_well(lambda: load(name, weights=path, device="cpu"))
    if model is not None:
        assert model.card.name == "sam-tiny-test"
        for key, tensor in model.state_dict().items():
            assert tensor.dtype == torch.float32 and bool(torch.isfinite(tensor).all()), key


@hostile(150)
@given(
    name=st.one_of(
        st.none(),
        st.text(max_size=20),
        st.integers(),
        st.sampled_from(["sam-vit-q", "../x", "a\0b", b"x", 1.5, Path(), ["x"]]),
    ),
    weights=st.one_of(
        st.text(max_size=20),
        st.sampled_from([Path("/nonexistent"), "/dev/null", "/", 5, b"x", [], "a\0b", "x" * 4000, "/dev/zero"]),
    ),
    device=st.sampled_from(
        ["cpu", "auto", "tpu", "", "cuda:99", "cpu:7", None, 3, -1, "meta", b"cpu", torch.device("cpu")]
    ),
    dtype=st.sampled_from([None, "float32", "float16", "int8", "", 3, torch.int64, torch.bfloat16, float, [], {}]),
)
def test_arguments_of_load_of_any_kind(name, weights, device, dtype):
    assert ends_well(lambda: load(name, weights=weights, device=device, dtype=dtype)) is None
