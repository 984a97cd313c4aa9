"""Every member's exported parts: the official names, sizes that may differ from call to call, and the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_family import FAMILY, build

from anymask import Image, Prompts
from anymask.errors import BadSetting
from anymask.export.decoder import browser_decoder, decoder_graph
from anymask.export.write import write
from anymask.models.load import load
from anymask.models.onnx_files import EMBEDDING, Part, open_session
from anymask.nn.mask_decoder import CANDIDATES

CLOSE = 1e-4


@pytest.mark.parametrize("name", FAMILY)
def test_both_parts_answer_what_the_model_answers(exported, name):
    model, _, found = exported(name)
    assert [(one.part, one.dtype) for one in found] == [("encoder", "fp32"), ("decoder", "fp32")]
    for one in found:
        assert one.logits < CLOSE * max(1, one.largest) and one.scores < CLOSE
        assert one.iou > 0.999 and one.size == one.path.stat().st_size and one.onnx_ms > 0 < one.torch_ms
    assert not any(parameter.requires_grad is False for parameter in model.parameters()), "the model was changed"


@pytest.mark.parametrize("name", ["sam-vit", "anymask-lite"])
def test_names_and_shapes_are_the_official_ones(exported, name):
    model, folder, _ = exported(name)
    part = Part(folder / "decoder.onnx")
    h, w = model.prompt_encoder.grid
    inputs = {entry.name: (entry.type, entry.shape) for entry in part.session.get_inputs()}
    extra = ["high_res_0", "high_res_1"] if name == "anymask-lite" else []
    official = ["image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size"]
    assert sorted(inputs) == sorted(official + extra)
    assert {kind for kind, _ in inputs.values()} == {"tensor(float)"}
    assert inputs["image_embeddings"][1] == [1, 32, h, w] and inputs["orig_im_size"][1] == [2]
    assert inputs["point_coords"][1] == ["num_prompts", "num_points", 2]
    assert inputs["mask_input"][1][1:] == [1, 4 * h, 4 * w]
    assert part.outputs == ["masks", "iou_predictions", "low_res_masks"]
    assert part.session.get_modelmeta().producer_name == "anymask"
    assert (part.about.model, part.about.licence, part.about.weights) == (f"tiny-{name}", "MIT", f"weights-of-{name}")
    assert Part(folder / "encoder.onnx").inputs == ["image"]


def feeds_of(model, points, labels, size=(90, 140), mask=None):
    """Inputs of a decoder for prompts [P, N] in the frame, on an embedding of noise."""
    rng = np.random.default_rng(1)
    dim, (h, w) = model.prompt_encoder.dim, model.prompt_encoder.grid
    feeds = {
        "image_embeddings": rng.standard_normal((1, dim, h, w)),
        "high_res_0": rng.standard_normal((1, dim // 8, 4 * h, 4 * w)),
        "high_res_1": rng.standard_normal((1, dim // 4, 2 * h, 2 * w)),
        "point_coords": points,
        "point_labels": labels,
        "mask_input": np.zeros((1, 1, 4 * h, 4 * w)) if mask is None else mask,
        "has_mask_input": [float(mask is not None)],
        "orig_im_size": size,
    }
    return {name: np.asarray(value, np.float32) for name, value in feeds.items()}


@pytest.mark.parametrize("name", ["sam-vit", "anymask-lite"])
def test_many_objects_at_once_are_answered_as_one_by_one(exported, name):
    model, folder, _ = exported(name)
    part, side = Part(folder / "decoder.onnx"), model.preprocess.side
    rng = np.random.default_rng(2)
    points = rng.uniform(0, side, (5, 4, 2)).astype("f")
    points[:, 3] = points[:, 2] + side / 10
    labels = np.array([[1, 0, -1, -1], [1, 1, 2, 3], [-1, -1, 2, 3], [0, 1, 1, -1], [1, -1, -1, -1]], "f")
    mask = rng.standard_normal((5, 1, *model.prompt_encoder.mask_size)) * 4
    for given in (None, mask):
        together = part.run(feeds_of(model, points, labels, mask=given))
        for row in range(5):
            one = slice(row, row + 1)
            alone = part.run(feeds_of(model, points[one], labels[one], mask=None if given is None else given[one]))
            for output in part.outputs:
                assert np.abs(together[output][one] - alone[output]).max() < CLOSE, (output, row)


@pytest.mark.parametrize("count", [1, 9, 40])
@pytest.mark.parametrize("name", ["sam-vit", "anymask-lite"])
def test_any_number_of_points(exported, name, count):
    model, folder, _ = exported(name)
    rng = np.random.default_rng(count)
    points = rng.uniform(0, model.preprocess.side, (2, count, 2)).astype("f")
    labels = rng.integers(0, 2, (2, count)).astype("f")
    feeds = feeds_of(
        model, np.pad(points, ((0, 0), (0, 1), (0, 0))), np.pad(labels, ((0, 0), (0, 1)), constant_values=-1)
    )
    found = Part(folder / "decoder.onnx").run(feeds)
    tensors = {key: torch.from_numpy(feeds[own]) for own, key in EMBEDDING.items() if own in feeds}
    if name != "anymask-lite":
        tensors = {"image": tensors["image"]}
    with torch.no_grad():
        encoded = model.prompt_encoder(torch.from_numpy(points), torch.from_numpy(labels).long())
        logits, scores = model.decode_tokens(tensors, encoded, CANDIDATES)
    assert np.abs(found["low_res_masks"][:, 1:] - logits.numpy()).max() < CLOSE * max(1, float(logits.abs().max()))
    assert np.abs(found["iou_predictions"][:, 1:] - scores.numpy()).max() < CLOSE


@pytest.mark.parametrize("size", [(90, 140), (300, 41), (1, 7), (64, 64)])
@pytest.mark.parametrize("name", ["sam-vit", "medsam"])
def test_masks_have_the_photos_size(exported, name, size):
    from anymask.models.interface import Decoded

    model, folder, _ = exported(name)
    found = Part(folder / "decoder.onnx").run(feeds_of(model, [[[20, 30], [0, 0]]], [[1, -1]], size))
    decoded = Decoded(torch.from_numpy(found["low_res_masks"]), torch.zeros(1, 4), model.preprocess.resize(size))
    assert found["masks"].shape == (1, 4, *size)
    assert np.abs(found["masks"] - decoded.upscaled().numpy()).max() < CLOSE


def test_the_browsers_variant_has_no_size_and_no_operators_of_anybodys_own(exported):
    import onnx

    model, folder, _ = exported("anymask-lite")
    data = browser_decoder(model)
    assert browser_decoder(model) is data
    session = open_session(data)
    assert [entry.name for entry in session.get_outputs()] == ["iou_predictions", "low_res_masks"]
    assert "orig_im_size" not in [entry.name for entry in session.get_inputs()]
    graph = onnx.load_from_string(data)
    onnx.checker.check_model(graph)
    assert {node.domain for node in graph.graph.node} == {""} and graph.opset_import[0].version == 17
    feeds = feeds_of(model, [[[20, 30], [0, 0]]], [[1, -1]])
    whole = Part(folder / "decoder.onnx").run(feeds)
    mine = session.run(None, {entry.name: feeds[entry.name] for entry in session.get_inputs()})
    assert np.array_equal(mine[1], whole["low_res_masks"])


def test_the_browsers_variant_is_made_anew_for_other_weights():
    model = build("sam-vit")
    before = browser_decoder(model)
    with torch.no_grad():
        model.mask_decoder.iou_token.weight.add_(1)
    assert browser_decoder(model) != before


def test_one_mask_is_chosen_by_the_official_rule(exported):
    model, folder, _ = exported("sam-vit")
    every = Part(folder / "decoder.onnx")
    single = open_session(decoder_graph(model, single=True, full_size=False).SerializeToString())
    for points, labels in ([[[20, 30], [0, 0]]], [[1, -1]]), ([[[20, 30], [50, 60], [0, 0]]], [[1, 1, -1]]):
        feeds = feeds_of(model, points, labels)
        all_four = every.run(feeds)
        scores, logits = single.run(None, {entry.name: feeds[entry.name] for entry in single.get_inputs()})
        best = 0 if len(labels[0]) > 2 else 1 + int(all_four["iou_predictions"][0, 1:].argmax())
        assert logits.shape[:2] == (1, 1)
        assert np.abs(logits[0, 0] - all_four["low_res_masks"][0, best]).max() < CLOSE
        assert abs(scores[0, 0] - all_four["iou_predictions"][0, best]) < CLOSE


@pytest.mark.parametrize("name", FAMILY)
def test_a_picture_of_any_size_becomes_the_models_embedding(exported, name):
    model, folder, _ = exported(name)
    other = load(folder)
    rng = np.random.default_rng(3)
    for size in ((90, 140), (200, 33), (5, 5)):
        image = Image.open(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        with torch.no_grad():
            mine, theirs = other.encode([image]), model.encode([image])
        assert mine.resize == theirs.resize and set(mine.tensors) == set(theirs.tensors)
        for key, tensor in theirs.tensors.items():
            assert float((mine.tensors[key] - tensor).abs().max()) < CLOSE * max(1.0, float(tensor.abs().max())), key


def test_a_network_of_another_shape_is_refused():
    from anymask.nn.mask_decoder import MaskDecoder

    class Own(MaskDecoder):
        pass

    model = build("sam-vit")
    model.mask_decoder = Own(32, mlp_dim=256, iou_hidden=32)
    with pytest.raises(BadSetting, match="not SAM's"):
        browser_decoder(model)
    with pytest.raises(BadSetting, match="cannot be exported"):
        browser_decoder(object())
    with pytest.raises(BadSetting, match="part is one of"):
        write(build("sam-vit"), "nowhere", part="neck")


def test_exporting_says_nothing(tmp_path, capfd, recwarn):
    write(build("sam-vit"), tmp_path, part="decoder", low_res=True)
    said = capfd.readouterr()
    assert said.out == said.err == "" and not recwarn.list


def test_prompts_without_points_or_box(exported):
    """A mask alone: no token at all goes in."""
    for name in ("sam-vit", "anymask-lite"):
        model, folder, _ = exported(name)
        other = load(folder)
        image = Image.open(np.random.default_rng(4).integers(0, 256, (60, 80, 3), dtype=np.uint8))
        drawn = np.zeros((60, 80), bool)
        drawn[20:40, 30:60] = True
        with torch.no_grad():
            mine = other.decode(other.encode([image]), Prompts.of(mask=drawn))
            theirs = model.decode(model.encode([image]), Prompts.of(mask=drawn))
        assert float((mine.logits - theirs.logits).abs().max()) < CLOSE * max(1.0, float(theirs.logits.abs().max()))
