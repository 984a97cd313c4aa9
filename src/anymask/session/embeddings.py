"""Embeddings kept: in memory up to a limit, and on disk with a fingerprint that refuses the wrong image or model."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from threading import Lock

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from anymask.errors import BadSetting, EmbeddingMismatch
from anymask.models.interface import Embedding, Model
from anymask.pixels.image import Image
from anymask.pixels.resize import Resize

FORMAT = "anymask-embedding-1"

_OURS = re.compile(r"[0-9a-f]{32}\.safetensors")


def fingerprint(image: Image, model: Model) -> dict[str, str]:
    """What an embedding depends on: the picture, the model, its weights and the precision it computes in."""
    return {
        "format": FORMAT,
        "image": image.digest,
        "model": model.card.name,
        "weights": model.weights,
        "precision": str(getattr(model, "compute_dtype", "")),
    }


def described(embedding: Embedding, image: Image, model: Model) -> dict[str, str]:
    """What is written beside the tensors of one image: its fingerprint and its map to the model's frame."""
    resize = embedding.resize[0]
    sizes = [resize.original, resize.resized, resize.padded]
    return fingerprint(image, model) | {"resize": json.dumps(sizes), "direct": json.dumps(resize.direct)}


def save(path: str | Path, embedding: Embedding, image: Image, model: Model) -> None:
    """Writes the embedding of one image as safetensors, whole or not at all."""
    path = Path(path)
    metadata = described(embedding, image, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in embedding.tensors.items()}
        save_file(tensors, temporary, metadata=metadata)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def read(path: str | Path, image: Image, model: Model) -> Embedding:
    """The embedding in a file that `save` wrote for this image and model.

    Raises EmbeddingMismatch when it is damaged or belongs to another image, model, weights or precision.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            for key, expected in fingerprint(image, model).items():
                if metadata.get(key) != expected:
                    raise EmbeddingMismatch(
                        f"{path} was made for another {key} ({metadata.get(key, 'none')!s:.20} instead of "
                        f"{expected:.20}); delete it and encode again"
                    )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            original, resized, padded = (tuple(size) for size in json.loads(metadata["resize"]))
            direct = json.loads(metadata.get("direct", "false")) is True
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        if isinstance(error, EmbeddingMismatch):
            raise
        raise EmbeddingMismatch(f"{path} is not an embedding that anymask wrote: {error}") from None
    device = getattr(model, "device", torch.device("cpu"))
    tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    return Embedding(tensors, (Resize(original, resized, padded, direct),), model.weights)


class EmbeddingCache:
    """The most recently used embeddings, at most `max_bytes` of them, and a folder of them on request.

    folder: where embeddings are also kept on disk. disk_bytes: the least recently used files there are deleted when
    they are more than this together; None never deletes any.
    Safe to share between threads.
    """

    def __init__(
        self, max_bytes: int = 256 * 2**20, folder: str | Path | None = None, disk_bytes: int | None = None
    ) -> None:
        for name, value in (("max_bytes", max_bytes), ("disk_bytes", disk_bytes)):
            if value is not None and value < 0:
                raise BadSetting(f"{name} must not be negative, got {value}")
        self.max_bytes = max_bytes
        self.disk_bytes = disk_bytes
        self.folder = None if folder is None else Path(folder)
        self._kept: OrderedDict[str, Embedding] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """Memory held now, in bytes."""
        return sum(embedding.nbytes for embedding in list(self._kept.values()))

    def encode(self, images: list[Image], model: Model) -> list[Embedding]:
        """One embedding an image; those not yet known are encoded in one pass."""
        keys = [self._key(image, model) for image in images]
        found = [self._find(key, image, model) for key, image in zip(keys, images, strict=True)]
        missing = [index for index, embedding in enumerate(found) if embedding is None]
        if missing:
            with torch.no_grad():
                batch = model.encode([images[index] for index in missing])
            for place, index in enumerate(missing):
                embedding = batch[place]
                if len(missing) > 1:
                    # a view would keep the whole batch alive behind the cache's back
                    tensors = {name: tensor.clone() for name, tensor in embedding.tensors.items()}
                    embedding = Embedding(tensors, embedding.resize, embedding.weights)
                found[index] = embedding
                self._keep(keys[index], embedding)
                if self.folder is not None:
                    save(self._path(keys[index]), embedding, images[index], model)
        if missing:
            self._tidy()
        return [embedding for embedding in found if embedding is not None]

    def in_memory(self, image: Image, model: Model) -> Embedding | None:
        """An embedding that costs nothing to have, or None: neither the disk nor the model is asked."""
        key = self._key(image, model)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def clear(self) -> None:
        """Forgets what is in memory; the folder stays."""
        with self._lock:
            self._kept.clear()

    def _key(self, image: Image, model: Model) -> str:
        text = json.dumps(fingerprint(image, model), sort_keys=True) + str(getattr(model, "device", ""))
        return hashlib.sha256(text.encode()).hexdigest()

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{key[:32]}.safetensors"

    def _find(self, key: str, image: Image, model: Model) -> Embedding | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if self.folder is not None and self._path(key).exists():
            embedding = read(self._path(key), image, model)
            self._keep(key, embedding)
            if self.disk_bytes is not None:
                with suppress(OSError):
                    os.utime(self._path(key))
            return embedding
        return None

    def _tidy(self) -> None:
        """Deletes the least recently used files of ours beyond `disk_bytes`; another process may do the same."""
        if self.folder is None or self.disk_bytes is None:
            return
        found = []
        for path in self.folder.glob("*.safetensors"):
            with suppress(OSError):
                about = path.stat()
                if _OURS.fullmatch(path.name):
                    found.append((about.st_mtime, about.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.disk_bytes:
                break
            with suppress(OSError):
                path.unlink()
            total -= size

    def _keep(self, key: str, embedding: Embedding) -> None:
        with self._lock:
            self._kept[key] = embedding
            self._kept.move_to_end(key)
            total = sum(kept.nbytes for kept in self._kept.values())
            while total > self.max_bytes and self._kept:
                _, dropped = self._kept.popitem(last=False)
                total -= dropped.nbytes


MEMORY = EmbeddingCache()
"""The cache that sessions share unless they are given their own."""
