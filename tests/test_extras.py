"""Optional libraries: given when there, named with their pip command when not."""

from __future__ import annotations

import json
import sys

import pytest

from anymask.errors import AnymaskError, MissingExtra
from anymask.extras import need


def test_a_module_that_is_there_is_given():
    assert need("json", extra="none", to="read JSON") is json


def test_a_missing_one_is_named_with_the_command_that_helps():
    with pytest.raises(MissingExtra) as caught:
        need("no_such_library", extra="many", to="run on several machines")
    assert str(caught.value) == "To run on several machines anymask needs no_such_library: pip install 'anymask[many]'"
    assert isinstance(caught.value, (AnymaskError, ImportError))


def test_a_library_that_is_there_but_broken_is_told_from_a_missing_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lacks_something.py").write_text("import no_such_dependency")
    (tmp_path / "lacks_a_name.py").write_text("from json import no_such_name")
    with pytest.raises(MissingExtra, match="installed but lacks no_such_dependency"):
        need("lacks_something", extra="x", to="do it")
    with pytest.raises(MissingExtra, match="installed but does not import"):
        need("lacks_a_name", extra="x", to="do it")
    for name in ("lacks_something", "lacks_a_name"):
        sys.modules.pop(name, None)
