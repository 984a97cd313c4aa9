"""Everything mode on a large generated GeoTIFF with known objects: how many are found, once each, in how much memory.

    python benchmarks/large.py [--side 12000] [--tile 1024] [--overlap 128] [--model NAME] [--points-per-side 16]
                               [--json FILE]

The image has some thousand small objects (a third of them centred on seams or on corners of four tiles), and a few that
are larger than many tiles: a ring, a road across everything, a frame, a comb. Without --model a stand-in tells objects
apart by their colours, tile by tile and from pixels alone: every object must then be found to the pixel. With a model,
objects count as found from IoU 0.5 on. Peak memory is that of the whole process, after tiling and after the three
geographic formats were written; the image is made in another one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def made(folder: Path, side: int, stride: int) -> None:
    """Writes image.tif, and truth.json with the run lengths of every object."""
    import rasterio

    from anymask.masks.rle import encode_one
    from anymask.masks.strips import Strips

    rng = np.random.default_rng(0)
    labels = np.zeros((side, side), np.int32)
    count = 0

    def drawn(shape: np.ndarray, y0: int, x0: int) -> bool:
        nonlocal count
        part = labels[y0 : y0 + shape.shape[0], x0 : x0 + shape.shape[1]]
        if part.shape != shape.shape or part.any():
            return False
        count += 1
        part[shape] = count
        return True

    x = np.arange(side)
    middle, reach = side // 2, side // 3
    for y in range(side):
        row = labels[y]
        row[np.abs(np.hypot(y - middle, x - middle) - reach) < 40] = 1  # a ring
        row[np.abs(y - x // 3 - side // 20) < 25] = 2  # a road, which cuts the ring: what remains is in pieces
    labels[side - 130 : side - 30, 30 : side - 30] = 3  # a wall, and a comb on it
    for left in range(30, side - 100, 700):
        labels[side - 1200 : side - 130, left : left + 45] = 3
    for edge in (slice(0, 8), slice(side - 8, side)):
        labels[edge] = labels[:, edge] = 4  # a frame around everything
    large = count = 4
    at_seams = 0
    starts = np.arange(stride, side - 100, stride)
    for across in starts:
        for down in starts:
            # on the seams of both directions, of one, of the other
            for dx, dy in ((0, 0), (0, 300), (300, 0), (0, -300), (-300, 0)):
                at_seams += drawn(small(rng), int(down + dy), int(across + dx))
    for _ in range(3 * at_seams):
        drawn(small(rng), int(rng.integers(10, side - 200)), int(rng.integers(10, side - 200)))

    with rasterio.open(
        folder / "image.tif",
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=3,
        dtype="uint8",
        crs="EPSG:32616",
        transform=rasterio.Affine(0.5, 0, 733601, 0, -0.5, 3725139),
        tiled=True,
        compress="deflate",
        zlevel=1,
    ) as file:
        for top in range(0, side, 512):
            part = labels[top : top + 512].astype(np.int64)
            # an odd factor: every object has a colour of its own, and neighbours differ much
            colours = part * 11400714 % (1 << 24) | (part > 0)
            window = ((top, top + len(part)), (0, side))
            file.write(np.stack([colours >> shift & 255 for shift in (16, 8, 0)]).astype(np.uint8), window=window)

    edges: dict[int, list[Strips]] = {}
    for left in range(0, side, 512):
        part = labels[:, left : left + 512]
        for name, mask in by_label(part):
            edges.setdefault(name, []).append(Strips.of(encode_one(mask[0])).moved(mask[2] + left, mask[1]))
    counts = [Strips.union(edges[name]).rle((side, side))["counts"].decode() for name in range(1, count + 1)]
    (folder / "truth.json").write_text(json.dumps({"counts": counts, "large": large, "at seams": at_seams}))


def small(rng: np.random.Generator) -> np.ndarray:
    """A disk, ring, rectangle, cross or U of up to 120 px, bool [h, w], with a border around."""
    radius = int(rng.integers(10, 60))
    y, x = np.mgrid[-radius - 3 : radius + 4, -radius - 3 : radius + 4]
    far = np.hypot(y, x)
    box = np.maximum(np.abs(y), np.abs(x)) <= radius
    kinds = (
        far <= radius,
        (far <= radius) & (far > radius * 0.5),
        box & (np.abs(y) <= radius * 0.6),
        box & ((np.abs(y) <= radius * 0.3) | (np.abs(x) <= radius * 0.3)),
        box & ~((np.abs(x) <= radius * 0.4) & (y > -radius * 0.4)),
    )
    return kinds[int(rng.integers(len(kinds)))]


def by_label(labels: np.ndarray) -> list[tuple[int, tuple[np.ndarray, int, int]]]:
    """For each label above 0 its (mask inside its box, top, left)."""
    from scipy import ndimage

    names, compact = np.unique(labels, return_inverse=True)
    found = []
    for place, where in enumerate(ndimage.find_objects(compact.reshape(labels.shape) + 1)):
        if names[place] > 0 and where is not None:
            found.append((int(names[place]), (labels[where] == names[place], where[0].start, where[1].start)))
    return found


def by_colour(pixels: np.ndarray):
    """The stand-in for a model: one mask for each colour of a tile."""
    from anymask.masks.masks import Masks
    from anymask.masks.rle import encode_one
    from anymask.masks.strips import Strips

    colours = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    size = (pixels.shape[0], pixels.shape[1])
    return Masks(
        size,
        [Strips.of(encode_one(mask)).moved(left, top).rle(size) for _, (mask, top, left) in by_label(colours)],
    )


def peak() -> float:
    """GiB that this process had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def compared(found, truth: dict, exact: bool) -> dict:
    from pycocotools import mask as coco

    size = list(found.size)
    expected = [{"size": size, "counts": counts.encode()} for counts in truth["counts"]]
    best = np.zeros(len(expected))
    matches = np.zeros(len(expected), np.int64)
    owner = np.zeros(len(found))
    for start in range(0, len(expected), 500):
        iou = np.asarray(
            coco.iou(list(found.rle), expected[start : start + 500], [0] * len(expected[start : start + 500]))
        )
        if not iou.size:
            continue
        best[start : start + 500] = iou.max(0)
        matches[start : start + 500] = (iou > 0.5).sum(0)
        owner = np.maximum(owner, iou.max(1))
    level = 1.0 if exact else 0.5
    return {
        "expected": len(expected),
        "at seams": truth["at seams"],
        "larger than tiles": truth["large"],
        "masks": len(found),
        "found": int((best >= level).sum()),
        "found large": int((best[: truth["large"]] >= level).sum()),
        "duplicated": int((matches > 1).sum()),
        "masks of nothing": int((owner <= 0.5).sum()),
        "mean IoU": round(float(best.mean()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=12000)
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--overlap", type=int, default=128)
    parser.add_argument("--model", help="a model's name; left out, a stand-in tells objects apart by colour")
    parser.add_argument("--points-per-side", type=int, default=16)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # in a process of its own: drawing takes more memory than what is measured
        maker = multiprocessing.get_context("spawn").Process(
            target=made, args=(folder, chosen.side, chosen.tile - chosen.overlap)
        )
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit("the image could not be made")
        report = measured(folder, chosen)
    for key, value in report.items():
        print(f"{key:>22}: {value}")
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")


def measured(folder: Path, chosen: argparse.Namespace) -> dict:
    from anymask.masks.tree import parents
    from anymask.pixels.raster import Raster
    from anymask.records import geojson, geopackage, geotiff
    from anymask.records.record import ImageRef, Record
    from anymask.session.tiles import everything_tiled, look_tiled

    def tell(done: int, count: int) -> None:
        if done % 25 == 0 or done == count:
            print(f"{done} of {count} tiles, {peak():.2f} GiB", file=sys.stderr)

    start, begun = peak(), time.perf_counter()
    with Raster.open(folder / "image.tif") as raster:
        where = ImageRef.of_raster(raster)
        if chosen.model:
            options = {"points_per_side": chosen.points_per_side}
            found = everything_tiled(
                raster, chosen.model, tile=chosen.tile, overlap=chosen.overlap, tell=tell, **options
            )
        else:
            found = look_tiled(raster, by_colour, chosen.tile, chosen.overlap, tell)
            found = found.replace(parents=parents(found))
    report = {"side": chosen.side, "tile": chosen.tile, "overlap": chosen.overlap, "model": chosen.model or "stand-in"}
    report |= {"seconds": round(time.perf_counter() - begun, 1), "GiB before": round(start, 2)}
    report["GiB after tiling"] = round(peak(), 2)
    record = Record(where, found)
    for module, name in ((geotiff, "labels.tif"), (geopackage, "found.gpkg"), (geojson, "found.geojson")):
        begun = time.perf_counter()
        size = module.write(record, folder / name).stat().st_size
        report[f"GiB after {name}"] = round(peak(), 2)
        report[f"{name}"] = f"{time.perf_counter() - begun:.1f} s, {size / 2**20:.1f} MiB"
    truth = json.loads((folder / "truth.json").read_text())
    return report | compared(found, truth, exact=not chosen.model)


if __name__ == "__main__":
    main()
