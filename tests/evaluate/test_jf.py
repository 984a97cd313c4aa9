"""J, F and J&F against figures of the official program, and by arithmetic."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from anymask.errors import BadSetting
from anymask.evaluate.jf import contours, f, j, statistics


def _decoded(rle):
    return coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode()}).astype(bool)


def test_golden_pairs_have_their_figures(shared):
    golden = json.loads((shared / "data/golden/davis_jf.json").read_text())
    for case in golden["cases"]:
        truth, answer = _decoded(case["gt"]), _decoded(case["pred"])
        precision, recall = contours(answer, truth, golden["bound_th"])
        found = {"J": j(answer, truth), "precision": precision, "recall": recall, "F": f(answer, truth)}
        assert found == pytest.approx({name: case[name] for name in found}, abs=1e-12), case["name"]


def test_a_golden_sequence_has_its_figures_and_statistics(shared):
    golden = json.loads((shared / "data/golden/davis_sequence/expected.json").read_text())

    def masks(folder):
        return [np.asarray(Image.open(path)) > 0 for path in sorted(folder.glob("*.png"))]

    truths = masks(shared / "data/video/davis2016/blackswan/masks")
    answers = masks(shared / "data/golden/davis_sequence/pred")
    found = {
        "J": [j(*pair) for pair in zip(answers, truths, strict=True)],
        "F": [f(*pair) for pair in zip(answers, truths, strict=True)],
    }
    for name, values in found.items():
        assert values == pytest.approx(golden[f"{name}_per_frame"], abs=1e-12)
        assert statistics(values)._asdict() == pytest.approx(golden["all_frames"][name], abs=1e-12)
        inner = golden["first_and_last_frame_left_out"][name]
        assert statistics(values[1:-1])._asdict() == pytest.approx(inner, abs=1e-12)


def test_masks_without_a_contour_are_all_or_nothing():
    nothing, everything = np.zeros((20, 30), bool), np.ones((20, 30), bool)
    some = nothing.copy()
    some[5:9, 5:9] = True
    assert (j(nothing, nothing), f(nothing, nothing)) == (1, 1)
    assert (j(some, nothing), f(some, nothing), contours(some, nothing)) == (0, 0, (0, 1))
    assert (j(nothing, some), f(nothing, some), contours(nothing, some)) == (0, 0, (1, 0))
    # the whole canvas has no contour, as nothing has none
    assert (j(everything, nothing), f(everything, nothing)) == (0, 1)


def test_a_contour_one_pixel_too_far_away_is_not_found():
    truth, near, far = (np.zeros((300, 400), bool) for _ in range(3))
    # 0.008 of the diagonal of 500 is 4
    truth[:, :100], near[:, :104], far[:, :105] = True, True, True
    assert f(near, truth) == 1 and f(far, truth) == 0
    with pytest.raises(BadSetting, match="300"):
        f(truth[:-1], truth)


def test_a_track_of_no_frames_has_no_statistics_and_a_falling_one_decays():
    assert np.isnan(statistics([])).all()
    assert statistics([1, 1, 1, 1, 0, 0, 0, 0]) == (0.5, 0.5, 1.0)
