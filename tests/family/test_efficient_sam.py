"""EfficientSAM: the published layout loads, and it takes from SAM what it has a place for."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import anymask
from anymask.errors import BadPrompt
from anymask.family.efficient_sam import s, ti, tiny
from anymask.family.sam import tiny as tiny_sam
from anymask.models.catalogue import card
from anymask.prompts.prompts import Prompts

PUBLISHED_NAMES = (
    (r"(image_encoder\.blocks\.\d+\.mlp)\.lin([12])\.", r"\1.fc\2."),
    (r"(mask_decoder\.transformer\.layers\.\d\.mlp)\.lin1\.", r"\1.layers.0.0."),
    (r"(mask_decoder\.transformer\.layers\.\d\.mlp)\.lin2\.", r"\1.fc."),
    (r"output_upscaling\.0\.", "final_output_upscaling_layers.0.0."),
    (r"output_upscaling\.1\.", "final_output_upscaling_layers.0.1."),
    (r"output_upscaling\.3\.", "final_output_upscaling_layers.1.0."),
    (r"(hypernetworks_mlps\.\d|iou_prediction_head)\.layers\.([01])\.", r"\1.layers.\2.0."),
    (r"(hypernetworks_mlps\.\d|iou_prediction_head)\.layers\.2\.", r"\1.fc."),
)


def published(name: str) -> str:
    for pattern, replacement in PUBLISHED_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = tiny().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.3)
    return made


@pytest.mark.parametrize(("build", "name"), [(ti, "efficient-sam-ti"), (s, "efficient-sam-s")])
def test_parameters_are_as_many_as_published(build, name):
    with torch.device("meta"):
        assert sum(p.numel() for p in build().parameters()) == card(name).parameters


def test_a_file_in_the_published_layout_is_recognised(model, tmp_path):
    state = {published(name): tensor for name, tensor in model.state_dict().items()}
    assert "mask_decoder.transformer.layers.0.mlp.layers.0.0.weight" in state
    torch.save({"model": state}, tmp_path / "efficient.pt")
    loaded = anymask.load(weights=tmp_path / "efficient.pt", device="cpu")
    assert loaded.card.name == "efficient-sam-tiny-test"
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_prompts_are_padded_to_six_tokens_and_background_clicks_carry_their_place_alone(model):
    encoder = model.prompt_encoder
    points, labels = torch.tensor([[[9.5, 3.5], [20.5, 30.5]]]), torch.tensor([[0, 1]])
    with torch.no_grad():
        sparse, dense, _ = encoder(points, labels, torch.tensor([[1.0, 2, 50, 60]]))
        places = encoder.pe_layer((points + 0.5) / 128)
        nowhere = encoder.pe_layer(torch.full((1, 2), -0.5 / 128)) + encoder.invalid_points.weight
    assert sparse.shape == (1, 6, 32) and not dense.any()
    assert torch.allclose(sparse[:, 0], places[:, 0])
    assert torch.allclose(sparse[:, 1], places[:, 1] + encoder.point_embeddings.weight)
    assert torch.allclose(sparse[0, 4:], nowhere.expand(2, -1))
    assert encoder(torch.zeros(2, 7, 2), torch.ones(2, 7)).sparse.shape == (2, 7, 32)


def test_masks_are_refused_and_earlier_answers_left_aside(model, photo):
    embedding = model.encode([anymask.Image.open(photo)])
    point = {"points": [(30, 30)]}
    before = model.decode(embedding, Prompts.of(**point), multimask=False)
    logits = before.logits[:, 0].detach().numpy()
    again = model.decode(embedding, Prompts(before_points(), np.array([[1]]), low_res=logits), multimask=False)
    assert torch.equal(before.logits, again.logits)
    with pytest.raises(BadPrompt, match="not masks"):
        model.decode(embedding, Prompts.of(mask=photo[..., 0] > 150, size=photo.shape[:2], **point))
    with pytest.raises(BadPrompt, match="not masks"):
        model.decode(embedding, Prompts(low_res=logits))


def before_points() -> np.ndarray:
    return np.array([[[30, 30]]], np.float32)


def test_it_takes_sams_prompt_encoder_as_far_as_it_can():
    torch.manual_seed(1)
    sam, own = tiny_sam(), tiny()
    own.prompt_encoder.take(sam.prompt_encoder)
    box = torch.tensor([[3.0, 4, 90, 100]])
    point, label = torch.tensor([[[50.0, 20]]]), torch.tensor([[1]])
    with torch.no_grad():
        assert torch.allclose(own.prompt_encoder(boxes=box).sparse[:, :2], sam.prompt_encoder(boxes=box).sparse)
        mine, theirs = (model.prompt_encoder(point, label).sparse for model in (own, sam))
    # SAM's one padding token is what all of ours are
    assert torch.allclose(mine[:, :2], theirs, atol=1e-6) and torch.allclose(mine[:, 5], theirs[:, 1], atol=1e-6)
