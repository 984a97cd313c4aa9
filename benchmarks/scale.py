"""From seconds an image and bytes a mask to machines, hours and bytes of millions of images, for docs/scale.md.

    python benchmarks/scale.py --model "ViT-B=CORE_SECONDS" --model "model inside=CORE_SECONDS" [--images 11e6] ...
    python benchmarks/scale.py --photos FOLDER     measures bytes a mask, by the model inside

CORE_SECONDS: of an image, on one core: the seconds that benchmarks/everything.py (ViT-B) and benchmarks/photos.py (the
model inside) measure, times their threads. Without figures the cells say "to be filled in". It is arithmetic: that
machines do not slow each other down is assumed, `--lost` is what stragglers and restarts are allowed to cost.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TO_FILL = "to be filled in"


@dataclass(frozen=True)
class Plan:
    """images: of the run. image_bytes: of one as it is stored. masks: of an image. mask_bytes: of one in the output.
    line_bytes, driver_bytes: of an image in the manifest, and in the driver's memory. resume: seconds a million images
    to read the manifest. cores: of a machine. lost: share of the time.
    """

    images: float
    image_bytes: float
    masks: float
    mask_bytes: float
    line_bytes: float
    driver_bytes: float
    resume: float
    cores: int
    lost: float
    embedding: float


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def hours(plan: Plan, seconds: float | None, machines: Sequence[int]) -> list[str]:
    """Core-hours of a model, then hours with so many machines."""
    if seconds is None:
        return [TO_FILL] * (2 + len(machines))
    total = plan.images * seconds / 3600 / (1 - plan.lost)
    return [f"{seconds:g}", f"{total:,.0f}", *(f"{total / plan.cores / one:,.1f}" for one in machines)]


def traffic(plan: Plan, seconds: float | None) -> list[str]:
    """What one machine does each second: images, MB read, MB between stages, requests to the store."""
    if seconds is None:
        return [TO_FILL] * 4
    each = plan.cores / seconds * (1 - plan.lost)
    # one GET and one PUT an image
    return [
        f"{each:.2f}",
        f"{each * plan.image_bytes / 1e6:.1f}",
        f"{each * plan.embedding / 1e6:.1f}",
        f"{2 * each:.1f}",
    ]


def volumes(plan: Plan) -> list[list[str]]:
    """Bytes and objects of the whole run, whatever the model."""
    out = plan.images * plan.masks * plan.mask_bytes
    segments = plan.images / 256
    return [
        ["images in", f"{plan.images * plan.image_bytes / 1e12:.1f} TB", f"{plan.images:,.0f} objects"],
        ["masks out", f"{out / 1e12:.2f} TB", f"{plan.images:,.0f} objects, {plan.images * plan.masks:,.0f} masks"],
        ["manifest", f"{plan.images * plan.line_bytes / 1e9:.1f} GB", f"{segments:,.0f} segments"],
        ["embeddings, never stored", f"{plan.images * plan.embedding / 1e12:.0f} TB", "between actors"],
        [
            "driver's memory",
            f"{plan.images * plan.driver_bytes / 1e9:.0f} GB",
            "list of images and what became of them",
        ],
        ["reading the manifest", f"{plan.images / 1e6 * plan.resume / 60:.0f} min", "before a resumed run begins"],
    ]


def measured(folder: Path) -> None:
    """Bytes of each format and mask, of the pictures in a folder, by the model inside."""
    import torch

    from anymask.models.load import load
    from anymask.pixels.image import Image
    from anymask.records.formats import format_named
    from anymask.records.record import ImageRef, Provenance, Record
    from anymask.session.everything import everything

    torch.manual_seed(0)
    model = load(None, device="cpu")
    forms = [format_named(name) for name in ("sa1b", "coco", "png")]
    rows = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            continue
        image = Image.open(path)
        masks = everything(image, model)  # type: ignore[arg-type]
        record = Record(ImageRef.of(image), masks, Provenance(time=""))
        sizes = [sum(map(len, form.files(record, path.stem).values())) for form in forms]
        height, width = image.size
        rows.append(
            [
                path.name,
                f"{width} x {height}",
                f"{len(masks.scores)}",
                *(f"{one / len(masks.scores):,.0f}" for one in sizes),
            ]
        )
    print(table(["image", "size", "masks", *(f"{form.name}, bytes a mask" for form in forms)], rows))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", metavar="NAME=CORE_SECONDS")
    parser.add_argument("--images", type=float, default=11e6)
    parser.add_argument("--image-bytes", type=float, default=1e6, help="11 TB of JPEG for 11 million")
    parser.add_argument("--masks", type=float, default=100, help="an image; SA-1B has 1.1 billion")
    parser.add_argument("--mask-bytes", type=float, default=1507, help="measured, see --photos")
    parser.add_argument("--line-bytes", type=float, default=392)
    parser.add_argument("--driver-bytes", type=float, default=2364)
    parser.add_argument("--resume", type=float, default=59.0, help="seconds a million images")
    parser.add_argument("--cores", type=int, default=64)
    parser.add_argument("--lost", type=float, default=0.1)
    parser.add_argument("--embedding", type=float, default=4 * 2**20)
    parser.add_argument("--machines", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--photos", type=Path)
    how = parser.parse_args()
    if how.photos is not None:
        measured(how.photos)
        return
    given = dict(one.rsplit("=", 1) for one in how.model or ("ViT-B, 32 x 32=", "model inside, 32 x 32="))
    models = {name: float(value) if value else None for name, value in given.items()}
    plan = Plan(
        how.images, how.image_bytes, how.masks, how.mask_bytes, how.line_bytes, how.driver_bytes, how.resume, how.cores,
        how.lost, how.embedding,
    )  # fmt: skip
    heads = ["model", "core-seconds an image", "core-hours", *(f"hours, {one} machines" for one in how.machines)]
    print(table(heads, [[name, *hours(plan, one, how.machines)] for name, one in models.items()]), "\n")
    print(table(["what", "how much", "in"], volumes(plan)), "\n")
    heads = ["a machine, each second", "images", "MB read", "MB between stages", "requests"]
    print(table(heads, [[name, *traffic(plan, one)] for name, one in models.items()]))


if __name__ == "__main__":
    main()
