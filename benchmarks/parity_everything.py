"""Everything mode's records against PyPI's segment-anything on full-size photos, ViT-B.

    python benchmarks/parity_everything.py [--threads 2] [--images truck.jpg groceries.jpg] [--json FILE]

Three comparisons for each photo, with the whole image alone and with a layer of crops (an eighth of the points a side):
- made-up logits (shared/bench/workload.py where it is at hand): both sides get the same ones;
- random weights: the official network runs, and both sides get its logits; the filters are set so that 50 to 200 masks
  survive (random masks all fill the photo, so suppression is off);
- the whole chain: our own network with the same random weights, whose logits agree to rounding only. For this one the
  number of records that pair up by point, crop and score, and the pixels that differ, are told.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import measure
import peers
from everything import SHARED, picture

TESTS = Path(__file__).resolve().parents[1] / "tests" / "parity"
sys.path.insert(0, str(TESTS))


def made_up(size: tuple[int, int], points: np.ndarray, scenes: dict[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a scene as wide as the crop."""
    if (SHARED / "bench" / "workload.py").is_file():
        sys.path.insert(0, str(SHARED / "bench"))
        import workload

        if size not in scenes:
            scenes[size] = workload.Scene(0, aspect=(size[1] / max(size), size[0] / max(size)))
        answer: tuple[np.ndarray, np.ndarray] = scenes[size].predict(points)
        return answer
    from everything_cases import blobs

    return blobs(256)(size, points)


class Recorder(torch.nn.Module):
    """The official decoder, its answers kept in order."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.logits: list[torch.Tensor] = []
        self.scores: list[torch.Tensor] = []

    def forward(self, **asked: Any) -> Any:
        logits, scores = self.inner(**asked)
        self.logits.append(logits)
        self.scores.append(scores)
        return logits, scores


def with_random_weights(peer: Any, model: Any, pixels: np.ndarray, options: dict[str, Any]) -> dict[str, Any]:
    from everything_cases import Ours, differences
    from segment_anything import SamAutomaticMaskGenerator

    from anymask.models.interface import Decoded
    from anymask.pixels.image import Image
    from anymask.session.everything import find
    from anymask.session.settings import EverythingSettings

    inner = peer.mask_decoder
    open_ = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0, "crop_nms_thresh": 1.0}
    # a small first run tells how random weights score
    peer.mask_decoder = recorder = Recorder(inner)
    few = SamAutomaticMaskGenerator(
        peer, points_per_side=8, output_mode="uncompressed_rle", **open_ | {"pred_iou_thresh": 9}
    )
    few.generate(pixels)
    scores = torch.cat(recorder.scores).flatten()
    wanted = 120 / (3 * (options["points_per_side"] ** 2 + 4 * (options["points_per_side"] // 8) ** 2))
    shift = float(scores.min()) - 1.0  # the official code takes thresholds of 0 and less for "keep all"
    recorder.inner = Shifted(inner, shift)
    recorder.logits, recorder.scores = [], []
    chosen = open_ | {"pred_iou_thresh": float(torch.quantile(scores - shift, 1 - wanted))}
    records = SamAutomaticMaskGenerator(peer, output_mode="uncompressed_rle", **options, **chosen).generate(pixels)
    peer.mask_decoder = inner
    logits, kept = torch.cat(recorder.logits), torch.cat(recorder.scores)
    at = [0]

    class Replay(Ours):
        def decode(self, embedding: Any, prompts: Any, **_: Any) -> Decoded:
            rows = slice(at[0], at[0] + len(prompts))
            at[0] = rows.stop
            return Decoded(logits[rows], kept[rows], embedding.resize[0])

    settings = EverythingSettings(**options, **chosen)
    found = find(Replay(None, 1024), Image.open(pixels), settings)  # type: ignore[arg-type]
    said = differences(records, found, pixels.shape[:2])

    class Whole:
        card, weights, device, encode = model.card, model.weights, model.device, staticmethod(model.encode)

        def decode(self, embedding: Any, prompts: Any, **_: Any) -> Decoded:
            decoded = model.decode(embedding, prompts, multimask=True)
            return Decoded(decoded.logits, decoded.scores - shift, decoded.resize)

    whole = find(Whole(), Image.open(pixels), settings)  # type: ignore[arg-type]
    return {"records": len(records), "differences": said[:5], "whole chain": chain(records, whole, pixels.shape[:2])}


class Shifted(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module, shift: float) -> None:
        super().__init__()
        self.inner, self.shift = inner, shift

    def forward(self, **asked: Any) -> Any:
        logits, scores = self.inner(**asked)
        return logits, scores - self.shift


def chain(records: list[dict[str, Any]], found: list[Any], size: tuple[int, int]) -> dict[str, Any]:
    """How records of two networks that agree to rounding pair up."""
    from anymask.masks.rle import decode_one
    from anymask.session.everything import coded

    mine: dict[Any, list[Any]] = {}
    for one in found:
        mine.setdefault((one.point, one.crop.x0, one.crop.y0), []).append(one)
    paired, pixels, worst = 0, 0, 0
    for record in records:
        x, y, *_ = record["crop_box"]
        near = [
            one
            for one in mine.get((tuple(record["point_coords"][0]), x, y), [])
            if abs(float(one.score) - record["predicted_iou"]) < 1e-3
        ]
        if near:
            runs = np.array([0, *np.cumsum(record["segmentation"]["counts"])])
            flat = np.zeros(size[0] * size[1] + 1, np.int8)
            np.add.at(flat, runs[1:-1:2], 1)
            np.add.at(flat, runs[2::2], -1)
            dense = np.cumsum(flat[:-1]).astype(bool).reshape(size[1], size[0]).T
            other = [int((decode_one(coded(one.sight.edges, size)) != dense).sum()) for one in near]
            paired, pixels, worst = paired + 1, pixels + min(other), max(worst, min(other))
    return {"official": len(records), "ours": len(found), "paired": paired, "pixels differ": pixels, "worst": worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", nargs="+", default=["truck.jpg", "groceries.jpg"])
    parser.add_argument("--side", type=int, default=32, help="points along a side, for made-up logits")
    parser.add_argument("--random-side", type=int, default=16, help="the same where the official network runs")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.set_grad_enabled(False)
    import torchvision_shim

    torchvision_shim.install()
    import segment_anything
    from everything_cases import differences, official, ours, rounded

    from anymask.models.catalogue import card

    peer = peers.official(shim=False)
    model = peers.ours(peer)
    model.card = card("sam-vit-b")
    found: dict[str, Any] = {"machine": measure.machine()}
    for image in asked.images:
        pixels = picture(image)
        for layers in (0, 1):
            options: dict[str, Any] = {"points_per_side": asked.side, "crop_n_layers": layers}
            options["crop_n_points_downscale_factor"] = 8
            scenes: dict[Any, Any] = {}
            answers = rounded(lambda size, points, scenes=scenes: made_up(size, points, scenes))  # type: ignore[misc]
            records = official(segment_anything, pixels, answers, 1024, **options)
            said = differences(records, ours(pixels, answers, 1024, **options), pixels.shape[:2])
            name = f"{image}, crop layers {layers}"
            found[f"{name}, made-up logits"] = {"records": len(records), "differences": said[:5]}
            print(name, "made-up logits:", found[f"{name}, made-up logits"], flush=True)
            options["points_per_side"] = asked.random_side
            found[f"{name}, random weights"] = with_random_weights(peer, model, pixels, options)
            print(name, "random weights:", found[f"{name}, random weights"], flush=True)
    print(json.dumps(found["machine"]))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
