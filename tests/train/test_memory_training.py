"""Training on clips: what is learned from is what the model does, and a run goes from data to a file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from anymask.family.lite import LiteModel, LiteVideo
from anymask.models.catalogue import card
from anymask.nn.cell_memory import Carried, peaks
from anymask.train.clips import ClipSampler
from anymask.train.photos import Photo, Photos
from anymask.train.settings import TrainSettings
from anymask.train.start import prepare
from anymask.train.video import Followed

SETTINGS = TrainSettings(
    method="memory", images=1, masks=2, steps=10, frames=4, precision="float32", corrected=(0.0, 1.0), warmup=0
)


@pytest.fixture(scope="module")
def photos() -> Photos:
    rng = np.random.default_rng(0)
    pixels, entries, offset = [], [], 0
    y, x = np.mgrid[:96, :96]
    for _ in range(3):
        picture = rng.integers(0, 256, (96, 96, 3)).astype(np.uint8)
        mask = ((x - rng.integers(30, 60)) ** 2 + (y - rng.integers(30, 60)) ** 2 < 400).astype(np.uint8)
        picture[mask > 0] = rng.integers(0, 256, 3)
        rle = coco_mask.encode(np.asfortranarray(mask))
        entries.append(Photo(offset, (96, 96), (rle,), np.array([[0, 0, 96, 96]], np.float32)))
        pixels.append(picture.reshape(-1))
        offset += picture.size
    return Photos(np.concatenate(pixels), {"discs": entries})


@pytest.fixture
def model() -> LiteVideo:
    torch.manual_seed(0)
    still, video = LiteModel("lite0", dim=32, side=64), LiteVideo("lite0", dim=32, side=64)
    video.load_state_dict(still.state_dict(), strict=False)
    video.begin()
    video.card = card("anymask-lite-video")
    return video


def sampler(photos: Photos) -> ClipSampler:
    return ClipSampler(photos, None, SETTINGS, side=64, ratio=2, pad=(127, 127, 127))


def test_the_same_number_draws_the_same_clip_and_its_objects_begin_on_the_first_frame(photos):
    first, again = sampler(photos).batch(3, [3]), sampler(photos).batch(3, [3])
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.targets, again.targets)
    assert first.targets.shape == (4, 2, 32, 32)
    assert first.targets[0].any((1, 2)).all()
    assert len(first.corrected) == 1
    beyond = first.frames[:, :, first.shown[0] :]
    assert (beyond == 127).all()


def test_the_decoder_is_trained_on_what_it_answers(photos, model):
    prepare(model, SETTINGS)
    torch.nn.init.normal_(model.memory.hints.weight, std=0.1)
    task = Followed(model, SETTINGS)
    batch = sampler(photos).batch(0, [0])
    features = task._features(batch)
    seen = task._seen(features, 1, 2, 4, 4)
    carried = Carried(torch.randn(2, 32, 8, 8), torch.randn(2, 1, 8, 8))
    hints = torch.randn(2, 2, 32)
    earlier = torch.nn.functional.interpolate(carried.logits, (32, 32), mode="bilinear")
    said, score = task._asked(seen, earlier, carried.addition, hints, peaks(carried.logits, 8))
    one = {name: tensor[1] for name, tensor in features.items()}
    expected = model.followed(one, carried, model.unprompted(carried.logits), hints, False)
    assert torch.allclose(task._dense(said.logits), expected.logits[:, 0], atol=1e-4)
    assert torch.allclose(score, expected.scores, atol=1e-4)
    assert torch.allclose(said.token, expected.tokens[:, 0], atol=1e-4)
    assert expected.presence is not None
    assert torch.allclose(said.presence, expected.presence, atol=1e-4)


def test_the_loss_falls_and_the_picture_model_stays(photos, model):
    groups = prepare(model, SETTINGS)
    task = Followed(model, SETTINGS)
    still = [parameter.detach().clone() for parameter in model.mask_decoder.parameters()]
    optimiser = torch.optim.AdamW(groups, lr=2e-3)
    batch = sampler(photos).batch(1, [1])
    losses = []
    for _ in range(8):
        loss, report = task(batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(report["loss"])
    assert losses[-1] < losses[0]
    assert all(torch.equal(old, new) for old, new in zip(still, model.mask_decoder.parameters(), strict=True))
