"""Every error that anymask raises on purpose.

    AnymaskError
    |- BadImage (ValueError)            a picture that cannot be read or used
    |- BadPrompt (ValueError)           points, boxes or masks that make no sense for this image
    |- BadSetting (ValueError)          an option out of range
    |- BadWeights (ValueError)          a weights file that does not fit the model
    |- EmbeddingMismatch (ValueError)   an embedding of another model, image or version
    |- NoImage (RuntimeError)           a prediction was asked for before an image was given
    |- NotEnoughMemory (MemoryError)    the work does not fit into memory, however it is divided
    |- UnknownModel (KeyError)          no model of that name
    |- NotWritten (OSError)             results cannot be written; what was written before stays and can be gone on with
    |- NotYet (NotImplementedError)     a catalogued model whose code comes in a later release
    |- MissingExtra (ImportError)       an optional library is not installed
    |- NotHere (LookupError)            an image, answer or job that a server does not keep (any more)
    |- NotAllowed (RuntimeError)        a server wants a token, or does not take requests from where this one came
    |- ServerBusy (RuntimeError)        a server has as much to do as it takes on; the same again a little later
    |- NotReached (OSError)             no server answers there, or something that is not anymask's
    |- DownloadFailed (OSError)         a weights file could not be fetched

Each message is one sentence or two: what is wrong, and what to do about it.
"""

from __future__ import annotations

__all__ = [
    "AnymaskError",
    "BadImage",
    "BadPrompt",
    "BadSetting",
    "BadWeights",
    "DownloadFailed",
    "EmbeddingMismatch",
    "MissingExtra",
    "NoImage",
    "NotAllowed",
    "NotEnoughMemory",
    "NotHere",
    "NotReached",
    "NotWritten",
    "NotYet",
    "ServerBusy",
    "UnknownModel",
]


class AnymaskError(Exception):
    """Base of all errors raised by anymask; catching it catches them all."""

    def __str__(self) -> str:
        # KeyError would print the repr of its argument, quotes and escapes included
        return str(self.args[0]) if self.args else ""


class BadImage(AnymaskError, ValueError):
    """The picture cannot be read, is too large, or has a shape or type that is not an image."""


class BadPrompt(AnymaskError, ValueError):
    """Points, labels, boxes or masks are malformed or lie outside the image."""


class BadSetting(AnymaskError, ValueError):
    """An option has a value outside its range."""


class BadWeights(AnymaskError, ValueError):
    """The weights file is damaged, unsafe, or belongs to another model."""


class EmbeddingMismatch(AnymaskError, ValueError):
    """The embedding was made from another image, by another model, or with other weights."""


class NoImage(AnymaskError, RuntimeError):
    """A predictor was asked for masks before it was given an image."""


class NotEnoughMemory(AnymaskError, MemoryError):
    """The work does not fit into memory, however it is divided."""


class UnknownModel(AnymaskError, KeyError):
    """No model of that name is known."""


class NotWritten(AnymaskError, OSError):
    """The place for results is full, read-only or in use by another run; results that are there stay whole."""


class NotYet(AnymaskError, NotImplementedError):
    """The model is in the catalogue, but its network arrives in a later release."""


class MissingExtra(AnymaskError, ImportError):
    """An optional library is needed and not installed."""


class DownloadFailed(AnymaskError, OSError):
    """A file could not be downloaded or failed its check; nothing was left half-written."""


class NotHere(AnymaskError, LookupError):
    """A server keeps no image, answer or job of that name, or not any more."""


class NotAllowed(AnymaskError, RuntimeError):
    """A server wants a token, or refuses requests from another site."""


class ServerBusy(AnymaskError, RuntimeError):
    """A server has as much to do as it takes on. wait: seconds after which to ask again."""

    def __init__(self, message: str, wait: float = 1.0) -> None:
        super().__init__(message)
        self.wait = wait


class NotReached(AnymaskError, OSError):
    """No server answers at an address, or what answers is not anymask's."""
