"""Exported files as models: sessions, everything mode and commands run on them; wrong files are named."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from tiny_family import build
from typer.testing import CliRunner

import anymask
from anymask import Image, Prompts, Session
from anymask.cli.app import app
from anymask.errors import BadPrompt, BadSetting, BadWeights, EmbeddingMismatch, MissingExtra, NoImage
from anymask.export.precision import eighths
from anymask.export.runtime import OnnxPredictor
from anymask.export.write import write
from anymask.masks.rle import iou
from anymask.models.interface import UNWANTED, PromptModel
from anymask.models.load import identify, load
from anymask.models.onnx_files import Part


@pytest.fixture
def picture(photo):
    return Image.open(photo)


@pytest.mark.parametrize("name", ["sam-vit", "anymask-lite"])
def test_a_session_cannot_tell(exported, picture, name):
    model, folder, _ = exported(name)
    other = load(folder)
    assert isinstance(other, PromptModel) and other.card.name == model.card.name
    ours, theirs = Session(picture, other), Session(picture, model)
    for session in (ours, theirs):
        session.click(70, 45)
        session.click(20, 20, inside=False)
        session.box(30, 20, 120, 80)
    assert len(ours.candidates) == len(theirs.candidates)
    assert iou(ours.mask.rle, theirs.mask.rle)[0, 0] > 0.999
    several = [ours.predict(points=[[[70, 45]], [[10, 10], [90, 60]]], multimask=False) for _ in range(2)]
    assert len(several[0]) == 2 and np.array_equal(several[0].scores, several[1].scores)


def test_everything_mode_runs_on_it(exported, picture):
    model, folder, _ = exported("anymask-lite")
    settings = {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    ours, theirs = (anymask.everything(picture, one, **settings) for one in (load(folder), model))
    # masks of noise have logits close to zero all over, so that small ones may differ or fall to others
    assert len(ours) > 0 and iou(ours.rle[:1], theirs.rle[:1])[0, 0] > 0.99
    assert np.abs(ours.scores[0] - theirs.scores[0]) < 1e-4


def test_masks_that_score_too_little_are_not_drawn(exported, picture):
    _, folder, _ = exported("sam-vit")
    model = load(folder / "decoder.onnx")
    embedding = model.encode([picture])
    prompts = Prompts.of(points=[[[70, 45]], [[10, 10]]])
    every = model.decode(embedding, prompts)
    limit = float(every.scores.median())
    found = model.decode(embedding, prompts, min_score=limit)
    assert torch.equal(found.scores, every.scores)
    assert (found.logits[every.scores <= limit] == UNWANTED).all()
    assert torch.equal(found.logits[every.scores > limit], every.logits[every.scores > limit])


def test_it_is_itself_and_no_other(exported, picture):
    model, folder, _ = exported("sam-vit")
    other = load(folder)
    embedding = other.encode([picture, picture])
    assert len(embedding) == 2
    with pytest.raises(BadSetting, match="one image"):
        other.decode(embedding, Prompts.of([1, 1]))
    with torch.no_grad(), pytest.raises(EmbeddingMismatch, match="encode the image again"):
        other.decode(model.encode([picture]), Prompts.of([1, 1]))
    card, path, weights = identify(folder)
    assert (card.name, path, weights) == (other.card.name, folder, other.weights)
    with pytest.raises(BadSetting, match="precision of its export"):
        load(folder, dtype="bfloat16")
    with pytest.raises(BadSetting, match="onnxruntime cannot use"):
        load(folder, device="abacus")
    with pytest.raises(BadWeights, match="not of sam-vit-b"):
        load("sam-vit-b", weights=folder)


def test_files_that_do_not_fit_are_named(exported, tmp_path):
    import onnx

    _, folder, _ = exported("sam-vit")
    _, lite, _ = exported("anymask-lite")
    encoder, decoder = ((folder / f"{part}.onnx").read_bytes() for part in ("encoder", "decoder"))
    with pytest.raises(BadWeights, match="there is no file"):
        load(tmp_path / "none.onnx")
    (tmp_path / "encoder.onnx").write_bytes(encoder)
    with pytest.raises(BadWeights, match=r"lacks decoder\.onnx"):
        load(tmp_path)
    for content in (b"", b"no graph", decoder[: len(decoder) // 2]):
        (tmp_path / "decoder.onnx").write_bytes(content)
        with pytest.raises(BadWeights, match="not an ONNX file"):
            load(tmp_path)
    (tmp_path / "decoder.onnx").write_bytes(encoder)
    with pytest.raises(BadWeights, match="holds the encoder"):
        load(tmp_path)
    (tmp_path / "decoder.onnx").write_bytes((lite / "decoder.onnx").read_bytes())
    with pytest.raises(BadWeights, match="different weights"):
        load(tmp_path)
    foreign = onnx.load_from_string(decoder)
    del foreign.metadata_props[:]
    (tmp_path / "decoder.onnx").write_bytes(foreign.SerializeToString())
    with pytest.raises(BadWeights, match="not one that 'anymask export' wrote"):
        load(tmp_path)
    for text in ("{}", "[1]", "no json", '{"layout": 99}'):
        onnx.helper.set_model_props(foreign, {"anymask": text})
        (tmp_path / "decoder.onnx").write_bytes(foreign.SerializeToString())
        with pytest.raises(BadWeights, match=r"damaged description|later anymask"):
            load(tmp_path)
    (tmp_path / "mine.onnx").write_bytes(decoder)
    with pytest.raises(BadWeights, match="not one of the names"):
        load(tmp_path / "mine.onnx")


def test_a_decoder_of_single_masks_is_for_other_programs(exported, tmp_path):
    model, folder, _ = exported("sam-vit")
    found = write(model, tmp_path, part="decoder", single_mask=True)
    assert found[0].iou > 0.999
    (tmp_path / "encoder.onnx").write_bytes((folder / "encoder.onnx").read_bytes())
    with pytest.raises(BadWeights, match="--single-mask"):
        load(tmp_path)


@pytest.mark.parametrize("library", ["onnxruntime", "onnx"])
def test_a_missing_library_is_named_with_the_command_that_helps(exported, tmp_path, monkeypatch, library):
    model, folder, _ = exported("sam-vit")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"pip install 'anymask\[export\]'"):
        load(folder) if library == "onnxruntime" else write(model, tmp_path)


def test_smaller_files_answer_nearly_the_same(exported, tmp_path, picture):
    """Of random weights; what it costs a trained model is in docs/export.md."""
    sizes = {"fp32": 0}
    for name in ("sam-vit", "anymask-lite"):
        model, _, whole = exported(name)
        sizes["fp32"] += sum(one.size for one in whole)
        for dtype, least in (("fp16", 0.97), ("int8", 0.8)):
            found = write(model, tmp_path / name / dtype, dtype=dtype)
            sizes[dtype] = sizes.get(dtype, 0) + sum(one.size for one in found)
            assert min(one.iou for one in found) > least, (name, dtype)
            assert all(Part(one.path).about.dtype == dtype for one in found)
            assert len(Session(picture, load(tmp_path / name / dtype)).predict([70, 45])) == 3
    assert sizes["int8"] < sizes["fp16"] < 0.8 * sizes["fp32"]


def test_integer_products_are_as_exact_as_their_scales(tmp_path):
    """Large products of a ViT encoder: activations and weights in 8 bits."""
    from anymask.family.sam import build as sam
    from anymask.models.card import Card

    torch.manual_seed(0)
    model = sam(256, 2, 4, (1,), side=64, window=3, out=32).eval()
    model.card, model.weights = Card("tiny-wide", "a wide one", build=sam), "wide"
    import onnx

    found = write(model, tmp_path, part="encoder", dtype="int8")
    kinds = [node.op_type for node in onnx.load(tmp_path / "encoder.onnx").graph.node]
    assert kinds.count("MatMulInteger") == kinds.count("DynamicQuantizeLinear") == 8
    assert found[0].logits < 0.1 * found[0].largest


def test_eighths_are_off_by_half_a_step_at_most():
    values = np.random.default_rng(0).standard_normal((7, 5)).astype("f")
    values[3] = 0
    for axis in (0, 1):
        whole, scale = eighths(values, axis)
        assert whole.dtype == np.int8 and scale.shape == ((7, 1) if axis == 0 else (1, 5))
        assert (np.abs(whole * scale - values) <= scale / 2 + 1e-6).all()


def test_the_predictor_answers_without_torch(exported, photo, tmp_path):
    """In a process where torch cannot be imported; its masks are the session's."""
    model, folder, _ = exported("sam-vit")
    np.save(tmp_path / "photo.npy", photo)
    code = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from anymask.export.runtime import OnnxPredictor
predictor = OnnxPredictor({str(folder)!r}, threads=1)
predictor.set_image(np.load({str(tmp_path / "photo.npy")!r}))
masks, scores, logits = predictor.predict(points=[70, 45])
again = predictor.predict(points=[[70, 45], [20, 20]], labels=[1, 0], box=[30, 20, 120, 80], logits=logits[0])
np.savez({str(tmp_path / "found.npz")!r}, masks=masks, scores=scores, again=again[0], back=again[1])
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
    found = np.load(tmp_path / "found.npz")
    session = Session(photo, model)
    expected = session.predict([70, 45])
    assert np.abs(found["scores"] - expected.scores).max() < 1e-4 and found["masks"].shape == (3, 90, 140)
    differ = (found["masks"] != expected.dense()).mean()
    assert differ < 2e-3, "more than pixels on edges"
    back = session.predict([[70, 45], [20, 20]], [1, 0], [30, 20, 120, 80], expected.logits[0])
    assert np.abs(found["back"] - back.scores).max() < 1e-4 and (found["again"] != back.dense()).mean() < 2e-3


def test_the_predictor_says_what_it_needs(exported, photo):
    _, folder, _ = exported("sam-vit")
    predictor = OnnxPredictor(folder)
    with pytest.raises(NoImage, match="set_image"):
        predictor.predict([1, 1])
    predictor.set_image(photo)
    assert predictor.size == (90, 140)
    with pytest.raises(BadPrompt, match="one object"):
        predictor.predict(box=[[1, 1, 5, 5], [2, 2, 9, 9]])
    with pytest.raises(BadPrompt, match="logits must be"):
        predictor.predict([1, 1], logits=np.zeros((7, 7)))
    with pytest.raises(BadPrompt, match="outside the image"):
        predictor.predict([500, 1])


def test_the_command_writes_a_folder_that_other_commands_take(tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Pillow.fromarray(photo).save("photo.png")
    runner = CliRunner()
    done = runner.invoke(app, ["export", "--model", "sam-tiny-test", "--low-res", "-o", "tiny"])
    assert done.exit_code == 0, done.output
    assert "encoder.onnx" in done.output and "mean IoU of the masks 1.0000" in done.output
    done = runner.invoke(app, ["segment", "photo.png", "--point", "70,45", "--weights", "tiny", "-o", "out"])
    assert done.exit_code == 0, done.output
    assert any((tmp_path / "out").iterdir())
    assert runner.invoke(app, ["export", "--model", "sam-tiny-test", "--dtype", "fp8", "-o", "x"]).exit_code == 2


def test_a_file_in_the_way_is_told(tmp_path):
    from anymask.errors import NotWritten

    (tmp_path / "taken").write_text("")
    with pytest.raises(NotWritten, match="cannot be written"):
        write(build("sam-vit"), tmp_path / "taken", part="decoder")
