"""The command line as a whole: quick help, and errors as one line with the right exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import anymask
from anymask.cli import app as module
from anymask.cli.app import app
from anymask.errors import BadImage, BadPrompt, UnknownModel

runner = CliRunner()


def test_help_and_version_import_neither_torch_nor_numpy():
    code = (
        "import sys\n"
        "from anymask.cli.app import app\n"
        "for line in (['--help'], ['--version'], ['segment', '--help']):\n"
        "    try: app(line)\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'PIL', 'cv2', 'pycocotools'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"anymask {anymask.__version__}" in done.stdout
    assert "segment" in done.stdout and "--point" in done.stdout and "coffee.png" in done.stdout


def test_importing_anymask_imports_neither_torch_nor_numpy():
    code = "import sys, anymask; assert not {'torch', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_help_lists_the_commands_that_are_there():
    text = runner.invoke(app, ["--help"]).output
    assert "segment" in text and "photo.jpg --point 420,310" in text
    assert runner.invoke(app, ["-h"]).output == text


def test_a_mistyped_command_is_a_usage_error():
    found = runner.invoke(app, ["segmnt"])
    assert found.exit_code == 2 and "segmnt" in found.output


@pytest.mark.parametrize(
    ("error", "code"),
    [(BadPrompt("no"), 2), (UnknownModel("no 'x'"), 2), (BadImage("no"), 1), (ZeroDivisionError("no"), 1)],
)
def test_errors_are_one_line_and_an_exit_code(error, code, monkeypatch):
    def segment(images: list[str]) -> None:
        raise error

    monkeypatch.setattr("anymask.cli.segment.segment", segment)
    found = runner.invoke(app, ["segment", "x.png"])
    assert found.exit_code == code
    assert found.output.startswith("anymask: ") and str(error) in found.output and found.output.count("\n") == 1
    for line in (["--debug", "segment", "x.png"], ["segment", "x.png", "--debug"]):
        assert runner.invoke(app, line).exception is error
    # behind "--" it is the name of a picture
    assert runner.invoke(app, ["segment", "--", "--debug"]).exit_code == code


def test_every_command_that_is_listed_has_a_function_of_its_name():
    from importlib import import_module, util

    for name in module.COMMANDS:
        if util.find_spec(f"anymask.cli.{name}"):
            assert callable(getattr(import_module(f"anymask.cli.{name}"), name))
            assert runner.invoke(app, [name, "--help"]).exit_code == 0


def test_python_m_anymask_is_the_command_line_too():
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", "anymask", "--help"], capture_output=True, text=True, check=True)
    assert "everything" in done.stdout
