"""Everything mode with ViT-B: anymask beside PyPI's segment-anything.

    python benchmarks/everything.py [--threads 2] [--rounds 1] [--side 32] [--image truck.jpg] [--json FILE]

Both sides encode the picture, answer a grid of side x side points and run their decoders with random weights for what
that costs; then both get the same made-up logits (blobs of several sizes, as real answers have), so that what follows
has realistic work and must give the same records. Parts: the whole image; all that follows the decoder, on the first
64 points; run-length encoding alone; peak memory above the model. Under glibc's default allocator and with freed memory
held. Takes some ten minutes. The logits are those of ANYMASK_SHARED/bench/workload.py where that is at hand, else those
of tests/parity/everything_cases.py; the picture is made up where there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import measure
import peers

TESTS = Path(__file__).resolve().parents[1] / "tests" / "parity"
SHARED = Path(os.environ.get("ANYMASK_SHARED", Path(__file__).resolve().parents[2] / "shared"))
sys.path.insert(0, str(TESTS))


def picture(name: str) -> np.ndarray:
    from PIL import Image

    for path in (Path(name), SHARED / "bench" / "images" / name):
        if path.is_file():
            return np.asarray(Image.open(path).convert("RGB"))
    from sam_cases import picture as made_up

    return made_up((1200, 1800))


def made_up_logits(size: tuple[int, int], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits [side * side, 3, 256, 256] and scores [side * side, 3] for a grid of points."""
    if (SHARED / "bench" / "workload.py").is_file():
        sys.path.insert(0, str(SHARED / "bench"))
        import workload

        return workload.grid_scene(size, side)
    from everything_cases import blobs

    from anymask.session.grid import point_grid

    return blobs(256)(size, point_grid(side))


class Bench:
    """The same question to both sides."""

    def __init__(self, image: str, side: int, decoders: bool = True) -> None:
        import torchvision_shim

        from anymask.models.catalogue import card

        torchvision_shim.install()
        torch.set_grad_enabled(False)
        self.pixels, self.side = picture(image), side
        self.logits, self.scores = (torch.from_numpy(x) for x in made_up_logits(self.pixels.shape[:2], side))
        self.peer = peers.official(shim=False)
        self.model = peers.ours(self.peer)
        self.model.card = card("sam-vit-b")
        self.decoders = decoders

    def official(self) -> list[dict[str, Any]]:
        from segment_anything import SamAutomaticMaskGenerator

        inner, at = self.peer.mask_decoder, [0]

        class StandIn(torch.nn.Module):
            def forward(_, **asked: Any) -> Any:
                if self.decoders:
                    inner(**asked)
                rows = slice(at[0], at[0] + len(asked["sparse_prompt_embeddings"]))
                at[0] = rows.stop
                return self.logits[rows].clone(), self.scores[rows].clone()

        self.peer.mask_decoder = StandIn()
        try:
            generator = SamAutomaticMaskGenerator(self.peer, points_per_side=self.side, output_mode="uncompressed_rle")
            return generator.generate(self.pixels)
        finally:
            self.peer.mask_decoder = inner

    def ours(self) -> list[Any]:
        from dataclasses import replace

        from anymask.models.promptable import PromptableModel
        from anymask.pixels.image import Image
        from anymask.session.everything import find
        from anymask.session.settings import EverythingSettings

        at = [0]
        bench = self

        class StandIn:
            card, weights, device = bench.model.card, bench.model.weights, bench.model.device
            encode = bench.model.encode

            def decode(self, embedding: Any, prompts: Any, **options: Any) -> Any:
                options.pop("min_score", None)  # every mask is computed: the scores that would spare some are made up
                rows = slice(at[0], at[0] + len(prompts))
                at[0] = rows.stop
                if bench.decoders:
                    decoded = PromptableModel.decode(bench.model, embedding, prompts, **options)
                    return replace(decoded, logits=bench.logits[rows], scores=bench.scores[rows])
                from anymask.models.interface import Decoded

                return Decoded(bench.logits[rows], bench.scores[rows], embedding.resize[0])

        return find(StandIn(), Image.open(self.pixels), EverythingSettings(points_per_side=self.side))  # type: ignore[arg-type]

    def after_decoder(self) -> dict[str, Callable[[], Any]]:
        """All that follows the decoder, on 64 points."""
        from segment_anything import SamAutomaticMaskGenerator

        from anymask.models.interface import Decoded
        from anymask.pixels.resize import Resize
        from anymask.session.everything import _good, coded
        from anymask.session.full_size import FullSize
        from anymask.session.settings import EverythingSettings

        middle = len(self.logits) // 2
        rows = slice(max(0, middle - 32), middle + 32)
        logits, scores = self.logits[rows], self.scores[rows]
        size = self.pixels.shape[:2]
        resize = Resize.fit(size, 1024)
        generator = SamAutomaticMaskGenerator(self.peer)
        peer = self.peer

        class Predictor:
            model, device = peer, torch.device("cpu")
            transform = type("T", (), {"apply_coords": staticmethod(lambda points, size: points)})

            def predict_torch(self, *_: Any, **__: Any) -> Any:
                return peer.postprocess_masks(logits, resize.resized, size), scores, None

        generator.predictor = Predictor()
        points = np.zeros((len(logits), 2))
        box = [0, 0, size[1], size[0]]
        settings = EverythingSettings()

        def official() -> Any:
            return generator._process_batch(points, size, box, size)

        def ours() -> Any:
            full = FullSize(resize, (256, 256))
            found = _good(Decoded(logits, scores, resize), full, settings)
            return [(sight.box, sight.stability, coded(sight.edges, size)) for _, sight, _ in found]

        return {"official": official, "ours": ours}

    def encoding(self) -> dict[str, Callable[[], Any]]:
        """Run lengths of 60 masks at full size, as lists of counts."""
        from segment_anything.utils.amg import mask_to_rle_pytorch

        from anymask.masks.rle import between, edges
        from anymask.pixels.resize import Resize

        size = self.pixels.shape[:2]
        middle = len(self.logits) // 2
        planes = self.logits[middle - 10 : middle + 10]
        masks = self.peer.postprocess_masks(planes, Resize.fit(size, 1024).resized, size).flatten(0, 1) > 0
        dense = masks.numpy()

        def ours() -> Any:
            return [between(edges(one), size).tolist() for one in dense]

        def official() -> Any:
            return mask_to_rle_pytorch(masks)

        assert [one["counts"] for one in official()] == ours()
        return {"official": official, "ours": ours}


def times(rounds: int, image: str, side: int) -> dict[str, Any]:
    bench = Bench(image, side)
    found: dict[str, Any] = {"machine": measure.machine()}
    from everything_cases import differences

    answers: dict[str, Any] = {}

    def kept(name: str, call: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            answers[name] = call()

        return run

    whole = {"official": kept("official", bench.official), "ours": kept("ours", bench.ours)}
    found["whole image"] = measure.paired(whole, rounds, warm=0)
    said = differences(answers["official"], answers["ours"], bench.pixels.shape[:2])
    found["records"], found["differences"] = len(answers["ours"]), said[:5]
    found["after the decoder, 64 points"] = measure.paired(bench.after_decoder(), max(6, rounds))
    found["run lengths, 60 masks"] = measure.paired(bench.encoding(), max(6, rounds))
    start = time.perf_counter()
    with torch.no_grad():
        from anymask.pixels.image import Image

        bench.model.encode([Image.open(bench.pixels)])
    found["ours, encode"] = time.perf_counter() - start
    return found


def memory(side: str, image: str, points: int) -> float:
    bench = Bench(image, points)
    return measure.peak_mib(getattr(bench, side))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--image", default="truck.jpg")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.part == "times":
        print(json.dumps(times(asked.rounds, asked.image, asked.side)))
        return
    if asked.part:
        # the peak of a few batches is that of many
        print(json.dumps(memory(asked.part, asked.image, min(asked.side, 16))))
        return
    same = ("--threads", str(asked.threads), "--rounds", str(asked.rounds), "--side", str(asked.side))
    same += ("--image", asked.image)
    found: dict[str, Any] = {}
    for malloc in ("default", "held"):
        found[malloc] = measure.in_process(__file__, *same, "--part", "times", held=malloc == "held")
    found["memory"] = {side: measure.in_process(__file__, *same, "--part", side) for side in ("official", "ours")}
    rows: list[tuple[Any, ...]] = [("malloc", "part", "official s", "anymask s", "ratio")]
    for malloc in ("default", "held"):
        for name, part in found[malloc].items():
            if isinstance(part, dict) and "official" in part:
                rows.append((malloc, name, part["official"], part["ours"], part["official"] / part["ours"]))
    measure.table(rows)
    for malloc in ("default", "held"):
        part = found[malloc]
        print(f"{malloc}: {part['records']} records, {part['differences'] or 'none differs'}")
    print("peak memory above the models, MiB:", {name: round(value) for name, value in found["memory"].items()})
    print(json.dumps(found["default"]["machine"]))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
