"""Following one object with SAM 2.1 Hiera-T at 1024 pixels: anymask beside PyPI's sam2.

    python benchmarks/video_speed.py [--threads 2] [--rounds 3] [--json FILE]

Both sides have the same weights and the same memories: one prompted frame, six frames before, sixteen pointers. They
take turns in one process, once under glibc's default allocator and once with freed memory held. "frame" is what every
frame of a clip costs: encode, read the memories, answer, make a memory. Seconds are given as a clock and as the
processor counts them, which a busy machine changes less. Memory is the peak above the weights of one whole frame, each
side in a process of its own.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch

import measure
from anymask.models.catalogue import card
from anymask.models.interface import Embedding
from anymask.models.tracking import TrackingModel
from anymask.models.video import Recalled
from anymask.models.weights import apply
from anymask.pixels.image import Image

CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
FRAME, CLIP = 20, 1000


def official() -> Any:
    """The official video predictor with seeded random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from sam2.build_sam import build_sam2_video_predictor
        except ImportError:
            sys.exit("the peer is missing: see tests/peers.txt")
        torch.manual_seed(0)
        return build_sam2_video_predictor(CONFIG, None, device="cpu")


def ours(state: dict[str, torch.Tensor]) -> TrackingModel:
    model = cast(TrackingModel, card("sam2.1-hiera-tiny").build())  # type: ignore[misc]
    apply(model, card("sam2.1-hiera-tiny"), state)
    return model.eval()


def picture() -> Image:
    rng = np.random.default_rng(0)
    return Image.open(rng.integers(0, 256, (1024, 1024, 3), np.uint8))


def memories() -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """(features, pointer) of frames 0 to `FRAME`; features in bfloat16, as the official state keeps them."""
    draw = torch.Generator().manual_seed(2)
    return {
        frame: (torch.randn(1, 64, 64, 64, generator=draw).bfloat16(), torch.randn(1, 256, generator=draw))
        for frame in range(FRAME)
    }


def official_frame(predictor: Any, frame: torch.Tensor) -> Callable[[], torch.Tensor]:
    """What the official code does on a frame that nobody clicked on; answers low-resolution logits."""
    places = predictor.memory_encoder.position_encoding(torch.zeros(1, 64, 64, 64))
    kept = {
        number: {"maskmem_features": features, "maskmem_pos_enc": [places], "obj_ptr": pointer}
        for number, (features, pointer) in memories().items()
    }
    outputs = {"cond_frame_outputs": {0: kept.pop(0)}, "non_cond_frame_outputs": kept}

    def run() -> torch.Tensor:
        _, features, positions, sizes = predictor._prepare_backbone_features(predictor.forward_image(frame))
        out = predictor.track_step(
            frame_idx=FRAME,
            is_init_cond_frame=False,
            current_vision_feats=features,
            current_vision_pos_embeds=positions,
            feat_sizes=sizes,
            point_inputs=None,
            mask_inputs=None,
            output_dict=outputs,
            num_frames=CLIP,
        )
        return cast(torch.Tensor, out["pred_masks"])

    return run


def our_frame(model: TrackingModel, image: Image) -> Callable[[], torch.Tensor]:
    """The same through the video protocol."""
    kept = memories()
    features = [(kept[0][0][0], 0)] + [(kept[FRAME - slot][0][0], slot) for slot in range(6, 0, -1)]
    pointers = [(kept[0][1][0], FRAME)] + [(kept[FRAME - far][1][0], far) for far in range(1, 16)]
    recalled = Recalled(tuple(features), tuple(pointers))
    frames, maps = model.preprocess([image])

    def run() -> torch.Tensor:
        embedding = Embedding(model.encode_frames(frames), maps, model.weights)
        tracked = model.track(embedding, [recalled])
        logits = tracked.logits[:, tracked.best[0]]
        model.memorise(embedding, logits, tracked.presence, prompted=False)
        return logits[:, None]

    return run


def paired(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds of each call, by the clock and of the processor; the calls take turns."""
    clock: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            begun, spent = time.perf_counter(), time.process_time()
            call()
            if turn:
                clock[name].append(time.perf_counter() - begun)
                processor[name].append(time.process_time() - spent)
    return {
        name: {"clock": statistics.median(clock[name]), "processor": statistics.median(processor[name])}
        for name in calls
    }


def times(rounds: int) -> dict[str, Any]:
    predictor, image = official(), picture()
    model = ours(predictor.state_dict())
    frames, _ = model.preprocess([image])
    theirs, mine = official_frame(predictor, frames), our_frame(model, image)
    calls: dict[str, Callable[[], Any]] = {
        "official encode": lambda: predictor.forward_image(frames),
        "our encode": lambda: model.encode_frames(frames),
        "official frame": theirs,
        "our frame": mine,
    }
    found: dict[str, Any] = paired(calls, rounds)
    expected = theirs()
    error = float((mine() - expected).abs().max() / expected.abs().max())
    return found | {"error": error, "machine": measure.machine()}


def memory(side: str) -> float:
    predictor, image = official(), picture()
    model = ours(predictor.state_dict())
    frames, _ = model.preprocess([image])
    return measure.peak_mib(official_frame(predictor, frames) if side == "official" else our_frame(model, image))


def main() -> None:
    found = measure.versus_official(__file__, __doc__, 3, times, memory)
    rows: list[tuple[Any, ...]] = [("seconds", "official", "ours", "ratio", "official (processor)", "ours", "ratio")]
    for malloc in ("default", "held"):
        for what in ("encode", "frame"):
            their, our = found[malloc][f"official {what}"], found[malloc][f"our {what}"]
            rows.append(
                (
                    f"{what}, {malloc} malloc",
                    *(their["clock"], our["clock"], their["clock"] / our["clock"]),
                    *(their["processor"], our["processor"], their["processor"] / our["processor"]),
                )
            )
    measure.table(rows)
    peak = found["memory"]
    print(f"\npeak memory above the weights: official {peak['official']:.0f} MiB, ours {peak['ours']:.0f} MiB")
    print(f"logits differ by {found['held']['error']:.1e} of the largest")
    print(found["held"]["machine"])


if __name__ == "__main__":
    main()
