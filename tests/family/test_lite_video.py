"""The model inside for clips: its first answers are those for pictures, and later ones follow the object."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import anymask
from anymask.errors import BadWeights
from anymask.family.lite import LiteModel, LiteVideo
from anymask.models.catalogue import card
from anymask.models.digest import digest
from anymask.models.load import locate
from anymask.models.video import Recalled, VideoModel
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts


@pytest.fixture(scope="module")
def models() -> tuple[LiteModel, LiteVideo]:
    torch.manual_seed(0)
    still, video = LiteModel("lite0", dim=32, side=64).eval(), LiteVideo("lite0", dim=32, side=64).eval()
    video.load_state_dict(still.state_dict(), strict=False)
    video.begin()
    still.card, video.card = card("anymask-lite"), card("anymask-lite-video")
    return still, video


@pytest.fixture
def picture() -> Image:
    return Image.open(np.random.default_rng(0).integers(0, 256, (48, 96, 3)).astype(np.uint8))


def test_what_is_pointed_at_first_is_answered_as_in_a_picture(models, picture):
    still, video = models
    with torch.no_grad():
        for prompts in (Prompts.of(points=[20, 20]), Prompts.of(boxes=[[10, 8, 50, 40]])):
            expected = still.decode(still.encode([picture]), prompts)
            tracked = video.track(video.encode([picture]), [Recalled()], prompts)
            assert torch.equal(tracked.logits, expected.logits)
            assert torch.equal(tracked.scores, expected.scores)


def test_it_is_a_model_for_clips_and_gradients_reach_the_memory(models, picture):
    _, video = models
    assert isinstance(video, VideoModel)
    embedding = video.encode([picture])
    first = video.track(embedding, [Recalled()] * 2, Prompts.of(points=[[[20, 20]], [[60, 30]]], labels=[[1], [1]]))
    logits = first.logits[torch.arange(2), first.best]
    maps = video.memorise(embedding, logits, first.presence, prompted=True)
    recalled = [
        Recalled(((maps[0], 0),), ((first.pointers[0, 0], 1),)),
        Recalled(((maps[1], 0), (maps[1], 2)), ((first.pointers[1, 0], 1),)),
    ]
    tracked = video.track(embedding, recalled)
    assert tracked.logits.shape == (2, 1, 32, 32)
    assert tracked.pointers.shape == (2, 1, 32)
    tracked.logits.square().mean().backward()
    assert video.memory.look.weight.grad is not None
    alone = video.track(embedding, recalled[1:])
    assert torch.allclose(alone.logits[0], tracked.logits[1], atol=1e-4)
    video.zero_grad()


def test_an_untrained_memory_already_carries_the_mask_of_a_still_clip(models, picture):
    _, video = models
    with torch.no_grad():
        embedding = video.encode([picture])
        mask = np.zeros((1, 48, 96), np.bool_)
        mask[:, 8:40, 16:56] = True
        drawn = video.drawn(embedding, Prompts(masks=mask))
        maps = video.memorise(embedding, drawn.logits[:, 0], drawn.presence, prompted=True)
        carried = video.carried(embedding.tensors, [(maps, 0)], (2, 4))
        # cells of 16 pixels of the 64 px frame, seen through the memory at 8
        assert carried.logits.shape == (1, 1, 8, 8)
        assert carried.logits[0, 0, 2, 3] > carried.logits[0, 0, 3, 7]
        assert (carried.logits[0, 0, 4:] < 0).all()


def test_an_object_that_was_drawn_empty_is_not_there(models, picture):
    _, video = models
    with torch.no_grad():
        embedding = video.encode([picture])
        drawn = video.drawn(embedding, Prompts(masks=np.zeros((1, 48, 96), np.bool_)))
    assert drawn.presence[0] < 0
    assert torch.equal(drawn.pointers[0, 0], video.memory.no_pointer)


def test_its_own_file_holds_the_memory_alone_and_fits_only_the_weights_it_was_made_beside(tmp_path):
    base = digest(locate(card("anymask-lite")))
    built = card("anymask-lite-video").build()
    own = {f"memory.{name}": tensor.half() for name, tensor in built.memory.state_dict().items()}
    assert sum(tensor.nbytes for tensor in own.values()) < 12e6
    save_file(own, tmp_path / "memory.safetensors", {"base": base})
    loaded = anymask.load(weights=tmp_path / "memory.safetensors", device="cpu")
    assert loaded.card.name == "anymask-lite-video"
    still = anymask.load("anymask-lite", device="cpu")
    assert torch.equal(loaded.mask_decoder.mask_tokens.weight, still.mask_decoder.mask_tokens.weight)
    assert torch.equal(loaded.memory.look.weight, own["memory.look.weight"].float())
    save_file(own, tmp_path / "other.safetensors", {"base": "0" * 64})
    with pytest.raises(BadWeights, match="beside other weights of anymask-lite"):
        anymask.load(weights=tmp_path / "other.safetensors", device="cpu")
