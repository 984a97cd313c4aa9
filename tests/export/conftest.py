"""Tiny members of every build, exported once a process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def quick():
    """What takes how long is no concern of tests: one round is timed."""
    from anymask.export import check

    check.ROUNDS = 1


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """(model, folder, what the comparison found) of a member in float32, each made once."""
    from tiny_family import build

    from anymask.export.write import write

    made = {}

    def get(name):
        if name not in made:
            model, folder = build(name), tmp_path_factory.mktemp("onnx") / name
            made[name] = model, folder, write(model, folder)
        return made[name]

    return get
