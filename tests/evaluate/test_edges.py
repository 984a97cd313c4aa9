"""The boundary benchmark against its golden figures and arithmetic; edge maps of known pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anymask.errors import BadSetting
from anymask.evaluate.bsds import Bsds, Contour, Counts, f_measure, image_counts, scores
from anymask.evaluate.edge_maps import canny, mask_edges, thinned
from anymask.evaluate.edges import Edges
from anymask.evaluate.runner import run


def line(x, size=(60, 80)):
    """A vertical line, bool [H, W]."""
    mask = np.zeros(size, bool)
    mask[5:55, x] = True
    return mask


def test_golden_benchmark_within_its_margin(shared):
    """The official program's figures on five images, margin as golden/README.md states it."""
    folder = os.environ.get("ANYMASK_BSDS500")
    if not folder:
        pytest.skip("set ANYMASK_BSDS500 to a folder of BSDS500, whose contours the golden figures are for")
    golden = shared / "data/golden/bsds_bench"
    expected = json.loads((golden / "expected.json").read_text())
    data = Bsds.at(Path(folder))
    counts = []
    for name in expected["ids"]:
        edges = np.asarray(Image.open(golden / "pred" / f"{name}.png")).astype(np.float64) / 255
        counts.append(image_counts(edges, data.contours(name), expected["n_thresholds"]))
    found = scores(counts)
    assert found.ods == pytest.approx(expected["ODS"]["F"], abs=0.003)
    assert found.ois == pytest.approx(expected["OIS"]["F"], abs=0.003)
    assert found.ap == pytest.approx(expected["AP"], abs=0.003)
    every = [row["F"] for row in expected["per_threshold"]]
    assert f_measure(found.recall, found.precision) == pytest.approx(every, abs=0.003)


def test_a_line_within_the_tolerance_is_right_and_beyond_it_wrong():
    # 0.03 of a diagonal of 100 pixels
    for shift, right in ((0, 50), (3, 50), (4, 0)):
        counts = image_counts(line(30 + shift).astype(float), [line(30)], 1, tolerance=0.03)
        assert (counts.edge[0], counts.contour[0]) == (50, 50)
        assert counts.right[0] == counts.recalled[0] == right


def test_each_contour_pixel_serves_one_edge_pixel():
    counts = image_counts((line(30) | line(32)).astype(float), [line(31)], 1, tolerance=0.03)
    assert (counts.edge[0], counts.right[0], counts.recalled[0]) == (100, 50, 50)
    # precision counts what anybody drew, recall what each drew
    both = image_counts((line(30) | line(32)).astype(float), [line(31), line(32)], 1, tolerance=0.004)
    assert (both.right[0], both.recalled[0], both.contour[0]) == (50, 50, 100)


def test_as_many_pixels_as_possible_are_matched():
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(0)
    for _ in range(5):
        edges, contour = rng.random((2, 30, 40)) > 0.95
        ys, xs = np.nonzero(edges)
        cy, cx = np.nonzero(contour)
        near = np.hypot(ys[:, None] - cy, xs[:, None] - cx) <= 2.5
        rows, columns = linear_sum_assignment(~near)
        assert Contour(contour, 2.5).match(ys, xs).sum() == near[rows, columns].sum()


def test_scores_are_those_of_arithmetic():
    def of(recalled, right, edge):
        return Counts(np.array(recalled), np.full(2, 100), np.array(right), np.array(edge))

    # image one is best at the first threshold, image two at the second
    found = scores([of([80, 20], [80, 20], [100, 20]), of([60, 50], [60, 50], [300, 50])])
    f = f_measure(found.recall, found.precision)
    assert found.recall.tolist() == [0.7, 0.35] and found.precision.tolist() == [0.35, 1.0]
    # between two thresholds both are interpolated, so that the best F is at least that of either
    assert found.ods >= f.max()
    recall, precision = 130 / 200, 130 / 150
    assert found.ois == pytest.approx(2 * recall * precision / (recall + precision))
    # recall 0.35 to 0.70, precision 1.0 to 0.35 between: the mean of both ends over 36 steps
    assert found.ap == pytest.approx(np.interp(np.arange(35, 71) / 100, [0.35, 0.7], [1.0, 0.35]).sum() / 100)
    assert found.r50 == pytest.approx(0.35 + 0.35 * 0.5 / 0.65)


def test_thinning_keeps_the_ridge_of_a_blurred_line_in_any_direction():
    y, x = np.mgrid[:80, :80]
    for angle in (0.0, 0.4, 0.8, 1.3, 2.2, 3.0):
        away = np.abs((x - 40) * np.cos(angle) + (y - 40) * np.sin(angle))
        edges = np.maximum(np.exp(-(away**2) / 8) - 0.01, 0).astype(np.float32)
        kept = thinned(edges, rim=0)[10:70, 10:70] > 0
        assert away[10:70, 10:70][kept].max() <= 1.0
        assert kept.sum() >= 55


def test_canny_gives_stronger_edges_higher_values():
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:, 30:60], pixels[:, 60:] = 200, 150
    edges = canny(pixels, np.linspace(0.05, 0.95, 19))
    strong, weak = edges[10:50, 27:33].max(1), edges[10:50, 57:63].max(1)
    # steps of 200 and 50 of 255, in square roots, rounded down to the levels
    assert strong == pytest.approx(0.85) and weak == pytest.approx(0.4)
    assert (edges[:, :20] == 0).all()


def test_masks_of_a_model_give_an_edge_where_they_end(tiny, photo):
    from anymask.pixels.image import Image as Picture

    with torch.inference_mode():
        edges = mask_edges(tiny, tiny.encode([Picture.open(photo)]), points_per_side=3)
    assert edges.shape == photo.shape[:2] and edges.dtype == np.float32
    assert edges.min() == 0 and 0 < edges.max() <= 1


@pytest.fixture
def drawn(tmp_path):
    """A folder as BSDS500 has it, of two photos and two people who agree."""
    from scipy.io import savemat

    for part in ("images/test", "groundTruth/test"):
        (tmp_path / "BSDS500/data" / part).mkdir(parents=True)
    for number in (12, 101):
        pixels = np.full((60, 80, 3), 30, np.uint8)
        pixels[20:45, 20:60] = 220
        Image.fromarray(pixels).save(tmp_path / f"BSDS500/data/images/test/{number}.jpg", quality=95)
        contour = np.zeros((60, 80), np.uint8)
        contour[[20, 45], 20:61] = 1
        contour[20:46, [20, 60]] = 1
        cell = np.empty((1, 2), object)
        for person in range(2):
            cell[0, person] = {"Boundaries": contour, "Segmentation": contour.astype(np.uint16)}
        savemat(tmp_path / f"BSDS500/data/groundTruth/test/{number}.mat", {"groundTruth": cell})
    return tmp_path


def test_canny_finds_the_contours_of_a_folder(drawn, tmp_path):
    out = tmp_path / "edges.json"
    # the tolerance of BSDS500's images, in pixels, is some four times that of such small ones
    report = run(Edges(detector="canny", thresholds=9, tolerance=0.03), drawn, out=out)
    assert report.images == {"BSDS500 test": 2}
    assert report.mean["ODS"] > 0.95
    assert Edges().rivals()[0][1].title == "Canny"


def test_folders_without_contours_and_sets_that_do_not_exist_are_named(drawn, tmp_path):
    from anymask.evaluate.protocol import Choice

    with pytest.raises(BadSetting, match="holds no BSDS500"):
        run(Edges(detector="canny", part="val"), drawn)
    with pytest.raises(BadSetting, match="part=val"):
        run(Edges(detector="canny"), drawn, choice=Choice(only=("x",)))
