"""What a session needs before it begins: a model that follows objects, and a folder of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from filelock import FileLock, Timeout

from anymask.errors import BadSetting, NotWritten
from anymask.models.load import load
from anymask.models.video import VideoModel

DEFAULT = "anymask-lite-video"
"""The model inside, for clips."""


def following_model(model: VideoModel | str | None) -> VideoModel:
    """A model, or the one of a name; none means the model inside. Raises BadSetting, where it follows nothing."""
    loaded: object = load(model or DEFAULT) if model is None or isinstance(model, str) else model
    if not isinstance(loaded, VideoModel):
        name = getattr(getattr(loaded, "card", None), "name", type(loaded).__name__)
        raise BadSetting(f"{name} answers single pictures; following objects takes a model such as sam2.1-hiera-tiny")
    return loaded


def device_of(model: VideoModel) -> torch.device:
    """Where a model is."""
    return torch.device(getattr(model, "device", "cpu"))


def locked(folder: Path) -> FileLock:
    """A folder, made where it is not there, and its lock, held. Raises NotWritten."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise NotWritten(f"the folder {folder} is in use by another run; wait for it, or give another folder") from None
    except OSError as error:
        raise NotWritten(f"the folder {folder} cannot be written: {error.strerror or error}") from error
    return lock
