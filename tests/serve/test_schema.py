"""The OpenAPI description and the server agree, whatever is thrown at it: schemathesis against a real process."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as Pillow

CHECKS = (
    "not_a_server_error",
    "content_type_conformance",
    "response_schema_conformance",
    "status_code_conformance",
)


@pytest.mark.slow
def test_nothing_that_fits_or_breaks_the_schema_makes_the_server_fail(server, photo, tmp_path):
    pytest.importorskip("schemathesis")
    out = io.BytesIO()
    Pillow.fromarray(photo[:20, :30]).save(out, "PNG")
    with server.client() as http:
        image = http.post("/api/images", content=out.getvalue()).json()["id"]
        # a picture that is there, so that requests come further than "not here any more"
        (tmp_path / "schemathesis.toml").write_text(f'[parameters]\n"path.image" = "{image}"\n')
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.address}/openapi.json",
                "--checks", ",".join(CHECKS), "--exclude-method", "DELETE", "--continue-on-failure",
                "--phases", "examples,coverage,fuzzing", "--max-examples", "6", "--seed", "11", "--workers", "2",
                "--request-timeout", "60", "--generation-database", "none", "--no-color",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert http.get("/health").json()["status"] == "ok"
