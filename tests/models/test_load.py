"""A model is a name or a file; what it is comes from the tensors, and a wrong file says what is wrong with it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from safetensors.torch import save_file

import anymask
from anymask.errors import BadSetting, BadWeights, DownloadFailed, NotYet, UnknownModel
from anymask.family.sam import tiny as build_tiny
from anymask.models import layout
from anymask.models.catalogue import card, cards
from anymask.models.digest import digest
from anymask.models.load import load, pick_device, pick_dtype
from anymask.models.weights import apply, read


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return build_tiny().state_dict()


@pytest.fixture
def weights(tmp_path, state) -> Path:
    path = tmp_path / "mine.pth"
    torch.save(state, path)
    return path


def equal(model, state):
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], state[name]) for name in state)


def test_a_file_alone_tells_which_model_it_is(weights, state, monkeypatch):
    monkeypatch.setenv("ANYMASK_OFFLINE", "1")
    for model in (load(weights=weights), load(str(weights)), load(weights), load("sam-tiny-test", weights=weights)):
        assert model.card.name == "sam-tiny-test" and equal(model, state)
        assert model.weights == digest(weights) and not model.training


def test_load_is_the_public_name(weights):
    assert anymask.load(weights=str(weights)).card.name == "sam-tiny-test"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"model": s, "epoch": 1},
        lambda s: {f"module.{name}": t for name, t in s.items()},
        lambda s: {"state_dict": {f"model._orig_mod.{name}": t for name, t in s.items()}},
        lambda s: {name: t.half() for name, t in s.items()},
        lambda s: {name: t.bfloat16() for name, t in s.items()},
    ],
)
def test_wrapped_prefixed_and_half_files_load_as_float32(tmp_path, state, wrap):
    torch.save(wrap(state), tmp_path / "w.pth")
    model = load(weights=tmp_path / "w.pth")
    assert {t.dtype for t in model.state_dict().values()} == {torch.float32}
    assert all(torch.allclose(t, state[name], rtol=1e-2, atol=1e-2) for name, t in model.state_dict().items())


def test_a_file_that_does_not_fit_lists_what_is_wrong(tmp_path, state):
    wrong = {name: tensor for name, tensor in state.items() if not name.startswith("mask_decoder.iou_token")}
    wrong["image_encoder.extra"] = torch.ones(1)
    wrong["image_encoder.pos_embed"] = torch.ones(1, 2, 3, 4)
    torch.save(wrong, tmp_path / "w.pth")
    with pytest.raises(BadWeights) as caught:
        load("sam-tiny-test", weights=tmp_path / "w.pth")
    text = str(caught.value)
    assert "does not fit sam-tiny-test" in text
    assert "1 missing (mask_decoder.iou_token.weight)" in text
    assert "1 unexpected (image_encoder.extra)" in text
    assert "1 misshapen (image_encoder.pos_embed is [1, 2, 3, 4], expected [1, 8, 8, 32])" in text


def test_the_model_is_left_alone_when_the_file_does_not_fit(state):
    model = build_tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(BadWeights):
        apply(model, card("sam-tiny-test"), dict(list(state.items())[1:]))
    assert equal(model, before)


def test_a_file_of_another_model_is_named(weights):
    with pytest.raises(BadWeights, match=r"does not fit mobile-sam.*; this looks like sam-tiny-test"):
        load("mobile-sam", weights=weights)


@pytest.mark.parametrize(
    ("tensors", "name"),
    [
        ({"detector.backbone.vision_backbone.trunk.pos_embed": torch.zeros(1, 577, 1024)}, "sam3"),
        (
            {
                "mask_decoder.hf_token.weight": torch.zeros(1, 256),
                "mask_decoder.compress_vit_feat.0.weight": torch.zeros(160, 256, 2, 2),
            },
            "sam-hq-vit-tiny",
        ),
    ],
)
def test_a_file_of_a_model_still_to_come_is_recognised(tmp_path, tensors, name):
    torch.save({"model": tensors}, tmp_path / "w.pt")
    with pytest.raises(NotYet, match=f"looks like {name.replace('.', '[.]')}.*comes later.*today"):
        load(weights=tmp_path / "w.pt")
    with pytest.raises(BadWeights, match=f"looks like {name.replace('.', '[.]')} .*not yet available"):
        load("sam-tiny-test", weights=tmp_path / "w.pt")


def test_tensors_of_no_known_model_say_so(tmp_path):
    torch.save({"conv1.weight": torch.ones(3)}, tmp_path / "resnet.pth")
    with pytest.raises(BadWeights, match=r"no known model is made of the 1 tensors .*\(conv1\.weight\)"):
        load(weights=tmp_path / "resnet.pth")


def test_quantised_numbers_are_refused(tmp_path, state):
    numbers = {name: tensor.to(torch.int8) for name, tensor in state.items()}
    torch.save(numbers, tmp_path / "w.pth")
    with pytest.raises(BadWeights, match="int8 where sam-tiny-test needs float32; is the file quantised"):
        load(weights=tmp_path / "w.pth")


def test_of_twins_the_checksum_or_the_file_name_decides(weights, monkeypatch):
    one = card("sam-tiny-test")
    twin = replace(one, name="twin", files=(layout_file := replace_file(one, "twin.pth"),))
    sure = replace(one, name="sure", files=(replace_file(one, "else.pth", digest(weights)),))
    monkeypatch.setattr(layout, "cards", lambda: MappingProxyType({c.name: c for c in (one, twin)}))
    assert load(weights=weights).card.name == "sam-tiny-test"
    named = weights.with_name(layout_file.name)
    shutil.copy(weights, named)
    assert load(weights=named).card.name == "twin"
    monkeypatch.setattr(layout, "cards", lambda: MappingProxyType({c.name: c for c in (one, twin, sure)}))
    assert load(weights=weights).card.name == "sure"


def replace_file(of, name, sha256=""):
    from anymask.models.card import WeightFile

    return WeightFile(name, sha256=sha256)


@pytest.mark.parametrize(
    "name", [name for name, c in cards().items() if c.build is not None and c.parameters < 20_000_000]
)
def test_skipping_the_random_start_changes_nothing_that_is_loaded(name):
    """Also tables that no file holds (window offsets and the like) must come out as in a normal build."""
    full = card(name).build().eval()
    bare = layout.build_bare(card(name)).eval()
    apply(bare, card(name), full.state_dict())
    for kind in ("named_parameters", "named_buffers"):
        left, right = dict(getattr(full, kind)()), dict(getattr(bare, kind)())
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)


def test_a_model_without_trained_weights_says_that_it_is_random(caplog):
    assert load("sam-tiny-test").weights == "random"
    assert "answers at random" in caplog.text


def test_models_still_to_come_name_what_does_the_job_today():
    with pytest.raises(NotYet, match=r"sam2\.1-hq-hiera-large .*comes later, with HQ-SAM; sam-vit-h does"):
        load("sam2.1-hq-hiera-large")


def test_offline_without_the_file_says_where_to_put_it(monkeypatch, own_home):
    monkeypatch.setenv("ANYMASK_OFFLINE", "1")
    with pytest.raises(DownloadFailed) as caught:
        load("vit_b")
    assert str(own_home / "weights" / "sam_vit_b_01ec64.pth") in str(caught.value)
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth" in str(caught.value)


def test_the_file_is_downloaded_loaded_and_its_licence_named(make_web, weights, monkeypatch, caplog, state):
    from anymask.models import load as room
    from anymask.models.card import WeightFile

    web = make_web(weights.read_bytes())
    file = WeightFile("tiny.pth", web.url + "/tiny.pth", sha256=digest(weights))
    online = replace(card("sam-tiny-test"), files=(file,), licence="Odd License", page="https://odd.example")
    monkeypatch.setattr(room, "card_of", lambda name: online)
    model = load("sam-tiny-test")
    assert equal(model, state) and model.weights == file.sha256
    assert "Odd License" in caplog.text and "https://odd.example" in caplog.text
    load("sam-tiny-test")
    assert len(web.requests) == 1


def test_the_copy_that_transformers_downloaded_serves_as_well(tmp_path, monkeypatch, state, own_home):
    from anymask.models import load as room
    from anymask.models.card import WeightFile

    monkeypatch.setenv("ANYMASK_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    official = WeightFile("official.pth", "https://nowhere.example/official.pth")
    files = (official, WeightFile("t.safetensors", "hf:x/y/m.safetensors"))
    two = replace(card("sam-tiny-test"), files=files)
    monkeypatch.setattr(room, "card_of", lambda name: two)
    with pytest.raises(DownloadFailed, match=r"official\.pth"):
        load("sam-tiny-test")
    snapshot = tmp_path / "hf" / "hub" / "models--x--y" / "snapshots" / "0a1b" / "m.safetensors"
    snapshot.parent.mkdir(parents=True)
    save_file(state, str(snapshot))
    assert equal(load("sam-tiny-test"), state)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": "nonsense"}, UnknownModel),
        ({"name": "nonsense.pth"}, BadWeights),
        ({"name": 3}, BadSetting),
        ({"weights": 3}, BadSetting),
        ({"name": b"bytes"}, BadSetting),
        ({"weights": "nonsense.pth"}, BadWeights),
        ({"weights": "."}, BadWeights),
        ({"name": "sam-tiny-test", "weights": "nonsense.pth"}, BadWeights),
        ({"name": "sam-tiny-test", "device": "gpu"}, BadSetting),
        ({"name": "sam-tiny-test", "device": "meta"}, BadSetting),
        ({"name": "sam-tiny-test", "device": "cuda:99"}, BadSetting),
        ({"name": "sam-tiny-test", "device": ""}, BadSetting),
        ({"name": "sam-tiny-test", "device": 3.5}, BadSetting),
        ({"name": "sam-tiny-test", "dtype": "float8"}, BadSetting),
        ({"name": "sam-tiny-test", "dtype": torch.int8}, BadSetting),
        ({"name": "sam-tiny-test", "dtype": 16}, BadSetting),
        ({"name": "sam-tiny-test", "device": "cpu", "dtype": "float16"}, BadSetting),
    ],
)
def test_wrong_settings_are_one_sentence(arguments, error):
    with pytest.raises(error) as caught:
        load(**arguments)
    assert "\n" not in str(caught.value)


def test_device_auto_is_the_best_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device(torch.device("cpu")) == pick_device("cpu") == torch.device("cpu")


def test_dtypes_by_name_or_by_torch():
    assert pick_dtype(None) == pick_dtype("float32") == torch.float32
    assert pick_dtype("bfloat16") == pick_dtype(torch.bfloat16) == torch.bfloat16


def test_precision_is_of_the_encoding_and_parameters_stay_float32(weights):
    model = load(weights=weights, dtype="bfloat16")
    assert model.compute_dtype == torch.bfloat16
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_saving_and_loading_again_gives_the_same_numbers(tmp_path, weights, state):
    model = load(weights=weights)
    save_file(model.state_dict(), str(tmp_path / "again.safetensors"))
    assert read(tmp_path / "again.safetensors").keys() == state.keys()
    assert equal(load(tmp_path / "again.safetensors"), state)
