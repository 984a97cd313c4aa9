"""`anymask.click` in a real browser: the widget's own module, a stand-in for the notebook's channel, real masks."""

from __future__ import annotations

import base64
import os
import queue
import time

import numpy as np
import pytest

pytest.importorskip("anywidget")
pytest.importorskip("fastapi")

import anymask
from anymask.errors import BadImage, BadSetting
from anymask.widget import bundle

NOTEBOOK = """
async (given) => {
  const listeners = [];
  const values = { ...given };
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const text = (buffer) => btoa(Array.from(new Uint8Array(buffer), (one) => String.fromCharCode(one)).join(""));
  const model = {
    get: (name) => values[name],
    set: (name, value) => void (values[name] = value),
    save_changes: () => void window.saved({ objects: values.objects }),
    on: (_, listener) => void listeners.push(listener),
    send: (content, _, buffers = []) => void window.sent(content, buffers.map(text)),
  };
  const pull = async () => {
    for (const [content, body] of await window.pull()) {
      const buffers = body === null ? [] : [new DataView(bytes(body).buffer)];
      for (const listener of listeners) listener(content, buffers);
    }
    setTimeout(pull, 5);
  };
  pull();
  const module = await import(URL.createObjectURL(new Blob([given.esm], { type: "text/javascript" })));
  const style = document.createElement("style");
  style.textContent = given.css;
  document.head.append(style);
  const el = document.createElement("div");
  document.body.append(el);
  await module.default.render({ model, el });
}
"""


def scene() -> np.ndarray:
    y, x = np.mgrid[:240, :320]
    pixels = np.stack([90 + x // 8, 110 + y // 8, 70 + (x + y) // 16], 2)
    pixels[(x - 120) ** 2 + (y - 100) ** 2 < 60**2] = (235, 225, 190)
    return pixels.astype(np.uint8)


def show(browser, widget):
    """A page with the widget in it, its channel joined to the widget's two ends."""
    page = browser.new_page(viewport={"width": 1000, "height": 640})
    page.set_default_timeout(60_000)
    replies: queue.Queue = queue.Queue()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    widget.send = lambda content, buffers=None: replies.put((content, buffers))

    def pull():
        found = []
        while not replies.empty():
            content, buffers = replies.get()
            found.append([content, base64.b64encode(buffers[0]).decode() if buffers else None])
        return found

    page.expose_function("pull", pull)
    page.expose_function(
        "sent", lambda content, bodies: widget._asked(widget, content, [base64.b64decode(body) for body in bodies])
    )
    page.expose_function("saved", lambda state: setattr(widget, "objects", state["objects"]))
    page.goto("about:blank")
    given = {"esm": widget._esm, "css": widget._css, "picture": widget.picture, "name": widget.name, "height": 560}
    page.evaluate(NOTEBOOK, given)
    return page, errors


def test_a_click_in_the_cell_is_a_mask_in_python(chromium):
    image = scene()
    widget = anymask.click(image)
    assert len(widget.masks) == 0 and widget.masks.size == (240, 320)
    page, errors = show(chromium, widget)
    page.wait_for_selector(".state[data-state=ready]", state="attached")
    box = page.locator(".anymask .stage").bounding_box()
    # the picture is fitted into what the panels leave free, left of the middle; the disc in it more so
    page.mouse.click(box["x"] + box["width"] / 2 - 170, box["y"] + box["height"] / 2 - 38)
    deadline = time.monotonic() + 60
    while not len(widget.masks) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    if out := os.environ.get("ANYMASK_LOOK"):
        page.screenshot(path=f"{out}/widget.png")
    masks = widget.masks
    assert len(masks) == 1 and masks.labels[0]
    assert masks.dense()[0][100, 120]
    assert masks.overlay().size == (320, 240)
    assert not errors
    page.close()


def test_all_of_the_page_is_in_the_module_and_nothing_from_elsewhere():
    text = bundle.module()
    assert '\\"@@' in text and "http://localhost/" in text
    for word in ("https://", "//cdn", "unpkg"):
        assert word not in text


def test_what_cannot_be_shown_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(BadSetting, match="height"):
        anymask.click(scene(), height=3)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(BadImage):
        anymask.click(broken)
