"""A real server, a real browser, and a page with a photo open in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from restarting import LONG, Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    pytest.importorskip("uvicorn", reason="the server's packages are not here: pip install 'anymask[serve]'")
    running = Server()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def picture() -> Path:
    """A photo that may be used freely: the rocket of scikit-image, public domain, 640 x 427."""
    skimage = pytest.importorskip("skimage")
    return Path(skimage.__file__).parent / "data" / "rocket.jpg"


class Page:
    """One browser tab and what tests ask of it."""

    def __init__(self, tab: Any, url: str) -> None:
        self.tab, self.url = tab, url
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        tab.set_default_timeout(LONG)
        tab.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        # Playwright begins to catch file choosers with the first listener, which a key pressed right after can overtake
        tab.on("filechooser", lambda _: None)
        tab.goto(f"{url}?hooks&timings")
        tab.wait_for_selector(".welcome h2")

    def open(self, *files: Path) -> None:
        with self.tab.expect_file_chooser() as chooser:
            self.tab.locator("[data-action=open]:visible").first.click()
        chooser.value.set_files([str(file) for file in files])
        self.ready()

    def ready(self) -> None:
        self.tab.wait_for_selector(".state[data-state=ready]", state="attached")

    def wait(self, condition: str) -> None:
        """Until a JavaScript expression over `app` is true."""
        self.tab.wait_for_function(f"() => {{ const app = window.anymaskApp; return {condition}; }}")

    def settled(self) -> None:
        """Until every click is answered and drawn."""
        self.wait("!app.asking.waiting.length")

    def app(self, expression: str) -> Any:
        return self.tab.evaluate(f"() => {{ const app = window.anymaskApp; return {expression}; }}")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the picture is in the window."""
        place = self.app(f"app.view.toStage({x}, {y})")
        return place["x"], place["y"]

    def click(self, x: float, y: float, **options: Any) -> None:
        self.tab.mouse.click(*self.at(x, y), **options)
        self.settled()

    def drag(self, *places: tuple[float, float], steps: int = 4) -> None:
        self.tab.mouse.move(*self.at(*places[0]))
        self.tab.mouse.down()
        for place in places[1:]:
            self.tab.mouse.move(*self.at(*place), steps=steps)
        self.tab.mouse.up()
        self.settled()

    def press(self, key: str) -> None:
        self.tab.keyboard.press(key)

    def masks(self) -> list[dict[str, Any]]:
        """The objects as shown, lowest first: name, area, COCO run lengths."""
        return self.tab.evaluate(
            """async () => {
                const { toCoco } = await import("/rle.js");
                return window.anymaskApp.doc.things.map((one) => (
                    { id: one.id, name: one.name, area: one.mask.area, hidden: one.hidden, rle: toCoco(one.mask) }));
            }"""
        )

    @property
    def said(self) -> str:
        return str(self.tab.locator(".spoken").text_content())


@pytest.fixture
def opened(chromium: Any, server: Server) -> Iterator[Callable[..., Page]]:
    """Makes pages; afterwards none may have printed an error or asked any host but the server."""
    made: list[tuple[Page, Any]] = []

    def make(*files: Path, url: str | None = None, quiet: bool = True, **options: Any) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        page = Page(context.new_page(), url or server.url)
        page.quiet = quiet  # type: ignore[attr-defined]
        made.append((page, context))
        if files:
            page.open(*files)
        return page

    yield make
    for page, context in made:
        errors, hosts = list(page.errors), set(page.hosts)
        context.close()
        if page.quiet:  # type: ignore[attr-defined]
            assert not errors
        assert hosts <= {urlsplit(page.url).netloc, ""}


@pytest.fixture(scope="session")
def with_runtime() -> Iterator[Server]:
    """A server that also hands out onnxruntime-web, whose files are not in the repository."""
    folder = os.environ.get("ANYMASK_RUNTIME")
    if not folder:
        pytest.skip("set ANYMASK_RUNTIME to the folder dist of the npm package onnxruntime-web")
    pytest.importorskip("onnx", reason="the decoder is exported with onnx: pip install 'anymask[export]'")
    running = Server("--runtime", folder)
    yield running
    running.stop()
