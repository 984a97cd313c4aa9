"""`anymask evaluate` from the command line to the report."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anymask.cli.evaluate import evaluate
from anymask.errors import BadSetting


def test_any_member_can_be_measured(squares, tmp_path, capsys):
    evaluate(squares(), model="sam-tiny-test", baselines=True, precision="float32", out=tmp_path / "scores.json")
    printed = capsys.readouterr().out
    assert "squares" in printed and "grabcut" in printed
    report = json.loads((tmp_path / "scores.json").read_text())
    assert report["model"] == "sam-tiny-test" and report["masks"] == {"squares": 1}
    # pi / 4 of the box, and the box is the mask
    assert report["mean"]["ellipse"] == pytest.approx(np.pi / 4, abs=0.03)
    assert 0 <= report["mean"]["box"] <= 1
    assert (tmp_path / "scores.png").read_bytes()[:4] == b"\x89PNG"
    assert report["versions"]["torch"] and len(report["data_digest"]) == 64


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"protocol": "sweep"}, "clicks"),
        ({"precision": "int8"}, "bfloat16"),
        ({"settings": ["clicks"]}, "NAME=VALUE"),
        ({"preset": "sa1b"}, "clicks has no setting preset"),
    ],
)
def test_unknown_choices_are_answered_with_the_known_ones(squares, option, named):
    with pytest.raises(BadSetting, match=named):
        evaluate(squares(), model="sam-tiny-test", **option)


@pytest.mark.parametrize(
    ("protocol", "settings", "measure"),
    [
        ("points", ["clicks=1,3", "first=random"], "iou@3"),
        ("box", [], "biou"),
        ("noc", ["most=2"], "NoC@85"),
        ("sizes", [], "click small"),
        ("boxes-ap", ["refine=1"], "AP50"),
    ],
)
def test_each_protocol_goes_from_photos_to_table_json_and_plot(squares, tmp_path, capsys, protocol, settings, measure):
    out = tmp_path / "scores.json"
    evaluate(
        squares(2), model="sam-tiny-test", protocol=protocol, settings=settings, kind="coco", cap=1, seed=3, out=out
    )
    assert "sam-tiny-test" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert measure in report["mean"] and report["protocol"] == protocol
    assert (report["seed"], report["cap"], report["kind"], sum(report["images"].values())) == (3, 1, "coco", 1)
    assert out.with_suffix(".png").is_file() and (tmp_path / "scores.images.jsonl").is_file()


def test_proposals_and_their_rival_go_to_two_files(squares, tmp_path, capsys):
    out = tmp_path / "scores.json"
    evaluate(squares(2), model="sam-tiny-test", protocol="proposals", points_per_side=2, baselines=True, out=out)
    assert "merged regions" in capsys.readouterr().out
    ours, rival = (json.loads((tmp_path / name).read_text()) for name in ("scores.json", "scores.regions.json"))
    assert ours["settings"]["points_per_side"] == 2 and ours["settings"]["box_nms_thresh"] == 0.9
    assert rival["model"] == "merged regions" and rival["mean"]["AR@100"] > 0.5
