"""SAM 2 on still images gives what the official package gives, from the file that the official class saves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sam2_cases import official, picture, relative

from anymask.models.catalogue import card
from anymask.models.load import load
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts

TOLERANCE = 1e-4
LOGITS = 1e-5
"""Of the largest logit."""

PROMPTS = {
    "point": {"points": [(60, 40)]},
    "points": {"points": [(60, 40), (130, 80), (10, 10)], "labels": [1, 0, 1]},
    "box": {"boxes": [30, 20, 110, 75]},
    "box and point": {"boxes": [30, 20, 110, 75], "points": [(60, 40)], "labels": [0]},
}


def saved(model, folder):
    """The file of an official model, as the published ones are."""
    path = folder / "sam2.pt"
    torch.save({"model": model.state_dict()}, path)
    return path


@pytest.fixture(scope="module", params=["2.1", "2"])
def pair(request, peer, noisy, tmp_path_factory):
    """(official model, ours from its file)."""
    theirs = noisy(official(peer, request.param))
    ours = load(weights=saved(theirs, tmp_path_factory.mktemp("sam2")), device="cpu")
    assert ours.card.name == f"sam{request.param}-tiny-test"
    return theirs, ours


@pytest.fixture(scope="module", params=[(90, 140), (33, 47), (300, 171), (128, 128)], ids=str)
def scene(request, pair, peer):
    """(official predictor, our embedding, picture) of a picture larger or smaller than the frame, or as large."""
    pixels = picture(request.param)
    predictor = peer("sam2.sam2_image_predictor").SAM2ImagePredictor(pair[0])
    predictor._bb_feat_sizes = [(32, 32), (16, 16), (8, 8)]
    predictor.set_image(pixels)
    with torch.no_grad():
        return predictor, pair[1].encode([Image.open(pixels)]), pixels


def test_pictures_reach_the_frame_as_there(scene, pair):
    predictor, _, pixels = scene
    frames, (resize,) = pair[1].preprocess([Image.open(pixels)])
    assert resize.direct and resize.resized == (128, 128)
    assert (frames[0] - predictor._transforms(pixels)).abs().max() < 2e-6


def test_the_embedding_is_the_official_one(scene):
    predictor, embedding, _ = scene
    fine, middle = predictor._features["high_res_feats"]
    for name, expected in (("image", predictor.get_image_embedding()), ("high_res_0", fine), ("high_res_1", middle)):
        assert (embedding.tensors[name] - expected).abs().max() < TOLERANCE, name


def answers_agree(pair, scene, prompt, multimask, earlier=None):
    predictor, embedding, pixels = scene
    height, width = pixels.shape[:2]
    scale = np.array([width / 140, height / 90])
    points = None if "points" not in prompt else np.array(prompt["points"]) * scale
    box = None if "boxes" not in prompt else np.array(prompt["boxes"]) * np.tile(scale, 2)
    masks, scores, low_res = predictor.predict(
        point_coords=points,
        point_labels=None if points is None else np.array(prompt.get("labels", [1] * len(points))),
        box=box,
        mask_input=earlier,
        multimask_output=multimask,
    )
    asked = Prompts.of(points=points, labels=prompt.get("labels"), boxes=box, mask=earlier)
    with torch.no_grad():
        ours = pair[1].decode(embedding, asked, multimask=multimask)
    # the official predictor cuts off what it hands out
    assert relative(ours.logits[0].clamp(-32, 32), low_res) < LOGITS
    assert np.abs(ours.scores[0].numpy() - scores).max() < TOLERANCE
    own = (ours.upscaled()[0] > 0).numpy()
    either = (own | masks.astype(bool)).sum()
    assert either == 0 or (own & masks.astype(bool)).sum() / either >= 0.999
    return low_res


@pytest.mark.parametrize("prompt", list(PROMPTS.values()), ids=list(PROMPTS))
@pytest.mark.parametrize("multimask", [True, False])
def test_answers_to_prompts_are_the_official_ones(pair, scene, prompt, multimask):
    low_res = answers_agree(pair, scene, prompt, multimask)
    answers_agree(pair, scene, prompt, multimask, low_res[:1])


def test_an_unstable_single_mask_gives_way_to_the_best_candidate(pair, scene):
    """So that the choice is put to the test, whichever mask the noise favours."""
    embedding = scene[1]
    decoder = pair[1].mask_decoder
    asked = Prompts.of(points=[[[x, y]] for x in (5, 20, 30) for y in (5, 16, 30)])
    with torch.no_grad():
        every = pair[1].decode(embedding, asked, multimask="both")
        decoder.steady = False
        try:
            plain = pair[1].decode(embedding, asked, multimask="both")
        finally:
            decoder.steady = True
    above, below = ((plain.logits[:, 0] > offset).flatten(1).sum(1) for offset in (0.05, -0.05))
    rows = torch.arange(len(above))
    unstable = above < 0.98 * below
    expected = torch.where(unstable, plain.scores[:, 1:].argmax(1) + 1, 0)
    assert torch.equal(every.logits[:, 0], plain.logits[rows, expected])
    assert torch.equal(every.scores[:, 0], plain.scores[rows, expected])
    assert torch.equal(every.logits[:, 1:], plain.logits[:, 1:])


def test_the_official_file_loads_strictly_and_nothing_else_does(pair, tmp_path):
    from anymask.errors import BadWeights

    theirs, ours = pair
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
    state = dict(theirs.state_dict())
    del state["memory_attention.norm.bias"]
    torch.save({"model": state}, tmp_path / "cut.pt")
    with pytest.raises(BadWeights, match=r"1 missing \(memory.attention.norm.bias\)"):
        load(ours.card.name, weights=tmp_path / "cut.pt")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_the_published_tiny_size_gives_the_official_answers(peer, noisy, tmp_path):
    """About half a minute: Hiera-T at 1024 pixels, once."""
    build = peer("sam2.build_sam").build_sam2
    theirs = noisy(build("configs/sam2.1/sam2.1_hiera_t.yaml", None, device="cpu"))
    assert sum(p.numel() for p in theirs.parameters()) == card("sam2.1-hiera-tiny").parameters
    ours = load("sam2.1-hiera-tiny", weights=saved(theirs, tmp_path), device="cpu")
    pixels = picture((300, 420))
    predictor = peer("sam2.sam2_image_predictor").SAM2ImagePredictor(theirs)
    predictor.set_image(pixels)
    with torch.no_grad():
        embedding = ours.encode([Image.open(pixels)])
        assert relative(embedding.tensors["image"], predictor.get_image_embedding()) < TOLERANCE
        for prompt in PROMPTS.values():
            answers_agree((theirs, ours), (predictor, embedding, pixels), prompt, True)
            answers_agree((theirs, ours), (predictor, embedding, pixels), prompt, False)
