"""Where weights may already lie on this machine: our own folder, the package, and the caches of other tools.

Source for the other tools' folders: their documentation, gathered in the project's survey of conventions.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from anymask.models.card import WeightFile

HUB = "https://huggingface.co"
_YES = {"1", "true", "yes", "on"}


def home() -> Path:
    """The folder that anymask keeps files in: ANYMASK_HOME, else anymask/ in the user's cache folder."""
    own = os.environ.get("ANYMASK_HOME")
    return Path(own).expanduser() if own else _user_cache() / "anymask"


def own_place(file: WeightFile, root: Path | None = None) -> Path:
    """Where a downloaded file goes, and where a person puts it by hand."""
    return (root or home()) / "weights" / file.name


def offline() -> str:
    """The variable that forbids the network, ANYMASK_OFFLINE or HF_HUB_OFFLINE; "" when none does."""
    return next((v for v in ("ANYMASK_OFFLINE", "HF_HUB_OFFLINE") if os.environ.get(v, "").lower() in _YES), "")


def hub_endpoint() -> str:
    """The hub or its mirror: HF_ENDPOINT."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def hub_parts(url: str) -> tuple[str, str, str]:
    """ "hf:owner/repo/path" to (kind, "owner/repo", path); kind is "models" or "spaces"."""
    parts = url.removeprefix("hf:").split("/")
    kind = parts.pop(0) if parts[0] in ("spaces", "models") else "models"
    return kind, "/".join(parts[:2]), "/".join(parts[2:])


def web_address(url: str) -> str:
    """The http(s) address of a WeightFile.url or mirror; "" for one that is not on the web."""
    if url.startswith("hf:"):
        kind, repo, path = hub_parts(url)
        return f"{hub_endpoint()}/{'spaces/' if kind == 'spaces' else ''}{repo}/resolve/main/{path}"
    return url if url.startswith(("http://", "https://")) else ""


def packaged(file: WeightFile) -> Path | None:
    """The file inside the installed anymask ("package:") or another installed package ("pypi:"), if it is there."""
    scheme, _, rest = file.url.partition(":")
    if scheme == "package":
        place = Path(str(files("anymask"))).joinpath(rest)
        return place if place.is_file() else None
    if scheme == "pypi":
        _, module, path = rest.split("/", 2)
        # find_spec of a top-level name looks without importing: the other package's code does not run
        spec = importlib.util.find_spec(module)
        folders = (spec.submodule_search_locations or []) if spec else []
        return next((place for folder in folders if (place := Path(folder) / path).is_file()), None)
    return None


def elsewhere(file: WeightFile) -> Iterator[tuple[Path, str]]:
    """(path, whose cache) of files with the right name in the caches of other tools; content unchecked."""
    for url in (file.url, *file.mirrors):
        if url.startswith("hf:"):
            kind, repo, path = hub_parts(url)
            folder = _hub_cache() / f"{kind}--{repo.replace('/', '--')}" / "snapshots"
            for snapshot in sorted(folder.glob("*")):
                yield snapshot / path, "the Hugging Face cache"
    torch_home = os.environ.get("TORCH_HOME")
    torch_cache = Path(torch_home).expanduser() if torch_home else _user_cache() / "torch"
    yield torch_cache / "hub" / "checkpoints" / file.name, "the torch cache"
    micro_sam = os.environ.get("MICROSAM_CACHEDIR")
    micro_cache = Path(micro_sam).expanduser() if micro_sam else _user_cache() / "micro_sam"
    yield micro_cache / "models" / file.name, "the micro-sam cache"


def _user_cache() -> Path:
    xdg = os.environ.get("XDG_CACHE_HOME")
    return Path(xdg).expanduser() if xdg else Path.home() / ".cache"


def _hub_cache() -> Path:
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    own = os.environ.get("HF_HOME")
    return (Path(own).expanduser() if own else _user_cache() / "huggingface") / "hub"
