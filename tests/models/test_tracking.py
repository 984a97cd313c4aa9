"""A model with a memory: what it answers on a frame depends on what it is reminded of, and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anymask.errors import BadPrompt, BadSetting, EmbeddingMismatch
from anymask.models.catalogue import card
from anymask.models.interface import UNWANTED, PromptModel
from anymask.models.load import load
from anymask.models.video import Recalled, VideoModel
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts

POINT = Prompts.of(points=[[[30.0, 40.0]]])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = load("sam2.1-tiny-test", device="cpu")
    made.requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def frames(model):
    """Embeddings of two frames."""
    rng = np.random.default_rng(0)
    return [model.encode([Image.open(rng.integers(0, 255, (60, 90, 3), np.uint8))]) for _ in range(2)]


def present(model, there=True):
    """The model made to say that objects are there, or are not."""
    bias = model.mask_decoder.pred_obj_score_head.layers[-1].bias
    bias.fill_(5.0 if there else -5.0)


@pytest.fixture
def there(model):
    weights = model.weights
    present(model)
    model.weights = weights


def reminded(model, frame, answer, slot=0, distance=1):
    memory = model.memorise(frame, answer.logits[:, 0], answer.presence, prompted=True)
    return Recalled(((memory[0], slot),), ((answer.pointers[0, 0], distance),))


def test_it_is_a_model_for_clips_and_for_pictures(model):
    assert isinstance(model, VideoModel) and isinstance(model, PromptModel)
    assert "video" in card("sam2.1-tiny-test").can and (model.slots, model.pointer_slots) == (6, 15)


def test_without_memories_a_click_is_answered_as_on_a_picture(model, frames, there):
    alone = model.track(frames[0], [Recalled()], POINT)
    picture = model.decode(frames[0], POINT, multimask=True)
    assert torch.equal(alone.logits, picture.logits) and torch.equal(alone.scores, picture.scores)
    assert alone.best[0] == picture.scores[0].argmax() and alone.pointers.shape == (1, 3, 128)


def test_memories_change_the_answer_and_their_age_does(model, frames, there):
    first = model.track(frames[0], [Recalled()], POINT)
    answers = [
        model.track(frames[1], [recalled]).logits
        for recalled in (
            Recalled(),
            reminded(model, frames[0], first),
            reminded(model, frames[0], first, slot=1),
            reminded(model, frames[0], first, distance=5),
            replace(reminded(model, frames[0], first, distance=5), reach=5),
        )
    ]
    for index, one in enumerate(answers):
        assert not any(torch.equal(one, other) for other in answers[:index])


def test_the_kind_of_answer_follows_the_points(model, frames, there):
    box = Prompts.of(boxes=[10.0, 10.0, 50.0, 50.0])
    two = Prompts.of(points=[[[30.0, 40.0], [50.0, 20.0]]], labels=[[1, 0]])
    empty = [Recalled()]
    assert [model.track(frames[0], empty, asked).logits.shape[1] for asked in (None, POINT, box, two)] == [3, 3, 1, 1]
    assert model.track(frames[0], empty, two, multimask=True).logits.shape[1] == 3


def test_objects_together_are_answered_as_alone(model, frames, there):
    first = model.track(frames[0], [Recalled()], POINT)
    known = reminded(model, frames[0], first)
    half = Recalled(tuple((maps.bfloat16(), slot) for maps, slot in known.features), known.pointers)
    several = [known, Recalled(), half, replace(known, pointers=()), known, Recalled((), known.pointers), known, known]
    together = model.track(frames[1], several)
    for index, own in enumerate(several):
        alone = model.track(frames[1], [own])
        assert torch.allclose(together.logits[index], alone.logits[0], atol=1e-4)
        assert torch.allclose(together.pointers[index], alone.pointers[0], atol=1e-5)


def test_an_object_that_is_gone_has_no_mask_and_a_pointer_that_says_so(model, frames):
    weights = model.weights
    present(model, there=False)
    model.weights = weights
    gone = model.track(frames[0], [Recalled()])
    present(model)
    model.weights = weights
    here = model.track(frames[0], [Recalled()])
    assert (gone.logits == UNWANTED).all() and gone.presence[0] < 0 and (here.logits != UNWANTED).any()
    assert torch.equal(gone.pointers[0, 0], model.memory.no_obj_ptr[0])
    # and its memory is marked
    logits = here.logits[:, 0]
    marked, plain = (
        model.memorise(frames[0], logits, presence, prompted=False) for presence in (gone.presence, here.presence)
    )
    difference = (marked - plain)[0].flatten(1)
    assert torch.allclose(difference, model.memory.no_obj_embed_spatial[0][:, None].expand_as(difference), atol=1e-5)


def test_a_drawn_mask_is_the_answer_itself(model, frames):
    drawn = np.zeros((2, 60, 90), np.bool_)
    drawn[0, 10:50, 20:70] = True
    answer = model.drawn(frames[0], Prompts.of(mask=drawn))
    assert answer.logits.shape == (2, 1, 32, 32) and answer.presence.tolist() == [10.0, -10.0]
    assert (answer.logits[0, 0] > 0).float().mean() == pytest.approx(40 * 50 / (60 * 90), abs=0.03)
    assert torch.allclose(answer.logits[1], torch.tensor(-10.0)) and torch.equal(
        answer.pointers[1, 0], model.memory.no_obj_ptr[0]
    )


def test_what_makes_no_sense_is_refused_with_a_sentence(model, frames):
    two = Prompts.of(points=[[[1.0, 1.0]], [[2.0, 2.0]]])
    with pytest.raises(BadPrompt, match="prompts are for 2 objects, memories for 1"):
        model.track(frames[0], [Recalled()], two)
    with pytest.raises(BadPrompt, match="drawn masks go to drawn"):
        model.track(frames[0], [Recalled()], Prompts.of(mask=np.ones((60, 90), bool)))
    with pytest.raises(BadPrompt, match="points and boxes go to track"):
        model.drawn(frames[0], POINT)
    with pytest.raises(BadPrompt, match=r"the frame's size \(60, 90\), got \(9, 9\)"):
        model.drawn(frames[0], Prompts.of(mask=np.ones((9, 9), bool)))
    with pytest.raises(BadSetting, match="at least one object"):
        model.track(frames[0], [])
    with pytest.raises(EmbeddingMismatch):
        model.track(replace(frames[0], weights="another"), [Recalled()])


def test_weights_for_pictures_alone_answer_pictures_alone(model, frames, tmp_path):
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("memory.")}
    torch.save(state, tmp_path / "pictures.pt")
    ours = load(weights=tmp_path / "pictures.pt", device="cpu")
    assert ours.card.name == "sam2.1-tiny-test" and ours.memory is None
    image = Image.open(np.zeros((20, 30, 3), np.uint8))
    with torch.no_grad():
        assert ours.decode(ours.encode([image]), POINT[:1], multimask=True).logits.shape == (1, 3, 32, 32)
    with pytest.raises(BadSetting, match="without memory; following objects needs the weights of the video model"):
        ours.track(ours.encode([image]), [Recalled()])
