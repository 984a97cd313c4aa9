"""What a program relies on that talks to the server: every route, over real HTTP, answers as the package does."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools import mask as coco

from anymask import Image, Session
from anymask.masks.rle import decode_one
from anymask.records import wire
from anymask.session.embeddings import EmbeddingCache

JSON = {"Content-Type": "application/json"}


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def http(server):
    with server.client() as client:
        yield client


@pytest.fixture
def sent(http, photo):
    return http.post("/api/images", content=png(photo), params={"name": "ellipse.png"}).json()["id"]


@pytest.fixture(scope="module")
def local():
    """The session that answers here what the server answers there."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:90, :140]
    picture = rng.integers(40, 90, (90, 140, 3))
    picture[((x - 70) / 30) ** 2 + ((y - 45) / 20) ** 2 < 1] = [200, 160, 60]
    return Session(picture.astype(np.uint8), cache=EmbeddingCache())


def same(reply: dict, masks) -> None:
    """The reply holds the very masks, best first."""
    assert [row["rle"]["counts"] for row in reply["masks"]] == [rle["counts"].decode() for rle in masks.rle]
    np.testing.assert_allclose([row["score"] for row in reply["masks"]], masks.scores, atol=1e-5)
    assert [row["area"] for row in reply["masks"]] == masks.areas().tolist()
    boxes = [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in masks.boxes().astype(int).tolist()]
    assert [row["box"] for row in reply["masks"]] == boxes


def test_a_picture_is_kept_under_the_digest_of_its_pixels(http, photo):
    other = photo[::-1].copy()
    first = http.post("/api/images", content=png(other), params={"name": "C:\\tmp\\../odd.png"})
    assert first.status_code == 201
    assert first.json() == {"id": Image.open(other).digest, "width": 140, "height": 90, "name": "odd.png"}
    again = http.post("/api/images", content=png(other))
    assert again.status_code == 200 and again.json() == first.json()
    name = first.json()["id"]
    assert http.get(f"/api/images/{name}").json() == first.json()
    assert np.array_equal(np.asarray(Pillow.open(io.BytesIO(http.get(f"/api/images/{name}/picture").content))), other)
    assert http.delete(f"/api/images/{name}").status_code == 204
    gone = http.get(f"/api/images/{name}")
    assert gone.status_code == 404
    assert gone.json() == {"error": "this picture is not here any more; send it again", "kind": "NotHere"}


def test_exif_orientation_is_followed(http):
    picture = Pillow.fromarray(np.zeros((20, 50, 3), np.uint8))
    exif = Pillow.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    picture.save(out, "JPEG", exif=exif)
    reply = http.post("/api/images", content=out.getvalue()).json()
    assert (reply["width"], reply["height"]) == (20, 50)


def test_encoding_is_a_job_and_then_done(http, photo):
    name = http.post("/api/images", content=png(photo[:, ::-1])).json()["id"]
    job = http.post(f"/api/images/{name}/encode")
    assert job.status_code == 202 and job.json()["kind"] == "encode"
    events = http.get(f"/api/jobs/{job.json()['id']}/events").text
    last = json.loads(events.strip().splitlines()[-1].removeprefix("data: "))
    assert (last["state"], last["progress"]) == ("done", 1.0)
    assert http.post(f"/api/images/{name}/encode", json={}).json()["state"] == "ready"


@pytest.mark.parametrize(
    ("prompt", "call"),
    [
        ({"points": [[70, 45]]}, {"points": [70, 45]}),
        ({"points": [[70, 45], [5, 5]], "labels": [1, 0]}, {"points": [[70, 45], [5, 5]], "labels": [1, 0]}),
        ({"box": [35, 20, 105, 70]}, {"boxes": [35, 20, 105, 70]}),
        ({"points": [[70, 45]], "box": [35, 20, 105, 70]}, {"points": [70, 45], "boxes": [35, 20, 105, 70]}),
        ({"points": [[70, 45]], "multimask": False}, {"points": [70, 45], "multimask": False}),
    ],
)
def test_a_prompt_is_answered_as_by_a_session(http, sent, local, prompt, call):
    reply = http.post(f"/api/images/{sent}/decode", json=prompt).json()
    assert reply["size"] == [90, 140] and reply["answer"]
    same(reply, local.predict(**call))


def test_hovering_gives_the_best_mask_and_nothing_to_build_on(http, sent, local):
    reply = http.post(f"/api/images/{sent}/decode", json={"points": [[70, 45]], "best": True}).json()
    assert reply["answer"] is None and len(reply["masks"]) == 1
    same(reply, local.predict([70, 45])[[0]])


def test_a_drawn_mask_is_a_prompt(http, sent, local):
    drawn = np.zeros((90, 140), bool)
    drawn[30:60, 50:90] = True
    rle = coco.encode(np.asfortranarray(drawn.astype(np.uint8)))
    given = {"size": [90, 140], "counts": rle["counts"].decode()}
    same(http.post(f"/api/images/{sent}/decode", json={"mask": given}).json(), local.predict(mask=drawn))
    wrong = http.post(f"/api/images/{sent}/decode", json={"mask": {"size": [90, 141], "counts": given["counts"]}})
    assert wrong.status_code == 400 and wrong.json()["kind"] == "BadPrompt"


def test_logits_travel_and_can_be_fed_back(http, sent, local):
    reply = http.post(f"/api/images/{sent}/decode", json={"points": [[70, 45]], "logits": True}).json()
    mine = local.predict([70, 45])
    np.testing.assert_allclose(wire.read(reply)[0].logits, mine.logits, atol=1e-4)
    again = {"points": [[70, 45], [60, 40]], "low_res": reply["masks"][0]["logits"]}
    back = http.post(f"/api/images/{sent}/decode", json=again).json()
    same(back, local.predict([[70, 45], [60, 40]], mask=mine.logits[0]))


def test_clicks_build_on_each_other_as_in_a_session(http, sent, local):
    local.reset()
    clicks = [(70, 45, 1), (95, 45, 0), (50, 45, 1), (5, 5, 0)]
    previous, points, labels = None, [], []
    for number, (x, y, label) in enumerate(clicks):
        points.append([x, y])
        labels.append(label)
        prompt = {"points": points, "labels": labels}
        if previous is not None:
            prompt["previous"] = previous
        reply = http.post(f"/api/images/{sent}/decode", json=prompt).json()
        local.click(x, y, bool(label))
        same(reply, local.candidates)
        assert reply["note"] == local.note
        chosen = 1 if number == 0 else 0
        if chosen:
            local.choose(chosen)
        previous = {"answer": reply["answer"], "candidate": chosen}


def test_the_binary_form_says_the_same(http, sent):
    asked = {"points": [[70, 45]]}
    plain = http.post(f"/api/images/{sent}/decode", json=asked).json()
    content = http.post(f"/api/images/{sent}/decode", json=asked, headers={"Accept": wire.BINARY}).content
    (length,) = struct.unpack_from("<I", content)
    assert (4 + length) % 4 == 0
    header = json.loads(content[4 : 4 + length])
    payload = np.frombuffer(content, "<u4", offset=4 + length)
    for mask, expected in zip(header["masks"], plain["masks"], strict=True):
        runs = payload[mask["offset"] : mask["offset"] + mask["runs"]]
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        dense = flat.reshape(140, 90).T
        assert np.array_equal(dense, coco.decode(expected["rle"]) > 0)
        assert mask["score"] == expected["score"]


def test_outlines_on_request(http, sent):
    reply = http.post(f"/api/images/{sent}/decode", json={"points": [[70, 45]], "best": True, "simplify": 2}).json()
    (mask,) = reply["masks"]
    assert mask["polygons"] and all(len(point) == 2 for ring in mask["polygons"][0] for point in ring)


def test_many_prompts_at_once_and_an_error_for_the_wrong_one(http, sent, local):
    asked = [{"image": sent, "points": [[70, 45]]}, {"image": sent, "points": [[700, 45]]}, {"image": "gone"}]
    answers = http.post("/api/decode", json={"requests": asked}).json()["answers"]
    same(answers[0], local.predict([70, 45]))
    assert answers[1]["kind"] == "BadPrompt" and "outside the image" in answers[1]["error"]
    assert answers[2]["kind"] == "NotHere"


def test_prompts_decoded_together_are_answered_as_if_alone(http, sent, local):
    points = [[20 + 10 * i, 20 + 5 * i] for i in range(10)]
    asked = [{"image": sent, "points": [point]} for point in points]
    answers = http.post("/api/decode", json={"requests": asked}).json()["answers"]
    for point, answer in zip(points, answers, strict=True):
        mine = local.predict(point)
        np.testing.assert_allclose([row["score"] for row in answer["masks"]], mine.scores, atol=1e-4)
        for row, rle in zip(answer["masks"], mine.rle, strict=True):
            assert (coco.decode(row["rle"]) != coco.decode(rle)).mean() < 1e-3


def test_everything_is_a_job_with_progress_and_masks(http, sent, local):
    import anymask

    job = http.post(f"/api/images/{sent}/everything", json={"points_per_side": 5, "options": {"pred_iou_thresh": 0.3}})
    assert job.status_code == 202
    name = job.json()["id"]
    lines = http.get(f"/api/jobs/{name}/events").text.splitlines()
    states = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert states[-1]["state"] == "done" and states[-1]["progress"] == 1.0
    assert any(0 < state["progress"] < 1 for state in states if state["progress"])
    reply = http.get(f"/api/jobs/{name}/masks").json()
    mine = anymask.everything(local.image, points_per_side=5, points_per_batch=8, pred_iou_thresh=0.3)
    same(reply, mine)
    assert [row.get("parent", -1) for row in reply["masks"]] == mine.parents.tolist()
    assert [row["point_coords"] for row in reply["masks"]] == mine.details["point_coords"].tolist()
    binary = wire.read(http.get(f"/api/jobs/{name}/masks", headers={"Accept": wire.BINARY}).content)[0]
    assert binary.rle == mine.rle


def test_a_job_can_be_cancelled(http, sent):
    job = http.post(f"/api/images/{sent}/everything", json={"points_per_side": 64}).json()
    ended = http.delete(f"/api/jobs/{job['id']}").json()
    assert ended["state"] == "cancelled"
    assert http.get(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"
    masks = http.get(f"/api/jobs/{job['id']}/masks")
    assert masks.status_code == 409 and "cancelled" in masks.json()["error"]
    assert http.get("/api/jobs/nothing").status_code == 404


@pytest.mark.parametrize(
    "asked",
    [{"options": {"points_per_side": 1024}}, {"options": {"crop_n_layers": 5}}, {"points_per_side": 65},
     {"points_per_side": 64, "options": {"crop_n_layers": 3}}, {"options": {"nonsense": 1}}, {"preset": "fast"}],
)  # fmt: skip
def test_everything_has_limits(http, sent, asked):
    reply = http.post(f"/api/images/{sent}/everything", json=asked)
    assert reply.status_code in (400, 422) and reply.json()["kind"] == "BadSetting"


def objects(http, sent, names):
    reply = http.post(f"/api/images/{sent}/decode", json={"points": [[70, 45]]}).json()
    return [{"name": name, "mask": row["rle"]} for name, row in zip(names, reply["masks"], strict=False)]


def test_coco_export_is_what_was_shown(http, sent, tmp_path):
    shown = objects(http, sent, ["sun", "moon"])
    reply = http.post(f"/api/images/{sent}/export", json={"format": "coco", "objects": shown})
    assert reply.headers["content-disposition"].startswith('attachment; filename="ellipse.json"')
    data = reply.json()
    assert [one["segmentation"]["counts"] for one in data["annotations"]] == [one["mask"]["counts"] for one in shown]
    names = {one["id"]: one["name"] for one in data["categories"]}
    assert [names[one["category_id"]] for one in data["annotations"]] == ["sun", "moon"]


@pytest.mark.parametrize("form", ["png", "masks", "labels", "svg", "cutout", "geojson", "sa1b", "yolo", "voc"])
def test_every_export_opens(http, sent, photo, form):
    shown = objects(http, sent, ["sun", "moon"])
    shown[0]["colour"] = "#ff8000"
    reply = http.post(f"/api/images/{sent}/export", json={"format": form, "objects": shown})
    assert reply.status_code == 200, reply.text
    if reply.headers["content-type"] == "image/png":
        picture = np.asarray(Pillow.open(io.BytesIO(reply.content)))
        assert picture.shape[:2] == (90, 140)
        if form == "png":
            union = np.any([coco.decode(one["mask"]) for one in shown], axis=0)
            assert np.array_equal(picture > 127, union)
    elif reply.headers["content-type"] == "application/zip":
        with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
            assert archive.testzip() is None
            assert all(not name.startswith("/") and ".." not in name for name in archive.namelist())
    elif form == "svg":
        assert 'fill="rgb(255,128,0)"' in reply.text
    else:
        json.loads(reply.content)


def test_a_cutout_of_one_object_is_its_pixels(http, sent, photo):
    (one,) = objects(http, sent, ["sun"])[:1]
    reply = http.post(f"/api/images/{sent}/export", json={"format": "cutout", "objects": [one]})
    cut = np.asarray(Pillow.open(io.BytesIO(reply.content)))
    inside = coco.decode(one["mask"]) > 0
    ys, xs = np.nonzero(inside)
    y, x = ys.min(), xs.min()
    assert np.array_equal(cut[..., 3] > 0, inside[y : ys.max() + 1, x : xs.max() + 1])
    assert np.array_equal(cut[ys - y, xs - x, :3], photo[ys, xs])


def test_an_unknown_format_names_the_known_ones(http, sent):
    reply = http.post(f"/api/images/{sent}/export", json={"format": "psd", "objects": objects(http, sent, ["a"])})
    assert reply.status_code == 400 and "coco, png" in reply.json()["error"]


def test_the_embedding_can_be_fetched(http, sent, local):
    from safetensors.numpy import load

    reply = http.get(f"/api/images/{sent}/embedding")
    tensors = load(reply.content)
    np.testing.assert_allclose(tensors["image"], local.embedding.tensors["image"].numpy(), atol=1e-4)
    (length,) = struct.unpack_from("<Q", reply.content)
    about = json.loads(reply.content[8 : 8 + length])["__metadata__"]
    resize = local.embedding.resize[0]
    assert json.loads(about["resize"]) == [list(resize.original), list(resize.resized), list(resize.padded)]
    again = http.get(f"/api/images/{sent}/embedding", headers={"If-None-Match": reply.headers["etag"]})
    assert again.status_code == 304 and not again.content


def test_status_says_what_there_is(http):
    status = http.get("/api/status").json()
    assert status["default_model"] == "anymask-lite"
    (mine,) = [one for one in status["models"] if one["name"] == "anymask-lite"]
    assert mine["ready"] and "points" in mine["prompts"]
    health = http.get("/health").json()
    assert (health["status"], health["model"]) == ("ok", "anymask-lite")


def test_metrics_count_by_route_template(http, sent):
    http.get(f"/api/images/{sent}")
    text = http.get("/metrics").text
    assert 'route="/api/images/{image}"' in text and sent not in text
    for name in ("decodes_total", "waiting_decodes", "embeddings_bytes", "encode_seconds"):
        assert f"anymask_{name}" in text


def test_another_model_must_be_known_and_here(http, sent):
    unknown = http.post(f"/api/images/{sent}/decode", json={"points": [[1, 1]], "model": "sam-vit-q"})
    assert unknown.status_code == 404 and unknown.json()["kind"] == "UnknownModel"


def test_all_routes_are_described_for_people_and_programs(http):
    schema = http.get("/openapi.json").json()
    page = http.get("/docs").text
    for path, methods in schema["paths"].items():
        assert path.replace("{", "{") in page
        for method in methods.values():
            assert method.get("description"), path


def test_rle_of_a_reply_is_plain_coco(http, sent):
    reply = http.post(f"/api/images/{sent}/decode", json={"points": [[70, 45]], "best": True}).json()
    rle = reply["masks"][0]["rle"]
    mine = decode_one({"size": rle["size"], "counts": rle["counts"].encode()})
    assert np.array_equal(mine, coco.decode(rle) > 0)
