"""CVAT's requests, as its lambda_manager writes them."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

fastapi = pytest.importorskip("fastapi")
from fastapi.testclient import TestClient  # noqa: E402
from scenery import picture, png  # noqa: E402

from anymask import Session  # noqa: E402
from anymask.masks.rle import decode_one  # noqa: E402
from anymask.records.cvat_mask import read_cvat_points  # noqa: E402
from anymask.serve.app import create_app  # noqa: E402
from anymask.serve.settings import ServeSettings  # noqa: E402

HEADERS = {
    "x-nuclio-project-name": "cvat",
    "x-nuclio-function-namespace": "nuclio",
    "x-nuclio-invoke-via": "domain-name",
    "x-nuclio-function-name": "anymask",
    "x-nuclio-path": "/",
}


@pytest.fixture(scope="module")
def server():
    with TestClient(create_app(ServeSettings(memory=256)), base_url="http://127.0.0.1", headers=HEADERS) as found:
        yield found


def body(**changes):
    frame = base64.b64encode(png()).decode()
    return {"image": frame, "pos_points": [[60, 50]], "neg_points": [], "obj_bbox": None} | changes


def test_cvat_finds_an_interactor(server):
    found = server.get("/api/functions").json()
    (function,) = found.values()
    assert function == server.get(f"/api/functions/{function['metadata']['name']}").json()
    notes = function["metadata"]["annotations"]
    # what CVAT reads, and as what
    assert notes["type"] == "interactor" and json.loads(notes["spec"]) == []
    assert (int(notes["min_pos_points"]), int(notes["min_neg_points"]), int(notes["version"])) == (1, 0, 1)
    assert not notes.get("startswith_box") and notes["help_message"] and function["spec"]["description"]
    assert function["status"]["state"] == "ready"
    assert server.get("/api/functions/other").status_code == 404


@pytest.mark.parametrize("path", ["/api/function_invocations", "/cvat"])
def test_clicks_give_the_sessions_mask(server, path):
    session = Session(picture())
    expected = decode_one(session.click(60, 50).rle[0])
    answer = server.post(path, json=body()).json()
    assert (np.array(answer["mask"], bool) == expected).all()
    (shape,) = answer["shapes"]
    assert shape["type"] == "mask" and (read_cvat_points(shape["points"], expected.shape) == expected).all()
    expected = decode_one(session.click(110, 100, inside=False).rle[0])
    answer = server.post(path, json=body(neg_points=[[110, 100]])).json()
    assert (np.array(answer["mask"], bool) == expected).all()


def test_a_box_alone_is_enough(server):
    answer = server.post("/cvat", json=body(pos_points=[], obj_bbox=[[100, 90], [20, 20]]))
    expected = decode_one(Session(picture()).predict(boxes=[20, 20, 100, 90]).rle[0])
    assert (np.array(answer.json()["mask"], bool) == expected).all()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"image": "@@"}, 422),
        ({"image": base64.b64encode(b"<svg/>").decode()}, 415),
        ({"pos_points": [], "neg_points": [[3, 3]]}, 400),
        ({"pos_points": []}, 400),
        ({"pos_points": [[1]]}, 422),
        ({"pos_points": [[1e9, 3]]}, 400),
        ({"obj_bbox": [[1, 2]]}, 400),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_sentence(server, changes, status):
    answer = server.post("/cvat", json=body(**changes))
    assert answer.status_code == status and len(answer.json()["error"]) > 10


def test_an_address_can_be_trusted_without_a_token():
    with TestClient(create_app(ServeSettings(memory=256, token="secret-1")), base_url="http://127.0.0.1") as strict:
        assert strict.post("/cvat", json=body()).status_code == 401
    settings = ServeSettings(memory=256, token="secret-1", trusted=("testclient",))
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as open_to_it:
        assert open_to_it.post("/cvat", json=body()).status_code == 200
