"""Objects followed through a clip: prompts anywhere, corrections, objects that come and go, one pass for all."""

from __future__ import annotations

import numpy as np
import pytest
from stand_in import ByColour, clip_of, where

import anymask
from anymask.errors import BadPrompt, BadSetting

RED, BLUE = 1, 2


@pytest.fixture
def model() -> ByColour:
    return ByColour()


def middle(masks, row: int = 0) -> tuple[float, float]:
    x0, y0, x1, y1 = masks.boxes()[row]
    return (x0 + x1) / 2, (y0 + y1) / 2


def slots(recalled) -> list[int]:
    return [slot for _, slot in recalled.features]


def distances(recalled) -> list[int]:
    return [distance for _, distance in recalled.pointers]


def test_one_click_follows_a_thing_through_the_clip(model):
    with anymask.video(clip_of(20), model) as clip:
        first = clip.click(*where(0, "red"), object=RED)
        assert first.ids.tolist() == [RED] and first.logits.shape == (1, 32, 32)
        seen = list(clip.propagate())
        assert [frame for frame, _ in seen] == list(range(20))
        for frame, masks in seen:
            assert masks.size == (48, 64) and masks.ids.tolist() == [RED]
            assert np.abs(np.subtract(middle(masks), where(frame, "red"))).max() <= 2
        assert model.encoded == 20


def test_several_objects_share_one_look_at_a_frame(model):
    with anymask.video(clip_of(10), model) as clip:
        clip.click(*where(0, "red"), object=RED)
        clip.click(*where(0, "blue"), object=BLUE)
        model.asked.clear()
        seen = list(clip.propagate())
        assert model.encoded == 10
        assert [len(recalled) for recalled, _ in model.asked] == [2] * 9
        assert all(masks.ids.tolist() == [RED, BLUE] for _, masks in seen)


def test_what_is_recalled_is_what_sam_2_recalls(model):
    """The prompted frame, six frames before, sixteen pointers in all and one for the prompted frame."""
    with anymask.video(clip_of(30), model) as clip:
        clip.click(*where(0, "red"))
        model.asked.clear()
        list(clip.propagate())
        by_frame = {frame: asked[0][0] for frame, asked in enumerate(model.asked, 1)}
        assert slots(by_frame[1]) == [0] and distances(by_frame[1]) == [1]
        assert slots(by_frame[3]) == [0, 2, 1] and distances(by_frame[3]) == [3, 1, 2]
        assert slots(by_frame[25]) == [0, 6, 5, 4, 3, 2, 1]
        assert by_frame[25].reach == 15
        assert distances(by_frame[25]) == [25, *range(1, 16)]
        assert all(prompts is None for _, prompts in model.asked)


def test_backward_distances_count_backward(model):
    with anymask.video(clip_of(20), model) as clip:
        clip.click(*where(19, "red"), frame=19)
        model.asked.clear()
        seen = [frame for frame, _ in clip.propagate(reverse=True)]
        assert seen == list(range(19, -1, -1))
        last = model.asked[-1][0][0]
        assert slots(last) == [0, 6, 5, 4, 3, 2, 1] and distances(last) == [19, *range(1, 16)]


def test_a_prompted_frame_ahead_is_recalled_without_its_pointer(model):
    with anymask.video(clip_of(12), model) as clip:
        clip.click(*where(0, "red"))
        clip.click(*where(8, "red"), frame=8)
        model.asked.clear()
        list(clip.propagate(stop=4))
        assert slots(model.asked[-1][0][0]) == [0, 0, 2, 1]
        assert distances(model.asked[-1][0][0]) == [3, 1, 2]


def test_only_the_nearest_prompted_frames_are_recalled_when_there_is_a_limit(model):
    with anymask.video(clip_of(20), model, max_prompted=2) as clip:
        for frame in (0, 2, 4, 15):
            clip.click(*where(frame, "red"), frame=frame)
        model.asked.clear()
        list(clip.propagate(stop=6))
        # frame 5: the last before it and the next one; frames 0 and 2, too many, count as ordinary frames 5 and 3 ago
        assert slots(model.asked[-1][0][0]) == [0, 0, 5, 4, 3, 2]
        assert distances(model.asked[-1][0][0])[0] == 1


def test_a_second_click_refines_the_first_one_with_its_clamped_logits(model):
    with anymask.video(clip_of(3), model) as clip:
        first = clip.click(*where(0, "red"))
        clip.click(40, 40, inside=False)
        _, prompts = model.asked[-1]
        assert prompts.point_labels.tolist() == [[1, 0]]
        assert np.array_equal(prompts.low_res[0], np.clip(first.logits[0], -32, 32))
        clip.box(4, 10, 14, 20)
        assert model.asked[-1][1].point_labels.tolist() == [[1, 0]] and model.asked[-1][1].boxes is not None


def test_a_correction_costs_the_frames_after_it_and_of_that_object_only(model):
    with anymask.video(clip_of(20), model) as clip:
        clip.click(*where(0, "red"), object=RED)
        clip.click(*where(0, "blue"), object=BLUE)
        before = dict(clip.propagate())
        model.asked.clear()
        clip.click(*where(12, "red"), frame=12, object=RED)
        recalled, prompts = model.asked[0]
        assert slots(recalled[0]) == [0, 6, 5, 4, 3, 2, 1] and prompts.low_res is not None
        model.asked.clear()
        after = dict(clip.propagate())
        assert [len(recalled) for recalled, _ in model.asked] == [1] * 7
        assert all(after[frame].rle == before[frame].rle for frame in range(12))
        assert all(after[frame].rle[1] == before[frame].rle[1] for frame in range(20))
        assert slots(model.asked[0][0][0])[:2] == [0, 0]


def test_known_frames_are_given_without_tracking_them_again(model):
    with anymask.video(clip_of(10), model) as clip:
        clip.click(*where(0, "red"))
        before = list(clip.propagate())
        model.asked.clear()
        again = list(clip.propagate())
        assert not model.asked
        assert [masks.rle for _, masks in again] == [masks.rle for _, masks in before]
        list(clip.propagate(afresh=True))
        assert len(model.asked) == 9


def test_a_drawn_mask_is_the_answer(model):
    drawn = np.zeros((48, 64), bool)
    drawn[10:20, 4:14] = True
    with anymask.video(clip_of(8), model) as clip:
        masks = clip.draw(drawn)
        assert np.array_equal(masks.dense()[0], drawn)
        assert not model.asked
        for frame, masks in clip.propagate():
            assert np.abs(np.subtract(middle(masks), where(frame, "red"))).max() <= 2


def test_objects_come_and_go_while_the_clip_runs(model):
    with anymask.video(clip_of(16), model) as clip:
        clip.click(*where(0, "red"), object=RED)
        ids = {}
        for frame, masks in clip.propagate():
            ids[frame] = masks.ids.tolist()
            if frame == 5:
                clip.click(*where(6, "blue"), frame=6, object=BLUE)
            if frame == 10:
                clip.remove(RED)
        assert ids == {
            **{n: [RED] for n in range(6)},
            **{n: [RED, BLUE] for n in range(6, 11)},
            **{n: [BLUE] for n in range(11, 16)},
        }
        assert clip.objects == (BLUE,)


def test_an_object_is_followed_from_its_first_prompt_both_ways(model):
    with anymask.video(clip_of(16), model) as clip:
        clip.click(*where(4, "red"), frame=4, object=RED)
        clip.click(*where(9, "blue"), frame=9, object=BLUE)
        forward = {frame: masks.ids.tolist() for frame, masks in clip.propagate()}
        assert forward[4] == [RED] and forward[9] == [RED, BLUE] and min(forward) == 4
        backward = {frame: masks.ids.tolist() for frame, masks in clip.propagate(reverse=True)}
        assert max(backward) == 9 and backward[6] == [RED, BLUE] and backward[0] == [RED, BLUE]
        assert all(len(clip.masks(frame)) == 2 for frame in range(16))


def test_looking_before_the_first_prompt_on_request(model):
    with anymask.video(clip_of(8), model) as clip:
        clip.click(*where(0, "red"), object=RED)
        clip.click(*where(6, "blue"), frame=6, object=BLUE)
        ids = [masks.ids.tolist() for _, masks in clip.propagate(early=True)]
        assert ids == [[RED, BLUE]] * 8


def test_an_object_that_is_not_there_has_an_empty_mask_and_comes_back(model):
    with anymask.video(clip_of(12, away=range(4, 8)), model) as clip:
        clip.click(*where(0, "red"))
        seen = dict(clip.propagate())
        assert [int(seen[frame].areas()[0] > 0) for frame in range(12)] == [1] * 4 + [0] * 4 + [1] * 4
        assert (seen[5].details["presence"] < 0).all()


def test_taking_back_a_correction(model):
    with anymask.video(clip_of(12), model) as clip:
        clip.click(*where(0, "red"))
        before = {frame: masks.rle for frame, masks in clip.propagate()}
        clip.click(*where(6, "blue"), frame=6)
        assert {frame: masks.rle for frame, masks in clip.propagate()} != before
        clip.clear(6, 1)
        assert {frame: masks.rle for frame, masks in clip.propagate()} == before


def test_starting_anywhere_and_stopping_anywhere(model):
    with anymask.video(clip_of(20), model) as clip:
        clip.click(*where(5, "red"), frame=5)
        assert [frame for frame, _ in clip.propagate(stop=8)] == [5, 6, 7]
        assert [frame for frame, _ in clip.propagate(start=3, stop=7)] == [3, 4, 5, 6]
        assert [frame for frame, _ in clip.propagate(start=4, reverse=True, stop=1)] == [4, 3, 2]
        assert clip.masks(1) is None and clip.masks(2) is not None


def test_a_live_clip_is_followed_as_it_comes(model):
    with anymask.video(iter(clip_of(14)), model) as clip:
        clip.click(*where(0, "red"))
        seen = dict(clip.propagate())
        assert list(seen) == list(range(14))
        assert np.abs(np.subtract(middle(seen[13]), where(13, "red"))).max() <= 2


def test_one_frame_is_a_clip(model):
    with anymask.video(clip_of(1), model) as clip:
        clip.click(*where(0, "red"))
        assert [frame for frame, _ in clip.propagate()] == [0]
        assert [frame for frame, _ in clip.propagate(reverse=True)] == [0]


def test_what_makes_no_sense_is_refused_with_a_sentence(model):
    with anymask.video(clip_of(4), model) as clip:
        with pytest.raises(BadPrompt, match="nothing has been pointed at"):
            clip.propagate()
        with pytest.raises(BadPrompt, match="lies outside the image"):
            clip.click(70, 10)
        with pytest.raises(BadSetting, match="frames 0 to 3, there is no frame 4"):
            clip.click(10, 10, frame=4)
        with pytest.raises(BadPrompt, match="there is no object 7; objects are: none yet"):
            clip.remove(7)
        with pytest.raises(BadPrompt, match="objects are numbered"):
            clip.click(10, 10, object="dog")
        with pytest.raises(BadPrompt, match="first click must be inside"):
            clip.click(10, 10, inside=False)
        with pytest.raises(BadPrompt, match="a drawn mask must have the image's size"):
            clip.draw(np.zeros((4, 4), bool))
        with pytest.raises(BadPrompt, match="one object at a time"):
            clip.prompt(0, points=[[[1, 1]], [[2, 2]]])
        with pytest.raises(BadSetting, match="no logits are kept of frame 2"):
            clip.logits(2)
        assert clip.objects == () and clip.masks(0) is None
    with pytest.raises(BadSetting, match="no option colour"):
        anymask.video(clip_of(2), model, colour="red")
    with pytest.raises(BadSetting, match="policy is one of"):
        anymask.video(clip_of(2), model, policy="best")


def test_a_model_for_pictures_is_refused(tiny):
    with pytest.raises(BadSetting, match="answers single pictures"):
        anymask.video(clip_of(2), tiny)


def test_reset_forgets_everything(model):
    with anymask.video(clip_of(6), model) as clip:
        clip.click(*where(0, "red"))
        list(clip.propagate())
        clip.reset()
        assert clip.objects == () and clip.masks(3) is None
        clip.click(*where(0, "blue"), object=BLUE)
        assert [masks.ids.tolist() for _, masks in clip.propagate()] == [[BLUE]] * 6
