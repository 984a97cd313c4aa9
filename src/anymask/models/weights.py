"""Reading weights files without trusting them, and putting their tensors into a model without guessing.

A file is known by its first bytes, not by its name. Nothing in it is ever executed: pickles are read by torch's
restricted reader (weights_only), after their shape was checked; programs (TorchScript), archives and tar are refused.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anymask.errors import BadWeights
from anymask.models.card import Card
from anymask.models.digest import digest
from anymask.models.layout import arrange, complaint, expected_shapes, leaves_out

__all__ = ["apply", "digest", "read"]

WRAPPERS = ("model", "state_dict", "model_state_dict", "model_state", "ema", "params")
"""Keys under which training scripts keep the state dict, beside optimiser and epoch."""

_LARGEST_PICKLE = 64 << 20
"""Bytes; the pickle of ViT-H's 594 tensors has 0.2 MB."""
_LARGEST_TREE = 10_000_000
_LEGACY_PICKLES = 5
"""Magic number, protocol, system, state dict and storage keys follow each other in files older than torch 1.6."""


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weights file, on the CPU, by their names in the file.

    path: .safetensors, or .pth/.pt of any torch version, plain or wrapped ({"model": ...} and the like).
    Raises BadWeights with one sentence for anything else: no such file, a folder, a web page, a git-lfs pointer, a cut
    or damaged file, a program or objects in the pickle, NaN, or more numbers declared than the file holds.
    """
    path = Path(path).expanduser()
    size, start = _look(path)
    reader = _reader(path, start)
    try:
        with warnings.catch_warnings():
            # torch warns about its own old storage classes while it reads old files
            warnings.simplefilter("ignore")
            content = reader(path)
    except BadWeights:
        raise
    except pickle.UnpicklingError as error:
        raise BadWeights(_not_only_tensors(path, str(error))) from None
    except Exception as error:  # a hostile file can raise anything; all of it means the same to the user
        raise BadWeights(f"{path} is damaged or cut off and cannot be read ({_short(error)})") from None
    tensors = _unwrap(path, content)
    _check(path, size, tensors)
    return tensors


def apply(model: nn.Module, card: Card, tensors: Mapping[str, Tensor]) -> None:
    """Put `tensors` into `model`, strictly: every parameter and buffer is set, every tensor is used.

    Official and Hugging Face key layouts are both taken (`Card.rename`); half precision is widened to the model's own.
    A part that the file may leave out as a whole, and does, is None afterwards (`Card.optional`).
    Raises BadWeights that counts and names what is missing, unexpected and misshapen, and names the model that fits.
    """
    expected = expected_shapes(model)
    arranged = arrange(card, tensors, expected)
    if leaves_out(card, arranged):
        setattr(model, card.optional, None)
        expected = expected_shapes(model)
    wrong = complaint(card, arranged, expected, tensors)
    if wrong:
        raise BadWeights(wrong)
    state = model.state_dict()
    for name, tensor in arranged.items():
        if state[name].is_floating_point() != tensor.is_floating_point():
            raise BadWeights(
                f"{name} holds {_type(tensor)} where {card.name} needs {_type(state[name])}; is the file quantised?"
            )
    model.load_state_dict(dict(arranged), strict=True)


def _look(path: Path) -> tuple[int, bytes]:
    """Size and first bytes of a regular file."""
    try:
        if path.is_dir():
            inside = next(iter(sorted([*path.glob("*.safetensors"), *path.glob("*.pt*")])), None)
            hint = f", for example {inside}" if inside else ""
            raise BadWeights(f"{path} is a folder; name the weights file in it{hint}")
        if not path.is_file():
            kind = "is not a regular file" if path.exists() else "does not exist"
            raise BadWeights(f"the weights file {path} {kind}")
        with path.open("rb") as file:
            return path.stat().st_size, file.read(512)
    except (OSError, ValueError) as error:
        # ValueError: a path with a zero byte in it
        reason = getattr(error, "strerror", None) or error
        name = str(path) if len(str(path)) <= 200 else "..." + str(path)[-197:]
        raise BadWeights(f"the weights file {name!r} cannot be opened: {reason}") from None


def _reader(path: Path, start: bytes) -> Any:
    """The function that reads this kind of file."""
    if not start:
        raise BadWeights(f"{path} is empty; was its download broken off?")
    if start.startswith(b"version https://git-lfs"):
        raise BadWeights(f"{path} is a git-lfs pointer, not the weights; run 'git lfs pull' beside it")
    if start[8:9] == b"{":
        return load_file
    if start.startswith(b"PK\x03\x04") or start[:1] == b"\x80":
        if path.suffix == ".safetensors":
            # torch.load goes by the name here and would misread it
            raise BadWeights(f"{path} is a torch file under a wrong name; rename it to {path.stem}.pth")
        return _read_zip if start[:1] == b"P" else _read_legacy
    if start[257:262] == b"ustar":
        raise BadWeights(f"{path} is a tar archive (or a torch file older than 0.1.10), which is not read; unpack it")
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if text == b"<":
        raise BadWeights(f"{path} is a web page, not weights; the download needs another address, or a sign-in")
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")):
        raise BadWeights(f"{path} is a compressed archive; unpack it and name the weights file inside")
    if text in (b"{", b"["):
        raise BadWeights(f"{path} is JSON text, not weights; name the .safetensors or .pth file it describes")
    if start[:4] == b"\x08\x00\x00\x00" or b"onnx" in start[:64]:
        raise BadWeights(f"{path} looks like an exported graph (ONNX); the weights as .pth or .safetensors are needed")
    raise BadWeights(f"{path} is neither a .safetensors nor a torch (.pth, .pt) file")


def _read_zip(path: Path) -> Any:
    """A torch file of today: a ZIP of one pickle and one uncompressed record a tensor."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        names = [record.filename for record in records]
        pickles = [record for record in records if re.fullmatch(r"[^/]*/data\.pkl", record.filename)]
        if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
            raise BadWeights(f"{path} is a TorchScript program, which would run its own code; the state dict is needed")
        if len(pickles) != 1:
            raise BadWeights(f"{path} is a ZIP archive, not a torch file; unpack it and name the weights file inside")
        # torch stores records as they are; compression or overlap is how a small file claims to be a huge one
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise BadWeights(f"{path} holds compressed records, which torch never writes; it is not opened")
        if sum(record.file_size for record in records) > path.stat().st_size:
            raise BadWeights(f"{path} declares more bytes than it has; it is cut off or made to exhaust memory")
        if pickles[0].file_size > _LARGEST_PICKLE:
            raise BadWeights(f"{path} has a pickle of {pickles[0].file_size:,} bytes, too large for a state dict")
        with archive.open(pickles[0]) as file:
            _walk(path, file)
    # mmap: records become slices of the file, so a lying size cannot reach beyond it, and nothing is copied twice
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _read_legacy(path: Path) -> Any:
    """A torch file from before 1.6: pickles, then the bytes of the storages."""
    with path.open("rb") as file:
        for _ in range(_LEGACY_PICKLES):
            if not file.read(1):
                break
            file.seek(-1, 1)
            _walk(path, file)
    return torch.load(path, map_location="cpu", weights_only=True)


def _walk(path: Path, file: IO[bytes]) -> None:
    """Go through a pickle without building anything; refuse one that unfolds into far more than its bytes.

    Tuples that hold one tuple twice, 50 levels deep, fit into 300 bytes and keep hash() busy for years.
    """
    stack: list[Any] = []
    memo: dict[Any, int] = {}
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
            continue
        if name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
            continue
        if name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
            continue
        size = 1
        before = opcode.stack_before
        if pickletools.markobject in before:
            while stack[-1] is not pickletools.markobject:
                size += stack.pop()
            stack.pop()
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            size += stack.pop()
        if size > _LARGEST_TREE:
            raise BadWeights(f"{path} holds a pickle that unfolds without end; it is made to exhaust the machine")
        stack.extend(what if what is pickletools.markobject else size for what in opcode.stack_after)


def _unwrap(path: Path, content: Any) -> dict[str, Tensor]:
    """The state dict in what a file held."""
    for _ in range(3):
        inner = next((content[key] for key in WRAPPERS if _is_wrapper(content, key)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise BadWeights(f"{path} holds a {type(content).__name__} where a state dict (names to tensors) is needed")
    odd = [str(key) for key, value in content.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if odd:
        first = ", ".join(odd[:3])
        raise BadWeights(f"{path} holds {len(odd)} entries that are not tensors ({first}); is it a state dict?")
    if not content:
        raise BadWeights(f"{path} holds no tensors")
    return {key: value.detach() for key, value in content.items()}


def _is_wrapper(content: Any, key: str) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(key), Mapping)


def _check(path: Path, size: int, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not plain, lie about their size, or are not finite."""
    total = 0
    broken = []
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu" or tensor.is_nested:
            form = f"{_type(tensor)}, {tensor.layout}, {tensor.device}"
            raise BadWeights(f"{path} holds {name} in a form other than plain numbers ({form})")
        total += tensor.numel() * tensor.element_size()
        # a stride of zero lets four bytes claim to be terabytes; tied weights are the only honest reason for a little
        if tensor.numel() * tensor.element_size() > size or total > 4 * size:
            raise BadWeights(f"{path} declares {total:,} bytes of tensors and has {size:,}; it would exhaust memory")
        if not _finite(tensor):
            broken.append(name)
    if broken:
        first = ", ".join(broken[:3])
        raise BadWeights(f"{path} holds NaN or infinity in {len(broken)} tensors ({first}); it is damaged")


def _finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if tensor.element_size() == 1:
        tensor = tensor.float()  # 8-bit floats cannot be summed
    # one sum is several times cheaper than a mask of all elements, and any NaN or infinity survives it
    wide = tensor.dtype if tensor.is_complex() else torch.float32
    return bool(torch.isfinite(tensor.sum(dtype=wide))) or bool(torch.isfinite(tensor).all())


def _not_only_tensors(path: Path, message: str) -> str:
    found = re.search(r"GLOBAL ([\w.]+)|[Uu]nsupported (?:global|class)\W+(?:GLOBAL )?([\w.]+)", message)
    what = f" ({found.group(1) or found.group(2)})" if found else ""
    return (
        f"{path} holds more than tensors{what}, and reading that would run code out of the file; "
        "ask its author for a .safetensors file or a plain state dict"
    )


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
