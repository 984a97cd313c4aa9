"""Long clips: memory stays flat, little stays on disk, and a correction far back is as exact as one nearby."""

from __future__ import annotations

import pytest
from stand_in import ByColour, clip_of, where

import anymask

COUNT = 120


def known(clip, **options) -> list:
    return [(frame, masks.rle) for frame, masks in clip.propagate(**options)]


def whole(clip) -> int:
    """Frames whose memories are still there."""
    return sum(any(note.whole for note in clip._store.notes(frame).values()) for frame in range(COUNT))


def story(**options):
    clip = anymask.video(clip_of(COUNT), ByColour(), **options)
    clip.click(*where(0, "red"), object=1)
    clip.click(*where(0, "blue"), object=2)
    return clip


def test_old_memories_are_let_go_of_but_for_a_stretch_here_and_there():
    with story(history=32, snapshot=16) as clip:
        known(clip)
        # six frames of each sixteen, and the last 32
        assert 32 <= whole(clip) <= 32 + 6 * 6
        assert all(len(clip.masks(frame)) == 2 for frame in range(COUNT))


@pytest.mark.parametrize("frame", [40, 47, 70])
def test_a_correction_far_back_is_the_one_that_full_memories_give(frame):
    results = []
    for options in ({"history": 1000}, {"history": 32, "snapshot": 16}):
        with story(**options) as clip:
            known(clip)
            answer = clip.click(3, 40, inside=False, frame=frame, object=1)
            clip.model.asked.clear()
            after = known(clip, start=frame)
            results.append((answer.rle, answer.logits.tobytes(), after))
            # the frames after it, and no more than one stretch before
            assert len(clip.model.asked) <= COUNT - frame + 16
    assert results[0] == results[1]


def test_backward_too():
    results = []
    for options in ({"history": 1000}, {"history": 32, "snapshot": 16}):
        with anymask.video(clip_of(COUNT), ByColour(), **options) as clip:
            clip.click(*where(COUNT - 1, "red"), frame=COUNT - 1)
            known(clip, reverse=True)
            answer = clip.click(3, 40, inside=False, frame=75)
            results.append((answer.rle, answer.logits.tobytes(), known(clip, start=75, reverse=True, stop=50)))
    assert results[0] == results[1]
