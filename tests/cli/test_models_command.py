"""`anymask models` lists what there is, in a form for people and one for programs."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from anymask.cli.models import describe, models
from anymask.models.catalogue import card, cards


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TORCH_HOME", "MICROSAM_CACHEDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(models)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_shows_what_works_today_with_licence_and_prompts():
    lines = run().splitlines()
    (row,) = [line for line in lines if line.startswith("sam-vit-b ")]
    for part in ("93.7 M", "375 MB", "Apache-2.0", "points, boxes, masks"):
        assert part in row
    assert not any(line.startswith("sam3") for line in lines)
    assert f"{sum(not c.available for c in cards().values())} more models" in lines[-1]


def test_all_shows_models_to_come_and_gates():
    (row,) = [line for line in run("--all").splitlines() if line.startswith("sam3 ")]
    for part in ("SAM License, gated", "text", "(later)"):
        assert part in row


def test_json_holds_the_same_for_programs():
    facts = {row["name"]: row for row in json.loads(run("--all", "--json"))}
    assert facts.keys() == cards().keys()
    assert facts["sam-vit-h"]["bytes"] == 2_564_550_879 and facts["sam-vit-h"]["on_disk"] is None
    assert facts["sam3"]["gated"] and not facts["sam3"]["available"] and facts["sam3"]["instead"] == "sam-vit-h"
    # a row without weights (of the tests, or a model in the making) helps nobody who looks for one
    works = [c.name for c in cards().values() if c.available and c.files]
    assert [row["name"] for row in json.loads(run("--json"))] == works


def test_one_model_in_full(own_home):
    text = run("vit_b")
    for part in ("sam-vit-b", "93,735,472", "dl.fbaipublicfiles.com", str(own_home / "weights"), "SA-1B", "ec2df627"):
        assert part in text
    assert "today: sam-vit-b" in run("sam-hq-vit-b")
    assert json.loads(run("vit_b", "--json"))["name"] == "sam-vit-b"


def test_weights_on_this_machine_are_seen(own_home):
    assert describe(card("mobile-sam"))["on_disk"] is None
    place = own_home / "weights" / "mobile_sam.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half of it")
    assert describe(card("mobile-sam"))["on_disk"] is None
    with place.open("wb") as file:
        file.truncate(40_728_226)
    assert describe(card("mobile-sam"))["on_disk"] == str(place)
    assert " yes " in next(line for line in run().splitlines() if line.startswith("mobile-sam "))
