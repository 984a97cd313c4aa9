"""Optional libraries, imported when a feature needs them and named with their pip command when they are missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from anymask.errors import MissingExtra


def need(module: str, *, extra: str, to: str) -> ModuleType:
    """An optional module, imported now.

    module: its import name, "supervision". extra: the extra of anymask that installs it. to: what it is needed for, an
    infinitive without "to", as in "hand masks to supervision".
    Raises MissingExtra, whose message is the command that helps.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            # the library is there; what is missing is something that it needs itself
            raise MissingExtra(f"To {to} anymask needs {module}, which is installed but lacks {error.name}") from error
        raise MissingExtra(f"To {to} anymask needs {module}: pip install 'anymask[{extra}]'") from None
    except ImportError as error:
        raise MissingExtra(
            f"To {to} anymask needs {module}, which is installed but does not import: {error}"
        ) from error
