"""What a script relies on that moves from this machine to a server by one line."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image as Pillow

import anymask
from anymask import Session
from anymask.errors import BadPrompt, BadSetting, NoImage, NotHere, NotReached, UnknownModel
from anymask.session.embeddings import EmbeddingCache


@pytest.fixture
def remote(server):
    with anymask.connect(server.address) as found:
        yield found


@pytest.fixture
def pair(remote, photo):
    """The same session here and there."""
    return remote.Session(photo), Session(photo, cache=EmbeddingCache())


def same(far, near):
    assert far.rle == near.rle
    np.testing.assert_allclose(far.scores, near.scores, atol=1e-5)
    assert list(far.ids) == list(near.ids)
    assert far.image is not None


@pytest.mark.parametrize(
    "prompt",
    [
        {"points": [70, 45]},
        {"points": [[70, 45], [5, 5]], "labels": [1, 0]},
        {"boxes": [35, 20, 105, 70]},
        {"points": [70, 45], "multimask": False},
        {"points": np.array([70, 45])},
    ],
)
def test_predict_is_the_sessions_own(pair, prompt):
    far, near = (session.predict(**prompt) for session in pair)
    same(far, near)


def test_several_objects_of_any_lengths(pair):
    points = [[[70, 45]], [[10, 10], [20, 20]], [[30, 30]]]
    far, near = (session.predict(points=points) for session in pair)
    assert list(far.ids) == list(near.ids)
    np.testing.assert_allclose(far.scores, near.scores, atol=1e-4)


def test_a_drawn_mask(pair):
    drawn = np.zeros((90, 140), bool)
    drawn[30:60, 50:90] = True
    same(pair[0].predict(mask=drawn), pair[1].predict(mask=drawn))


def test_clicks_choose_undo_and_reset(pair):
    far, near = pair
    acts = [
        lambda s: s.click(70, 45),
        lambda s: s.choose(1),
        lambda s: s.click(95, 45, inside=False),
        lambda s: s.undo(),
        lambda s: s.click(50, 45),
        lambda s: s.box(35, 20, 105, 70),
        lambda s: s.undo(),
        lambda s: s.click(5, 5, False),
    ]
    for act in acts:
        same(act(far), act(near))
        same(far.candidates, near.candidates)
        assert (far.note, far.steps) == (near.note, near.steps)
    far.reset()
    assert len(far.mask) == 0 and far.steps == 0


def test_a_forgotten_picture_is_sent_again(pair, server):
    far, near = pair
    same(far.click(70, 45), near.click(70, 45))
    with server.client() as http:
        assert http.delete(f"/api/images/{near.image.digest}").status_code == 204
    same(far.predict([20, 20]), near.predict([20, 20]))


def test_forgotten_answers_are_asked_for_again(pair):
    far, near = pair
    for session in pair:
        session.click(70, 45)
        session.choose(1)
        session.click(95, 45, False)
    from dataclasses import replace

    # as if the server had dropped all that it knew
    far._steps = [replace(step, name=None if step.name is None else "gone") for step in far._steps]
    same(far.click(50, 45), near.click(50, 45))


def test_segment_and_everything_move_by_one_line(remote, photo, tmp_path):
    path = tmp_path / "photo.png"
    Pillow.fromarray(photo).save(path)
    same(remote.segment(path, points=[70, 45]), anymask.segment(path, points=[70, 45]))
    options = {"points_per_side": 4, "pred_iou_thresh": 0.3, "points_per_batch": 8}
    told = []
    far = remote.everything(path, tell=lambda done, total: told.append((done, total)), **options)
    near = anymask.everything(path, **options)
    same(far, near)
    assert list(far.parents) == list(near.parents)
    np.testing.assert_array_equal(far.details["point_coords"], near.details["point_coords"])
    assert told[-1] == (100, 100)


def test_the_official_predictors_methods(remote, photo):
    from anymask.compat.segment_anything import SamPredictor

    far, near = remote.predictor(), SamPredictor(anymask.load())
    with pytest.raises(NoImage):
        far.predict(point_coords=np.array([[70, 45]]), point_labels=np.array([1]))
    for predictor in (far, near):
        predictor.set_image(photo)
    asked = {"point_coords": np.array([[70, 45]]), "point_labels": np.array([1])}
    masks, scores, logits = far.predict(**asked)
    theirs, their_scores, their_logits = near.predict(**asked)
    order = np.argsort(-their_scores)
    np.testing.assert_allclose(scores, their_scores[order], atol=1e-5)
    np.testing.assert_allclose(logits, their_logits[order], atol=1e-4)
    assert masks.shape == (3, 90, 140) and masks.dtype == bool
    assert (masks != theirs[order]).mean() < 1e-3
    box = far.predict(box=np.array([35, 20, 105, 70]), mask_input=logits[:1], multimask_output=False)
    assert box[0].shape == (1, 90, 140)


def test_errors_are_the_packages_own(remote, photo):
    session = remote.Session(photo)
    with pytest.raises(BadPrompt, match="outside the image"):
        session.predict([700, 45])
    with pytest.raises(BadPrompt, match="must be inside the object"):
        session.click(5, 5, False)
    with pytest.raises(UnknownModel, match="did you mean"):
        remote.segment(photo, [70, 45], model="sam-vit-bb")
    with pytest.raises(BadSetting, match="no option"):
        session.everything(nonsense=3)
    with pytest.raises(NotHere):
        remote.http.json("GET", "/api/jobs/nothing")


def test_no_server_and_another_server():
    with pytest.raises(NotReached, match="anymask serve"):
        anymask.connect("http://127.0.0.1:9")
    with pytest.raises(BadSetting, match="http://host:port"):
        anymask.connect("localhost:8765")


def test_the_client_needs_no_torch(server):
    code = f"""import sys, numpy as np, anymask
remote = anymask.connect({server.address!r})
masks = remote.segment(np.zeros((40, 60, 3), np.uint8), points=[20, 20])
assert len(masks) == 3 and masks.size == (40, 60)
print("torch" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"
