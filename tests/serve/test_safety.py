"""What nobody gets from the server: by hostile files, other sites, wrong names, guessed tokens, or sheer numbers."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools import mask as coco

from serving import Running


@pytest.fixture(scope="module")
def web(server):
    with server.client() as client:
        yield client


def refused(reply, *statuses):
    assert reply.status_code in statuses, (reply.status_code, reply.text[:200])
    body = reply.json()
    assert set(body) == {"error", "kind"} and 10 < len(body["error"]) < 500
    assert "Traceback" not in body["error"]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, data: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg(**options) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(np.zeros((20, 30, 3), np.uint8)).save(out, "JPEG", **options)
    return out.getvalue()


def absurd_exif() -> bytes:
    exif = Pillow.Exif()
    exif[0x0112] = 4711
    exif[0x010E] = "x" * 60_000
    return jpeg(exif=exif.tobytes())


HOSTILE = {
    "bomb": (png_of(30_000, 30_000, zlib.compress(bytes(3_000_000), 9)), (413,)),
    "nothing": (b"", (415,)),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', (415,)),
    "html": (b"<!doctype html><script>alert(1)</script>", (415,)),
    "xml then svg": (
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        (415,),
    ),
    "zip": (b"PK\x03\x04" + bytes(100), (415,)),
    "pdf": (b"%PDF-1.7\n" + bytes(100), (415,)),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run", (415,)),
    "text": (b"../../etc/passwd", (415,)),
    "truncated jpeg": (jpeg()[:150], (422,)),
    "truncated png": (png_of(30, 20, zlib.compress(bytes(100)))[:60], (422,)),
    "png with too few bytes": (png_of(30, 20, zlib.compress(bytes(100))), (422,)),
    "no width": (png_of(0, 20, b""), (422, 415)),
    "absurd size": (png_of(2**31 - 1, 2**31 - 1, b""), (413, 422)),
    "jpeg of noise": (b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8, (422,)),
    "tiff in a circle": (b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00", (422, 415)),
    "webp of nothing": (b"RIFF\x00\x00\x00\x00WEBPVP8 ", (422, 415)),
    "gif of nothing": (b"GIF89a" + b"\xff" * 40, (413, 422)),
    "bmp with a lie": (b"BM" + b"\xff" * 60, (413, 422)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_a_sentence(web, name):
    content, statuses = HOSTILE[name]
    refused(web.post("/api/images", content=content, headers={"Content-Type": "image/png"}), *statuses)


def test_a_polyglot_is_only_ever_a_picture(web):
    """A GIF that is also a script comes back as a PNG of its pixels, and browsers are told not to guess."""
    out = io.BytesIO()
    Pillow.fromarray(np.zeros((20, 30, 3), np.uint8)).save(out, "GIF")
    reply = web.post("/api/images", content=out.getvalue() + b"*/=1;alert(document.cookie)//")
    assert reply.status_code in (200, 201)
    shown = web.get(f"/api/images/{reply.json()['id']}/picture")
    assert shown.headers["content-type"] == "image/png" and shown.headers["x-content-type-options"] == "nosniff"
    assert b"alert" not in shown.content


def test_absurd_exif_costs_nothing(web):
    reply = web.post("/api/images", content=absurd_exif())
    assert reply.status_code in (200, 201) and (reply.json()["width"], reply.json()["height"]) == (30, 20)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\r\nX-Evil: 1", 'a"; filename="b.exe', "日本.png", "\u202egnp.exe", "." * 300]
)
def test_a_file_name_stays_a_name(web, name):
    pixels = np.full((20, 30, 3), len(name) % 250, np.uint8)
    out = io.BytesIO()
    Pillow.fromarray(pixels).save(out, "PNG")
    sent = web.post("/api/images", content=out.getvalue(), params={"name": name})
    assert sent.status_code in (200, 201), sent.text
    assert not set(sent.json()["name"]) & set('/\\\r\n"\u202e')
    mask = {"size": [20, 30], "counts": [300, 300]}
    bad = web.post(f"/api/images/{sent.json()['id']}/export", json={"format": "coco", "objects": [{"mask": mask}]})
    assert bad.status_code == 422
    half = coco.encode(np.asfortranarray(np.arange(600).reshape(20, 30) % 30 >= 15).astype(np.uint8))
    mask = {"size": [20, 30], "counts": half["counts"].decode()}
    reply = web.post(f"/api/images/{sent.json()['id']}/export", json={"format": "coco", "objects": [{"mask": mask}]})
    assert reply.status_code == 200, reply.text
    assert "x-evil" not in reply.headers
    assert reply.headers["content-disposition"].count(";") == 2


@pytest.mark.parametrize(
    "counts", ["", "0", "o", "\u00e9", "PPPPPPPPPPPP0", "1" * 10_000, "~~~~", "00000000000000000000000000000000000000"]
)
def test_damaged_run_lengths_never_reach_the_decoder(web, counts):
    out = io.BytesIO()
    Pillow.fromarray(np.zeros((20, 30, 3), np.uint8)).save(out, "PNG")
    name = web.post("/api/images", content=out.getvalue()).json()["id"]
    mask = {"size": [20, 30], "counts": counts}
    refused(web.post(f"/api/images/{name}/decode", json={"mask": mask}), 400)
    refused(web.post(f"/api/images/{name}/export", json={"format": "png", "objects": [{"mask": mask}]}), 400)
    huge = {"size": [2**31, 2**31], "counts": counts}
    refused(web.post(f"/api/images/{name}/decode", json={"mask": huge}), 400)


def test_a_long_stream_is_refused_before_it_ends(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    sent = 0

    def endless():
        nonlocal sent
        for _ in range(100):
            sent += 2**20
            yield bytes(2**20)

    chunked = {"Transfer-Encoding": "chunked"}
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", "/api/images", body=endless(), encode_chunked=True, headers=chunked)
    assert sent <= 80 * 2**20
    connection.close()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", "/api/images", headers={"Content-Length": str(10**12)})
    reply = connection.getresponse()
    assert reply.status == 413 and "larger than" in json.loads(reply.read())["error"]
    connection.close()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b'{"points": [[NaN, 1]]}', b'{"points": [[1e999, 1]]}', b"\xff\xfe", b'{"points": 5}',
     b'{"points": [["a", "b"]]}', b'{"nonsense": 1}', b'{"points": [[1]]}', b'{"labels": [1]}', b"{}",
     b'{"points": [[1, 1]], "labels": [1, 1]}', b'{"box": [5, 5, 1, 1]}', b'{"points": [[1, 1]], "labels": [2]}'],
)  # fmt: skip
def test_malformed_prompts_are_refused_with_a_sentence(web, body):
    out = io.BytesIO()
    Pillow.fromarray(np.zeros((20, 30, 3), np.uint8)).save(out, "PNG")
    name = web.post("/api/images", content=out.getvalue()).json()["id"]
    reply = web.post(f"/api/images/{name}/decode", content=body, headers={"Content-Type": "application/json"})
    refused(reply, 400, 422)


def test_a_json_body_has_a_limit(web):
    big = b'{"mask": {"size": [1, 1], "counts": "' + b"0" * (25 * 2**20) + b'"}}'
    refused(web.post("/api/images/x/decode", content=big, headers={"Content-Type": "application/json"}), 413)


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/css/../../errors.py",
        "/.git/config",
        "/a%00b",
    ],
)
def test_no_path_leads_out_of_the_page(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("GET", path)
    connection.endheaders()
    reply = connection.getresponse()
    assert reply.status in (400, 404)
    assert "error" in json.loads(reply.read())
    connection.close()


def test_every_reply_has_the_safety_headers(web):
    for path in ("/", "/health", "/api/status", "/nothing", "/docs"):
        headers = web.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers and "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "", "a@localhost", "local host"],
)
def test_a_foreign_host_name_is_refused(web, host):
    """Against DNS rebinding: a page from elsewhere whose name was pointed at this machine."""
    refused(web.get("/api/status", headers={"Host": host}), 400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:9", "[::1]:9", "app.localhost"])
def test_own_names_are_let_in(web, host):
    assert web.get("/api/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
     {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://["}],
)  # fmt: skip
def test_other_sites_cannot_send_anything(web, headers):
    refused(web.post("/api/images", content=b"x", headers=headers), 403)
    refused(web.delete("/api/images/x", headers=headers), 403)


def test_the_page_itself_may(web, server):
    own = {"Origin": server.address, "Sec-Fetch-Site": "same-origin"}
    refused(web.post("/api/images", content=b"x", headers=own), 415)


def test_a_token_is_wanted_where_one_is_set():
    with Running("--token", "a-good-token") as running, running.client() as web:
        assert running.token == "a-good-token"
        assert web.get("/health").status_code == 200
        refused(web.get("/api/status"), 401)
        refused(web.get("/"), 401)
        refused(web.get("/metrics"), 401)
        refused(web.get("/api/status", headers={"Authorization": "Bearer wrong-token"}), 401)
        refused(web.get("/api/status", params={"token": "a-good-token"}), 401)
        assert web.get("/api/status", headers={"Authorization": "Bearer a-good-token"}).status_code == 200
        opened = web.get("/", params={"token": "a-good-token"})
        assert opened.status_code == 303 and opened.headers["location"] == "/"
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert web.get("/api/status").status_code == 200  # with the cookie
        import anymask
        from anymask.errors import NotAllowed

        with pytest.raises(NotAllowed, match="token"):
            anymask.connect(running.address)
        with anymask.connect(running.address, "a-good-token") as remote:
            assert remote.status["default_model"] == "anymask-lite"


def test_one_client_cannot_take_all():
    with Running("--rate", "5") as running, running.client() as web:
        replies = [web.get("/api/status") for _ in range(30)]
        late = [reply for reply in replies if reply.status_code == 429]
        assert len(late) >= 5 and replies[0].status_code == 200
        refused(late[0], 429)
        assert int(late[0].headers["retry-after"]) >= 1
        assert web.get("/health").status_code == 200


def test_half_a_request_holds_nobody_up(server, web):
    lines = []
    for start in (
        b"GET / HT",
        b"POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc",
        b"\x16\x03\x01\x02\x00",
    ):
        line = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        line.sendall(start)
        lines.append(line)
    assert web.get("/health").status_code == 200
    for line in lines:
        line.close()


def test_absurd_headers_are_refused(server):
    for lines in (
        b"Host: localhost\r\nHost: evil.example\r\n",
        b"Host: localhost\r\nX: " + b"a" * 2_000_000 + b"\r\n",
        b"Host: \xff\xfe\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                line.sendall(b"GET /api/status HTTP/1.1\r\n" + lines + b"\r\n")
            line.settimeout(10)
            head = line.recv(100)
        assert head.startswith(b"HTTP/1.1 4"), head
