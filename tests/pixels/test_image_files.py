"""Files: orientation, colour modes, and every way in which a file can be no picture."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageFile

from anymask import Image
from anymask.errors import AnymaskError, BadImage


def encoded(picture, kind="PNG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def marked():
    """20 x 10 px, white, the upper left quarter red."""
    pixels = np.full((10, 20, 3), 255, np.uint8)
    pixels[:5, :10] = [255, 0, 0]
    return pixels


# orientation tag -> where the upper left of the stored picture belongs: (turned by 90 degrees, row, column)
PLACES = {1: (False, 0, 0), 2: (False, 0, -1), 3: (False, -1, -1), 4: (False, -1, 0)}
PLACES |= {5: (True, 0, 0), 6: (True, 0, -1), 7: (True, -1, -1), 8: (True, -1, 0)}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("tag", PLACES)
def test_exif_orientation_is_honoured(kind, tag):
    exif = Pillow.Exif()
    exif[0x0112] = tag
    data = encoded(Pillow.fromarray(marked()), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    pixels = Image.open(data).pixels()
    turned, row, column = PLACES[tag]
    assert pixels.shape == ((20, 10, 3) if turned else (10, 20, 3))
    red = pixels[:, :, 1] < 128
    assert red[row, column] and not red[-1 - row, -1 - column] and not red[row, -1 - column]
    assert abs(int(red.sum()) - 50) < 10
    # a lazily opened PIL image is the same picture
    np.testing.assert_array_equal(Image.open(Pillow.open(io.BytesIO(data))).pixels(), pixels)


def test_a_pil_image_of_the_caller_is_not_turned_in_place():
    exif = Pillow.Exif()
    exif[0x0112] = 6
    picture = Pillow.open(io.BytesIO(encoded(Pillow.fromarray(marked()), exif=exif)))
    assert Image.open(picture).size == (20, 10)
    assert picture.size == (20, 10)
    assert Image.open(picture).size == (20, 10)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_cost_the_picture():
    data = encoded(Pillow.fromarray(marked()), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff\xff\xff" * 3)
    assert Image.open(data).size == (10, 20)


def test_transparency_is_laid_on_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = [255, 0, 128]
    expected = [0, 255, 127]
    picture = Pillow.fromarray(rgba)
    for one in (picture, picture.convert("LA"), picture.convert("RGBa")):
        assert Image.open(one).pixels()[0, :, 0].tolist() == expected
    assert Image.open(encoded(picture)).pixels()[0, :, 0].tolist() == expected


def test_a_palette_with_a_transparent_colour_is_laid_on_white():
    picture = Pillow.fromarray(np.array([[0, 1, 2]], np.uint8), "P") if False else Pillow.new("P", (3, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.putdata([0, 1, 2])
    data = encoded(picture, transparency=1)
    assert Image.open(data).pixels()[0].tolist() == [[10, 20, 30], [255, 255, 255], [70, 80, 90]]
    plain = encoded(picture)
    assert Image.open(plain).pixels()[0].tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]


def test_a_colour_key_is_laid_on_white():
    picture = Pillow.fromarray(np.array([[[1, 2, 3], [9, 9, 9]]], np.uint8))
    assert Image.open(encoded(picture, transparency=(1, 2, 3))).pixels()[0].tolist() == [[255, 255, 255], [9, 9, 9]]


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "YCbCr", "HSV", "CMYK", "I", "F", "I;16", "LA", "PA", "RGBA", "RGBX"]
)
def test_every_mode_of_pillow_is_read(mode):
    grey = Pillow.fromarray(np.tile(np.arange(0, 256, 5, dtype=np.uint8), (8, 1)))
    if mode == "I;16":
        picture = Pillow.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode == "PA":
        picture = grey.convert("LA").convert("PA")
    else:
        picture = grey.convert("RGB").convert(mode) if mode in ("HSV", "CMYK", "YCbCr") else grey.convert(mode)
    pixels = Image.open(picture).pixels()
    assert pixels.shape == (8, 52, 3) and pixels.dtype == np.uint8
    assert pixels[0, 0].max() < 10 and pixels[0, -1].min() > 245


def test_a_cmyk_jpeg_has_its_colours():
    red = Pillow.new("RGB", (32, 32), (255, 0, 0)).convert("CMYK")
    assert np.abs(Image.open(encoded(red, "JPEG", quality=95)).pixels()[16, 16].astype(int) - [255, 0, 0]).max() < 12


def test_lab_is_refused_with_what_to_do():
    with pytest.raises(BadImage, match="convert it to RGB"):
        Image.open(Pillow.new("LAB", (4, 4)))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_files_are_stretched(kind):
    frame = np.array([[100, 1100, 2100, 4100]], np.uint16)
    assert Image.open(encoded(Pillow.fromarray(frame), kind)).pixels()[0, :, 0].tolist() == [0, 64, 128, 255]


def test_the_first_frame_of_an_animation_counts():
    frames = [Pillow.new("RGB", (6, 4), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert Image.open(data).pixels()[0, 0].tolist() == [255, 0, 0]


def bomb(width, height):
    """A PNG of a few bytes that claims width x height pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_decompression_bomb_is_refused_before_it_unpacks():
    with pytest.raises(BadImage, match=r"60,000 x 60,000 pixels.*max_pixels"):
        Image.open(bomb(60_000, 60_000))


def test_the_limit_can_be_raised_for_one_call_without_touching_pillow():
    before = Pillow.MAX_IMAGE_PIXELS
    data = encoded(Pillow.new("1", (20_000, 10_000)))  # 200 megapixels: Pillow itself refuses them
    with pytest.raises(BadImage, match="limit"):
        Image.open(data)
    # the limit holds for what is opened, so a smaller one refuses what a larger one takes
    small = encoded(Pillow.new("1", (200, 100)))
    assert Image.open(small, max_pixels=20_000).size == (100, 200)
    with pytest.raises(BadImage, match="limit of 19,999"):
        Image.open(small, max_pixels=19_999)
    assert before == Pillow.MAX_IMAGE_PIXELS and not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"hello\n", "a text file"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "PostScript"),
        (b"PK\x03\x04" + b"\0" * 30, "a ZIP"),
        (b"\x93NUMPY\x01\x00" + b"\0" * 30, "NumPy"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 30, "HEIC"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 30, "a video"),
        (b"\0" * 128 + b"DICM" + b"\0" * 30, "DICOM"),
        (bytes(range(128, 250)), "not a picture in a format"),
        (b"\x89PNG\r\n\x1a\n", "(?s)damaged|not a picture"),
        (b"GIF89a\x00\x00\x00\x00\x00\x00\x00", "."),
    ],
)
def test_bytes_that_are_no_picture_are_called_what_they_are(data, sentence):
    with pytest.raises(BadImage, match=sentence):
        Image.open(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000", "PPM", "TGA"])
def test_a_file_cut_off_anywhere_is_refused_when_it_is_opened(kind):
    whole = encoded(Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)), kind)
    assert Image.open(whole).size == (40, 50)
    for keep in (1, 10, 30, len(whole) // 3, len(whole) // 2):
        with pytest.raises(BadImage):
            Image.open(whole[:keep])


@settings(max_examples=300)
@given(st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "ICO", "TGA", "PCX"]), st.data())
def test_damaged_files_open_or_are_refused_with_a_sentence(kind, data):
    picture = Pillow.fromarray(np.arange(16 * 12 * 3, dtype=np.uint16).astype(np.uint8).reshape(16, 12, 3))
    damaged = bytearray(encoded(picture, kind))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        assert Image.open(bytes(damaged), max_pixels=10**6).pixels().dtype == np.uint8
    except BadImage as error:
        assert len(str(error)) > 20 and "\n" not in str(error)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused_with_a_sentence(data):
    try:
        Image.open(data, max_pixels=10**6)
    except AnymaskError as error:
        assert "\n" not in str(error)


def test_folders_missing_files_and_pipes_are_named(tmp_path):
    with pytest.raises(BadImage, match="is a folder"):
        Image.open(tmp_path)
    with pytest.raises(BadImage, match=r"there is no file .*nowhere\.png"):
        Image.open(tmp_path / "nowhere.png")
    with pytest.raises(BadImage, match="path of the image is empty"):
        Image.open("")
    with pytest.raises(BadImage, match="cannot be opened"):
        Image.open("a\0b.png")
    with pytest.raises(BadImage, match="cannot be opened"):
        Image.open("x" * 5000)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadImage, match="not a regular file"):
        Image.open(tmp_path / "pipe")
    if os.geteuid() != 0:
        (tmp_path / "secret.png").write_bytes(encoded(Pillow.new("L", (3, 3))))
        (tmp_path / "secret.png").chmod(0)
        with pytest.raises(BadImage, match="may not be read"):
            Image.open(tmp_path / "secret.png")


def test_what_a_decoder_or_a_file_object_raises_stays_inside(tmp_path):
    class Broken:
        def read(self, *size):
            raise RuntimeError("the network is gone")

    with pytest.raises(BadImage, match="the network is gone"):
        Image.open(Broken())
    closed = Pillow.open(io.BytesIO(encoded(Pillow.new("L", (3, 3)))))
    closed.close()
    with pytest.raises(BadImage, match="PIL image"):
        Image.open(closed)


def test_many_threads_open_pictures_at_once(photo):
    data, wrong = encoded(Pillow.fromarray(photo), "JPEG"), []
    expected = Image.open(data).digest

    def work():
        for _ in range(10):
            if Image.open(data).digest != expected:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_names_in_any_script_and_with_bytes_that_are_no_text(tmp_path):
    for name in ("фото.png", "写真 1.png", os.fsdecode(b"caf\xe9.png")):
        (tmp_path / name).write_bytes(encoded(Pillow.new("L", (3, 2))))
        assert Image.open(tmp_path / name).size == (2, 3)
