"""What all tests share: a tiny model with fixed random weights, a picture, and the folder of provided data."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

# xdist runs one worker a core; more threads than that only wait for each other
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of provided real data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("ANYMASK_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the provided data is not here; set ANYMASK_SHARED to its folder")
    return folder


@pytest.fixture(scope="session")
def tiny():
    """The tiny SAM with noise in every parameter, so that no table that starts at zero hides an error."""
    from anymask.family.sam import tiny as build

    torch.manual_seed(0)
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    from anymask.models.catalogue import card

    model.card = card("sam-tiny-test")
    model.weights = "tiny-test-weights"
    return model


@pytest.fixture
def photo() -> np.ndarray:
    """A made-up landscape picture, uint8 [90, 140, 3]: a bright ellipse on a textured ground."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:90, :140]
    picture = rng.integers(40, 90, (90, 140, 3))
    inside = ((x - 70) / 30) ** 2 + ((y - 45) / 20) ** 2 < 1
    picture[inside] = [200, 160, 60]
    return picture.astype(np.uint8)


@pytest.fixture(scope="session")
def server():
    """`anymask serve` with the model inside, in a process of its own; one for all tests of a worker."""
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from serving import Running

    with Running("--rate", "100000") as running:
        yield running


@pytest.fixture(scope="session")
def chromium():
    """A headless browser; Debian's, since nothing is downloaded for a test."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not here: pip install playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
