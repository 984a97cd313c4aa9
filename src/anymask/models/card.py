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

    url: where it lies; "hf:owner/repo/path" goes through HF_ENDPOINT; empty when only a page with a form exists.
    name: the file's name in the cache folder.
    sha256, md5: hex digests, empty where unknown (SAM 1 file names carry the first characters of the MD5).
    size: bytes, 0 where unknown.
    """

    name: str
    url: str = ""
    sha256: str = ""
    md5: str = ""
    size: int = 0


@dataclass(frozen=True)
class Card:
    """One model of the family.

    name: "sam-vit-b". build: makes the network with random weights; None while its code is still to come.
    files: weights, the first one is what `load` fetches. rename: (pattern, replacement) regular expressions from a
    foreign key layout (Hugging Face) to ours, applied in order. can: prompts it takes, of "points", "boxes", "masks",
    "text", "exemplars", "video", "volume", "everything". input_side: pixels of the input frame's side.
    gated: whether the file asks for a licence to be accepted. official: package that parity is proved against.
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
    """Regular expressions of keys in a foreign file that carry nothing for us (a copy of another key, an unused head)."""
    notes: str = ""

    @property
    def available(self) -> bool:
        """Whether this release can run the model."""
        return self.build is not None
