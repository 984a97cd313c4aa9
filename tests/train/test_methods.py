"""What each method trains, and that its result loads wherever weights do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import anymask
from anymask.errors import BadSetting, BadWeights
from anymask.models.adapters import about
from anymask.models.preprocess import Preprocess
from anymask.models.promptable import PromptableModel
from anymask.models.weights import digest, read
from anymask.nn.mask_decoder import MaskDecoder
from anymask.nn.prompt_encoder import PromptEncoder
from anymask.nn.vit import ImageEncoderViT
from anymask.train import export, lora, run
from anymask.train.settings import TrainSettings
from anymask.train.start import blocks_of, prepare

QUICK = {"steps": 2, "images": 1, "masks": 2, "warmup": 0, "precision": "float32", "average": 0.0}
TINY = "sam-tiny-test"


@pytest.fixture
def sam() -> PromptableModel:
    """SAM's shape, made small: a 64 px frame, 2 blocks."""
    torch.manual_seed(0)
    encoder = ImageEncoderViT(side=64, dim=32, depth=2, heads=2, out=32, window=2, global_blocks=(1,))
    prompts = PromptEncoder(32, (4, 4), (64, 64))
    return PromptableModel(encoder, prompts, MaskDecoder(32, heads=2, mlp_dim=64, iou_hidden=32), Preprocess(64))


def trained(model: PromptableModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_decoder_alone_leaves_the_encoder(sam):
    prepare(sam, TrainSettings(method="decoder"))
    assert trained(sam) and not any(name.startswith("image_encoder") for name in trained(sam))


def test_lora_adds_to_every_linear_layer_of_the_encoder(sam):
    frames = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        plain = sam.image_encoder(frames)
    prepare(sam, TrainSettings(method="lora", lora_rank=2))
    own = {name for name in trained(sam) if name.startswith("image_encoder")}
    assert own and all(lora.is_own(name) for name in own)
    # qkv, proj, lin1 and lin2 of two blocks, and the neck's 1x1 convolution
    assert len(own) == 2 * (2 * 4 + 1)
    # an addition starts at zero
    torch.testing.assert_close(sam.image_encoder(frames), plain, rtol=1e-4, atol=1e-5)
    sam.image_encoder(frames).square().sum().backward()
    gradients = [p.grad for name, p in sam.named_parameters() if name in own and name.endswith(".b")]
    assert all(gradient is not None and gradient.any() for gradient in gradients)


def test_lower_blocks_learn_more_slowly(sam):
    found = prepare(sam, TrainSettings(method="full", layer_decay=0.5, encoder_rate=1.0, rate=1e-3))
    rates = {id(parameter): group["lr"] for group in found for parameter in group["params"]}
    first, second = (next(block.parameters()) for block in blocks_of(sam.image_encoder))
    assert rates[id(first)] == pytest.approx(1e-3 / 4) and rates[id(second)] == pytest.approx(1e-3 / 2)
    assert rates[id(sam.image_encoder.pos_embed)] == pytest.approx(1e-3 / 8)
    assert rates[id(sam.mask_decoder.iou_token.weight)] == pytest.approx(1e-3)


def test_checkpointing_changes_no_gradient(sam):
    frames = torch.randn(2, 3, 64, 64)

    def gradient():
        sam.zero_grad()
        sam.image_encoder(frames).square().mean().backward()
        return sam.image_encoder.patch_embed.proj.weight.grad.clone()

    plain = gradient()
    prepare(sam, TrainSettings(method="full", checkpointing=True))
    torch.testing.assert_close(gradient(), plain, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", ["decoder", "lora", "full"])
def test_the_result_of_a_run_loads_like_weights(made_up, tmp_path, method):
    settings = TrainSettings(method=method, lora_rank=2, **QUICK)
    job = run.Job("anymask-lite", (made_up,), tmp_path / "run", settings, cpu=True)
    file = run.train(job)
    assert file is not None
    if method == "full":
        assert about(file) is None and file.name == "model.safetensors"
    else:
        # an eighth of the model's weights at most, beside the decoder's own
        assert about(file).model == "anymask-lite" and file.stat().st_size < 3_500_000
    tuned, plain = anymask.load(weights=file, device="cpu"), anymask.load(device="cpu")
    assert tuned.weights == digest(file)
    moved = {n for n, p in tuned.state_dict().items() if not torch.equal(p, plain.state_dict()[n])}
    assert any(name.startswith("mask_decoder") for name in moved)
    assert any(name.startswith("image_encoder") for name in moved) == (method != "decoder")
    # what was trained is what answers: the additions are in the weights
    model, _ = run.start(job)
    prepare(model, settings)
    expected = lora.plain_state(model, export.average_of(job.out)[0])
    for name, tensor in tuned.state_dict().items():
        torch.testing.assert_close(tensor.float(), expected[name].float(), rtol=2e-3, atol=1e-3)
    picture = np.full((40, 60, 3), 90, np.uint8)
    assert len(anymask.segment(picture, boxes=[[5, 5, 30, 30]], model=tuned)) == 1


def test_a_merged_adapter_is_the_model_with_the_adapter(made_up, tmp_path):
    job = run.Job(
        "anymask-lite", (made_up,), tmp_path / "run", TrainSettings(method="lora", lora_rank=2, **QUICK), cpu=True
    )
    adapter = run.train(job)
    whole = export.merge(adapter, tmp_path / "whole.safetensors")
    put_on = anymask.load(weights=adapter, device="cpu").state_dict()
    for name, tensor in read(whole).items():
        torch.testing.assert_close(tensor, put_on[name], rtol=0, atol=0)
    with safe_open(whole, "pt") as file:
        assert file.metadata()["adapter"] == digest(adapter)
    with pytest.raises(BadWeights, match="is no adapter"):
        export.merge(whole, tmp_path / "again.safetensors")
    with pytest.raises(BadWeights, match="was made on weights"):
        export.merge(adapter, tmp_path / "again.safetensors", base=whole)
    with pytest.raises(BadWeights, match="for anymask-lite, not for sam-vit-b"):
        anymask.load("sam-vit-b", weights=adapter)


def test_a_run_that_cannot_be_is_refused_before_it_starts(made_up, tmp_path):
    settings = TrainSettings(method="scratch", **QUICK)
    with pytest.raises(BadSetting, match="takes no weights"):
        run.train(run.Job("anymask-lite", (made_up,), tmp_path / "a", settings, weights=tmp_path / "w.safetensors"))
    with pytest.raises(BadSetting, match="1 images a step cannot be shared by 2 processes"):
        run.train(run.Job("anymask-lite", (made_up,), tmp_path / "b", settings), processes=2)


@pytest.mark.parametrize("method", ["decoder", "lora", "full"])
def test_members_of_sams_own_shape_are_trained_by_the_same_command(made_up, tmp_path, tiny, method):
    base = tmp_path / "base.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tiny.state_dict().items()}, base)
    settings = TrainSettings(method=method, rate=0.05, lora_rank=2, drop_path=0.2, checkpointing=True, **QUICK)
    file = run.train(run.Job(TINY, (made_up,), tmp_path / "run", settings, weights=base, cpu=True))
    if method != "full":
        with pytest.raises(BadWeights, match="anymask merge"):
            anymask.load(weights=file)
        file = export.merge(file, tmp_path / "whole.safetensors", base=base)
    tuned = read(file)
    moved = {name for name, tensor in tiny.state_dict().items() if not torch.allclose(tuned[name], tensor, atol=2e-3)}
    assert any(name.startswith("mask_decoder") for name in moved)
    assert any(name.startswith("image_encoder") for name in moved) == (method != "decoder")


def test_an_adapter_needs_weights_to_lie_on(made_up, tmp_path):
    job = run.Job(TINY, (made_up,), tmp_path / "run", TrainSettings(method="decoder", **QUICK), cpu=True)
    with pytest.raises(BadSetting, match="no trained weights"):
        run.train(job)
