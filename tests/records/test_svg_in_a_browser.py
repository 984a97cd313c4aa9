"""SVG as a real browser draws it, pixel by pixel."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image as Pillow

from anymask.masks.colours import colour

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no browser here: apt-get install chromium")
def test_a_browser_draws_every_pixel_of_every_mask(record, dense, run, tmp_path):
    out = run("svg", {"Straße 1": record})
    shot = tmp_path / "shot.png"
    subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--window-size=800,600",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={shot}",
            (out / "Straße 1.svg").as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    seen = np.asarray(Pillow.open(shot).convert("RGB"), float)
    # half-transparent colours, one on the other, on white
    expected = np.full((48, 64, 3), 255.0)
    for row, mask in enumerate(dense):
        expected[mask] = (expected[mask] + np.array(colour(row))) / 2
    # each blend rounds once, and half opacity is 127/255 or 128/255
    assert np.abs(seen[:48, :64] - expected).max() <= 3
    assert (seen[48:] == 255).all() and (seen[:, 64:] == 255).all()
