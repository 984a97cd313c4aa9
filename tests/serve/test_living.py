"""How a server lives: starts, is too busy, forgets, and ends."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image as Pillow

from serving import Running


def png(seed: int, height: int = 60, width: int = 80) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_a_taken_port_names_a_free_one(server):
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "anymask", "serve", "--no-browser", "--port", str(server.port)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"port {server.port} is taken" in done.stderr and "--port" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_replies_are_sent_at_once():
    """asyncio turns Nagle's algorithm off only for sockets that call themselves TCP; with it each reply takes 40 ms."""
    from anymask.serve.run import listen

    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_a_host_that_others_reach_gets_a_token():
    from anymask.errors import BadSetting
    from anymask.serve.settings import ServeSettings

    with pytest.raises(BadSetting, match="token"):
        ServeSettings(host="0.0.0.0")
    with Running("--host", "0.0.0.0") as running:
        assert running.token and len(running.token) >= 20


def test_too_many_clicks_are_sent_away_politely_and_the_rest_answered():
    with Running("--waiting", "2", "--rate", "100000") as running, running.client() as web:
        name = web.post("/api/images", content=png(0)).json()["id"]
        web.post(f"/api/images/{name}/decode", json={"points": [[5, 5]]})

        def ask(number: int):
            return web.post(f"/api/images/{name}/decode", json={"points": [[number, 20]]})

        with ThreadPoolExecutor(24) as pool:
            replies = list(pool.map(ask, range(48)))
        statuses = {reply.status_code for reply in replies}
        assert statuses == {200, 503}
        late = next(reply for reply in replies if reply.status_code == 503)
        assert late.json()["kind"] == "ServerBusy" and int(late.headers["retry-after"]) >= 1
        # whoever asks again a little later is answered
        assert ask(3).status_code == 200


def test_what_a_client_gave_up_is_not_worked_on():
    with Running("--waiting", "100", "--rate", "100000") as running, running.client() as web:
        name = web.post("/api/images", content=png(0)).json()["id"]
        web.post(f"/api/images/{name}/decode", json={"points": [[5, 5]]})
        before = decodes(web)
        import http.client

        lines = []
        for number in range(60):
            line = http.client.HTTPConnection("127.0.0.1", running.port)
            body = json.dumps({"points": [[number, 20]], "multimask": bool(number % 2)})
            line.request("POST", f"/api/images/{name}/decode", body, {"Content-Type": "application/json"})
            lines.append(line)
        for line in lines:
            line.close()
        until = time.monotonic() + 30
        while web.get("/health").json()["queue"]["decode"] and time.monotonic() < until:
            time.sleep(0.05)
        assert decodes(web) - before < 60
        assert web.post(f"/api/images/{name}/decode", json={"points": [[5, 5]]}).status_code == 200


def decodes(web) -> float:
    text = web.get("/metrics").text
    return float(next(line for line in text.splitlines() if line.startswith("anymask_decodes_total")).split()[1])


def test_the_oldest_pictures_and_answers_go_first():
    with Running("--memory", "64", "--rate", "100000") as running, running.client() as web:
        first = web.post("/api/images", content=png(0)).json()["id"]
        answer = web.post(f"/api/images/{first}/decode", json={"points": [[5, 5]]}).json()["answer"]
        for number in range(20):  # 0.8 MB of logits each, in 13 MB of room
            reply = web.post(f"/api/images/{first}/decode", json={"points": [[number, 9]]})
        follow = {"points": [[5, 5], [9, 9]], "previous": {"answer": answer, "candidate": 0}}
        gone = web.post(f"/api/images/{first}/decode", json=follow)
        assert gone.status_code == 409 and gone.json()["error"].endswith("ask again without previous")
        follow["previous"]["answer"] = reply.json()["answer"]
        assert web.post(f"/api/images/{first}/decode", json=follow).status_code == 200
        for number in range(1, 5):  # 9 MB of pixels each, in 26 MB of room
            assert web.post("/api/images", content=png(number, 1000, 3000)).status_code == 201
        gone = web.post(f"/api/images/{first}/decode", json={"points": [[5, 5]]})
        assert gone.status_code == 404 and gone.json()["error"].endswith("send it again")
        text = web.get("/metrics").text
        held = next(line for line in text.splitlines() if line.startswith("anymask_pictures_bytes"))
        assert float(held.split()[1]) <= 0.4 * 64 * 2**20


def test_sigterm_during_a_job_ends_it_and_says_so():
    running = Running()
    with running.client() as web:
        name = web.post("/api/images", content=png(0)).json()["id"]
        web.post(f"/api/images/{name}/decode", json={"points": [[5, 5]]})
        job = web.post(f"/api/images/{name}/everything", json={"points_per_side": 64}).json()["id"]
        states: list[dict] = []

        def follow():
            with running.client() as other, other.stream("GET", f"/api/jobs/{job}/events") as reply:
                states.extend(json.loads(line[6:]) for line in reply.iter_lines() if line.startswith("data: "))

        listener = threading.Thread(target=follow)
        listener.start()
        until = time.monotonic() + 30
        while not any(state["state"] == "running" for state in states) and time.monotonic() < until:
            time.sleep(0.02)
        started = time.monotonic()
        running.stop()
        assert time.monotonic() - started < 15
        listener.join(10)
    assert states[-1]["state"] == "cancelled" and "stopped" in states[-1]["message"]
    assert any("1 jobs cancelled" in line for line in running.lines)
    assert running.lines[-1] == "stopped"
    assert not any("Traceback" in line for line in running.lines)


def test_embeddings_on_disk_serve_the_next_start_and_stay_bounded(tmp_path):
    folder = tmp_path / "kept"
    with Running("--cache", str(folder), "--disk", "20") as running, running.client() as web:
        for number in range(4):  # 8 MB each
            name = web.post("/api/images", content=png(number)).json()["id"]
            assert web.post(f"/api/images/{name}/decode", json={"points": [[5, 5]]}).status_code == 200
    files = list(folder.glob("*.safetensors"))
    assert len(files) == 2 and sum(file.stat().st_size for file in files) <= 20 * 2**20
    with Running("--cache", str(folder), "--disk", "20") as running, running.client() as web:
        name = web.post("/api/images", content=png(3)).json()["id"]
        assert web.post(f"/api/images/{name}/decode", json={"points": [[5, 5]]}).status_code == 200
