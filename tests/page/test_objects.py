"""Several objects, everything to pick from, and files that hold what was shown."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def page(opened, picture):
    return opened(picture)


def two_objects(page):
    page.click(320, 150)
    page.press("n")
    page.press("b")
    page.drag((20, 300), (200, 420))
    page.press("p")
    return page.masks()


def test_objects_are_named_coloured_hidden_ordered_and_deleted(page):
    two_objects(page)
    page.press("F2")
    page.tab.keyboard.type("Meadow")
    page.press("Enter")
    assert [one["name"] for one in page.masks()] == ["Object 1", "Meadow"]
    before = page.app("app.doc.things[1].colour")
    page.press("y")
    assert page.app("app.doc.things[1].colour") != before
    page.press("Shift+J")
    assert [one["name"] for one in page.masks()] == ["Meadow", "Object 1"]
    page.press("v")
    assert page.masks()[0]["hidden"]
    page.tab.get_by_label("Show Meadow").click()
    assert not page.masks()[0]["hidden"]
    page.press("Delete")
    assert [one["name"] for one in page.masks()] == ["Object 1"]
    for _ in range(6):
        page.press("Control+z")
    assert [one["name"] for one in page.masks()] == ["Object 1", "Object 2"]


def test_everything_offers_all_masks_and_a_click_takes_one(page):
    page.tab.route("**/everything", lambda route: route.continue_(post_data=json.dumps({"points_per_side": 8})))
    page.press("a")
    page.wait("app.pictures.current.everything?.state === 'done'")
    count = page.app("app.pictures.current.everything.masks.length")
    assert count > 0 and f"{count} masks" in page.tab.locator(".options").inner_text()
    x, y = page.tab.evaluate(
        """async () => {
            const { bitsOf } = await import("/rle.js");
            const masks = window.anymaskApp.pictures.current.everything.masks.map((one) => one.mask);
            const mask = masks.reduce((a, b) => (a.area < b.area ? a : b));
            const { x, y, w, data } = bitsOf(mask);
            const at = data.indexOf(1);
            return [x + (at % w) + 0.5, y + Math.floor(at / w) + 0.5];
        }"""
    )
    page.click(x, y)
    [taken] = page.masks()
    assert taken["area"] == min(page.app("app.pictures.current.everything.masks.map((one) => one.mask.area)"))
    page.click(x, y)
    assert page.masks() == []
    # a taken mask is an object like any other: it can be clicked on
    page.press("Control+z")
    page.press("p")
    page.click(x, y)
    assert page.app("app.doc.things[0].asks.length") == 1


def test_everything_can_be_stopped(page):
    page.tab.route("**/events", lambda route: None)  # the job never ends
    page.press("a")
    page.tab.get_by_text("Stop", exact=True).click()
    page.wait("app.pictures.current.everything === null && app.tool.name === 'point'")


def test_coco_file_holds_what_the_page_shows_pixel_for_pixel(page, tmp_path):
    shown = two_objects(page)
    with page.tab.expect_download() as saved:
        page.press("Control+s")
    path = tmp_path / "out.json"
    saved.value.save_as(path)
    assert saved.value.suggested_filename.endswith(".json")
    from anymask.records import coco

    [record] = coco.read(path)
    assert list(record.masks.labels) == ["Object 1", "Object 2"]
    for rle, one in zip(record.masks.rle, shown, strict=True):
        assert list(rle["size"]) == [427, 640]
        assert rle["counts"] == one["rle"]["counts"].encode()
    assert json.loads(path.read_text())["images"][0]["file_name"] == "rocket.jpg"


def test_hidden_objects_are_not_exported_and_pictures_match_the_mask(page):
    from pycocotools import mask as coco

    shown = two_objects(page)
    page.tab.get_by_label("Hide Object 2").click()
    page.tab.get_by_role("button", name="Export").click()
    with page.tab.expect_download() as saved:
        page.tab.get_by_role("menuitem", name="Cut-out as PNG").click()
    content = saved.value.path().read_bytes()
    assert saved.value.suggested_filename.endswith(".png")
    alpha = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))[..., 3] > 0
    rle = shown[0]["rle"]
    assert alpha.sum() == coco.area({"size": rle["size"], "counts": rle["counts"].encode()})


def test_svg_and_mask_downloads_are_of_their_kind(page):
    two_objects(page)
    with page.tab.expect_download() as svg:
        page.press("Shift+S")
    assert b"<svg" in svg.value.path().read_bytes()
    with page.tab.expect_download() as png:
        page.press("Shift+P")
    assert png.value.path().read_bytes()[:2] in (b"\x89P", b"PK")


def test_cutout_goes_to_the_clipboard_in_the_size_of_its_box(opened, picture):
    page = opened(picture, permissions=["clipboard-read", "clipboard-write"])
    page.click(320, 150)
    page.press("Control+c")
    page.wait("document.querySelector('.spoken').textContent === 'Cut-out copied.'")
    size = page.tab.evaluate(
        """async () => {
            const [item] = await navigator.clipboard.read();
            const bitmap = await createImageBitmap(await item.getType("image/png"));
            return [bitmap.width, bitmap.height];
        }"""
    )
    assert size == page.app("app.doc.things[0].mask.box.slice(2)")


def test_a_strip_of_pictures_keeps_the_work_on_each(opened, picture):
    folder = picture.parent
    page = opened(picture, folder / "coffee.png")
    assert page.tab.locator(".strip li").count() == 2
    page.click(300, 200)
    first = page.masks()
    page.press("PageDown")
    page.ready()
    assert page.masks() == []
    page.press("PageUp")
    page.ready()
    assert page.masks() == first


@pytest.fixture
def holiday(picture, tmp_path):
    """A folder with two pictures, one of them deeper, and a file that is none."""
    folder = tmp_path / "holiday"
    (folder / "beach").mkdir(parents=True)
    shutil.copy(picture, folder / "a.jpg")
    shutil.copy(picture.parent / "coffee.png", folder / "beach" / "b.png")
    (folder / "notes.txt").write_text("sun")
    return folder


@pytest.mark.parametrize("way", ["chosen", "dropped"])
def test_a_folder_becomes_a_film_strip(opened, holiday, way):
    page = opened(quiet=False)
    if way == "chosen":
        with page.tab.expect_file_chooser() as chooser:
            page.tab.locator(".welcome [data-action=folder]").click()
        chooser.value.set_files(str(holiday))
    else:
        box = page.tab.locator(".stage").bounding_box()
        session = page.tab.context.new_cdp_session(page.tab)
        data = {"items": [], "files": [str(holiday)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            session.send("Input.dispatchDragEvent", {"type": kind, "x": box["width"] / 2, "y": 300, "data": data})
    page.wait("app.pictures.list.length === 2")
    assert sorted(page.app("app.pictures.list.map((one) => one.name)")) == ["a.jpg", "b.png"]
    page.ready()
    assert page.tab.locator(".strip li").count() == 2


@pytest.fixture
def clip(tmp_path):
    """Six frames of a square that goes to the right, and its masks as `anymask video --format coco` writes them."""
    from anymask import Masks
    from anymask.records import coco_video
    from anymask.records.clip import ClipRecord, ClipRef

    frames, files = {}, []
    for number in range(6):
        dense = np.zeros((1, 90, 160), bool)
        dense[0, 30:60, 10 + 20 * number : 40 + 20 * number] = True
        files.append(f"{number:05}.jpg")
        Image.fromarray(np.where(dense[0, ..., None], (230, 200, 60), (40, 60, 80)).astype(np.uint8)).save(
            tmp_path / files[-1]
        )
        frames[number] = Masks.from_dense(dense, ids=[7])
    record = ClipRecord(ClipRef("square", (90, 160), 6, 12.0, tuple(files)), frames, {7: "square"})
    return [tmp_path / file for file in files], coco_video.write(record, tmp_path / "masks.json")


def test_a_clip_plays_with_its_masks(opened, clip):
    frames, masks = clip
    page = opened(*frames)
    with page.tab.expect_file_chooser() as chooser:
        page.press("o")
    chooser.value.set_files(str(masks))
    page.wait("app.pictures.list.every((one) => one.history.doc.things.length === 1)")
    assert page.masks()[0]["name"] == "square" and page.masks()[0]["area"] == 900
    page.tab.evaluate("""() => { window.shown = [];
        window.anymaskApp.events.on("picture", () => { const { current } = window.anymaskApp.pictures;
            window.shown.push([current.name, current.history.doc.things[0].mask.box[0]]); }); }""")
    page.tab.locator("[data-action=play]").click()
    page.wait("window.shown.length >= 8")
    page.press("d")
    page.wait("!app.player.playing")
    page.ready()
    shown = page.tab.evaluate("window.shown")
    order = [(f"{number % 6:05}.jpg", 10 + 20 * (number % 6)) for number in range(1, len(shown) + 1)]
    assert [tuple(one) for one in shown] == order
    # pixels are kept of few frames only, and the one it stopped at can be clicked
    assert page.app("app.pictures.list.filter((one) => one.bitmap).length") <= 3
    page.press("n")
    page.click(80, 80)
    assert len(page.masks()) == 2


def test_masks_of_another_picture_are_refused_in_a_sentence(opened, clip, picture, tmp_path):
    masks = clip[1]
    (tmp_path / "other").mkdir()
    shutil.copy(picture, tmp_path / "other" / "00000.jpg")
    page = opened(tmp_path / "other" / "00000.jpg")
    with page.tab.expect_file_chooser() as chooser:
        page.press("o")
    chooser.value.set_files(str(masks))
    page.wait("document.querySelector('.toast')?.textContent.includes('160 x 90')")
    assert page.masks() == []
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with page.tab.expect_file_chooser() as chooser:
        page.press("o")
    chooser.value.set_files(str(broken))
    page.wait("[...document.querySelectorAll('.toast')].some((one) => one.textContent.includes('is not JSON'))")


def test_runs_and_tidying_agree_with_pycocotools_on_any_mask(opened):
    """The page's own run lengths against the official library, over random masks."""
    from pycocotools import mask as coco

    page = opened()
    rng = np.random.default_rng(3)
    for trial in range(12):
        height, width = int(rng.integers(1, 40)), int(rng.integers(1, 40))
        dense = rng.random((height, width)) < rng.random()
        if trial % 3 == 0:
            dense[:] = trial % 2
        rle = coco.encode(np.asfortranarray(dense.astype(np.uint8)))
        given = {"size": [height, width], "counts": rle["counts"].decode()}
        back, box, area, through, minus = page.tab.evaluate(
            """async (given) => {
                const { fromCoco, toCoco, bitsOf, fromBits, combine } = await import("/rle.js");
                const mask = fromCoco(given);
                const again = fromBits(mask.size, bitsOf(mask));
                const all = fromBits(mask.size, { x: 0, y: 0, w: given.size[1], h: given.size[0],
                    data: new Uint8Array(given.size[0] * given.size[1]).fill(1) });
                return [toCoco(mask).counts, mask.box, mask.area, toCoco(again).counts,
                    toCoco(combine(all, mask, "minus")).counts];
            }""",
            given,
        )
        assert back == through == given["counts"]
        assert area == dense.sum() and box == [int(value) for value in coco.toBbox(rle)]
        other = coco.encode(np.asfortranarray((~dense).astype(np.uint8)))
        assert minus == other["counts"].decode()


def test_tidying_removes_specks_and_fills_pinholes_but_spares_what_was_clicked(opened):
    from pycocotools import mask as coco

    page = opened()
    dense = np.zeros((60, 60), bool)
    dense[10:50, 10:50] = True
    dense[30, 30] = dense[20, 20] = False
    dense[2, 2] = dense[55, 55] = True
    rle = coco.encode(np.asfortranarray(dense.astype(np.uint8)))
    counts = page.tab.evaluate(
        """async (given) => {
            const { fromCoco, toCoco } = await import("/rle.js");
            const { tidy } = await import("/tidy.js");
            return toCoco(tidy(fromCoco(given), [[2.5, 2.5], [20.5, 20.5]], [1, 0])).counts;
        }""",
        {"size": [60, 60], "counts": rle["counts"].decode()},
    )
    expected = dense.copy()
    expected[30, 30] = True
    expected[55, 55] = False
    assert np.array_equal(coco.decode({"size": [60, 60], "counts": counts.encode()}).astype(bool), expected)


def test_logits_become_the_mask_that_torch_would_make_of_them(opened):
    """The browser's way to a photo-sized mask against bilinear interpolation of the whole photo."""
    import torch
    from pycocotools import mask as coco

    page = opened()
    rng = np.random.default_rng(5)
    for original, resized in (((61, 90), (44, 64)), ((130, 40), (64, 20)), ((20, 30), (43, 64))):
        logits = torch.nn.functional.avg_pool2d(
            torch.from_numpy(rng.normal(size=(1, 1, 18, 18)).astype(np.float32)), 3, stride=1
        )
        counts = page.tab.evaluate(
            """async ({ logits, original, resized }) => {
                const { upscaled } = await import("/engine/upscale.js");
                const { toCoco } = await import("/rle.js");
                const frame = { original, resized, padded: [64, 64] };
                return toCoco(upscaled(Float32Array.from(logits), 16, 16, frame)).counts;
            }""",
            {"logits": logits.flatten().tolist(), "original": original, "resized": resized},
        )
        height, width = original
        mask = coco.decode({"size": [height, width], "counts": counts.encode()}).astype(bool)
        ys = torch.clamp((torch.arange(height) + 0.5) * resized[0] / height * 16 / 64 - 0.5, min=0)
        xs = torch.clamp((torch.arange(width) + 0.5) * resized[1] / width * 16 / 64 - 0.5, min=0)
        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], -1)[None] / 15 * 2 - 1
        whole = torch.nn.functional.grid_sample(logits, grid, align_corners=True, padding_mode="border")[0, 0]
        unsure = whole.abs() < 1e-5
        assert np.array_equal(mask[~unsure.numpy()], (whole > 0).numpy()[~unsure.numpy()])
