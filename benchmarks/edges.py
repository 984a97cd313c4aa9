"""Edges on BSDS500: Canny, whose published score proves the benchmark, and a model's masks.

    python benchmarks/edges.py BSDS500 --out edges.json
    python benchmarks/edges.py BSDS500 --part val --cap 20 --thresholds 19 --rows canny

BSDS500 is any folder that holds data/images/test and data/groundTruth/test, such as a checkout of the public repository
BIDS/BSDS500. 200 images take about an hour of one core for each row; what was measured is kept beside --out, and the
same line goes on after a kill. The figures are those of `anymask evaluate --protocol edges`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from anymask.evaluate.edges import MEASURES, Edges
from anymask.evaluate.plots import write
from anymask.evaluate.protocol import Choice
from anymask.evaluate.runner import run

PUBLISHED = {
    "Canny": (0.600, 0.640, 0.580, None),
    "SAM ViT-H": (0.768, 0.786, 0.794, 0.928),
    "HED": (0.788, 0.808, 0.840, 0.923),
}
"""ODS, OIS, AP, R50 on the test part, as Segment Anything quotes them (table 3)."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path)
    options.add_argument("--part", default="test", choices=["test", "val", "train"])
    options.add_argument("--rows", nargs="+", default=["canny", "masks"], choices=["canny", "masks"])
    options.add_argument("--model", help="the model inside if left out")
    options.add_argument("--cap", type=int, help="images, evenly spread")
    options.add_argument("--thresholds", type=int, default=99)
    options.add_argument("--sigma", type=float, default=2.0, help="Canny's blur, pixels")
    options.add_argument("--out", type=Path, help="JSON; each row's own figures go beside it")
    chosen = options.parse_args()
    table = {f"{name}, published": dict(zip(MEASURES, row, strict=True)) for name, row in PUBLISHED.items()}
    for detector in chosen.rows:
        protocol = Edges(detector, chosen.part, chosen.thresholds, sigma=chosen.sigma)
        model = None
        if protocol.needs_model:
            from anymask.models.load import load

            model = load(chosen.model)
        place = chosen.out and chosen.out.with_name(f"{chosen.out.stem}.{detector}.json")
        report = run(
            protocol,
            chosen.data,
            model=model,
            choice=Choice(chosen.cap),
            precision="bfloat16" if model is not None else "float32",
            out=place,
            tell=lambda done, total: print(f"\r{done} of {total} images", end="", flush=True),
        )
        print()
        report.show()
        if place is not None:
            write(report.outcome.plots, place.with_suffix(".png"))
        table[f"{report.about['model']}, measured on {sum(report.images.values())} images"] = report.mean
    for name, row in table.items():
        cells = "  ".join(f"{key} {'    ' if row[key] is None else format(row[key], '.3f')}" for key in MEASURES)
        print(f"{name:44}  {cells}")
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
