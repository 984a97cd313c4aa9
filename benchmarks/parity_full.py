"""Our SAM against PyPI segment-anything at full size: the same random weights, the same pictures and prompts.

    python benchmarks/parity_full.py b            # ViT-B, all pictures: some minutes on two cores
    python benchmarks/parity_full.py h --pictures landscape,tiny

The official class saves its weights with noise in every parameter; ours are loaded from that file. Needs the packages
of tests/peers.txt and, for ViT-H, some 10 GB of memory. Results by date and machine: docs/parity.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "parity"))

import sam_cases
import torchvision_shim

from anymask.compat.segment_anything import SamPredictor
from anymask.models.load import load
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts


def pair(size: str) -> tuple[Any, Any]:
    """The official model and ours with its weights."""
    torchvision_shim.install()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import segment_anything
    torch.manual_seed(0)
    official = sam_cases.randomise(segment_anything.sam_model_registry[f"vit_{size}"]())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "official.pth"
        torch.save(official.state_dict(), path)
        ours = load(f"sam-vit-{size}", weights=path, device="cpu")
    return segment_anything.SamPredictor(official), ours


def compare(official: Any, ours: Any, name: str) -> tuple[sam_cases.Differences, float, float]:
    """Differences on one picture, and the seconds that each took to encode it."""
    pixels = sam_cases.picture(sam_cases.SIZES[name])
    start = time.perf_counter()
    official.set_image(pixels)
    between = time.perf_counter()
    with torch.no_grad():
        embedding = ours.encode([Image.open(pixels)])
    end = time.perf_counter()
    # the same embedding through the official names, as scripts that keep embeddings do
    compat = SamPredictor(ours)
    compat.features, compat.is_image_set = embedding.tensors["image"], True
    compat.original_size, compat.input_size = official.original_size, official.input_size
    found = sam_cases.Differences()
    found.embedding = float((embedding.tensors["image"] - official.get_image_embedding()).abs().max())
    first = None
    for case in sam_cases.cases(pixels.shape[:2]):
        for multimask in (True, False):
            if len(case) > 1 and multimask and name == "large":
                continue  # fifteen masks of 12 megapixels as floats, twice
            theirs = sam_cases.ask(official, case, first, multimask)
            found.add(case.name, sam_cases.ask(compat, case, first, multimask), theirs)
            if first is None:
                first = theirs[2][:, :1]
            found.add(f"{case.name} by encode and decode", own(ours, embedding, case, first, multimask), theirs)
    return found, between - start, end - between


def own(ours: Any, embedding: Any, case: sam_cases.Case, logits: torch.Tensor, multimask: bool) -> tuple[Any, Any, Any]:
    """The answer through our own interface."""
    back = logits[:, 0].expand(len(case), -1, -1).numpy() if case.mask else None
    prompts = Prompts.of(case.points, case.labels, case.boxes, back, size=embedding.resize[0].original)
    with torch.no_grad():
        decoded = ours.decode(embedding, prompts, multimask=multimask)
        masks = torch.cat([decoded.upscaled(slice(i, i + 1)) > 0 for i in range(len(case))])
    return masks, decoded.scores, decoded.logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=["b", "l", "h"])
    parser.add_argument("--pictures", default=",".join(sam_cases.SIZES), help="comma-separated")
    arguments = parser.parse_args()
    official, ours = pair(arguments.size)
    print(
        "| model | picture | embedding | logits (largest) | IoU scores | mask IoU | masks | encode: official / ours |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.pictures.split(","):
        found, theirs, mine = compare(official, ours, name)
        height, width = sam_cases.SIZES[name]
        print(
            f"| ViT-{arguments.size.upper()} | {name} {width} x {height} | {found.embedding:.1e} "
            f"| {found.logits:.1e} ({found.largest:.1f}) | {found.scores:.1e} | {found.iou:.6f} | {found.masks} "
            f"| {theirs:.1f} / {mine:.1f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()
