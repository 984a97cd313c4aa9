"""The registry and the official Sam module: keys, parts called by hand, fine-tuning, wrong files."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from anymask.compat import segment_anything
from anymask.compat.segment_anything import SamPredictor, sam_model_registry
from anymask.errors import AnymaskError, BadImage, BadPrompt, BadSetting, BadWeights
from anymask.models.catalogue import card
from anymask.models.load import load


@pytest.fixture
def sam():
    """The tiny row behind the official class, of this test alone."""
    torch.manual_seed(0)
    model = card("sam-tiny-test").build().eval()
    model.card = card("sam-tiny-test")
    return SamPredictor(model).model


def test_the_registry_has_the_official_names():
    assert set(sam_model_registry) == {"default", "vit_h", "vit_l", "vit_b", "vit_t"}
    assert sam_model_registry["default"] is segment_anything.build_sam is segment_anything.build_sam_vit_h
    assert sam_model_registry["vit_l"] is segment_anything.build_sam_vit_l
    assert sam_model_registry["vit_b"] is segment_anything.build_sam_vit_b


def test_a_file_of_another_architecture_is_refused(tmp_path, sam):
    torch.save(sam.state_dict(), tmp_path / "tiny.pth")
    with pytest.raises(BadWeights):
        sam_model_registry["vit_t"](checkpoint=tmp_path / "tiny.pth")
    with pytest.raises(AnymaskError):
        sam_model_registry["vit_t"](checkpoint=str(tmp_path / "absent.pth"))


def test_the_registry_builds_a_network_without_a_file():
    mobile = sam_model_registry["vit_t"]()
    assert not mobile.training and mobile.image_encoder.img_size == 1024
    assert sum(p.numel() for p in mobile.parameters()) == card("mobile-sam").parameters


def test_a_file_saved_from_the_official_face_loads_everywhere(tmp_path, sam):
    torch.save(sam.state_dict(), tmp_path / "tiny.pth")
    again = load(weights=tmp_path / "tiny.pth", device="cpu")
    assert again.card.name == "sam-tiny-test"
    assert all(torch.equal(tensor, sam.state_dict()[name]) for name, tensor in again.state_dict().items())
    sam.load_state_dict(again.state_dict(), strict=True)
    with pytest.raises(RuntimeError, match="Missing key"):
        sam.load_state_dict({}, strict=True)


def test_the_parts_share_the_models_parameters(sam):
    names = {name for name, _ in sam.named_parameters()}
    assert names <= set(sam.state_dict())
    assert "image_encoder.blocks.0.attn.qkv.weight" in names
    assert "prompt_encoder.point_embeddings.0.weight" in names
    assert "mask_decoder.transformer.layers.0.norm1.weight" in names
    ids = [id(p) for p in sam.parameters()]
    assert len(ids) == len(set(ids)) and set(ids) == {id(p) for p in sam.network.parameters()}


def test_attributes_that_scripts_read_are_there(sam):
    assert sam.mask_threshold == 0.0 and sam.image_format == "RGB" and sam.device == torch.device("cpu")
    assert sam.pixel_mean.shape == sam.pixel_std.shape == (3, 1, 1)
    assert sam.image_encoder.img_size == 128
    assert sam.prompt_encoder.embed_dim == 32 and sam.prompt_encoder.input_image_size == (128, 128)
    assert sam.prompt_encoder.image_embedding_size == (8, 8) and sam.prompt_encoder.mask_input_size == (32, 32)
    assert sam.mask_decoder.num_mask_tokens == 4 and sam.mask_decoder.num_multimask_outputs == 3
    assert sam.prompt_encoder.get_dense_pe().shape == (1, 32, 8, 8)


def test_modes_and_freezing_reach_the_network(sam):
    sam.train()
    assert sam.network.mask_decoder.training and sam.image_encoder.training
    sam.mask_decoder.eval()
    assert not sam.network.mask_decoder.training and sam.network.image_encoder.training
    for parameter in sam.image_encoder.parameters():
        parameter.requires_grad_(False)
    assert not any(p.requires_grad for p in sam.network.image_encoder.parameters())
    assert all(p.requires_grad for p in sam.network.mask_decoder.parameters())


def test_conversions_reach_the_network(sam):
    sam.to(torch.float64)
    assert next(sam.network.parameters()).dtype == torch.float64 and sam.pixel_mean.dtype == torch.float64
    sam.prompt_encoder.get_dense_pe()


@pytest.mark.parametrize("multimask", [True, False])
def test_a_usual_fine_tuning_loop_lowers_its_loss(sam, multimask):
    """The image encoder and prompt encoder frozen, boxes as prompts, as the MedSAM tutorial does."""
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[32:96, 32:96] = 255
    frames = sam.preprocess(torch.as_tensor(picture).permute(2, 0, 1).float())[None]
    target = torch.zeros(1, 1, 32, 32)
    target[..., 8:24, 8:24] = 1
    optimizer = torch.optim.AdamW(sam.mask_decoder.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        with torch.no_grad():
            image = sam.image_encoder(frames)
            sparse, dense = sam.prompt_encoder(points=None, boxes=torch.tensor([[32.0, 32, 96, 96]]), masks=None)
        assert sparse.shape == (1, 2, 32) and dense.shape == (1, 32, 8, 8)
        logits, scores = sam.mask_decoder(
            image_embeddings=image,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        assert logits.shape == (1, 3 if multimask else 1, 32, 32) and scores.shape == logits.shape[:2]
        loss = (
            torch.nn.functional.binary_cross_entropy_with_logits(logits, target.expand_as(logits)) + scores.mean() ** 2
        )
        optimizer.zero_grad()
        loss.backward()
        # a parameter without a gradient stops distributed training
        assert all(p.grad is not None for p in sam.mask_decoder.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_all_answers_come_single_first(sam):
    sparse, dense = sam.prompt_encoder(points=None, boxes=torch.tensor([[3.0, 3, 60, 60]]), masks=None)
    parts = torch.randn(1, 32, 8, 8), sam.prompt_encoder.get_dense_pe(), sparse, dense
    logits, scores = sam.mask_decoder.predict_masks(*parts)
    assert logits.shape == (1, 4, 32, 32)
    assert torch.allclose(sam.mask_decoder(*parts, multimask_output=False)[0], logits[:, :1], atol=1e-5)
    assert torch.allclose(sam.mask_decoder(*parts, multimask_output=True)[1], scores[:, 1:], atol=1e-5)


def test_high_resolution_features_that_got_lost_are_named():
    lite = SamPredictor(load(device="cpu")).model
    with torch.no_grad():
        image = lite.image_encoder(torch.zeros(1, 3, lite.image_encoder.img_size, lite.image_encoder.img_size))
        sparse, dense = lite.prompt_encoder(points=None, boxes=torch.tensor([[3.0, 3, 60, 60]]), masks=None)
        pe = lite.prompt_encoder.get_dense_pe()
        assert lite.mask_decoder(image, pe, sparse, dense, False)[0].shape[:2] == (1, 1)
        with pytest.raises(BadSetting, match="high-resolution"):
            lite.mask_decoder(image.clone(), pe, sparse, dense, False)


def test_masks_are_brought_back_without_their_padding(sam):
    logits = torch.full((1, 1, 32, 32), -5.0)
    logits[..., :16, :] = 5
    masks = sam.postprocess_masks(logits, (64, 128), (300, 600))
    assert masks.shape == (1, 1, 300, 600) and (masks[..., :-8, :] > 0).all()


def test_bad_calls_are_typed_errors(sam):
    with pytest.raises(BadImage, match="128"):
        sam.image_encoder(torch.zeros(1, 3, 64, 64))
    with pytest.raises(BadImage):
        sam.preprocess(torch.zeros(3, 200, 10))
    with pytest.raises(BadPrompt):
        sam.prompt_encoder(points=(torch.zeros(1, 2, 2), torch.ones(1, 3)), boxes=None, masks=None)
    with pytest.raises(BadPrompt, match="same number"):
        sam.prompt_encoder(
            points=(torch.zeros(2, 1, 2), torch.ones(2, 1)), boxes=torch.tensor([[0.0, 0, 9, 9]]), masks=None
        )
    with pytest.raises(BadSetting, match="original_size"):
        sam([{"image": torch.zeros(3, 128, 128)}], multimask_output=True)
    with pytest.raises(BadPrompt, match="come together"):
        record = {"image": torch.zeros(3, 128, 128), "original_size": (9, 9), "point_coords": torch.zeros(1, 1, 2)}
        sam([record], multimask_output=True)
    with pytest.raises(BadSetting, match="at most 128"):
        sam.postprocess_masks(torch.zeros(1, 1, 32, 32), (300, 300), (300, 300))
    assert sam([], multimask_output=True) == []


class LowRank(torch.nn.Module):
    """A low-rank adapter around a linear layer, as fine-tuning scripts put it around qkv."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.down = torch.nn.Linear(linear.in_features, 2, bias=False)
        self.up = torch.nn.Linear(2, linear.out_features, bias=False)

    def forward(self, x):
        return self.linear(x) + self.up(self.down(x))


def answer(sam, frames):
    sparse, dense = sam.prompt_encoder(points=None, boxes=torch.tensor([[3.0, 3, 60, 60]]), masks=None)
    return sam.mask_decoder(sam.image_encoder(frames), sam.prompt_encoder.get_dense_pe(), sparse, dense, True)[0]


@pytest.mark.parametrize("where", ["image_encoder", "mask_decoder"])
def test_wrapped_layers_count_with_and_without_gradients(sam, where):
    frames = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        before = answer(sam, frames)
    if where == "image_encoder":
        block = sam.image_encoder.blocks[1]
        block.attn.qkv = LowRank(block.attn.qkv)
    else:
        attention = sam.mask_decoder.transformer.layers[0].cross_attn_token_to_image
        attention.q_proj = LowRank(attention.q_proj)
    with torch.no_grad():
        without = answer(sam, frames)
    assert torch.allclose(without, answer(sam, frames), atol=1e-5)
    assert (without - before).abs().max() > 1e-4
    assert any(name.endswith("up.weight") for name in sam.state_dict())


def test_blocks_can_be_cut_off_and_listened_to(sam):
    frames = torch.randn(1, 3, 128, 128)
    heard = []
    listening = sam.image_encoder.blocks[0].register_forward_hook(lambda module, inputs, out: heard.append(out))
    with torch.no_grad():
        whole = sam.image_encoder(frames)
        assert len(heard) == 1
        listening.remove()
        sam.image_encoder.blocks = sam.image_encoder.blocks[:1]
        short = sam.image_encoder(frames)
    assert not torch.allclose(whole, short)
    assert torch.allclose(short, sam.image_encoder(frames), atol=1e-5)


def test_a_deep_copy_is_a_model_of_its_own(sam):
    twin = copy.deepcopy(sam)
    with torch.no_grad():
        next(sam.parameters()).add_(1)
    assert not torch.equal(next(sam.parameters()), next(twin.parameters()))
    # the copy's parts are still one with the copy's network
    assert {id(p) for p in twin.parameters()} == {id(p) for p in twin.network.parameters()}
    again = pickle.loads(pickle.dumps(twin))
    assert again.state_dict().keys() == twin.state_dict().keys()
    assert {id(p) for p in again.parameters()} == {id(p) for p in again.network.parameters()}
