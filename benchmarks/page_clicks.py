"""How long a click on the page takes until its mask is painted, in headless Chromium.

    python benchmarks/page_clicks.py                                   # the model inside, decoded by the server
    python benchmarks/page_clicks.py --runtime node_modules/onnxruntime-web/dist    # and in the browser
    python benchmarks/page_clicks.py --model sam-vit-b --random        # ViT-B with random weights

Needs playwright, onnxruntime and a chromium on the path. A photo of 1800 x 1200 is opened, then clicked at random
places: each object gets a first click and a second one. Then the same places are clicked as people do it, the pointer
resting there until the page has lit the thing up ("rested"). The time runs from the pointer's press to the frame after
the mask was drawn, as the page itself measures it (`?timings`). Beside it: the decoder in the official graph run by
onnxruntime from Python, the same prompts, up to the thresholded mask.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 1800, 1200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=200)
    parser.add_argument("--model", default="anymask-lite")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--random", action="store_true", help="weights drawn at random: speed does not depend on them")
    parser.add_argument("--runtime", type=Path, help="folder of onnxruntime-web's files: also decode in the browser")
    parser.add_argument("--photo", type=Path, help="default: a photo of scikit-image")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        weights = given.weights
        if given.random:
            weights = _random_weights(given.model, place / "random.pth")
        photo = _photo(given.photo, place / "photo.png")
        rng = np.random.default_rng(0)
        points = rng.uniform((60, 60), (WIDTH - 60, HEIGHT - 60), (given.clicks, 2)).round() + 0.5
        figures: dict[str, Any] = {"model": given.model, "clicks": given.clicks, "photo": [HEIGHT, WIDTH]}
        with _Server(given.model, weights, given.runtime) as url:
            for way in ("server", *(["browser"] if given.runtime else [])):
                figures[way] = _clicked(url, photo, points, way)
        figures["official decoder, onnxruntime in Python"] = _official(given.model, weights, photo, points)
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


class _Server:
    """`anymask serve` for the time of a block; the value is its address."""

    def __init__(self, model: str, weights: Path | None, runtime: Path | None) -> None:
        self.command = [sys.executable, "-m", "anymask", "serve", "--no-browser", "--port", "0", "--model", model]
        if weights:
            self.command += ["--weights", str(weights)]
        if runtime:
            self.command += ["--runtime", str(runtime)]

    def __enter__(self) -> str:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            found = re.search(r"http://[\d.]+:\d+/", line)
            if found:
                return found.group(0)
        raise SystemExit(f"the server did not start: {said}")

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def _clicked(url: str, photo: Path, points: np.ndarray, way: str) -> dict[str, float | str]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit("no chromium on the path")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.set_default_timeout(600_000)
        tab.goto(f"{url}?timings&hooks")
        tab.evaluate("(way) => window.anymaskApp.set({ decoder: way })", way)
        with tab.expect_file_chooser() as chooser:
            tab.locator(".welcome [data-action=open]").click()
        started = time.perf_counter()
        chooser.value.set_files(str(photo))
        tab.wait_for_selector(".state[data-state=ready]", state="attached")
        ready = time.perf_counter() - started
        if way == "browser":
            tab.wait_for_function("() => window.anymaskApp.decoders.report")
            if tab.evaluate("window.anymaskApp.decoders.way") != "browser":
                return {"failed": str(tab.evaluate("window.anymaskApp.decoders.report"))}
        times: list[float] = []
        for number, (x, y) in enumerate(points):
            if number % 2 == 0:
                _afresh(tab)
            else:
                x, y = points[number - 1] + (x - points[number - 1]) * 0.1
            times.append(_click(tab, x, y))
        rested: list[float] = []
        for x, y in points[0::2]:
            _afresh(tab)
            _point(tab, x, y, "pointermove")
            # a place of nothing lights nothing up
            tab.wait_for_function(
                "([x, y]) => { const at = window.anymaskApp.asking.hovered; return at && at.x === x && at.y === y; }",
                arg=[float(x), float(y)],
            )
            tab.wait_for_timeout(150)
            rested.append(_click(tab, x, y))
        report = tab.evaluate("window.anymaskApp.decoders.report")
        browser.close()
    first, second = np.array(times[0::2]), np.array(times[1::2])
    return {
        "p50 ms": _at(times, 50),
        "p95 ms": _at(times, 95),
        "first clicks p50": _at(first, 50),
        "first clicks p95": _at(first, 95),
        "second clicks p50": _at(second, 50),
        "second clicks p95": _at(second, 95),
        "rested p50": _at(rested, 50),
        "rested p95": _at(rested, 95),
        "ready after s": round(ready, 2),
        **({"note": report} if report else {}),
    }


def _afresh(tab: Any) -> None:
    """Takes the object before away, so that all clicks paint equally much."""
    tab.evaluate(
        """() => { const app = window.anymaskApp;
            while (app.pictures.current.history.canUndo) app.pictures.current.history.undo();
            app.changed(); }"""
    )


def _click(tab: Any, x: float, y: float) -> float:
    """Milliseconds from the press to the painted mask."""
    tab.evaluate("() => { window.anymaskTimings.length = 0; }")
    _point(tab, x, y, "pointerdown", "pointerup")
    tab.wait_for_function("() => window.anymaskTimings.length && !window.anymaskApp.asking.waiting.length")
    return float(tab.evaluate("window.anymaskTimings[0]"))


def _point(tab: Any, x: float, y: float, *kinds: str) -> None:
    """Events straight to the page: a chooser of candidates may lie over the place."""
    tab.evaluate(
        """([x, y, kinds]) => { const at = window.anymaskApp.view.toStage(x, y);
            const all = { clientX: at.x, clientY: at.y, pointerId: 1, pointerType: "mouse", bubbles: true };
            const stage = document.querySelector(".stage");
            for (const kind of kinds) {
                stage.dispatchEvent(new PointerEvent(kind, { ...all, buttons: kind === "pointerdown" ? 1 : 0 }));
            } }""",
        [float(x), float(y), list(kinds)],
    )


def _official(name: str, weights: Path | None, photo: Path, points: np.ndarray) -> dict[str, float]:
    import onnxruntime
    import torch

    import anymask
    from anymask.export.decoder import decoder_graph

    model = anymask.load(name, weights=weights) if weights else anymask.load(name)
    session = onnxruntime.InferenceSession(decoder_graph(model).SerializeToString())
    with torch.no_grad():
        embedding = model.encode([anymask.Image.open(photo)])
    resize = embedding.resize[0]
    known = {one.name: one.shape for one in session.get_inputs()}
    tensors = {("image_embeddings" if key == "image" else key): value for key, value in embedding.tensors.items()}
    mask_shape = [side if isinstance(side, int) else 1 for side in known["mask_input"]]
    times = []
    for x, y in points:
        places = np.concatenate([resize.points(np.array([[x, y]])), np.zeros((1, 2))])[None]
        feeds = {key: value.numpy().astype(np.float32) for key, value in tensors.items() if key in known}
        feeds |= {
            "point_coords": places.astype(np.float32),
            "point_labels": np.array([[1, -1]], np.float32),
            "mask_input": np.zeros(mask_shape, np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(resize.original, np.float32),
        }
        started = time.perf_counter()
        masks, *_ = session.run(None, feeds)
        _ = masks > 0
        times.append(1000 * (time.perf_counter() - started))
    return {"p50 ms": _at(times, 50), "p95 ms": _at(times, 95)}


def _at(times: Any, percent: float) -> float:
    return round(float(np.percentile(times, percent)), 1)


def _random_weights(name: str, path: Path) -> Path:
    import torch

    from anymask.models.catalogue import card

    torch.manual_seed(0)
    torch.save(card(name).build().state_dict(), path)
    return path


def _photo(given: Path | None, path: Path) -> Path:
    if given is None:
        import skimage

        given = Path(skimage.__file__).parent / "data" / "coffee.png"
    Image.open(given).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(path)
    return path


if __name__ == "__main__":
    main()
