"""What a person relies on when asking one image several things."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import anymask
from anymask import Masks, Prompts, Session
from anymask.errors import BadPrompt, BadSetting
from anymask.models.interface import Decoded
from anymask.nn.mask_decoder import CANDIDATES
from anymask.session.embeddings import EmbeddingCache


@pytest.fixture
def session(photo, tiny):
    return Session(photo, tiny, cache=EmbeddingCache())


def test_one_point_gives_three_candidates_best_first(session):
    masks = session.predict(points=[70, 45])
    assert len(masks) == 3
    assert list(masks.scores) == sorted(masks.scores, reverse=True)
    assert masks.size == (90, 140)
    assert masks.dense().shape == (3, 90, 140)


@pytest.mark.parametrize(
    "prompt",
    [
        {"boxes": [30, 20, 100, 70]},
        {"points": [[70, 45], [5, 5]], "labels": [1, 0]},
        {"points": [70, 45], "boxes": [30, 20, 100, 70]},
    ],
)
def test_an_unambiguous_prompt_gives_one_mask(session, prompt):
    assert len(session.predict(**prompt)) == 1


def test_multimask_can_be_forced_either_way(session):
    assert len(session.predict(points=[70, 45], multimask=False)) == 1
    assert len(session.predict(boxes=[30, 20, 100, 70], multimask=True)) == 3


@pytest.mark.parametrize("prompt", [{"points": [40, 40]}, {"points": [[40, 40], [60, 50]], "boxes": [20, 20, 90, 80]}])
def test_both_kinds_of_answers_in_one_pass_are_those_of_two(session, prompt):
    prompts = Prompts.of(**prompt, size=session.size)
    both = session.answer(prompts, "both")
    alone = Masks.join([session.answer(prompts, False), session.answer(prompts, True)])
    assert len(both) == 4 and both.rle == alone.rle
    np.testing.assert_allclose(both.scores, alone.scores, atol=1e-5)
    np.testing.assert_allclose(both.logits, alone.logits, atol=1e-4)


def test_several_objects_are_answered_as_if_each_were_asked_alone(session):
    points = [[[70, 45]], [[10, 10], [20, 20], [60, 60]], [[30, 30]], [[5, 80], [90, 40]]]
    labels = [[1], [1, 0, 1], [1], [1, 1]]
    together = session.predict(points=points, labels=labels)
    assert list(together.ids) == [0, 0, 0, 1, 2, 2, 2, 3]
    for index, (xy, label) in enumerate(zip(points, labels, strict=True)):
        alone = session.predict(points=xy, labels=label)
        rows = together[together.ids == index]
        np.testing.assert_allclose(rows.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(rows.logits, alone.logits, atol=1e-4)


def test_more_objects_than_one_chunk_keep_their_order(session, monkeypatch):
    boxes = np.array([[x, y, x + 20, y + 15] for x in range(0, 100, 10) for y in range(0, 70, 10)], float)
    whole = session.predict(boxes=boxes)
    monkeypatch.setattr("anymask.session.session.CHUNK", 8)
    parts = session.predict(boxes=boxes)
    assert list(parts.ids) == list(range(len(boxes)))
    np.testing.assert_allclose(parts.logits, whole.logits, atol=1e-4)


def test_logits_of_an_answer_can_be_fed_back(session):
    first = session.predict(points=[70, 45])
    again = session.predict(points=[[70, 45], [75, 50]], mask=first.logits[0])
    plain = session.predict(points=[[70, 45], [75, 50]])
    assert len(again) == 1
    assert not np.allclose(again.logits, plain.logits)


def test_a_drawn_mask_is_a_prompt(session):
    drawn = np.zeros((90, 140), bool)
    drawn[30:60, 50:90] = True
    other = np.roll(drawn, 30, axis=1)
    assert not np.allclose(session.predict(mask=drawn).logits, session.predict(mask=other).logits)


def test_a_mask_of_another_size_names_both_sizes(session):
    with pytest.raises(BadPrompt, match=r"\(90, 140\).*\(50, 60\)"):
        session.predict(mask=np.zeros((50, 60), bool))
    with pytest.raises(BadPrompt, match=r"32, 32"):
        session.predict(mask=np.zeros((50, 60), np.float32))


def test_click_outside_the_image_names_the_valid_range(session):
    with pytest.raises(BadPrompt, match="x is 0 to 140, y is 0 to 90"):
        session.predict(points=[141, 10])
    with pytest.raises(BadPrompt, match="outside the image"):
        session.click(-1, 10)
    assert session.steps == 0


def test_predict_leaves_the_clicks_alone(session):
    session.click(70, 45)
    before = session.mask.dense()
    session.predict(boxes=[0, 0, 20, 20])
    assert session.steps == 1
    assert (session.mask.dense() == before).all()


def test_undo_takes_back_every_kind_of_step(session):
    assert len(session.mask) == 0
    states = []
    for act in (
        lambda: session.click(70, 45),
        lambda: session.choose(1),
        lambda: session.click(20, 20, inside=False),
        lambda: session.box(30, 20, 100, 70),
    ):
        states.append(session.mask.dense())
        act()
    for state in reversed(states):
        assert (session.undo().dense() == state).all()
    assert len(session.undo()) == 0


def test_choosing_a_candidate_refines_that_one(session):
    session.click(70, 45)
    wanted = session.candidates[[2]].dense()
    assert (session.choose(2).dense() == wanted).all()
    with pytest.raises(BadSetting, match="3 candidates"):
        session.choose(3)


def test_the_first_click_must_be_inside(session):
    with pytest.raises(BadPrompt, match="first click"):
        session.click(5, 5, inside=False)


class _Scripted:
    """A model whose every answer is written down beforehand, to test what the session makes of answers."""

    def __init__(self, model, answers):
        self.card, self.weights, self.encode = model.card, model.weights, model.encode
        self.answers = answers
        self.asked = []

    def decode(self, embedding, prompts, *, multimask=None):
        multi = prompts.ambiguous if multimask is None else multimask
        self.asked.append(prompts)
        logits = self.answers(prompts, multi)
        scores = torch.linspace(0.9, 0.5, len(logits))[None]
        return Decoded(torch.stack(logits)[None], scores, embedding.resize[0])


def _left(low=32):
    """Logits of a mask over the left half of the picture."""
    logits = torch.full((low, low), -5.0)
    logits[:, : low // 2] = 5.0
    return logits


def test_a_click_that_no_candidate_heeds_does_not_make_it_worse(photo, tiny):
    good, bad = _left(), -_left()

    def answers(prompts, multi):
        first = prompts.point_labels.shape[1] == 1
        return ([good] if first else [bad]) * (3 if multi else 1)

    session = Session(photo, _Scripted(tiny, answers), cache=EmbeddingCache())
    session.click(10, 45)
    before = session.mask.dense()
    session.click(12, 50)
    assert (session.mask.dense() == before).all()
    assert "kept" in session.note
    assert len(session.candidates) == 2


def test_an_answer_that_heeds_the_click_is_preferred(photo, tiny):
    left, everything = _left(), torch.full((32, 32), 5.0)

    def answers(prompts, multi):
        if prompts.point_labels.shape[1] == 1:
            return [everything] * 3
        # the single answer is stuck; among the three there is one without what was clicked away
        return [everything, left, everything] if multi else [everything]

    session = Session(photo, _Scripted(tiny, answers), cache=EmbeddingCache())
    session.click(10, 45)
    mask = session.click(130, 45, inside=False).dense()[0]
    assert mask[45, 10] and not mask[45, 130]
    assert session.note == ""
    assert any(asked.low_res is not None for asked in session.model.asked)


def test_a_batch_of_images_gives_the_sessions_of_single_ones(photo, tiny):
    other = np.ascontiguousarray(photo.transpose(1, 0, 2))
    batch = Session.batch([photo, other], tiny, cache=EmbeddingCache())
    for image, session in zip((photo, other), batch, strict=True):
        alone = Session(image, tiny, cache=EmbeddingCache()).predict(points=[40, 40])
        np.testing.assert_allclose(session.predict(points=[40, 40]).logits, alone.logits, atol=1e-4)


def test_segment_is_one_call(photo, tiny):
    masks = anymask.segment(photo, points=[70, 45], model=tiny)
    assert len(masks) == 3
    assert masks.image is not None and masks.image.size == (90, 140)


def test_gradients_flow_from_masks_to_pixels(tiny):
    frames = torch.zeros(1, 3, 128, 128, requires_grad=True)
    tensors = tiny.encode_frames(frames)
    encoded = tiny.prompt_encoder(torch.tensor([[[60.0, 60.0]]]), torch.tensor([[1]]))
    logits, scores = tiny.decode_tokens(tensors, encoded, CANDIDATES)
    (logits.sum() + scores.sum()).backward()
    assert frames.grad is not None and frames.grad.abs().sum() > 0
    tiny.zero_grad(set_to_none=True)
