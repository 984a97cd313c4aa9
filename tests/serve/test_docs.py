"""The examples of docs/serve.md run as they stand, and there is one for each route."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image as Pillow

DOCS = Path(__file__).resolve().parents[2] / "docs" / "serve.md"

ELSEWHERE = re.compile(r"^/(label-studio|cvat|api/function)")
"""Routes of Label Studio and CVAT, which have pages of their own."""


def examples() -> str:
    return "\n".join(re.findall(r"<!-- run -->\n```bash\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_examples_run(server, photo, tmp_path):
    Pillow.fromarray(photo).save(tmp_path / "photo.jpg", quality=95)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", examples()],
        cwd=tmp_path, env={**os.environ, "SERVER": server.address, "no_proxy": "127.0.0.1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"state": "done"' in done.stdout
    for name in ("first.json", "second.json", "masks.bin", "everything.json", "photo.json", "embedding.safetensors"):
        assert (tmp_path / name).stat().st_size > 0


def test_every_route_has_an_example(server):
    text = examples()
    with server.client() as http:
        paths = http.get("/openapi.json").json()["paths"]
    for path in paths:
        if ELSEWHERE.match(path):
            continue
        wanted = path.replace("{image}", "$IMAGE").replace("{job}", "$JOB").replace("{name}", "anymask-lite")
        assert re.search(re.escape("$SERVER" + wanted) + r"[\s\"?|]", text), f"{path} has no example"
