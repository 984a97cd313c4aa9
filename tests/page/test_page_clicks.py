"""Pointing, clicking and drawing with the mouse, as a person does it."""

from __future__ import annotations

import pytest


@pytest.fixture
def page(opened, picture):
    return opened(picture)


def test_pointing_lights_a_thing_up_and_leaving_lets_it_fade(page):
    page.tab.mouse.move(*page.at(320, 150))
    page.wait("app.asking.hovered?.mask.area > 0")
    page.tab.mouse.move(5, 300)
    page.wait("app.asking.hovered === null")


def test_pointing_asks_only_for_the_newest_place(page):
    for step in range(60):
        page.tab.mouse.move(*page.at(200 + 4 * step, 200))
    page.wait("app.asking.hovered && Math.abs(app.asking.hovered.x - 436.5) < 2")
    # of sixty places passed quickly, those that were overtaken were never asked
    assert page.app("app.asking.hoversAsked") < 60


def test_a_click_where_the_pointer_rests_shows_its_mask_before_the_answer_is_there(page):
    page.tab.mouse.move(*page.at(320, 150))
    page.wait("app.asking.hovered && Math.abs(app.asking.hovered.x - 320) < 1.5 && app.asking.hovered.mask.area > 0")
    page.tab.evaluate("""() => { const app = window.anymaskApp;
        const answer = app.engine.decode.bind(app.engine);
        window.held = new Promise((go) => { window.go = go; });
        app.engine.decode = (...given) => window.held.then(() => answer(...given)); }""")
    seen = page.app("app.asking.hovered.mask.area")
    page.tab.mouse.down()
    page.tab.mouse.up()
    page.wait("window.anymaskTimings.length === 1")
    # painted already, though nothing has been answered: the colour lies over the place
    colour = "[...document.querySelectorAll('canvas.layer')][1].getContext('2d').getImageData(%d, %d, 1, 1).data[3]"
    left, top = page.app("(({ left, top }) => [left, top])(document.querySelector('.stage').getBoundingClientRect())")
    x, y = page.at(320, 150)
    assert page.app("app.doc.things.length") == 0
    assert page.app(colour % (x - left + 12, y - top + 12)) > 0
    page.tab.evaluate("() => window.go()")
    page.settled()
    assert page.masks()[0]["area"] == seen and page.app("window.anymaskTimings.length") == 1


def test_clicks_add_take_away_and_every_step_comes_back(page):
    page.click(320, 150)
    first = page.masks()
    assert len(first) == 1 and first[0]["area"] > 0
    assert page.app("app.doc.things[0].candidates.length") > 1
    page.click(320, 350, button="right")
    assert page.app("app.doc.things[0].labels") == [1, 0]
    page.tab.keyboard.down("Alt")
    page.click(300, 380)
    page.tab.keyboard.up("Alt")
    assert page.app("app.doc.things[0].labels") == [1, 0, 0]
    page.press("Control+z")
    page.press("Control+z")
    assert page.masks() == first
    page.press("Control+z")
    assert page.masks() == []
    for _ in range(3):
        page.press("Control+Shift+Z")
    assert page.app("app.doc.things[0].labels") == [1, 0, 0]


def test_a_click_away_before_any_other_is_explained(page):
    page.tab.mouse.click(*page.at(320, 150), button="right")
    assert "click inside something first" in page.said
    assert page.masks() == []


def test_whole_part_and_subpart_come_with_one_key(page):
    page.click(320, 150)
    areas = page.app("app.doc.things[0].candidates.map((one) => one.mask.area)")
    assert len(areas) > 1
    page.wait(f"document.querySelectorAll('.candidate').length === {len(areas)}")
    page.press("c")
    assert page.masks()[0]["area"] == areas[1]
    page.tab.locator(".candidate").first.click()
    assert page.masks()[0]["area"] == areas[0]
    page.press("Control+z")
    assert page.masks()[0]["area"] == areas[1]


def test_a_box_is_dragged_with_its_tool_or_with_the_click_tool(page):
    page.press("b")
    page.drag((285, 118), (345, 396))
    assert page.app("app.doc.things[0].box") == [285, 118, 345, 396]
    by_tool = page.masks()[0]["rle"]
    page.press("Control+z")
    page.press("p")
    page.drag((285, 118), (345, 396))
    assert page.app("app.doc.things[0].box") == [285, 118, 345, 396]
    assert page.masks()[0]["rle"] == by_tool
    # the click that a drag begins with leaves no trace
    assert page.app("app.doc.things[0].points") == []


def test_brush_and_eraser_cover_exactly_what_they_touch(page):
    page.app("app.set({ brush: 20 })")
    page.press("r")
    page.drag((100, 100), (160, 100))
    painted = page.masks()[0]
    # a bar of 60 x 20 with round ends
    assert abs(painted["area"] - (60 * 20 + 314)) < 90
    page.press("e")
    page.drag((130, 60), (130, 140))
    assert page.app("app.doc.things[0].mask.box") == page.app("app.doc.things[0].painted.box")
    assert page.masks()[0]["area"] < painted["area"] - 300
    page.press("Control+z")
    assert page.masks()[0] == painted


def test_what_was_painted_stays_through_later_clicks(page):
    page.click(320, 150)
    page.app("app.set({ brush: 16 })")
    page.press("r")
    page.drag((60, 60), (100, 60))
    page.press("p")
    page.click(320, 250)
    # no pixel of the stroke is missing from the mask after the click
    page.wait("app.doc.things[0].points.length === 2")
    assert (
        page.tab.evaluate(
            """async () => {
            const { combine } = await import("/rle.js");
            const [thing] = window.anymaskApp.doc.things;
            return combine(thing.painted, thing.mask, "minus").area;
        }"""
        )
        == 0
    )


def test_scribble_asks_with_points_along_the_line(page):
    page.press("s")
    page.drag((318, 140), (318, 220), (322, 330))
    thing = page.app("app.doc.things[0]")
    assert 3 <= len(thing["points"]) <= 12 and set(thing["labels"]) == {1}
    assert all(140 <= y <= 331 for _, y in thing["points"])


def test_a_lasso_snaps_or_is_taken_exactly(page):
    loop = [(200, 100), (300, 100), (300, 200), (200, 200)]
    page.press("q")
    page.press("l")
    page.drag(*loop)
    assert page.masks()[0]["area"] == pytest.approx(100 * 100, rel=0.05)
    page.press("n")
    page.press("q")
    page.drag((270, 100), (360, 100), (360, 400), (270, 400))
    asked = page.app("app.doc.things[1].asks[0]")
    assert asked["mask"] is not None and asked["box"] is not None
    assert page.masks()[1]["area"] > 0


def test_clicks_during_the_encoding_are_kept_and_answered(opened, picture, server):
    page = opened()
    held: list = []
    page.tab.route("**/encode", lambda route: held.append(route))
    with page.tab.expect_file_chooser() as chooser:
        page.tab.locator(".welcome [data-action=open]").click()
    chooser.value.set_files(str(picture))
    page.wait("app.pictures.current?.state === 'encoding'")
    page.tab.mouse.click(*page.at(320, 150))
    page.wait("app.asking.waiting.length === 1")
    assert "Kept" in page.said
    page.wait("true")
    for route in held:
        route.continue_()
    page.ready()
    page.settled()
    assert page.masks()[0]["area"] > 0
