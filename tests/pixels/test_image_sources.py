"""Every form that people hold a picture in becomes the same RGB pixels."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow

from anymask import Image
from anymask.errors import BadImage, BadSetting


def encoded(picture, kind="PNG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture
def path(tmp_path, photo):
    Pillow.fromarray(photo).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_path_text_bytes_file_pil_numpy_and_torch_give_the_same_picture(path, photo):
    sources = [
        path,
        str(path),
        path.read_bytes(),
        bytearray(path.read_bytes()),
        io.BytesIO(path.read_bytes()),
        Pillow.open(path),
        photo,
        torch.from_numpy(photo).permute(2, 0, 1),
        photo.astype(np.float32) / 255,
        torch.from_numpy(photo).permute(2, 0, 1).float() / 255,
        photo.astype(np.int64),
        photo.astype(np.float64),
        photo[:, :, ::-1].copy()[:, :, ::-1],
        np.concatenate([photo, np.zeros((90, 140, 1), np.uint8)], 2),
    ]
    digests = set()
    for source in sources:
        image = Image.open(source)
        assert image.size == (90, 140)
        np.testing.assert_array_equal(image.pixels(), photo)
        digests.add(image.digest)
    assert len(digests) == 1 and len(digests.pop()) == 64


def test_a_path_is_remembered_and_memory_has_none(path, photo):
    assert Image.open(path).source == str(path)
    assert Image.open(photo).source is None


def test_an_image_is_given_back_as_it_is(photo):
    image = Image.open(photo)
    assert Image.open(image) is image


def test_the_picture_does_not_change_with_the_array_it_came_from(photo):
    image = Image.open(photo)
    before = image.digest
    expected = photo.copy()
    photo[:] = 0
    np.testing.assert_array_equal(image.pixels(), expected)
    assert Image.open(expected).digest == before
    with pytest.raises(ValueError):
        image.pixels()[0, 0] = 1


def test_size_is_part_of_the_digest():
    flat = np.arange(24, dtype=np.uint8)
    assert Image.open(flat.reshape(2, 4, 3)).digest != Image.open(flat.reshape(4, 2, 3)).digest


def test_images_can_be_sent_to_another_process(photo):
    image = Image.open(photo)
    assert pickle.loads(pickle.dumps(image)).digest == image.digest


def test_bgr_concerns_arrays_and_not_files(path, photo):
    np.testing.assert_array_equal(Image.open(photo[:, :, ::-1], image_format="BGR").pixels(), photo)
    tensor = torch.from_numpy(photo[:, :, ::-1].copy()).permute(2, 0, 1)
    np.testing.assert_array_equal(Image.open(tensor, image_format="BGR").pixels(), photo)
    np.testing.assert_array_equal(Image.open(path, image_format="BGR").pixels(), photo)
    with pytest.raises(BadSetting, match="RGB"):
        Image.open(photo, image_format="rgb")


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2)])
def test_grey_arrays_become_three_equal_channels(shape):
    grey = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    pixels = Image.open(grey).pixels()
    expected = grey if grey.ndim == 2 else grey[:, :, 0]
    for channel in range(3):
        np.testing.assert_array_equal(pixels[:, :, channel], expected)


def test_boolean_arrays_become_black_and_white():
    assert Image.open(np.array([[True, False]])).pixels()[0, :, 0].tolist() == [255, 0]


def test_sixteen_bits_are_stretched_from_the_lowest_to_the_highest_value():
    # a 12-bit microscope in a 16-bit file
    frame = np.array([[100, 1100, 2100, 4100]], np.uint16)
    expected = [0, 64, 128, 255]  # 255 * (x - 100) / 4000, rounded
    assert Image.open(frame).pixels()[0, :, 0].tolist() == expected
    assert Image.open(frame.astype(">u2")).pixels()[0, :, 0].tolist() == expected
    assert Image.open((frame.astype(np.int32) - 2000).astype(np.int16)).pixels()[0, :, 0].tolist() == expected


def test_channels_of_sixteen_bits_keep_their_relation():
    frame = np.zeros((1, 2, 3), np.uint16)
    frame[0, 1] = [65535, 32768, 0]
    assert Image.open(frame).pixels()[0, 1].tolist() == [255, 128, 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([-0.03, 0.5, 1.04], [0, 128, 255]),  # bicubic resizing overshoots
        ([0.0, 17.0, 255.0], [0, 17, 255]),  # an 8-bit picture that was cast
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 500.5, 1001.0], [0, 128, 255]),
        ([3.5, 3.5, 3.5], [0, 0, 0]),
        ([-1e308, 0.0, 0.0], [0, 255, 255]),
        ([0.0, 1e-320, 2e-320], [0, 0, 0]),
    ],
)
def test_floats_are_read_by_their_range(values, expected):
    assert Image.open(np.array([values])).pixels()[0, :, 0].tolist() == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad):
    with pytest.raises(BadImage, match="NaN or infinity"):
        Image.open(np.array([[0.5, bad]], np.float32))


def test_tensors_on_strange_terms_are_read_or_refused_with_a_sentence(photo):
    tensor = torch.from_numpy(photo).permute(2, 0, 1).float() / 255
    np.testing.assert_array_equal(Image.open(tensor.clone().requires_grad_()).pixels(), photo)
    assert Image.open(tensor.to(torch.bfloat16)).size == (90, 140)
    assert Image.open(tensor[0]).size == (90, 140)
    assert Image.open(tensor[:1]).size == (90, 140)
    with pytest.raises(BadImage, match="cannot be read as an image"):
        Image.open(torch.empty(3, 5, 5, device="meta"))
    with pytest.raises(BadImage, match="one image at a time"):
        Image.open(tensor[None])
    with pytest.raises(BadImage, match="permute"):
        Image.open(tensor.permute(1, 2, 0))


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.zeros((3, 50, 60), np.uint8), "transpose"),
        (np.zeros((1, 50, 60, 3), np.uint8), "one image at a time"),
        (np.zeros((0, 5, 3), np.uint8), "at least one pixel"),
        (np.zeros((5,), np.uint8), "must be"),
        (np.zeros((), np.uint8), "must be"),
        (np.zeros((5, 5, 7), np.uint8), "1 to 4 channels"),
        (np.zeros((5, 5), complex), "real numbers"),
        (np.zeros((5, 5), object), "real numbers"),
        (np.zeros((5, 5), "U3"), "real numbers"),
        (np.zeros((5, 5), "M8[s]"), "real numbers"),
    ],
)
def test_arrays_that_are_no_picture_say_what_one_is(array, hint):
    with pytest.raises(BadImage, match=hint):
        Image.open(array)


@pytest.mark.parametrize("source", [None, 3, 2.5, [[1, 2]], {"a": 1}, object()])
def test_anything_else_lists_what_is_taken(source):
    with pytest.raises(BadImage, match="a path, bytes, a PIL image"):
        Image.open(source)


@pytest.mark.parametrize(
    "address", ["https://example.org/a.jpg", "HTTP://x/y.png", "s3://b/k", "data:image/png;base64,AA"]
)
def test_addresses_are_not_fetched(address):
    with pytest.raises(BadImage, match="reads files, not addresses"):
        Image.open(address)


def test_home_folder_is_understood(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    assert Image.open("~/photo.png").size == (90, 140)


def test_an_array_larger_than_the_limit_is_refused_without_touching_it():
    endless = np.broadcast_to(np.uint8(0), (10**6, 10**6, 3))
    with pytest.raises(BadImage, match="limit"):
        Image.open(endless)
    with pytest.raises(BadImage, match="limit"):
        Image.open(torch.zeros(1).expand(3, 10**6, 10**6))
    with pytest.raises(BadImage, match="limit of 99"):
        Image.open(np.zeros((10, 10), np.uint8), max_pixels=99)
    assert Image.open(np.zeros((10, 10), np.uint8), max_pixels=100).size == (10, 10)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "9", True])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(BadSetting, match="max_pixels"):
        Image.open(np.zeros((2, 2), np.uint8), max_pixels=limit)


def test_the_limit_can_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ANYMASK_MAX_PIXELS", "50")
    with pytest.raises(BadImage, match="ANYMASK_MAX_PIXELS"):
        Image.open(np.zeros((10, 10), np.uint8))
    monkeypatch.setenv("ANYMASK_MAX_PIXELS", "lots")
    with pytest.raises(BadSetting, match="ANYMASK_MAX_PIXELS"):
        Image.open(np.zeros((10, 10), np.uint8))


@given(
    hnp.arrays(
        st.one_of(hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes()),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
    )
)
def test_any_array_gives_eight_bit_rgb_or_a_sentence(array):
    try:
        image = Image.open(array)
    except BadImage as error:
        assert len(str(error)) > 20 and "\n" not in str(error)
    else:
        assert image.pixels().dtype == np.uint8
        assert image.pixels().shape == (*array.shape[:2], 3)


def test_repr_names_size_and_file(path):
    assert repr(Image.open(path)) == f"Image(140 x 90 px, {str(path)!r})"


def test_a_file_object_without_seek_is_read(path):
    class Stream:
        def read(self, *size):
            return path.read_bytes()

    assert Image.open(Stream()).size == (90, 140)
    with pytest.raises(BadImage, match="mode 'rb'"):
        Image.open(io.StringIO("hello"))
    with Path(path).open("rb") as file:
        file.read(10)
        assert Image.open(file).size == (90, 140)
