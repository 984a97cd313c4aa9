"""Objects followed through a clip as SAM 2's official video predictor follows them: same weights, same frames."""

from __future__ import annotations

import dataclasses
import warnings

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from sam2_cases import official, picture, relative

import anymask
from anymask.models.load import load

FRAMES, SIZE = 12, (90, 140)
LOGITS = 1e-3
"""Of the largest logit, after any number of frames."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Frames as the official class takes them: JPEG files with numbers for names."""
    place = tmp_path_factory.mktemp("frames")
    for number in range(FRAMES):
        Pillow.fromarray(picture(SIZE, seed=number, shift=3.0 * number)).save(place / f"{number:05d}.jpg", quality=95)
    return place


@pytest.fixture(scope="module", params=["2.1", "2"])
def pair(request, peer, noisy, folder, tmp_path_factory):
    """(official predictor, our model from its file)."""
    theirs = noisy(official(peer, request.param, video=True, fill_hole_area=8))
    # hole filling there is a CUDA kernel; the same by OpenCV
    peer("sam2.utils.misc").get_connected_components = components
    with torch.no_grad():
        # noise gives all candidates nearly the same score, so that rounding would choose among them
        theirs.sam_mask_decoder.iou_prediction_head.layers[-1].weight *= 12
    # where no pointer is recalled, it would multiply bfloat16 by float32, which it is not made for without autocast
    read = theirs.memory_attention.forward
    theirs.memory_attention.forward = lambda **given: read(**{**given, "memory": given["memory"].float()})
    there_or_not(theirs, folder)
    path = tmp_path_factory.mktemp("sam2") / "sam2.pt"
    torch.save({"model": theirs.state_dict()}, path)
    ours = load(weights=path, device="cpu")
    # the official video reader resizes whole numbers, its picture reader floats
    ours.preprocess = dataclasses.replace(ours.preprocess, resample="bicubic")
    return theirs, ours


@torch.no_grad()
def there_or_not(theirs, folder):
    """Noise alone says "there" on every frame, or on none; moved to the middle, both happen."""
    head = theirs.sam_mask_decoder.pred_obj_score_head.layers[-1]
    head.weight *= 5
    state = theirs.init_state(str(folder))
    for thing, place in enumerate(([60, 40], [110, 60])):
        theirs.add_new_points_or_box(state, 0, thing, points=[place], labels=[1])
    list(theirs.propagate_in_video(state))
    outputs = [one for kept in state["output_dict_per_obj"].values() for kind in kept.values() for one in kind.values()]
    found = sorted(float(one["object_score_logits"]) for one in outputs)
    # in the widest gap near the middle, so that rounding decides nothing
    near = range(len(found) // 3, 2 * len(found) // 3)
    at = max(near, key=lambda index: found[index + 1] - found[index])
    head.bias -= (found[at] + found[at + 1]) / 2


def components(masks):
    """8-connected components of [N, 1, H, W] and the area of each pixel's own, as the official kernel answers."""
    found = []
    for mask in masks[:, 0].numpy().astype(np.uint8):
        _, regions, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        found.append((regions, np.where(regions > 0, stats[regions, cv2.CC_STAT_AREA], 0)))
    regions, areas = (torch.from_numpy(np.stack(one))[:, None] for one in zip(*found, strict=True))
    return regions, areas


class Both:
    """One story, told to the official predictor and to our session."""

    def __init__(self, pair, folder, **options):
        self.theirs, model = pair
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.state = self.theirs.init_state(str(folder))
        self.clip = anymask.video(folder, model, **options)
        self.worst = 0.0

    def points(self, frame, thing, points, labels, clear=True, box=None):
        answer = self.theirs.add_new_points_or_box(
            self.state, frame, thing, points=points, labels=labels, clear_old_points=clear, box=box
        )
        self.clip.prompt(frame, thing, points=points, labels=labels, clear=clear, box=box)
        self.agree(frame, answer)

    def mask(self, frame, thing, mask):
        answer = self.theirs.add_new_mask(self.state, frame, thing, mask)
        self.clip.draw(mask, frame=frame, object=thing)
        self.agree(frame, answer, shown=False)

    def propagate(self, start=None, reverse=False, shown=True):
        seen = []
        theirs = self.theirs.propagate_in_video(self.state, start_frame_idx=start, reverse=reverse)
        ours = self.clip.propagate(start, reverse=reverse, early=True, afresh=True)
        for answer, (frame, _) in zip(theirs, ours, strict=True):
            assert answer[0] == frame
            self.agree(frame, answer, shown)
            self.steps(frame)
            seen.append(frame)
        return seen

    def output(self, index, frame):
        temporary, kept = self.state["temp_output_dict_per_obj"][index], self.state["output_dict_per_obj"][index]
        for outputs in (temporary, kept):
            for kind in ("cond_frame_outputs", "non_cond_frame_outputs"):
                if frame in outputs[kind]:
                    return outputs[kind][frame]
        return None

    def agree(self, frame, answer, shown=True):
        _, names, full = answer
        found, logits = self.clip.logits(frame)
        masks = self.clip.masks(frame)
        for row, name in enumerate(found):
            index = names.index(name)
            expected = self.output(index, frame)["pred_masks"][0, 0]
            error = relative(logits[row], expected)
            self.worst = max(self.worst, error)
            assert error < LOGITS, (frame, name, error)
            if shown:
                one, other = masks[row].dense()[0], (full[index, 0] > 0).numpy()
                union = (one | other).sum()
                assert union == 0 or (one & other).sum() / union >= 0.999

    def steps(self, frame):
        """Memory features, pointers and presence of a frame."""
        for index, name in enumerate(self.state["obj_ids"]):
            thing, expected = self.clip._things[name], self.output(index, frame)
            answer = thing.latest(frame)
            # bfloat16 keeps eight bits: what lies between two of them falls to either side
            assert relative(answer.features, expected["maskmem_features"][0]) < 1e-2, (frame, name)
            assert relative(answer.pointer, expected["obj_ptr"][0]) < LOGITS, (frame, name)
            assert abs(answer.presence - float(expected["object_score_logits"])) < 1e-2


@pytest.fixture
def both(pair, folder):
    """The official class with every correction a prompted frame, and our session as it is."""
    pair[0].add_all_frames_to_correct_as_cond = True
    story = Both(pair, folder)
    yield story
    story.clip.close()


def test_two_objects_with_a_correction_forward_and_backward(both):
    both.points(0, 1, [[60, 40]], [1])
    both.points(0, 2, [[110, 60], [20, 20]], [1, 0])
    assert both.propagate() == list(range(FRAMES))
    both.points(6, 1, [[70, 45], [20, 70]], [1, 0])
    assert both.propagate(6) == list(range(6, FRAMES))
    assert both.propagate() == list(range(FRAMES))
    assert both.propagate(11, reverse=True) == list(range(11, -1, -1))
    there = np.stack([both.clip.masks(frame).details["presence"] > 0 for frame in range(FRAMES)])
    assert there.any() and not there.all()


@pytest.mark.slow
def test_boxes_clicks_added_to_clicks_and_a_drawn_mask(both):
    both.points(3, 4, [[60, 40]], [1], box=[30, 20, 110, 75])
    both.points(3, 4, [[100, 70]], [0], clear=False)
    drawn = np.zeros(SIZE, bool)
    drawn[20:60, 30:90] = True
    both.mask(5, 9, drawn)
    # the official class shows a drawn mask as its coarse logits show it, we as it was drawn
    assert both.propagate(3, shown=False) == list(range(3, FRAMES))
    assert both.propagate(5, reverse=True, shown=False) == [5, 4, 3, 2, 1, 0]
    both.points(8, 9, None, None, box=[10, 10, 50, 50])
    assert both.propagate(8) == [8, 9, 10, 11]


@pytest.mark.slow
def test_a_correction_taken_back(both):
    both.points(0, 1, [[60, 40]], [1])
    both.propagate()
    both.points(4, 1, [[20, 70]], [0])
    both.propagate(4)
    both.theirs.clear_all_prompts_in_frame(both.state, 4, 1)
    both.clip.clear(4, 1)
    both.propagate(5)
    both.propagate()


@pytest.mark.slow
def test_an_object_more_and_an_object_less(both):
    both.points(2, 1, [[60, 40]], [1])
    both.propagate()
    both.points(5, 2, [[110, 60]], [1])
    both.propagate()
    both.theirs.remove_object(both.state, 1)
    both.clip.remove(1)
    both.propagate(4)


@pytest.mark.slow
def test_more_prompted_frames_than_are_recalled(pair, folder):
    pair[0].add_all_frames_to_correct_as_cond, pair[0].max_cond_frames_in_attn = True, 2
    both = Both(pair, folder, max_prompted=2)
    try:
        for frame in (0, 3, 4, 9):
            both.points(frame, 1, [[60 + frame, 40]], [1])
        both.propagate()
        both.propagate(11, reverse=True)
    finally:
        pair[0].max_cond_frames_in_attn = -1
        both.clip.close()


@pytest.mark.slow
def test_corrections_that_are_no_prompted_frames(pair, folder):
    """The official default: the correction is remembered until tracking passes over it again."""
    pair[0].add_all_frames_to_correct_as_cond = False
    both = Both(pair, folder, corrections_prompt=False)
    both.points(0, 1, [[60, 40]], [1])
    before = both.propagate()
    both.points(6, 1, [[20, 70]], [0])
    both.propagate(7)
    assert both.propagate() == before
    both.clip.close()
