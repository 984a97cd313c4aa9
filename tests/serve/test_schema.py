"""The OpenAPI description and the server agree, whatever is thrown at it: schemathesis against a real process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = (
    "not_a_server_error",
    "content_type_conformance",
    "response_schema_conformance",
    "status_code_conformance",
)


@pytest.mark.slow
def test_nothing_that_fits_or_breaks_the_schema_makes_the_server_fail(server, tmp_path):
    pytest.importorskip("schemathesis")
    command = str(Path(sys.executable).with_name("schemathesis"))
    done = subprocess.run(
        [
            command, "run", f"{server.address}/openapi.json",
            "--checks", ",".join(CHECKS),
            "--max-examples", "12", "--phases", "examples,coverage,fuzzing", "--seed", "11", "--request-timeout", "30",
            "--generation-database", "none", "--continue-on-failure", "--workers", "2",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "not_a_server_error" not in done.stdout
