"""SamPredictor over members of the family: the official names, each member's own frame, and typed errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anymask.compat.segment_anything import SamPredictor
from anymask.compat.segment_anything.utils.transforms import ResizeLongestSide
from anymask.errors import AnymaskError, BadImage, BadPrompt, BadSetting, NoImage
from anymask.models.catalogue import card
from anymask.models.load import load
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts


@pytest.fixture(scope="module")
def members(tiny):
    """Members by kind, with random weights where the official ones cannot be had."""
    torch.manual_seed(0)
    kept = {"sam": tiny}

    def member(kind: str):
        if kind not in kept:
            if kind == "inside":
                kept[kind] = load(device="cpu")
            else:
                kept[kind] = card(kind).build().eval()
                kept[kind].card = card(kind)
        return kept[kind]

    return member


KINDS = ["sam", "inside", "lite-medsam"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "prompt",
    [
        {"points": [[60.5, 40.0]], "labels": [1]},
        {"points": [[60.5, 40.0], [5.0, 80.0]], "labels": [1, 0]},
        {"boxes": [30.0, 20.0, 110.0, 75.0]},
        {"points": [[60.5, 40.0]], "labels": [1], "boxes": [30.0, 20.0, 110.0, 75.0]},
    ],
    ids=["point", "points", "box", "box and point"],
)
@pytest.mark.parametrize("multimask", [True, False])
def test_answers_are_those_of_encode_and_decode(members, photo, kind, prompt, multimask):
    model = members(kind)
    predictor = SamPredictor(model)
    predictor.set_image(photo)
    masks, scores, logits = predictor.predict(
        point_coords=np.array(prompt["points"]) if "points" in prompt else None,
        point_labels=np.array(prompt["labels"]) if "labels" in prompt else None,
        box=np.array(prompt["boxes"]) if "boxes" in prompt else None,
        multimask_output=multimask,
    )
    with torch.no_grad():
        decoded = model.decode(model.encode([Image.open(photo)]), Prompts.of(**prompt), multimask=multimask)
    count = 3 if multimask else 1
    assert masks.shape == (count, 90, 140) and masks.dtype == bool
    assert scores.shape == (count,) and scores.dtype == logits.dtype == np.float32
    assert np.allclose(logits, decoded.logits[0].numpy(), atol=1e-4 * max(1.0, float(np.abs(logits).max())))
    assert np.allclose(scores, decoded.scores[0].numpy(), atol=1e-4)
    assert ((decoded.upscaled()[0] > 0).numpy() != masks).mean() < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_logits_of_an_answer_are_taken_back(members, photo, kind):
    predictor = SamPredictor(members(kind))
    predictor.set_image(photo)
    point = {"point_coords": np.array([[70, 45]]), "point_labels": np.array([1])}
    _, scores, logits = predictor.predict(**point)
    again = predictor.predict(**point, mask_input=logits[np.argmax(scores)][None], multimask_output=False)
    assert again[2].shape == (1, *logits.shape[1:])
    alone = predictor.predict(**point, multimask_output=False)
    assert np.abs(again[2] - alone[2]).max() > 1e-3, "the mask was not read"


def test_the_model_inside_finds_the_bright_ellipse(members, photo):
    predictor = SamPredictor(members("inside"))
    predictor.set_image(photo)
    mask = predictor.predict(box=np.array([40, 25, 100, 65]), multimask_output=False)[0][0]
    truth = (photo == [200, 160, 60]).all(-1)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_answered_one_by_one(members, photo, kind):
    predictor = SamPredictor(members(kind))
    predictor.set_image(photo)
    boxes = torch.tensor([[30, 20, 110, 75], [5, 5, 60, 60], [80, 30, 139, 89]])
    boxes = predictor.transform.apply_boxes_torch(boxes, photo.shape[:2])
    together = predictor.predict_torch(None, None, boxes, multimask_output=False)
    assert together[0].shape == (3, 1, 90, 140)
    for index in range(3):
        alone = predictor.predict_torch(None, None, boxes[index : index + 1], multimask_output=False)
        assert torch.allclose(together[2][index], alone[2][0], atol=1e-3)
        assert torch.allclose(together[1][index], alone[1][0], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resized_tensor_gives_what_the_picture_gives(members, photo, kind):
    predictor = SamPredictor(members(kind))
    predictor.set_image(photo)
    features, input_size = predictor.features, predictor.input_size
    scaled = predictor.transform.apply_image(photo)
    predictor.set_torch_image(torch.as_tensor(scaled).permute(2, 0, 1)[None], photo.shape[:2])
    assert predictor.input_size == input_size == scaled.shape[:2]
    assert torch.allclose(predictor.features, features, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_several_pictures_at_once(members, photo, kind):
    predictor = SamPredictor(members(kind))
    tall = np.ascontiguousarray(photo.transpose(1, 0, 2))
    records = []
    for pixels in (photo, tall):
        scaled = torch.as_tensor(predictor.transform.apply_image(pixels)).permute(2, 0, 1)
        box = predictor.transform.apply_boxes_torch(torch.tensor([[20, 20, 70, 80]]), pixels.shape[:2])
        records.append({"image": scaled, "original_size": pixels.shape[:2], "boxes": box})
    answers = predictor.model(records, multimask_output=True)
    for pixels, record, answer in zip((photo, tall), records, answers, strict=True):
        predictor.set_image(pixels)
        masks, scores, logits = predictor.predict_torch(None, None, record["boxes"])
        assert answer["masks"].shape == masks.shape == (1, 3, *pixels.shape[:2])
        assert torch.allclose(answer["low_res_logits"], logits, atol=1e-3)
        assert torch.allclose(answer["iou_predictions"], scores, atol=1e-4)


def test_blue_and_red_are_swapped_on_request(members, photo):
    predictor = SamPredictor(members("sam"))
    predictor.set_image(photo)
    features = predictor.features
    predictor.set_image(np.ascontiguousarray(photo[..., ::-1]), image_format="BGR")
    assert torch.equal(predictor.features, features)


def test_state_follows_the_picture(members, photo):
    predictor = SamPredictor(members("sam"))
    assert not predictor.is_image_set and predictor.features is None and predictor.original_size is None
    predictor.set_image(photo)
    assert predictor.is_image_set and predictor.original_size == (90, 140) and predictor.input_size == (82, 128)
    assert predictor.get_image_embedding().shape == (1, 32, 8, 8)
    assert predictor.device == torch.device("cpu") and predictor.transform.target_length == 128
    predictor.reset_image()
    assert not predictor.is_image_set and predictor.input_size is None


def test_without_an_image_the_error_is_a_runtime_error(members):
    predictor = SamPredictor(members("sam"))
    for call in (predictor.predict, predictor.get_image_embedding, lambda: predictor.predict_torch(None, None)):
        with pytest.raises(NoImage, match="set_image") as caught:
            call()
        assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, AnymaskError)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"point_coords": np.zeros((1, 2))}, "point_labels must be supplied"),
        ({"point_coords": np.zeros((2, 2)), "point_labels": np.ones(1)}, r"\[N, 2\]"),
        ({"point_coords": np.zeros((2, 3)), "point_labels": np.ones(2)}, r"\(x, y\)"),
        ({"point_coords": np.array([[np.nan, 1]]), "point_labels": np.ones(1)}, "finite"),
        ({"point_coords": [["a", "b"]], "point_labels": [1]}, "numbers"),
        ({"box": np.zeros(3)}, "XYXY"),
        ({"box": np.zeros((2, 4))}, "one box"),
        ({"mask_input": np.zeros((1, 7, 7))}, "mask logits"),
        ({"mask_input": np.zeros((7, 7))}, "mask_input"),
    ],
)
def test_bad_prompts_are_typed_errors(members, photo, arguments, sentence):
    predictor = SamPredictor(members("sam"))
    predictor.set_image(photo)
    with pytest.raises(BadPrompt, match=sentence):
        predictor.predict(**arguments)


def test_bad_pictures_and_settings_are_typed_errors(members, photo):
    predictor = SamPredictor(members("sam"))
    with pytest.raises(BadSetting, match="image_format"):
        predictor.set_image(photo, image_format="HSV")
    with pytest.raises(BadImage):
        predictor.set_image(np.zeros((0, 4, 3), np.uint8))
    with pytest.raises(BadImage, match="long side of 128"):
        predictor.set_torch_image(torch.zeros(1, 3, 64, 64), (64, 64))
    with pytest.raises(BadImage, match="torch tensor"):
        predictor.set_torch_image(photo, (90, 140))
    with pytest.raises(BadSetting, match="size"):
        predictor.set_torch_image(torch.zeros(1, 3, 128, 64), None)
    assert not predictor.is_image_set


def test_what_has_no_parts_is_refused():
    with pytest.raises(BadSetting, match=r"anymask\.load"):
        SamPredictor(torch.nn.Linear(1, 1))


def test_transforms_keep_the_aspect_and_round_as_published():
    resize = ResizeLongestSide(1024)
    assert resize.get_preprocess_shape(37, 51, 1024) == (743, 1024)
    assert resize.get_preprocess_shape(3000, 4000, 1024) == (768, 1024)
    assert np.allclose(resize.apply_coords(np.array([[51.0, 37.0]]), (37, 51)), [[1024, 743]])
    points = torch.tensor([[[51.0, 37.0]]])
    assert torch.allclose(resize.apply_coords_torch(points, (37, 51)), torch.tensor([[[1024.0, 743.0]]]))
    assert resize.apply_image_torch(torch.zeros(1, 3, 37, 51)).shape == (1, 3, 743, 1024)
