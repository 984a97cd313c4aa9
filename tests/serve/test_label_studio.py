"""Label Studio's requests, as its api_connector writes them, to a server with the model inside."""

from __future__ import annotations

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

fastapi = pytest.importorskip("fastapi")
from fastapi.testclient import TestClient  # noqa: E402
from scenery import picture, png  # noqa: E402

from anymask import Session  # noqa: E402
from anymask.masks.polygons import fill  # noqa: E402
from anymask.masks.rle import decode_one  # noqa: E402
from anymask.records.brush_rle import read_brush_rle  # noqa: E402
from anymask.serve.app import create_app  # noqa: E402
from anymask.serve.settings import ServeSettings  # noqa: E402

BRUSH = """
<View>
  <Image name="image" value="$photo" zoom="true"/>
  <BrushLabels name="mask" toName="image"><Label value="Apple"/><Label value="Pear"/></BrushLabels>
  <KeyPointLabels name="click" toName="image" smart="true"><Label value="Apple"/><Label value="Pear"/></KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true"><Label value="Apple"/></RectangleLabels>
</View>"""
POLYGON = BRUSH.replace("BrushLabels", "PolygonLabels")
TOKEN = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl"


class LabelStudio(BaseHTTPRequestHandler):
    """As much of Label Studio as a backend talks to."""

    good = "bearer-1"

    def do_GET(self):
        allowed = self.headers.get("Authorization") in (f"Token {TOKEN}", f"Bearer {type(self).good}")
        self.answer(200 if allowed else 401, png() if allowed else b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = self.path == "/api/token/refresh" and PERSONAL.encode() in body
        self.answer(200 if good else 404, f'{{"access": "{type(self).good}"}}'.encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def label_studio():
    server = ThreadingHTTPServer(("127.0.0.1", 0), LabelStudio)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def settings():
    return ServeSettings(memory=256)


def client(settings, monkeypatch, url="", key="", hosts=""):
    monkeypatch.setenv("LABEL_STUDIO_URL", url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", key)
    monkeypatch.setenv("ANYMASK_PICTURE_HOSTS", hosts)
    return TestClient(create_app(settings), base_url="http://127.0.0.1")


@pytest.fixture
def server(settings, monkeypatch, label_studio):
    with client(settings, monkeypatch, label_studio, TOKEN) as found:
        yield found


def key_point(x, y, inside=1, label="Pear"):
    height, width = picture().shape[:2]
    value = {"x": 100 * x / width, "y": 100 * y / height, "width": 0.3, "keypointlabels": [label]}
    return {
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value,
        "is_positive": inside,
        "id": "abc",
        "from_name": "click",
        "to_name": "image",
        "type": "keypointlabels",
        "origin": "manual",
    }


def rectangle(x0, y0, x1, y1):
    item = key_point(x0, y0) | {"type": "rectanglelabels"}
    height, width = picture().shape[:2]
    sides = {"width": 100 * (x1 - x0) / width, "height": 100 * (y1 - y0) / height, "rectanglelabels": ["Apple"]}
    item["value"] = {"x": item["value"]["x"], "y": item["value"]["y"]} | sides
    return item


def predict(server, *items, config=BRUSH, address="/data/upload/1/scene.png"):
    request = {
        "tasks": [{"id": 7, "data": {"photo": address}, "created_at": "2026-11-21"}],
        "model_version": None,
        "project": "1.1700000000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": {"result": list(items)} if items else None},
    }
    return server.post("/label-studio/predict", json=request)


def test_the_backend_introduces_itself(server):
    for path in ("/label-studio/", "/label-studio/health"):
        assert server.get(path).json()["status"] == "UP"
    setup = {"project": "1.17", "schema": BRUSH, "hostname": "http://localhost:8080", "access_token": "x"}
    assert server.post("/label-studio/setup", json=setup).json()["model_version"]
    assert server.post("/label-studio/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 201
    assert server.post("/label-studio/webhook", json={"action": "X"}).json() == {"status": "Unknown event"}


def test_a_click_gives_the_sessions_mask_as_a_brush_label(server):
    answer = predict(server, key_point(60, 50)).json()["results"][0]
    (region,) = answer["result"]
    height, width = picture().shape[:2]
    assert (region["from_name"], region["to_name"], region["type"]) == ("mask", "image", "brushlabels")
    assert (region["original_width"], region["original_height"], region["image_rotation"]) == (width, height, 0)
    assert region["value"]["format"] == "rle" and region["value"]["brushlabels"] == ["Pear"]
    session = Session(picture())
    expected = session.click(60, 50)
    assert (read_brush_rle(region["value"]["rle"], (height, width)) == decode_one(expected.rle[0])).all()
    assert answer["score"] == pytest.approx(float(expected.scores[0]), abs=1e-4)
    # the second click builds on the first, as in a session
    answer = predict(server, key_point(60, 50), key_point(110, 100, inside=0)).json()["results"][0]
    expected = session.click(110, 100, inside=False)
    mask = read_brush_rle(answer["result"][0]["value"]["rle"], (height, width))
    assert (mask == decode_one(expected.rle[0])).all()


def test_a_box_gives_polygons_where_the_project_wants_those(server):
    answer = predict(server, rectangle(20, 20, 100, 90), config=POLYGON).json()["results"][0]
    expected = decode_one(Session(picture()).predict(boxes=[20, 20, 100, 90], multimask=None).rle[0])
    height, width = expected.shape
    drawn = np.zeros_like(expected)
    for region in answer["result"]:
        assert region["type"] == "polygonlabels" and region["value"]["polygonlabels"] == ["Apple"]
        ring = np.array(region["value"]["points"]) * [width / 100, height / 100]
        drawn |= fill([[ring]], (height, width))
    assert (drawn & expected).sum() / (drawn | expected).sum() > 0.9


def test_nothing_pointed_at_gives_nothing(server):
    answer = predict(server)
    assert answer.status_code == 200 and answer.json()["results"][0]["result"] == []


def test_pictures_come_with_a_personal_token_inside_the_task_or_from_allowed_hosts(settings, monkeypatch, label_studio):
    with client(settings, monkeypatch, label_studio, PERSONAL) as server:
        assert predict(server, key_point(60, 50)).status_code == 200
        # a token that has run out is exchanged for another
        monkeypatch.setattr(LabelStudio, "good", "bearer-2")
        assert predict(server, key_point(60, 50)).status_code == 200
    inside = "data:image/png;base64," + base64.b64encode(png()).decode()
    with client(settings, monkeypatch) as server:
        assert predict(server, key_point(60, 50), address=inside).status_code == 200
        refused = predict(server, key_point(60, 50))
        assert refused.status_code == 400 and "LABEL_STUDIO_URL" in refused.json()["error"]
        refused = predict(server, key_point(60, 50), address=f"{label_studio}/x.png")
        assert refused.status_code == 400 and "ANYMASK_PICTURE_HOSTS" in refused.json()["error"]
    with client(settings, monkeypatch, label_studio, "wrong") as server:
        assert "token" in predict(server, key_point(60, 50)).json()["error"]


@pytest.mark.parametrize(
    ("items", "config", "said"),
    [
        ([key_point(60, 50, inside=0)], BRUSH, "inside"),
        ([{"type": "keypointlabels"}], BRUSH, "no key point"),
        ([key_point(60, 50) | {"original_width": 3}], BRUSH, "same one"),
        ([key_point(60, 50)], "<View", "no XML"),
        ([key_point(60, 50)], '<View><Image name="a" value="$photo"/></View>', "BrushLabels"),
        ([key_point(60, 50)], '<!DOCTYPE x [<!ENTITY a "b">]><View/>', "entities"),
        ([key_point(60, 50)], BRUSH.replace("$photo", "$other"), "other"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_sentence(server, items, config, said):
    answer = predict(server, *items, config=config)
    assert answer.status_code == 400 and said in answer.json()["error"]


def test_a_token_may_come_as_a_password(monkeypatch):
    with client(ServeSettings(memory=256, token="secret-1"), monkeypatch) as server:
        assert server.post("/label-studio/setup", json={}).status_code == 401
        assert server.post("/label-studio/setup", json={}, auth=("me", "wrong")).status_code == 401
        assert server.post("/label-studio/setup", json={}, auth=("me", "secret-1")).status_code == 200
