"""Everything mode of the model inside: seconds a photo and masks found, by preset; photos an hour on a folder.

    python benchmarks/photos.py FOLDER [--threads 2] [--photos 10] [--rounds 3] [--json FILE]

FOLDER: photos, evenly picked (sub-folders too). Each preset answers each photo; medians over photos and rounds, encode
included. Then `anymask everything` runs over the same photos with as many workers as cores, as a user would.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import measure

WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "default, bfloat16 encoder": {},
    "quick": {"preset": "quick"},
    "proposals": {"preset": "proposals"},
}


def photos(folder: Path, count: int) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not found:
        sys.exit(f"{folder} holds no photos")
    return [found[int(place * (len(found) - 1) / max(count - 1, 1))] for place in range(min(count, len(found)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    import anymask
    from anymask.models.promptable import PromptableModel

    model = anymask.load()
    assert isinstance(model, PromptableModel)
    chosen = photos(asked.folder, asked.photos)
    found: dict[str, Any] = {"machine": measure.machine(), "photos": len(chosen)}
    rows: list[tuple[Any, ...]] = [("way", "median s a photo", "slowest", "masks a photo")]
    anymask.everything(chosen[0], model, points_per_side=4)
    for name, options in WAYS.items():
        model.use(torch.bfloat16 if "bfloat16" in name else torch.float32)
        seconds, masks = [], []
        for _ in range(asked.rounds):
            for path in chosen:
                start = time.perf_counter()
                masks.append(len(anymask.everything(path, model, **options)))
                seconds.append(time.perf_counter() - start)
        found[name] = {"median": statistics.median(seconds), "slowest": max(seconds), "masks": statistics.mean(masks)}
        rows.append((name, *found[name].values()))
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        command = [sys.executable, "-m", "anymask", "everything", *map(str, chosen), "-o", out, "-q"]
        subprocess.run([*command, "--format", "sa1b"], check=True)
        found["folder"] = {"seconds": time.perf_counter() - start}
        found["folder"]["photos an hour"] = 3600 * len(chosen) / found["folder"]["seconds"]
    measure.table(rows)
    print(f"\nfolder of {len(chosen)}, start of the workers included: {found['folder']['photos an hour']:.0f} an hour")
    print(json.dumps(found["machine"]))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
