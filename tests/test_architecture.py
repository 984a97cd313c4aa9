"""The rooms hold: who may import whom, what an import costs, and which names are public."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import anymask

ROOT = Path(__file__).resolve().parents[1]

PUBLIC = ["AnymaskError", "Image", "Masks", "Prompts", "Session", "__version__", "load", "segment"]
"""Fixed: later releases add names, none is renamed or taken away."""

MODULES = sorted(found.name for found in pkgutil.walk_packages(anymask.__path__, "anymask."))


def test_rooms_import_downwards_only():
    pytest.importorskip("importlinter", reason="import-linter is not installed: pip install import-linter")
    # beside this interpreter first: an environment need not be activated to be tested
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    assert command is not None, "import-linter is installed without its command"
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("statement", ["import anymask", "from anymask import AnymaskError"])
def test_importing_the_package_loads_neither_torch_nor_numpy(statement):
    code = f"import sys; {statement}; print([n for n in ('torch', 'numpy', 'PIL', 'cv2', 'typer') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports(name):
    importlib.import_module(name)


def test_the_public_names_are_the_fixed_ones():
    assert sorted(anymask.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(anymask))
    for name in PUBLIC:
        assert getattr(anymask, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = anymask.nonsense
