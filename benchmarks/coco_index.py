"""Opening a COCO instance file: memory and time of our index, of json.load, and of pycocotools, on a made-up file.

python benchmarks/coco_index.py [--images 11800] [--ways ours json pycocotools]

118,000 images of 7.3 annotations each are as many as COCO's train2017 has; the file is as large then, and json.load
takes 3 GB. Each way runs in a process of its own, whose memory is told beyond what its imports take.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

EACH = 7.3
"""Annotations of an image."""

OPENS = {
    "ours": ("from anymask.data.coco import CocoSet", "CocoSet(Path(sys.argv[1]), Path, 'made')"),
    "json": ("import json", "json.load(open(sys.argv[1]))"),
    "pycocotools": ("from pycocotools.coco import COCO", "COCO(sys.argv[1])"),
}
PROGRAM = """
import resource, sys, time
from pathlib import Path
{imports}
def top():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start, busy = top(), time.perf_counter(), time.process_time()
kept = {call}
print("figures", time.perf_counter() - start, time.process_time() - busy, top() - before)
"""


def write(file: Path, images: int) -> None:
    """Outlines of some 27 corners, as COCO's."""
    rng = random.Random(0)
    rows = [
        {"license": 1, "file_name": f"{i:012d}.jpg", "coco_url": f"http://images.cocodataset.org/train2017/{i:012d}.jpg",
         "height": 480, "width": 640, "date_captured": "2013-11-14 17:02:52",
         "flickr_url": f"http://farm7.staticflickr.com/6116/{i:010d}_02719f4b1a_z.jpg", "id": i} for i in range(images)
    ]  # fmt: skip
    with file.open("w") as out:
        out.write('{"info": {}, "licenses": [], "images": ' + json.dumps(rows) + ', "annotations": [')
        for number in range(round(images * EACH)):
            corners = [round(rng.uniform(0, 480), 2) for _ in range(2 * rng.randint(4, 50))]
            row = {
                "segmentation": [corners], "area": round(rng.uniform(10, 50000), 4), "iscrowd": 0,
                "image_id": number % images, "bbox": corners[:4], "category_id": 1 + number % 80, "id": number + 1,
            }  # fmt: skip
            out.write((", " if number else "") + json.dumps(row))
        out.write('], "categories": ' + json.dumps([{"id": i, "name": f"c{i}"} for i in range(1, 81)]) + "}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=11_800)
    parser.add_argument("--ways", nargs="+", choices=list(OPENS), default=list(OPENS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "instances.json"
        write(file, asked.images)
        print(f"{asked.images:,} images, {file.stat().st_size / 1e6:.0f} MB")
        for way in asked.ways:
            imports, call = OPENS[way]
            program = PROGRAM.format(imports=imports, call=call)
            done = subprocess.run(
                [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
            )
            spent, busy, memory = map(float, done.stdout.split("figures")[1].split())
            print(f"{way}: {spent:.1f} s, {busy:.1f} s of the processor, {memory:.0f} MB")


if __name__ == "__main__":
    main()
