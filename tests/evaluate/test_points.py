"""The papers' prompts, with a model whose answers are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anymask.errors import BadSetting
from anymask.evaluate.box import Box
from anymask.evaluate.noc import Noc
from anymask.evaluate.points import Points, spots
from anymask.evaluate.protocol import Choice
from anymask.evaluate.runner import run
from anymask.evaluate.sizes import Sizes
from anymask.evaluate.talk import ritm_click
from anymask.models.interface import Decoded, Embedding
from anymask.pixels.resize import Resize

SIZE = (40, 50)


def rectangle(x0, y0, x1, y1, size=SIZE):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


class Grows:
    """Answers the true rectangle of `squares` grown from the left: `shares` of it by number of clicks."""

    def __init__(self, shares, scores=(0.9, 0.2, 0.1)):
        self.card, self.weights, self.shares, self.scores = SimpleNamespace(name="grows"), "none", shares, scores
        self.asked = []

    def encode(self, images):
        size = images[0].size
        return Embedding({"image": torch.zeros(1, 1, 1, 1)}, (Resize(size, size, size),), self.weights)

    def decode(self, embedding, prompts, *, multimask=None):
        self.asked.append(prompts)
        clicks = 0 if prompts.points is None else prompts.points.shape[1]
        share = self.shares[min(clicks, len(self.shares) - 1)]
        right = 10 + round(30 * share)
        masks = [rectangle(10, 10, right, 30)]
        if multimask:
            masks += [rectangle(10, 10, 40, 30), rectangle(0, 0, 5, 5)]
        logits = torch.from_numpy(np.stack(masks)[None].astype(np.float32)) * 100 - 50
        logits = logits.repeat(len(prompts), 1, 1, 1)
        scores = torch.tensor([self.scores[: len(masks)]]).repeat(len(prompts), 1)
        return Decoded(logits, scores, embedding.resize[0])


def test_clicks_are_scored_by_the_most_confident_mask_and_the_best_told_apart(squares):
    model = Grows([0.5, 0.2, 0.4, 0.6, 0.6, 0.8, 0.8, 0.8, 0.8, 1.0])
    mean = run(Points(), squares(), model=model).mean
    # shares of the rectangle's width, in whole pixels of 30
    assert [mean[f"iou@{n}"] for n in (1, 2, 3, 5, 9)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert mean["oracle@1"] == 1 and mean["score_error"] == pytest.approx(0.7)
    assert mean["biou@9"] == 1 and 0 < mean["biou@1"] < mean["iou@1"] + 0.1
    # the last answer is fed back, clipped
    assert len(model.asked) == 9 and np.abs(model.asked[1].low_res).max() == 32


def test_a_perfect_answer_is_not_asked_again_and_stays_perfect(squares):
    model = Grows([0, 0.5, 1.0])
    mean = run(Points(), squares(), model=model).mean
    assert len(model.asked) == 2 and mean["iou@9"] == 1 and mean["biou@3"] == 1


def test_random_first_clicks_lie_in_the_mask_and_follow_the_seed(squares):
    data = squares(3)

    def first(seed):
        model = Grows([0, 1.0])
        run(Points(first="random"), data, model=model, choice=Choice(seed=seed))
        return [tuple(prompts.points[0, 0].tolist()) for prompts in model.asked]

    assert first(0) == first(0) != first(1)
    ring = rectangle(10, 10, 40, 30) & ~rectangle(15, 15, 35, 25)
    found = spots(np.stack([ring] * 50), "random", np.random.default_rng(0))
    assert ring[found[:, 1], found[:, 0]].all() and len({tuple(spot) for spot in found}) > 30


def test_the_true_box_is_asked_and_its_boundary_scored(squares):
    model = Grows([0.5], scores=(0.75,))
    mean = run(Box(), squares(), model=model).mean
    assert model.asked[0].boxes.tolist() == [[10, 10, 40, 30]]
    assert mean["iou"] == pytest.approx(0.5) and mean["score_error"] == pytest.approx(0.25)
    # bands of one pixel: two frames of 15 x 20 and 30 x 20 that share three sides but for the corners' ends
    inner, outer = rectangle(11, 11, 24, 29), rectangle(11, 11, 39, 29)
    one, two = rectangle(10, 10, 25, 30) & ~inner, rectangle(10, 10, 40, 30) & ~outer
    assert mean["biou"] == pytest.approx((one & two).sum() / (one | two).sum())


def test_number_of_clicks_counts_to_the_target_and_failures_count_the_cap(squares):
    model = Grows([0, 0.5, 0.8, 0.9, 0.95])
    mean = run(Noc(), squares(), model=model).mean
    # 27 of 30 columns are IoU 0.9, met with three clicks; 24 are 0.8
    assert (mean["NoC@85"], mean["NoC@90"], mean["failures@90"]) == (3, 3, 0)
    assert len(model.asked) == 3
    never = run(Noc(), squares_again(squares), model=Grows([0.5])).mean
    assert (never["NoC@85"], never["failures@85"], never["failures@90"]) == (20, 1, 1)


def squares_again(squares):
    """The folder that `squares` made before."""
    return next(cell.cell_contents for cell in squares.__closure__) / "data"


def test_the_next_click_follows_ritm():
    truth = rectangle(10, 10, 30, 30)
    # the missed half is 10 wide: deepest at distance 5, first in row order
    none = np.zeros((0, 2), np.int64)
    assert ritm_click(rectangle(10, 10, 20, 30), truth, none) == (24, 14, True)
    # that pixel is not clicked again
    assert ritm_click(rectangle(10, 10, 20, 30), truth, np.array([[24, 14]])) == (25, 14, True)
    # missed and extra equally deep: the extra part is clicked
    assert ritm_click(rectangle(14, 10, 34, 30), truth, none) == (31, 11, False)
    assert ritm_click(truth, truth, none) is None


def test_quality_is_told_by_size_class(squares):
    report = run(Sizes(), squares(), model=Grows([0.5, 0.2]))
    # 600 pixels are small
    assert report.mean["box small"] == pytest.approx(0.5) and report.mean["click all"] == pytest.approx(0.2)
    assert np.isnan(report.mean["box large"])
    assert report.document()["masks_by_size"] == {"small": 1, "medium": 0, "large": 0, "all": 1}
    assert report.document()["mean"]["box large"] is None


def test_settings_out_of_range_are_named():
    for wrong in (lambda: Points(clicks=(3, 1)), lambda: Noc(targets=(0.9,)), lambda: Noc(most=0)):
        with pytest.raises(BadSetting):
            wrong()


def test_every_protocol_of_the_registry_has_a_class_of_its_name():
    from anymask.evaluate.registry import PROTOCOLS, protocol_of

    for name in PROTOCOLS:
        assert protocol_of(name).name == name
        assert protocol_of(name)().settings() is not None
