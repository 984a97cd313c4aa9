"""GeoJSON, GeoPackage and GeoTIFF: read back by GDAL (rasterio, pyogrio) they hold the very pixels and the places."""

from __future__ import annotations

import json
import time
import warnings

import numpy as np
import pytest

from anymask.errors import BadImage
from anymask.masks.masks import Masks
from anymask.pixels.georeference import Georeference
from anymask.pixels.raster import Raster
from anymask.records import geojson, geopackage, geotiff
from anymask.records.record import ImageRef, Record

rasterio = pytest.importorskip("rasterio", reason="GDAL is not here: pip install 'anymask[geo]'")
pyogrio = pytest.importorskip("pyogrio", reason="GDAL is not here: pip install 'anymask[geo]'")
features = pytest.importorskip("rasterio.features")
shapely = pytest.importorskip("shapely", reason="shapely reads shapes back: pip install shapely")

UTM = Georeference((0.5, 0.0, 733601.0, 0.0, -0.5, 3725139.0), "EPSG:32616")
TURNED = Georeference((0.3, 0.4, 500000.0, 0.4, -0.3, 100000.0), "EPSG:32631")
FEET = Georeference((2.0, 0.0, 300000.0, 0.0, -2.0, 200000.0), "EPSG:2263")
DEGREES = Georeference((0.001, 0.0, 10.0, 0.0, -0.001, 50.0), "EPSG:4326")


@pytest.fixture
def masks() -> Masks:
    """A square with a hole in which an island lies, a part of the square, two corners that touch, one empty mask."""
    dense = np.zeros((4, 60, 80), np.bool_)
    dense[0, 5:45, 10:60] = True
    dense[0, 15:35, 20:50] = False
    dense[0, 20:25, 30:40] = True
    dense[1, 5:15, 10:30] = True
    dense[2, 50:55, 0:5] = dense[2, 55:60, 5:10] = True
    stability = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    return Masks.from_dense(
        dense,
        scores=[0.95, 0.9, 0.5, 0.1],
        parents=[-1, 0, -1, -1],
        ids=[7, 8, 9, 10],
        labels=["roof", None, None, None],
        details={"stability_score": stability},
    )


def record_of(masks, geo=None, path=None):
    return Record(ImageRef(path, masks.size, geo=geo), masks)


def burnt(geometries, geo, size):
    """What GDAL fills of shapes in the image's own coordinates: bool [N, H, W]."""
    transform = rasterio.Affine(*geo.transform) if geo is not None else rasterio.Affine.identity()
    return np.array(
        [
            np.zeros(size, np.bool_)
            if shape is None or shape.is_empty
            else features.rasterize([shape], size, transform=transform).astype(np.bool_)
            for shape in geometries
        ]
    )


@pytest.mark.parametrize("geo", [UTM, TURNED, FEET], ids=["utm", "turned", "feet"])
def test_a_geojson_read_back_by_gdal_fills_the_same_pixels(tmp_path, masks, geo):
    path = geojson.write(record_of(masks, geo), tmp_path / "found.geojson")
    meta, _, wkb, fields = pyogrio.raw.read(path)
    assert meta["crs"] == "EPSG:4326"
    degrees = [None if one is None else shapely.from_wkb(one) for one in wkb]
    assert all(shape is None or shape.is_valid for shape in degrees)
    # back to the image's own system by pyproj, which is not what wrote them
    pyproj = pytest.importorskip("pyproj", reason="pyproj brings the coordinates back: pip install pyproj")
    back = pyproj.Transformer.from_crs("EPSG:4326", geo.crs, always_xy=True)
    shapes = [
        None
        if shape is None
        else shapely.transform(shape, lambda points: np.stack(back.transform(points[:, 0], points[:, 1]), -1))
        for shape in degrees
    ]
    assert np.array_equal(burnt(shapes, geo, masks.size), masks.dense())
    told = dict(zip(meta["fields"], fields, strict=True))
    assert told["id"].tolist() == [7, 8, 9, 10]
    assert told["area_px"].tolist() == masks.areas().tolist()


def test_area_in_square_metres_follows_the_unit_of_the_map(masks):
    def metres(geo):
        return [one["properties"]["area_m2"] for one in geojson.as_dict(record_of(masks, geo))["features"]]

    areas = masks.areas()
    assert np.allclose(metres(UTM), areas * 0.25)
    assert np.allclose(metres(TURNED), areas * 0.25)
    assert np.allclose(metres(FEET), areas * 4 * (1200 / 3937) ** 2)
    # degrees have no area
    assert metres(DEGREES) == [None] * 4 == metres(None)


def test_geojson_runs_its_rings_as_the_standard_says(masks):
    for geo in (UTM, None):
        feature = geojson.as_dict(record_of(masks, geo))["features"][0]
        assert feature["geometry"]["type"] == "MultiPolygon"
        outer, hole = feature["geometry"]["coordinates"][0]
        assert outer[0] == outer[-1] and hole[0] == hole[-1]
        assert shapely.LinearRing(outer).is_ccw and not shapely.LinearRing(hole).is_ccw


def test_geojson_of_an_image_without_place_says_that_it_is_in_pixels(masks):
    data = json.loads(geojson.as_text(record_of(masks)))
    assert data["coordinates"].startswith("pixels")
    shapes = [None if one["geometry"] is None else shapely.geometry.shape(one["geometry"]) for one in data["features"]]
    assert np.array_equal(burnt(shapes, None, masks.size), masks.dense())
    assert data["features"][1]["properties"] == {
        "row": 1,
        "id": 8,
        "label": None,
        "score": 0.9,
        "stability": 0.8,
        "area_px": 200,
        "area_m2": None,
        "parent": 0,
    }
    # a scale without a system says no more of where it is
    scaled = Georeference((2.0, 0.0, 0.0, 0.0, 2.0, 0.0))
    assert geojson.as_dict(record_of(masks, scaled))["coordinates"].startswith("pixels")


def test_long_edges_follow_the_map_and_not_a_straight_line_in_degrees():
    wide = np.zeros((2, 6000), np.bool_)
    wide[:] = True
    far_north = Georeference((30.0, 0.0, 400000.0, 0.0, -30.0, 8500000.0), "EPSG:32633")
    ring = geojson.as_dict(record_of(Masks.from_dense(wide), far_north))["features"][0]["geometry"]["coordinates"][0]
    pyproj = pytest.importorskip("pyproj", reason="pyproj brings the coordinates back: pip install pyproj")
    back = pyproj.Transformer.from_crs("EPSG:4326", far_north.crs, always_xy=True)
    points = np.array(ring)
    middles = (points[1:] + points[:-1]) / 2
    northings = back.transform(middles[:, 0], middles[:, 1])[1]
    off = np.minimum(abs(northings - 8500000.0), abs(northings - 8499940.0))
    # all but the two short ends: half way between corners the outline is within a tenth of a pixel of the edge
    assert len(points) > 40 and np.sort(off)[:-2].max() < 3.0


@pytest.mark.parametrize("geo", [UTM, TURNED, DEGREES, None], ids=["utm", "turned", "degrees", "none"])
def test_a_geopackage_read_back_by_gdal_fills_the_same_pixels(tmp_path, masks, geo):
    path = geopackage.write(record_of(masks, geo), tmp_path / "found.gpkg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GDAL warns of coordinates that have no system
        meta, _, wkb, fields = pyogrio.raw.read(path, layer="masks")
    assert meta["crs"] == (None if geo is None else geo.crs)
    assert meta["geometry_type"] == "MultiPolygon"
    shapes = [shapely.from_wkb(one) for one in wkb]
    assert all(shape.is_valid for shape in shapes)
    assert np.array_equal(burnt(shapes, geo, masks.size), masks.dense())
    told = dict(zip(meta["fields"], fields, strict=True))
    assert told["label"].tolist() == ["roof", None, None, None]
    assert np.allclose(told["score"], [0.95, 0.9, 0.5, 0.1])
    assert np.allclose(told["stability"], [0.9, 0.8, 0.7, 0.6])
    assert told["area_px"].tolist() == masks.areas().tolist()
    assert told["parent"][1] == 0 and np.isnan(told["parent"][[0, 2, 3]]).all()


def test_geopandas_reads_the_package(tmp_path, masks):
    geopandas = pytest.importorskip("geopandas", reason="geopandas is not here: pip install geopandas")
    path = geopackage.write(record_of(masks, UTM), tmp_path / "found.gpkg")
    frame = geopandas.read_file(path)
    assert frame.crs.to_epsg() == 32616
    assert np.allclose(frame.area[:3], masks.areas()[:3] * 0.25)
    assert np.allclose(frame.area_m2, masks.areas() * 0.25)


@pytest.mark.parametrize("geo", [UTM, TURNED, None], ids=["utm", "turned", "none"])
def test_a_label_map_keeps_pixels_and_place(tmp_path, masks, geo):
    path = geotiff.write(record_of(masks, geo), tmp_path / "labels.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            labels, profile = file.read(1), file.profile
    assert profile["dtype"] == "uint16" and profile["nodata"] == 0 and profile["compress"] == "deflate"
    assert profile["tiled"]
    assert profile["crs"] == (None if geo is None else rasterio.crs.CRS.from_user_input(geo.crs))
    assert tuple(profile["transform"])[:6] == ((1, 0, 0, 0, 1, 0) if geo is None else geo.transform)
    whole, part, corners, _ = masks.dense()
    expected = np.zeros(masks.size, np.uint16)
    expected[whole] = 1
    expected[part] = 2  # the part lies on the whole
    expected[corners] = 3
    assert np.array_equal(labels, expected)


def test_a_label_map_spans_several_bands_of_rows(tmp_path):
    dense = np.zeros((2, 1300, 40), np.bool_)
    dense[0, 100:1250, 5:30] = True
    dense[1, 500:520, 0:40] = True
    path = geotiff.write(record_of(Masks.from_dense(dense), UTM), tmp_path / "labels.tif")
    with rasterio.open(path) as file:
        labels = file.read(1)
    assert np.array_equal(labels == 2, dense[1])
    assert np.array_equal(labels == 1, dense[0] & ~dense[1])


def test_the_place_is_read_from_the_file_when_the_record_does_not_say_it(tmp_path, masks):
    path = tmp_path / "image.tif"
    options = {"driver": "GTiff", "height": 60, "width": 80, "count": 1, "dtype": "uint8", "crs": "EPSG:32616"}
    with rasterio.open(path, "w", transform=rasterio.Affine(*UTM.transform), **options) as file:
        file.write(np.zeros((1, 60, 80), np.uint8))
    read = geojson.as_dict(record_of(masks, path=str(path)))
    assert read["crs_of_image"] == "EPSG:32616"
    assert read["features"] == geojson.as_dict(record_of(masks, UTM))["features"]


@pytest.mark.parametrize("name", ["atlanta_pan_0.5m.tif", "naip_rgbn_5m.tif", "rgb_4.5m.tif"])
def test_masks_of_real_images_lie_where_the_images_do(shared, tmp_path, name):
    path = shared / "data" / "aerial" / "geotiff" / name
    with Raster.open(path) as raster:
        height, width = raster.size
        everywhere = Masks.from_dense(np.ones(raster.size, np.bool_))
        record = Record(ImageRef.of_raster(raster), everywhere)
    with rasterio.open(path) as file:
        bounds, crs = file.bounds, file.crs
        degrees = pytest.importorskip("rasterio.warp").transform_bounds(crs, "EPSG:4326", *bounds, densify_pts=101)
    packed = geopackage.write(record, tmp_path / "all.gpkg")
    assert np.allclose(pyogrio.read_info(packed)["total_bounds"], bounds)
    assert rasterio.crs.CRS.from_user_input(pyogrio.read_info(packed)["crs"]) == crs
    written = geojson.write(record, tmp_path / "all.geojson")
    assert np.allclose(pyogrio.read_info(written)["total_bounds"], degrees, atol=1e-7)
    told = json.loads(written.read_text())["features"][0]["properties"]
    area = (bounds.right - bounds.left) * (bounds.top - bounds.bottom)
    assert told["area_px"] == height * width and np.isclose(told["area_m2"], area)
    with rasterio.open(geotiff.write(record, tmp_path / "all.tif")) as file:
        assert file.bounds == bounds and file.crs == crs


def test_coordinates_beyond_a_projection_get_a_sentence(masks):
    nowhere = Georeference((1e9, 0.0, 1e12, 0.0, -1e9, 1e12), "EPSG:32616")
    with pytest.raises(BadImage, match="longitude"):
        geojson.as_dict(record_of(masks, nowhere))
    with pytest.raises(BadImage, match="not understood"):
        geojson.as_dict(record_of(masks, Georeference(UTM.transform, "EPSG:1")))


def test_the_same_record_gives_the_same_bytes(masks):
    record = record_of(masks, UTM)
    for module in (geojson.as_text, geopackage.as_bytes, geotiff.as_bytes):
        first = module(record)
        time.sleep(1.01 if module is geopackage.as_bytes else 0)  # its dates count seconds
        assert module(record) == first
    # the date is in the package's table of contents
    assert record.made_by.time[:10].encode() in geopackage.as_bytes(record)
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None


def test_an_image_without_masks_gives_files_without_masks(tmp_path):
    record = record_of(Masks((60, 80), []), UTM)
    assert json.loads(geojson.as_text(record))["features"] == []
    assert pyogrio.read_info(geopackage.write(record, tmp_path / "none.gpkg"))["features"] == 0
    with rasterio.open(geotiff.write(record, tmp_path / "none.tif")) as file:
        assert not file.read(1).any()
