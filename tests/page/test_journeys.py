"""Whole journeys: by keyboard, by touch, in the dark, through a server that dies; and what assistive tools find."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from restarting import LONG, Server

DOCS = Path(__file__).resolve().parents[2] / "docs" / "page.md"


def test_a_newcomer_without_a_file_or_a_mouse(opened):
    page = opened()
    tab = page.tab
    for _ in range(20):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.classList.contains('example')"):
            break
    tab.keyboard.press("Enter")
    page.ready()
    tab.locator(".stage").focus()
    tab.keyboard.press("ArrowRight")
    page.wait("app.pointer.cursor !== null")
    before = page.app("app.pointer.cursor.x")
    tab.keyboard.press("Shift+ArrowRight")
    assert page.app("app.pointer.cursor.x") == before + 1
    tab.keyboard.press("Enter")
    page.settled()
    assert page.masks()[0]["area"] > 0
    assert "of the picture" in page.said
    tab.keyboard.press("b")
    tab.keyboard.press("n")
    tab.keyboard.press("Enter")
    for _ in range(12):
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    page.settled()
    assert len(page.masks()) == 2
    tab.keyboard.press("Control+z")
    assert len(page.masks()) == 1
    tab.keyboard.press("?")
    assert tab.locator("dialog.help-sheet").is_visible()
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog.help-sheet", state="hidden")
    with tab.expect_download():
        tab.keyboard.press("Control+s")


def test_fingers_tap_press_and_pinch(opened, picture):
    page = opened(
        picture, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2
    )
    tab = page.tab
    tab.touchscreen.tap(*page.at(320, 150))
    page.wait("app.doc.things.length === 1")
    page.settled()
    touch(page, "touchStart", [page.at(320, 380)])
    page.wait("app.doc.things[0].labels.length === 2")
    touch(page, "touchEnd", [])
    assert page.app("app.doc.things[0].labels") == [1, 0]
    before = page.app("app.view.scale")
    (x, y), apart = page.at(320, 200), 40
    touch(page, "touchStart", [(x - apart, y), (x + apart, y)])
    for step in range(5):
        touch(page, "touchMove", [(x - apart - 8 * step, y), (x + apart + 8 * step, y)])
    touch(page, "touchEnd", [])
    assert page.app("app.view.scale") > 1.5 * before
    assert page.app("app.doc.things[0].labels") == [1, 0]
    tab.get_by_label("Take away", exact=True).tap()
    assert page.app("app.settings.away")


def touch(page, kind, places):
    """What a screen reports; Chromium makes pointer events of it."""
    if not hasattr(page, "screen"):
        page.screen = page.tab.context.new_cdp_session(page.tab)
    points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
    page.screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


@pytest.mark.parametrize("width", [360, 390, 768, 1440])
def test_nothing_is_wider_than_the_window(opened, picture, width):
    page = opened(viewport={"width": width, "height": 800})
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
    page.open(picture)
    page.click(320, 150)
    wide = page.tab.evaluate(
        """() => [...document.querySelectorAll(".shell button, .shell .island")].filter((one) => one.offsetParent)
            .filter((one) => !one.closest(".strip") && !one.closest(".candidates"))
            .filter((one) => {
                const box = one.getBoundingClientRect();
                return box.left < -1 || box.right > innerWidth + 1;
            }).map((one) => one.className + " " + one.ariaLabel)"""
    )
    assert wide == []


def test_light_and_dark_follow_the_system_until_chosen(opened):
    page = opened(color_scheme="dark")
    assert page.tab.get_attribute("#app", "data-theme") == "dark"
    page.tab.emulate_media(color_scheme="light")
    page.tab.wait_for_selector("#app[data-theme=light]")
    page.press("t")
    page.tab.wait_for_selector("#app[data-theme=dark]")
    page.tab.reload()
    page.tab.wait_for_selector("#app[data-theme=dark]")


def test_zoom_keeps_the_place_under_the_pointer_and_pixels_sharp(opened, picture):
    page = opened(picture)
    x, y = page.at(320, 200)
    page.tab.mouse.move(x, y)
    for _ in range(12):
        page.tab.mouse.wheel(0, -240)
    page.wait("app.view.scale > 16")
    place = page.app(f"app.view.toImage({x}, {y})")
    assert abs(place["x"] - 320) < 0.5 and abs(place["y"] - 200) < 0.5
    page.app("new Promise((done) => app.render.painted(done))")
    # within one pixel of the picture all pixels of the screen are equal: nothing is smoothed
    colours = page.tab.evaluate(
        """() => {
            const { view, render } = window.anymaskApp;
            const a = view.toStage(320, 200);
            const side = Math.floor(view.scale) - 6;
            const context = render.canvases.photo.getContext("2d");
            const { data } = context.getImageData(Math.ceil(a.x) + 3, Math.ceil(a.y) + 3, side, side);
            return new Set(new Uint32Array(data.buffer)).size;
        }"""
    )
    assert colours == 1
    page.tab.keyboard.down("Space")
    page.tab.mouse.down()
    page.tab.mouse.move(x + 90, y)
    page.tab.mouse.up()
    page.tab.keyboard.up("Space")
    assert page.app(f"app.view.toImage({x} + 90, {y}).x") == pytest.approx(320, abs=0.5)
    assert page.masks() == []
    page.press("f")
    assert page.app("app.view.fitted")


def test_a_server_that_dies_and_comes_back_loses_nothing(opened, picture):
    pytest.importorskip("uvicorn")
    own = Server()
    try:
        page = opened(picture, url=own.url, quiet=False)
        page.click(320, 150)
        kept = page.masks()
        own.stop()
        page.tab.mouse.click(*page.at(60, 60))
        page.tab.wait_for_selector(".banner:visible")
        assert page.masks() == kept
        own.start()
        # the picture is sent again and the clicks are asked again, without a word from the person
        page.tab.wait_for_selector(".banner", state="hidden")
        page.settled()
        assert page.app("app.doc.things[0].points.length") == 2
        assert page.app("app.doc.things[0].mask.area") > 0
    finally:
        own.stop()


@pytest.mark.parametrize(
    "status, sentence",
    [(415, "this is not a picture"), (413, "this picture is too large"), (422, "this file is damaged")],
)
def test_refusals_are_shown_as_the_server_says_them(opened, picture, status, sentence):
    page = opened(quiet=False)
    page.tab.route(
        re.compile("/api/images(\\?|$)"),
        lambda route: route.fulfill(status=status, json={"error": sentence, "kind": "x"}),
    )
    with page.tab.expect_file_chooser() as chooser:
        page.tab.locator(".welcome [data-action=open]").click()
    chooser.value.set_files(str(picture))
    page.tab.wait_for_selector(".state[data-state=failed]")
    assert sentence in page.tab.locator(".state").inner_text()


def test_a_busy_server_is_asked_again_after_the_time_it_names(opened, picture):
    page = opened(picture, quiet=False)
    asked: list = []

    def answer(route):
        asked.append(route)
        if len(asked) > 1:
            return route.continue_()
        return route.fulfill(
            status=429, json={"error": "too many clicks at once", "kind": "ServerBusy"}, headers={"Retry-After": "1"}
        )

    page.tab.route("**/decode", answer)
    page.app("app.asking.ask({ label: 'Click', points: [[320.5, 150.5]], labels: [1] })")
    page.tab.wait_for_selector(".toast")
    assert "too many clicks" in page.tab.locator(".toast").inner_text()
    page.settled()
    assert page.masks()[0]["area"] > 0


def test_what_is_no_picture_is_said_to_be_none(opened, tmp_path):
    page = opened(quiet=False)
    text = tmp_path / "notes.txt"
    text.write_text("nothing to see")
    with page.tab.expect_file_chooser() as chooser:
        page.tab.locator(".welcome [data-action=open]").click()
    chooser.value.set_files(str(text))
    page.tab.wait_for_selector(".toast")
    assert "no picture" in page.tab.locator(".toast").inner_text()


def test_a_picture_is_pasted_and_dropped(opened, picture):
    page = opened()
    page.tab.evaluate(
        """async (bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "pasted.jpg", { type: "image/jpeg" }));
            window.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }""",
        list(picture.read_bytes()),
    )
    page.ready()
    page.tab.evaluate(
        """async (bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" }));
            const target = document.querySelector(".stage");
            for (const kind of ["dragenter", "dragover", "drop"]) {
                target.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
            }
        }""",
        list(picture.read_bytes()),
    )
    page.wait("app.pictures.list.length === 2 && app.pictures.current.name === 'dropped.jpg'")
    page.ready()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_control_has_a_name_and_text_stands_out(opened, picture, scheme):
    page = opened(color_scheme=scheme)
    problems = page.tab.evaluate(AUDIT)
    page.open(picture)
    page.click(320, 150)
    problems += page.tab.evaluate(AUDIT)
    for key, sheet in (("?", ".help-sheet"), ("g", ".settings-sheet")):
        page.press(key)
        page.tab.wait_for_selector(f"dialog{sheet}[open]")
        problems += page.tab.evaluate(AUDIT)
        page.press("Escape")
        page.tab.wait_for_selector(f"dialog{sheet}", state="hidden")
    assert sorted(set(problems)) == []


AUDIT = """() => {
    const found = [];
    const seen = (one) => one.offsetParent || one.closest("dialog[open]");
    const ids = new Set();
    for (const one of document.querySelectorAll("[id]")) {
        if (ids.has(one.id)) found.push(`two elements are called ${one.id}`);
        ids.add(one.id);
    }
    for (const one of document.querySelectorAll("button, input, select, a, [tabindex], dialog, nav, aside")) {
        if (!seen(one)) continue;
        const name = one.ariaLabel || one.labels?.[0]?.innerText || one.innerText;
        if (!name?.trim()) found.push(`${one.tagName} ${one.className} has no name`);
    }
    for (const one of document.querySelectorAll("img")) if (!one.hasAttribute("alt")) found.push("img without alt");
    const light = ([r, g, b]) => {
        const part = (value) => ((value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const parts = (text) => {
        const canvas = new OffscreenCanvas(1, 1).getContext("2d");
        canvas.fillStyle = text;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const ground = (one) => {
        for (let at = one; at; at = at.parentElement) {
            const colour = parts(getComputedStyle(at).backgroundColor);
            if (colour[3] > 250) return colour;
        }
        return [255, 255, 255, 255];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const one = walker.currentNode.parentElement;
        const aside = one.closest(":disabled, .spoken, noscript, option, script");
        if (!walker.currentNode.data.trim() || !seen(one) || aside) continue;
        const [a, b] = [light(parts(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < 4.5) found.push(`${walker.currentNode.data.trim()}: contrast ${contrast.toFixed(2)}`);
    }
    return found;
}"""


def test_help_sheet_and_documentation_name_the_same_shortcuts(opened):
    page = opened()
    rows = page.tab.evaluate(
        """async () => {
            const { ACTIONS } = await import("/actions.js");
            return ACTIONS.map(({ group, label, keys }) => [group, label, keys]);
        }"""
    )
    table = "\n".join(f"| {group} | {label} | {' '.join(_key(key) for key in keys)} |" for group, label, keys in rows)
    if DOCS.is_file():
        assert table in DOCS.read_text("utf-8"), f"the table of docs/page.md must be\n{table}"
    page.press("?")
    sheet = page.tab.locator("dialog.help-sheet").inner_text()
    assert all(label in sheet for _, label, _ in rows)
    # every action has a way to do it without a mouse, and no key does two things
    used = [key for _, _, keys in rows for key in keys if not key.startswith("(")]
    assert len(used) == len(set(used)) and all(keys for _, _, keys in rows)


def _key(key: str) -> str:
    return key[1:-1] if key.startswith("(") else f"`{key.replace('Mod', 'Ctrl')}`"


def test_the_first_view_fetches_all_modules_at_once(opened):
    """Each module is named in index.html, so that none waits until another that imports it has come."""
    import anymask

    folder = Path(anymask.__file__).parent / "page"
    named = set(re.findall(r'modulepreload" href="([^"]+)"', (folder / "index.html").read_text("utf-8")))
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.js")} - {"main.js"}
    assert named == there


def test_only_the_tested_hooks_reach_the_window(chromium, server):
    tab = chromium.new_page()
    tab.set_default_timeout(LONG)
    tab.goto(server.url)
    tab.wait_for_selector(".welcome h2")
    assert tab.evaluate("[window.anymaskApp, window.anymaskTimings].every((one) => one === undefined)")
    tab.close()
