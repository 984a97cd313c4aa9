"""Whatever is given for a picture opens as one, or is refused in a sentence."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from endings import ends_well, hostile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from PIL import Image as Pillow

from anymask.pixels.image import Image

KINDS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX", "JPEG2000", "DDS"]
MODES = ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "I;16"]


def opens(source, **options):
    image = ends_well(lambda: Image.open(source, **options))
    if image is not None:
        pixels = image.pixels()
        assert pixels.dtype == np.uint8 and pixels.shape == (*image.size, 3) and min(image.size) >= 1
        assert not pixels.flags.writeable
        assert len(image.digest) == 64
    return image


dtypes = st.one_of(
    stn.boolean_dtypes(),
    stn.integer_dtypes(),
    stn.unsigned_integer_dtypes(),
    stn.floating_dtypes(),
    stn.complex_number_dtypes(),
    stn.datetime64_dtypes(),
    stn.byte_string_dtypes(max_len=3),
    stn.unicode_string_dtypes(max_len=3),
    stn.array_dtypes(max_size=2),
)
shapes = st.one_of(
    stn.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3, 4, 5])),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
)


@hostile(300)
@given(data=st.data())
def test_arrays_of_any_type_and_shape(data):
    array = data.draw(stn.arrays(data.draw(dtypes), data.draw(shapes)))
    twist = data.draw(st.sampled_from(["", "flipped", "read-only", "subclass", "masked"]))
    if twist == "flipped":
        array = array[::-1] if array.ndim else array
    elif twist == "read-only":
        array.flags.writeable = False
    elif twist == "masked" and array.dtype.names is None:
        array = np.ma.masked_array(array)
    opens(array, image_format=data.draw(st.sampled_from(["RGB", "BGR"])))


sides = st.integers(1, 10**9)


@hostile(60)
@given(height=sides, width=sides, channels=st.sampled_from([None, 1, 3, 4]), kind=st.sampled_from(["numpy", "torch"]))
def test_arrays_that_claim_to_be_huge(height, width, channels, kind):
    """A view of one number has any size and no memory."""
    shape = (height, width) if channels is None else (height, width, channels)
    limit = {"max_pixels": 10_000}  # what may be opened is opened, so it must be little here
    if kind == "numpy":
        try:
            source = np.broadcast_to(np.uint8(7), shape)
        except ValueError:
            return  # beyond what numpy can count
    else:
        if channels is not None:
            shape = (channels, height, width)
        source = torch.zeros((), dtype=torch.uint8).expand(shape)
    image = opens(source, **limit)
    assert image is None or height * width <= 10_000


@hostile(120)
@given(data=st.data())
def test_tensors_of_any_type_and_place(data):
    dtype = data.draw(
        st.sampled_from(
            [
                *(torch.uint8, torch.int32, torch.int64, torch.bool, torch.complex64),
                *(torch.float8_e4m3fn, torch.float16, torch.bfloat16, torch.float32, torch.float64),
            ]
        )
    )
    shape = data.draw(shapes)
    tensor = torch.zeros(shape).to(dtype)
    twist = data.draw(st.sampled_from(["", "meta", "sparse", "grad", "nan", "transposed", "nested"]))
    if twist == "meta":
        tensor = torch.empty(shape, dtype=dtype, device="meta")
    elif twist == "sparse" and dtype == torch.float32 and len(shape) > 0:
        tensor = tensor.to_sparse()
    elif twist == "grad" and dtype.is_floating_point and dtype.itemsize > 1:
        tensor.requires_grad_(True)
    elif twist == "nan" and dtype == torch.float32:
        tensor = tensor + float("nan")
    elif twist == "transposed" and len(shape) > 1:
        tensor = tensor.transpose(0, -1)
    opens(tensor)


def encoded(kind: str, mode: str, size: tuple[int, int]) -> bytes | None:
    picture = Pillow.new("RGB", size, (200, 100, 50))
    buffer = io.BytesIO()
    try:
        (picture if mode == "RGB" else picture.convert(mode)).save(buffer, kind)
    except (OSError, ValueError, KeyError):
        return None
    return buffer.getvalue()


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    """A file of every kind and mode that Pillow writes here."""
    made = [encoded(kind, mode, size) for kind in KINDS for mode in MODES for size in [(16, 12), (1, 1)]]
    return [data for data in made if data]


@hostile(350)
@given(data=st.data())
def test_damaged_files(files, tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(files)))
    for _ in range(data.draw(st.integers(0, 5))):
        place = data.draw(st.integers(0, len(content)))
        # early bytes hold sizes and types
        place = place if data.draw(st.booleans()) else min(place, 64)
        content[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    content = content[: data.draw(st.sampled_from([None, None, len(content) // 2, 30]))]
    if data.draw(st.booleans()):
        opens(bytes(content), max_pixels=4_000_000)
    else:
        path = tmp_path_factory.getbasetemp() / "damaged"
        path.write_bytes(content)
        opens(path, max_pixels=4_000_000)


@hostile(80)
@given(
    start=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\x00", b"RIFF", b"BM", b"%!PS"]
    ),
    rest=st.binary(max_size=200),
)
def test_bytes_that_begin_like_a_picture(start, rest):
    assert opens(start + rest, max_pixels=4_000_000) is None or start


class Raises:
    """An object whose every attribute of interest raises."""

    def __init__(self, name: str, error: type[Exception]) -> None:
        self._name, self._error = name, error

    def __getattr__(self, name: str):
        if name != self.__dict__["_name"]:
            raise AttributeError(name)

        def fails(*arguments, **options):
            raise self.__dict__["_error"]("boom")

        return fails


class Lies:
    """An object with an __array__ that is something else."""

    def __init__(self, value) -> None:
        self.value = value

    def __array__(self, dtype=None, copy=None):
        return self.value


objects = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.text(alphabet="/\\.~\0:a", max_size=20),
    st.sampled_from(
        ["http://x/y.png", "data:image/png;base64,AAAA", "~nobody/x", "/dev/zero", "/dev/stdin", "/", ".", "x" * 5000]
    ),
    st.sampled_from([Path("/proc/self/mem"), Path("/nonexistent"), Path()]),
    st.lists(st.integers(0, 255), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.builds(
        Raises,
        st.sampled_from(["read", "detach", "seek", "__array__"]),
        st.sampled_from([OSError, KeyError, MemoryError]),
    ),
    st.builds(Lies, st.sampled_from([None, 5, "x", np.zeros(3), np.array(object())])),
    st.builds(io.StringIO, st.text(max_size=5)),
    st.builds(io.BytesIO, st.binary(max_size=40)),
    st.builds(lambda size: Pillow.new("RGB", size), st.tuples(st.integers(0, 5), st.integers(0, 5))),
    st.builds(lambda mode: Pillow.new(mode, (3, 2)), st.sampled_from(MODES)),
    st.sampled_from(
        [object(), type, len, np, iter([]), Ellipsis, b"", bytearray(b"abc"), memoryview(b"GIF"), range(3)]
    ),
)


@hostile(200)
@given(source=objects)
def test_objects_that_are_no_picture(source):
    opens(source)


@hostile(60)
@given(
    image_format=st.one_of(
        st.sampled_from(["RGB", "BGR", "rgb", ""]), st.none(), st.integers(), st.lists(st.none(), max_size=1)
    ),
    max_pixels=st.one_of(
        st.none(), st.integers(-2, 200), st.floats(), st.booleans(), st.text(max_size=2), st.just(10**400)
    ),
)
def test_options_of_any_kind(image_format, max_pixels):
    opens(np.zeros((5, 7, 3), np.uint8), image_format=image_format, max_pixels=max_pixels)
