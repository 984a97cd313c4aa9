"""Any protocol through the shared runner: kept photo by photo, resumed after a kill, refused with other settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from typing import ClassVar

import pytest

from anymask.errors import BadSetting
from anymask.evaluate.protocol import Choice, Outcome, Protocol, Table, Unit, settings_from
from anymask.evaluate.runner import run
from anymask.evaluate.state import alone, state_of


@dataclass(frozen=True)
class Dice(Protocol):
    """One random number a photo: what a protocol looks like at its smallest."""

    name: ClassVar[str] = "dice"
    sides: int = 6
    faces: tuple[int, ...] = (1, 2)
    loud: bool = False
    fails_at: str | None = None

    @property
    def needs_model(self):
        return False

    def units(self, data, choice):
        return [Unit("one", str(number), 2, "same", lambda: None) for number in range(choice.cap or 8)]

    def measure(self, model, unit, rng):
        if unit.name == self.fails_at:
            raise RuntimeError("power cut")
        return {"value": float(rng.random()) * self.sides}

    def outcome(self, title, lines):
        sets = {"one": {"value": sum(line["value"] for line in lines["one"]) / len(lines["one"])}}
        return Outcome(sets, sets["one"], Table("", ("set",), ()))


def figures(path):
    found = json.loads(path.read_text())
    found.pop("seconds")
    return found


def test_a_run_that_broke_off_goes_on_and_gives_the_same(tmp_path, monkeypatch):
    run(Dice(), tmp_path, out=tmp_path / "whole.json")
    measured = []
    plain = Dice.measure

    def measure(self, model, unit, rng):
        if len(measured) == 3:
            raise RuntimeError("power cut")
        measured.append(unit.name)
        return plain(self, model, unit, rng)

    monkeypatch.setattr(Dice, "measure", measure)
    out = tmp_path / "parts.json"
    with pytest.raises(RuntimeError):
        run(Dice(), tmp_path, out=out)
    assert not out.exists()
    # what a kill in the middle of a line leaves behind
    with state_of(out).open("ab") as file:
        file.write(b'{"key":"one/3","line":{"val')
    measured.clear()
    measured.append("before")
    monkeypatch.setattr(Dice, "measure", lambda *args: measured.append(args[2].name) or plain(*args))
    seen = []
    run(Dice(), tmp_path, out=out, tell=lambda done, total: seen.append((done, total)))
    assert measured[1:] == ["3", "4", "5", "6", "7"] and seen[0] == (6, 16) and seen[-1] == (16, 16)
    assert figures(out) == figures(tmp_path / "whole.json")


def test_a_finished_run_is_not_measured_again(tmp_path, monkeypatch):
    out = tmp_path / "scores.json"
    first = run(Dice(), tmp_path, out=out)
    monkeypatch.setattr(Dice, "measure", None)
    assert run(Dice(), tmp_path, out=out).sets == first.sets


def test_other_settings_are_refused_and_fresh_starts_anew(tmp_path):
    out = tmp_path / "scores.json"
    run(Dice(), tmp_path, out=out)
    for changed in (
        {"protocol": Dice(sides=8)},
        {"choice": Choice(seed=1)},
        {"choice": Choice(cap=2)},
    ):
        with pytest.raises(BadSetting, match=r"scores\.images\.jsonl holds a run with other settings .*--fresh"):
            run(**({"protocol": Dice(), "data": tmp_path, "out": out} | changed))
    with pytest.raises(BadSetting, match="seed was 0, now 1"):
        run(Dice(), tmp_path, out=out, choice=Choice(seed=1))
    assert run(Dice(), tmp_path, out=out, choice=Choice(seed=1), fresh=True).sets
    assert json.loads(out.read_text())["seed"] == 1


def test_the_seed_and_the_photo_alone_make_the_random_numbers(tmp_path):
    whole, part = run(Dice(), tmp_path), run(Dice(), tmp_path, choice=Choice(cap=1))
    assert run(Dice(), tmp_path).sets == whole.sets
    assert run(Dice(), tmp_path, choice=Choice(seed=1)).sets != whole.sets
    assert part.sets["one"]["value"] == Unit("one", "0", 2, "", lambda: None).rng(0).random() * 6


def test_two_runs_do_not_write_one_state(tmp_path):
    out = tmp_path / "scores.json"
    with alone(state_of(out)), pytest.raises(BadSetting, match="another run is writing"):
        run(Dice(), tmp_path, out=out)


def test_a_file_of_something_else_is_not_taken_for_a_run(tmp_path):
    state_of(tmp_path / "scores.json").write_text("hello\n")
    with pytest.raises(BadSetting, match="damaged or not of a run"):
        run(Dice(), tmp_path, out=tmp_path / "scores.json")


def test_settings_are_read_from_text_and_unknown_ones_answered_with_those_there_are():
    given = {"sides": "8", "faces": "1, 3,5", "loud": "yes", "fails_at": "none"}
    assert settings_from(Dice, given) == Dice(8, (1, 3, 5), True, None)
    with pytest.raises(BadSetting, match="no setting edges; its settings are: sides=6, faces=1,2"):
        settings_from(Dice, {"edges": "3"})
    with pytest.raises(BadSetting, match="loud is yes or no"):
        settings_from(Dice, {"loud": "perhaps"})
    with pytest.raises(BadSetting, match="sides is a number"):
        settings_from(Dice, {"sides": "many"})


SLOW = """
    import sys, time
    from pathlib import Path
    import torch
    from anymask.evaluate.clicks import Clicks
    from anymask.evaluate.runner import run
    from anymask.models.load import load

    def slow(self, model, unit, rng, plain=Clicks.measure):
        time.sleep(float(sys.argv[3]))
        return plain(self, model, unit, rng)

    Clicks.measure = slow
    torch.manual_seed(0)
    run(Clicks(), Path(sys.argv[1]), model=load("sam-tiny-test"), out=Path(sys.argv[2]))
"""


def test_a_killed_process_resumes_with_the_same_figures(squares, tmp_path):
    out = tmp_path / "killed.json"
    command = [sys.executable, "-c", textwrap.dedent(SLOW), str(squares(6))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, str(out), "0.5"], env=environment)
    until = time.monotonic() + 60
    while time.monotonic() < until and not (state_of(out).exists() and state_of(out).read_bytes().count(b"\n") >= 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = state_of(out).read_bytes().count(b"\n")
    # the settings and at least two photos, not all six
    assert 3 <= kept < 7 and not out.exists()
    subprocess.run([*command, str(out), "0"], env=environment, check=True)
    subprocess.run([*command, str(tmp_path / "whole.json"), "0"], env=environment, check=True)
    assert figures(out) == figures(tmp_path / "whole.json")
    assert state_of(out).read_bytes().count(b"\n") == 7
