"""Generated scenes: milliseconds each, by the clock and of the processor, and a sheet of scenes beside their masks.

python benchmarks/scenes.py [--sides 256 512] [--count 32] [--seed 0] [--device cpu] [--sheet FILE.png]
"""

from __future__ import annotations

import argparse
import colorsys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from anymask.data.scene_paint import SceneBatch
from anymask.data.scenes import draw


def milliseconds(side: int, count: int, seed: int, device: str) -> tuple[float, float, float]:
    """Of one scene, amortised over batches of 16, by the clock and of the processor, and masks in it."""
    draw([(seed, 0)], side, device)  # the bank of fields is made once
    masks, start, busy = 0, time.perf_counter(), time.process_time()
    for first in range(0, count, 16):
        masks += sum(draw([(seed, i) for i in range(first, min(first + 16, count))], side, device).counts)
    if device != "cpu":
        torch.cuda.synchronize()
    spent, busy = time.perf_counter() - start, time.process_time() - busy
    return spent * 1000 / count, busy * 1000 / count, masks / count


def painted(batch: SceneBatch, scene: int) -> NDArray[np.uint8]:
    """Visible masks in colours, parts over wholes; dark where there is none."""
    picture = batch.images[scene].cpu().numpy() // 4
    for mask, hue in zip(batch.visible[scene].cpu().numpy(), np.arange(64) * 0.618, strict=False):
        picture[mask] = (np.array(colorsys.hsv_to_rgb(hue % 1, 0.75, 1.0)) * 200 + picture[mask] * 0.2).astype(np.uint8)
    return picture


def sheet(file: Path, side: int, count: int, seed: int, device: str, first: int = 0) -> None:
    batch = draw([(seed, first + i) for i in range(count)], side, device)
    pairs = [np.concatenate([batch.images[i].cpu().numpy(), painted(batch, i)], 1) for i in range(count)]
    rows = [np.concatenate(pairs[i : i + 4], 1) for i in range(0, count - count % 4, 4)]
    Image.fromarray(np.concatenate(rows)).save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()
    for side in asked.sides:
        spent, busy, masks = milliseconds(side, asked.count, asked.seed, asked.device)
        print(f"{side} px on {asked.device}: {spent:.1f} ms a scene, {busy:.1f} ms of the processor, {masks:.1f} masks")
    if asked.sheet:
        sheet(asked.sheet, asked.sides[0], 24, asked.seed, asked.device, asked.first)


if __name__ == "__main__":
    main()
