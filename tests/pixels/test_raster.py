"""Windows of large images: equal to what the formats' own readers give, and agreeing with each other."""

from __future__ import annotations

import struct
import sys
import warnings
from itertools import pairwise

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from anymask.errors import BadImage, BadSetting, MissingExtra
from anymask.pixels.image import Image
from anymask.pixels.levels import Stretch, to_uint8
from anymask.pixels.raster import InMemory, Raster
from anymask.pixels.window import Window, tiles

ALL = Window(0, 0, 530, 700)
PART = Window(100, 33, 401, 650)


def smooth(channels: int, dtype: type, top: float) -> np.ndarray:
    """[700, 530, channels] without sharp edges, so that JPEG changes little."""
    coarse = np.random.default_rng(0).random((9, 7, channels)).astype(np.float32)
    return (
        (cv2.resize(coarse, (530, 700), interpolation=cv2.INTER_CUBIC).clip(0, 1) * top)
        .reshape(700, 530, channels)
        .astype(dtype)
    )


COLOUR, DEEP, REAL = smooth(3, np.uint8, 255), smooth(1, np.uint16, 40000)[:, :, 0], smooth(1, np.float32, 3.3)[:, :, 0]

# name: (array, how tifffile writes it, what of it is to be seen)
PLAIN = {
    "strips": (COLOUR, {"photometric": "rgb", "rowsperstrip": 37}, COLOUR),
    "one strip": (COLOUR, {"photometric": "rgb", "rowsperstrip": 700}, COLOUR),
    "tiles, deflate": (
        COLOUR,
        {"photometric": "rgb", "tile": (128, 64), "compression": "zlib", "predictor": 2},
        COLOUR,
    ),
    "tiles, lzw": (COLOUR, {"photometric": "rgb", "tile": (128, 128), "compression": "lzw"}, COLOUR),
    "planes": (
        np.moveaxis(COLOUR, 2, 0),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (128, 128)},
        COLOUR,
    ),
    "planes in strips": (np.moveaxis(COLOUR, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}, COLOUR),
    "a fourth sample of no meaning": (
        np.dstack([COLOUR, DEEP >> 8]).astype(np.uint8),
        {"photometric": "rgb", "extrasamples": ["unspecified"]},
        COLOUR,
    ),
    "grey": (COLOUR[:, :, 0], {"photometric": "minisblack"}, COLOUR[:, :, :1]),
    "white is zero": (COLOUR[:, :, 0], {"photometric": "miniswhite"}, 255 - COLOUR[:, :, :1]),
    "pages": (np.moveaxis(COLOUR, 2, 0), {"photometric": "minisblack", "metadata": {"axes": "CYX"}}, COLOUR[:, :, :1]),
    "16 bits": (DEEP, {"photometric": "minisblack", "rowsperstrip": 50}, to_uint8(DEEP)[:, :, None]),
    "16 bits, big endian": (DEEP, {"photometric": "minisblack", "byteorder": ">"}, to_uint8(DEEP)[:, :, None]),
    "float": (
        REAL,
        {"photometric": "minisblack", "tile": (128, 128), "compression": "zlib", "predictor": 3},
        to_uint8(REAL)[:, :, None],
    ),
    "big tiff": (COLOUR, {"photometric": "rgb", "bigtiff": True}, COLOUR),
}


def plain(path, array, options):
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not here: pip install 'anymask[tiff]'")
    tifffile.imwrite(path, array, **options)
    return path


@pytest.mark.parametrize("kind", PLAIN)
def test_windows_of_a_plain_tiff_are_its_pixels(tmp_path, kind):
    array, options, seen = PLAIN[kind]
    with Raster.open(plain(tmp_path / "image.tif", array, options)) as raster:
        assert raster.size == (700, 530) and raster.geo is None and raster.valid(PART) is None
        assert np.array_equal(raster.read(ALL), np.broadcast_to(seen, (700, 530, 3)))
        assert np.array_equal(raster.read(PART), np.broadcast_to(seen, (700, 530, 3))[33:650, 100:401])
        assert type(raster).__name__ == "PlainTiff"


def test_a_jpeg_compressed_tiff_is_what_pillow_decodes(tmp_path):
    options = {"photometric": "rgb", "tile": (128, 128), "compression": "jpeg", "compressionargs": {"level": 90}}
    pytest.importorskip("imagecodecs", reason="imagecodecs is not here: pip install 'anymask[tiff]'")
    path = plain(tmp_path / "image.tif", COLOUR, options)
    with Raster.open(path) as raster:
        # two decoders of JPEG round differently
        assert np.abs(raster.read(ALL).astype(int) - Image.open(path).pixels()).max() <= 3


def test_of_a_pyramid_the_full_resolution_is_read(tmp_path):
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not here: pip install 'anymask[tiff]'")
    options = {"photometric": "rgb", "tile": (128, 128)}
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(COLOUR, subifds=2, **options)
        file.write(COLOUR[::2, ::2], subfiletype=1, **options)
        file.write(COLOUR[::4, ::4], subfiletype=1, **options)
    with Raster.open(tmp_path / "pyramid.tif") as raster:
        assert np.array_equal(raster.read(PART), COLOUR[33:650, 100:401])


def test_channels_on_pages_of_their_own_are_bands(tmp_path):
    path = plain(tmp_path / "cells.tif", *PLAIN["pages"][:2])
    with Raster.open(path, bands=(1, 2, 3)) as raster:
        assert np.array_equal(raster.read(PART), COLOUR[33:650, 100:401])


@pytest.mark.parametrize("axes", ["TYX", "ZYX", None])
def test_of_several_pictures_the_first_counts_as_everywhere(tmp_path, axes):
    stack = np.stack([COLOUR[:, :, 0], COLOUR[:, :, 1]])
    options = {"photometric": "minisblack", "metadata": {"axes": axes} if axes else None}
    path = plain(tmp_path / "stack.tif", stack, options)
    with Raster.open(path) as raster:
        assert np.array_equal(raster.read(ALL), Image.open(path).pixels())


def test_what_pillow_converts_is_as_pillow_converts_it(tmp_path):
    """With and without tifffile the same file must be the same picture."""
    ink = Pillow.fromarray(COLOUR)
    alpha = Pillow.fromarray((DEEP >> 8).astype(np.uint8))
    cases = {
        "ink": (ink.convert("CMYK"), {}),
        "bits": (ink.convert("1"), {}),
        "palette": (ink.convert("P"), {}),
        "glass": (Pillow.merge("RGBA", [*ink.split(), alpha]), {}),
        "turned": (ink, {"tiffinfo": {274: 6}}),
    }
    for name, (picture, options) in cases.items():
        picture.save(tmp_path / f"{name}.tif", **options)
        expected = Image.open(tmp_path / f"{name}.tif")
        for source in (tmp_path / f"{name}.tif", (tmp_path / f"{name}.tif").read_bytes()):
            with Raster.open(source) as raster:
                assert raster.size == expected.size, name
                seen = raster.read(Window(0, 0, raster.size[1], raster.size[0])).astype(int)
                assert np.abs(seen - expected.pixels()).max() <= 1, name


def test_damaged_files_get_a_sentence(tmp_path):
    data = plain(tmp_path / "image.tif", COLOUR, {"photometric": "rgb", "rowsperstrip": 37}).read_bytes()
    (tmp_path / "short.tif").write_bytes(data[: len(data) // 2])
    (tmp_path / "head.tif").write_bytes(data[:12])
    for name in ("short.tif", "head.tif"):
        with pytest.raises(BadImage), Raster.open(tmp_path / name) as raster:
            raster.read(ALL)
    with pytest.raises(BadImage, match="no file"):
        Raster.open(tmp_path / "absent.tif")


def test_bands_can_be_chosen(tmp_path):
    path = plain(tmp_path / "image.tif", COLOUR, {"photometric": "rgb"})
    with Raster.open(path, bands=(3, 1, 2)) as raster:
        assert np.array_equal(raster.read(ALL), COLOUR[:, :, [2, 0, 1]])
    with Raster.open(path, bands=[2]) as raster:
        assert np.array_equal(raster.read(ALL), np.repeat(COLOUR[:, :, 1:2], 3, 2))
    for bands in [(4, 1, 2), (1, 2), (0,), ("red",)]:
        with pytest.raises(BadSetting, match="bands"):
            Raster.open(path, bands=bands)
    with pytest.raises(BadSetting, match="TIFF"):
        Raster.open(COLOUR, bands=[1])


def test_an_image_in_memory_is_a_raster():
    with Raster.open(COLOUR) as raster:
        assert isinstance(raster, InMemory) and Raster.open(raster) is raster
        assert np.array_equal(raster.read(PART), COLOUR[33:650, 100:401])
        for window in [Window(-1, 0, 5, 5), Window(0, 0, 531, 5), Window(5, 5, 5, 9)]:
            with pytest.raises(BadSetting, match="outside"):
                raster.read(window)


@pytest.mark.parametrize("values", [DEEP, REAL, DEEP.astype(np.int32) - 500, REAL / 4, (DEEP >> 8).astype(np.float32)])
def test_parts_are_stretched_as_the_whole_is(values):
    rule = Stretch.of(values)
    assert np.array_equal(rule(values), to_uint8(values))
    assert np.array_equal(rule(values[100:300, 50:70]), to_uint8(values)[100:300, 50:70])


def test_values_beyond_the_sample_are_clipped():
    rule = Stretch.of(np.array([100, 900], np.uint16))
    assert rule(np.array([[0, 100, 500, 900, 65535]], np.uint16)).tolist() == [[0, 0, 128, 255, 255]]
    rule = Stretch.of(np.array([3.0, 200.0]))
    assert rule(np.array([[-7.0, 3.0, 300.0]])).tolist() == [[0, 3, 255]]


# GeoTIFF


@pytest.fixture
def rasterio():
    return pytest.importorskip("rasterio", reason="GDAL is not here: pip install 'anymask[geo]'")


def placed(rasterio, path, array, **options):
    """A GeoTIFF [bands, H, W] in UTM, half a metre a pixel."""
    settings = {
        "driver": "GTiff",
        "count": len(array),
        "height": array.shape[1],
        "width": array.shape[2],
        "dtype": array.dtype,
        "crs": "EPSG:32616",
        "transform": rasterio.Affine(0.5, 0, 733601, 0, -0.5, 3725139),
        "tiled": True,
        "blockxsize": 128,
        "blockysize": 128,
        **options,
    }
    with rasterio.open(path, "w", **settings) as file:
        file.write(array)
    return path


def test_windows_of_a_geotiff_are_its_pixels(rasterio, tmp_path):
    path = placed(rasterio, tmp_path / "image.tif", np.moveaxis(COLOUR, 2, 0), compress="deflate")
    with Raster.open(path) as raster:
        assert raster.size == (700, 530) and raster.valid(ALL) is None
        assert np.array_equal(raster.read(PART), COLOUR[33:650, 100:401])
        assert raster.geo.epsg == 32616 and raster.geo.transform == (0.5, 0, 733601, 0, -0.5, 3725139)
        assert raster.geo.pixel_area == 0.25


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
def test_a_deep_geotiff_is_stretched_once_for_all_windows(rasterio, tmp_path, dtype):
    values = (DEEP // 3).astype(dtype)
    with Raster.open(placed(rasterio, tmp_path / "image.tif", values[None])) as raster:
        expected = np.repeat(to_uint8(values)[:, :, None], 3, 2)
        assert np.array_equal(raster.read(ALL), expected)
        assert np.array_equal(raster.read(PART), expected[33:650, 100:401])


@pytest.mark.parametrize(("dtype", "nothing"), [("float32", np.nan), ("float32", -9999), ("uint16", 0), ("int16", -1)])
def test_pixels_without_data_are_black_and_do_not_count_for_the_stretch(rasterio, tmp_path, dtype, nothing):
    values = (DEEP // 3 + 7).astype(dtype)
    expected = to_uint8(values[:, 200:])
    values[:, :200] = nothing
    with Raster.open(placed(rasterio, tmp_path / "image.tif", values[None], nodata=nothing)) as raster:
        seen = raster.read(ALL)
        assert (seen[:, :200] == 0).all()
        assert np.array_equal(seen[:, 200:, 0], expected)
        valid = raster.valid(ALL)
        assert not valid[:, :200].any() and valid[:, 200:].all()
        assert raster.valid(Window(300, 0, 400, 100)) is None


def test_alpha_is_a_mask_and_no_colour(rasterio, tmp_path):
    alpha = np.full((700, 530), 255, np.uint8)
    alpha[:50] = 0
    stack = np.concatenate([np.moveaxis(COLOUR, 2, 0), alpha[None]])
    path = placed(rasterio, tmp_path / "image.tif", stack, photometric="rgb", alpha="yes")
    with Raster.open(path) as raster:
        assert np.array_equal(raster.read(ALL)[50:], COLOUR[50:])
        assert np.array_equal(raster.valid(ALL), alpha > 0)


def test_bands_of_a_geotiff_can_be_chosen(rasterio, tmp_path):
    stack = np.concatenate([np.moveaxis(COLOUR, 2, 0), 255 - COLOUR[None, :, :, 0]])
    path = placed(rasterio, tmp_path / "image.tif", stack, photometric="minisblack")
    with Raster.open(path) as raster:
        assert np.array_equal(raster.read(ALL), COLOUR)
    with Raster.open(path, bands=(4, 1, 2)) as raster:
        assert np.array_equal(raster.read(ALL), np.moveaxis(stack[[3, 0, 1]], 0, 2))
    with pytest.raises(BadSetting, match="4 bands"):
        Raster.open(path, bands=[5])


def test_a_geotiff_from_memory_is_what_its_file_is(rasterio, tmp_path):
    path = placed(rasterio, tmp_path / "image.tif", np.moveaxis(COLOUR, 2, 0))
    with Raster.open(path.read_bytes()) as raster:
        assert raster.source is None and raster.geo.epsg == 32616
        assert np.array_equal(raster.read(PART), COLOUR[33:650, 100:401])


def test_a_palette_is_looked_up(rasterio, tmp_path):
    labels = (DEEP >> 14).astype(np.uint8)
    path = placed(rasterio, tmp_path / "image.tif", labels[None])
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (255, 0, 0, 255), 1: (0, 255, 0, 255), 2: (9, 8, 7, 255)})
    with Raster.open(path) as raster:
        colours = np.array([(255, 0, 0), (0, 255, 0), (9, 8, 7)])
        assert np.array_equal(raster.read(ALL), colours[labels])


def test_a_large_deep_geotiff_is_stretched_from_an_overview(rasterio, tmp_path):
    values = np.zeros((1, 2200, 4500), np.uint16)
    values[0] = np.linspace(1000, 9000, 4500, dtype=np.uint16)
    with Raster.open(placed(rasterio, tmp_path / "image.tif", values)) as raster:
        left, right = raster.read(Window(0, 0, 2300, 10)), raster.read(Window(2200, 2190, 4500, 2200))
    assert np.array_equal(left[0, 2200:], right[-1, :100])
    exact = to_uint8(values[0])
    assert np.abs(left[0, :, 0].astype(int) - exact[0, :2300]).max() <= 1


def test_windows_of_real_images_are_what_gdal_reads(rasterio, shared):
    folder = shared / "data" / "aerial" / "geotiff"
    for name in ("naip_rgbn_5m.tif", "rgb_4.5m.tif"):
        with Raster.open(folder / name) as raster, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with rasterio.open(folder / name) as file:
                wanted = file.read([1, 2, 3], window=((20, 120), (10, 150)))
            assert np.array_equal(raster.read(Window(10, 20, 150, 120)), np.moveaxis(wanted, 0, 2))
    with Raster.open(folder / "atlanta_pan_0.5m.tif") as raster, rasterio.open(folder / "atlanta_pan_0.5m.tif") as file:
        assert np.array_equal(raster.read(Window(0, 0, 900, 900))[:, :, 0], to_uint8(file.read(1)))


def test_a_missing_extra_is_named_and_plain_tiffs_do_without(rasterio, tmp_path, monkeypatch):
    geo = placed(rasterio, tmp_path / "geo.tif", np.moveaxis(COLOUR, 2, 0))
    usual = plain(tmp_path / "plain.tif", COLOUR, {"photometric": "rgb"})
    # None makes the import fail as if the library were not there
    monkeypatch.setitem(sys.modules, "rasterio", None)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    # silently losing where an image lies would be worse than a sentence
    with pytest.raises(MissingExtra, match=r"pip install 'anymask\[geo\]'"):
        Raster.open(geo)
    with Raster.open(usual) as raster:
        assert isinstance(raster, InMemory) and np.array_equal(raster.read(PART), COLOUR[33:650, 100:401])
    with pytest.raises(MissingExtra, match=r"pip install 'anymask\[tiff\]'"):
        Raster.open(usual, bands=[1])


def test_no_other_format_of_gdal_is_opened(rasterio, tmp_path):
    """A virtual raster may name any address; it is not even looked into, whatever its name."""
    text = "<VRTDataset rasterXSize='5' rasterYSize='5'><VRTRasterBand dataType='Byte' band='1'/></VRTDataset>"
    (tmp_path / "virtual.tif").write_text(text)
    with pytest.raises(BadImage, match="text file"):
        Raster.open(tmp_path / "virtual.tif")
    # claims to be a TIFF with a place on the earth, and is nothing
    entries = struct.pack("<HHIII", 33550, 12, 3, 30, 0)
    (tmp_path / "broken.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, 1) + entries + bytes(40))
    with pytest.raises(BadImage):
        Raster.open(tmp_path / "broken.tif")


# tiles


@pytest.mark.parametrize("size", [(10, 10), (64, 64), (65, 64), (200, 131), (640, 97), (1000, 70)])
@pytest.mark.parametrize("overlap", [0, 8, 32])
def test_tiles_cover_everything_and_overlap_as_asked(size, overlap):
    found = tiles(size, 64, overlap)
    count = np.zeros(size, int)
    for x0, y0, x1, y1 in found:
        assert (y1 - y0, x1 - x0) == (min(64, size[0]), min(64, size[1]))
        count[y0:y1, x0:x1] += 1
    assert (count > 0).all() and len(set(found)) == len(found)
    columns = sorted({window.x0 for window in found})
    assert all(left + 64 - right >= overlap for left, right in pairwise(columns))


def test_tiles_that_make_no_sense_get_a_sentence():
    for side, overlap in [(8, 0), (64, 33), (64, -1), (64.0, 8), (True, 0)]:
        with pytest.raises(BadSetting):
            tiles((100, 100), side, overlap)
