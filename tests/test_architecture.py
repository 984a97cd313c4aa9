"""The rooms hold: who may import whom, what an import costs, and which names are public."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import anymask

ROOT = Path(__file__).resolve().parents[1]

PUBLIC = [
    "AnymaskError",
    "Image",
    "Masks",
    "Prompts",
    "Session",
    "__version__",
    "click",
    "connect",
    "everything",
    "load",
    "segment",
    "video",
]
"""Fixed: later releases add names, none is renamed or taken away."""

ROUTES = ("anymask.serve.routes.", "anymask.serve.cvat", "anymask.serve.label_studio")
"""Modules that need the extra `serve`; only `serve.app.create_app` imports them, and asks for it first."""

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


def test_every_module_imports_without_extras():
    """A None in sys.modules makes the import of that name fail, as if it were not installed."""
    needs = importlib.metadata.requires("anymask") or []
    first = re.compile(r"[\w.-]+")
    core = {first.match(need)[0].replace("-", "_") for need in needs if "extra ==" not in need}
    extras = {first.match(need)[0].replace("-", "_") for need in needs if "extra ==" in need}
    absent = sorted((extras - core - {"anymask"}) | {"skimage", "sklearn", "matplotlib", "torchvision", "timm"})
    assert "supervision" in absent and "torch" not in absent
    code = f"""import sys, importlib
sys.modules.update(dict.fromkeys({absent}))
for name in {[name for name in MODULES if not name.startswith(ROUTES)]}: importlib.import_module(name)"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_offers_is_documented(name):
    """Every module, and every public class, function and method of it that is not a single line."""
    module = importlib.import_module(name)
    tree = ast.parse(Path(module.__file__).read_text())
    assert ast.get_docstring(tree), f"{name} says nothing about itself"
    silent = []
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            silent.append(node.name)
        if isinstance(node, ast.ClassDef):
            # a method of a documented interface is documented there
            above = getattr(module, node.name).__mro__[1:]
            told = {key for base in above for key, value in vars(base).items() if getattr(value, "__doc__", None)}
            silent += [
                f"{node.name}.{method.name}" for method in node.body if undocumented(method) and method.name not in told
            ]
    assert not silent, f"{name}: {', '.join(silent)} without a docstring"


def undocumented(node: ast.stmt) -> bool:
    """Whether a method needs a docstring and has none: overrides of torch's own and setters speak elsewhere."""
    if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
        return False
    setter = any(ast.unparse(decorator).endswith(".setter") for decorator in node.decorator_list)
    if setter or node.name in ("forward", "backward", "train"):
        return False
    tiny = len(node.body) == 1 and isinstance(node.body[0], (ast.Return, ast.Expr))
    return not tiny and not ast.get_docstring(node)


def test_the_public_names_are_the_fixed_ones():
    assert sorted(anymask.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(anymask))
    for name in PUBLIC:
        assert getattr(anymask, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = anymask.nonsense
