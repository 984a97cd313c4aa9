"""Scripts for the sam2 package, told to our look-alikes: what comes back has the official form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from anymask.compat.sam2 import (
    SAM2AutomaticMaskGenerator,
    SAM2ImagePredictor,
    build_sam2,
    build_sam2_video_predictor,
)
from anymask.errors import BadPrompt, BadSetting, NoImage, UnknownModel
from anymask.models.catalogue import card

SIZE = (60, 90)


def picture(number: int = 0) -> np.ndarray:
    rgb = np.full((*SIZE, 3), 80, np.uint8)
    rgb[10:30, 10 + number : 40 + number] = [220, 40, 60]
    return rgb


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("clip")
    for number in range(6):
        Pillow.fromarray(picture(number)).save(place / f"{number}.jpg")
    return str(place)


@pytest.fixture
def predictor():
    torch.manual_seed(0)
    return build_sam2_video_predictor("sam2.1-tiny-test", device="cpu")


@pytest.fixture
def images():
    torch.manual_seed(0)
    return SAM2ImagePredictor(build_sam2("sam2.1-tiny-test", device="cpu"))


def test_configuration_files_name_models():
    for config, name in {
        "configs/sam2.1/sam2.1_hiera_t.yaml": "sam2.1-hiera-tiny",
        "configs/sam2.1/sam2.1_hiera_b+.yaml": "sam2.1-hiera-base-plus",
        "configs/sam2/sam2_hiera_l.yaml": "sam2-hiera-large",
        "facebook/sam2-hiera-small": "sam2-hiera-small",
    }.items():
        assert card(config).name == name
    with pytest.raises(UnknownModel):
        build_sam2("configs/sam9.yaml", device="cpu")
    with pytest.raises(BadSetting, match="no SAM 2"):
        build_sam2("sam-tiny-test", device="cpu")


def test_a_checkpoint_is_loaded(tmp_path, images):
    torch.save({"model": images.model.state_dict()}, tmp_path / "tiny.pt")
    again = build_sam2("sam2.1-tiny-test", tmp_path / "tiny.pt", device="cpu")
    assert all(torch.equal(one, again.state_dict()[name]) for name, one in images.model.state_dict().items())


def test_overrides_of_the_configuration():
    built = build_sam2_video_predictor(
        "sam2.1-tiny-test",
        device="cpu",
        hydra_overrides_extra=["++model.fill_hole_area=3", "++model.non_overlap_masks=true"],
    )
    assert (built.fill_hole_area, built.non_overlap_masks, built.binarize_mask_from_pts_for_mem_enc) == (3, True, True)
    plain = build_sam2_video_predictor("sam2.1-tiny-test", device="cpu", apply_postprocessing=False)
    assert (plain.fill_hole_area, plain.model.mask_decoder.steady) == (0, False)
    with pytest.raises(BadSetting, match="not offered"):
        build_sam2("sam2.1-tiny-test", device="cpu", hydra_overrides_extra=["++model.image_size=512"])


def test_an_image_and_its_masks(images):
    with pytest.raises(NoImage, match="An image must be set"):
        images.predict(np.array([[1, 1]]), np.array([1]))
    images.set_image(picture())
    masks, scores, low = images.predict(np.array([[20, 20]]), np.array([1]))
    assert masks.shape == (3, *SIZE) and masks.dtype == np.float32 and set(np.unique(masks)) <= {0, 1}
    assert scores.shape == (3,) and low.shape == (3, 32, 32) and np.abs(low).max() <= 32
    masks, scores, low = images.predict(box=np.array([10, 10, 40, 30]), multimask_output=False, return_logits=True)
    assert masks.shape == (1, *SIZE) and masks.dtype == np.float32
    masks, scores, low = images.predict(box=np.array([[10, 10, 40, 30], [0, 0, 90, 60]]), multimask_output=False)
    assert masks.shape == (2, 1, *SIZE) and scores.shape == (2, 1)
    again = images.predict(np.array([[20, 20]]), np.array([1]), mask_input=low[0], multimask_output=False)
    assert again[0].shape == (1, *SIZE)
    assert images.get_image_embedding().shape == (1, 128, 8, 8)


def test_shares_of_the_sides_are_the_same_as_pixels(images):
    images.set_image(Pillow.fromarray(picture()))
    pixels = images.predict(np.array([[45, 30]]), np.array([1]))
    shares = images.predict(np.array([[0.5, 0.5]]), np.array([1]), normalize_coords=False)
    assert np.array_equal(pixels[2], shares[2])


def test_several_images_at_once(images):
    images.set_image_batch([picture(), picture(4)[:50]])
    points, labels = [np.array([[20, 20]]), np.array([[[20, 20]], [[60, 40]]])], [np.array([1]), np.array([[1], [1]])]
    masks, _, low = images.predict_batch(points, labels, multimask_output=True)
    assert [one.shape for one in masks] == [(3, 60, 90), (2, 3, 50, 90)]
    assert [one.shape for one in low] == [(3, 32, 32), (2, 3, 32, 32)]
    images.set_image(picture())
    assert np.allclose(images.predict(points[0], labels[0])[2], low[0], atol=1e-4)


def test_the_everything_mode_gives_records(images):
    made = SAM2AutomaticMaskGenerator(
        images.model, points_per_side=4, pred_iou_thresh=0.0, stability_score_thresh=0.0, min_mask_region_area=5
    )
    for refine in (False, True):
        made.use_m2m = refine
        records = made.generate(picture())
        keys = {"segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box"}
        assert records and set(records[0]) == keys and records[0]["segmentation"].shape == SIZE


def test_the_usual_script_for_clips(predictor, folder):
    state = predictor.init_state(video_path=folder)
    assert (state["num_frames"], state["video_height"], state["video_width"]) == (6, 60, 90)
    frame, ids, masks = predictor.add_new_points_or_box(
        state, frame_idx=0, obj_id=7, points=np.array([[20, 20]], np.float32), labels=np.array([1], np.int32)
    )
    assert (frame, ids, tuple(masks.shape)) == (0, [7], (1, 1, 60, 90)) and masks.dtype == torch.float32
    _, ids, masks = predictor.add_new_points_or_box(state, frame_idx=0, obj_id="dog", box=[50, 10, 80, 50])
    assert ids == [7, "dog"] and tuple(masks.shape) == (2, 1, 60, 90)
    seen = {frame: (ids, masks) for frame, ids, masks in predictor.propagate_in_video(state)}
    assert list(seen) == list(range(6)) and seen[5][0] == [7, "dog"]
    assert [frame for frame, _, _ in predictor.propagate_in_video(state, 3, 2)] == [3, 4, 5]
    assert [frame for frame, _, _ in predictor.propagate_in_video(state, 4, 1, reverse=True)] == [4, 3]
    assert list(predictor.propagate_in_video(state, reverse=True)) == []
    ids, updated = predictor.remove_object(state, 7)
    assert ids == ["dog"] and [frame for frame, _ in updated] == [0]
    assert predictor.remove_object(state, 99) == (["dog"], [])
    predictor.reset_state(state)
    assert state["obj_ids"] == []
    with pytest.raises(BadPrompt, match="No input points or masks"):
        next(predictor.propagate_in_video(state))


def test_a_mask_as_a_prompt_and_taken_back(predictor, folder):
    state = predictor.init_state(folder)
    mask = np.zeros(SIZE, bool)
    mask[10:30, 10:40] = True
    _, _, masks = predictor.add_new_mask(state, 0, 1, mask)
    shown = (masks[0, 0] > 0).numpy()
    assert (shown & mask).sum() / (shown | mask).sum() > 0.8
    frame, ids, masks = predictor.clear_all_prompts_in_frame(state, 0, 1)
    assert (frame, ids) == (0, [1]) and (masks == -1024).all()
    with pytest.raises(BadPrompt, match="object id 1"):
        next(predictor.propagate_in_video(state))


def test_masks_that_may_not_overlap(predictor, folder):
    predictor.non_overlap_masks = True
    state = predictor.init_state(folder)
    predictor.add_new_points_or_box(state, 0, 1, [[20, 20]], [1])
    _, _, masks = predictor.add_new_points_or_box(state, 0, 2, [[25, 22]], [1])
    assert ((masks > 0).sum(0) <= 1).all()


def test_official_complaints(predictor, folder):
    state = predictor.init_state(folder)
    with pytest.raises(ValueError, match="provided together"):
        predictor.add_new_points_or_box(state, 0, 1, points=[[1, 1]])
    with pytest.raises(ValueError, match="at least one of points or box"):
        predictor.add_new_points_or_box(state, 0, 1)
    with pytest.raises(ValueError, match="cannot add box without clearing old points"):
        predictor.add_new_points_or_box(state, 0, 1, box=[1, 1, 5, 5], clear_old_points=False)
    with pytest.raises(BadSetting, match="Cannot remove object id 5"):
        predictor.remove_object(state, 5, strict=True)
    assert state["obj_ids"] == []


def test_a_usual_fine_tuning_loop_lowers_its_loss(images):
    """The script that the tutorials for SAM 2 share: the decoder trained by hand on what the predictor encoded."""
    network = images.model
    network.sam_mask_decoder.train(True)
    network.sam_prompt_encoder.train(True)
    target = torch.zeros(SIZE)
    target[10:30, 10:40] = 1
    optimizer = torch.optim.AdamW(network.sam_mask_decoder.parameters(), lr=1e-3)
    images.set_image(picture())
    losses = []
    for _ in range(12):
        mask, points, labels, _ = images._prep_prompts(
            np.array([[[20, 20]], [[30, 25]]]), np.ones((2, 1)), box=None, mask_logits=None, normalize_coords=True
        )
        assert mask is None and points.shape == (2, 1, 2)
        sparse, dense = network.sam_prompt_encoder(points=(points, labels), boxes=None, masks=None)
        features = [level[-1].unsqueeze(0) for level in images._features["high_res_feats"]]
        low, scores, _, presence = network.sam_mask_decoder(
            image_embeddings=images._features["image_embed"][-1].unsqueeze(0),
            image_pe=network.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            repeat_image=True,
            high_res_features=features,
        )
        assert low.shape == (2, 3, 32, 32) and scores.shape == (2, 3) and presence.shape == (2, 1)
        masks = images._transforms.postprocess_masks(low, images._orig_hw[-1])
        assert masks.shape == (2, 3, *SIZE)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(masks[:, 0], target.expand(2, *SIZE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    names = network.state_dict()
    assert not any(name.startswith("sam_") for name in names)
