"""The peer that the benchmarks are paired with: PyPI's segment-anything with seeded random weights."""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

import torch

IMPORTED_FROM_TORCHVISION = {
    "torchvision.ops.boxes": ("batched_nms", "box_area"),
    "torchvision.transforms.functional": ("resize", "to_pil_image"),
}


def _stand_in() -> None:
    """Lets segment-anything import without torchvision, which has no build for a CPU-only torch.

    The networks timed here use none of these functions; whoever calls one is told so.
    """

    def absent(*_: Any, **__: Any) -> Any:
        raise RuntimeError("this needs torchvision, which the benchmarks do without")

    for name, functions in IMPORTED_FROM_TORCHVISION.items():
        parent = ""
        for part in name.split("."):
            full = f"{parent}.{part}" if parent else part
            module = sys.modules.setdefault(full, types.ModuleType(full))
            if parent:
                setattr(sys.modules[parent], part, module)
            parent = full
        for function in functions:
            setattr(sys.modules[name], function, absent)


def official(kind: str = "vit_b", seed: int = 0, *, shim: bool = True) -> Any:
    """The official SAM, noise in the tables that it starts at zero. shim: do without torchvision."""
    if importlib.util.find_spec("segment_anything") is None:
        sys.exit("the peer is missing: pip install --no-deps segment-anything")
    if shim:
        _stand_in()
    from segment_anything import sam_model_registry

    torch.manual_seed(seed)
    sam = sam_model_registry[kind]().eval()
    with torch.no_grad():
        for name, parameter in sam.image_encoder.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                parameter.normal_(0, 0.3)
    return sam


def ours(peer: Any, kind: str = "vit_b") -> Any:
    """Our SAM with the peer's weights."""
    from anymask.family import sam

    model = getattr(sam, kind)().eval()
    model.load_state_dict(peer.state_dict(), strict=True)
    return model
