"""The official builders: a SAM 2 by its configuration file's name, with the weights of a checkpoint or random ones."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from anymask.compat.sam2.modeling import with_parts
from anymask.compat.sam2.sam2_video_predictor import SAM2VideoPredictor
from anymask.errors import BadSetting, NotYet
from anymask.models.catalogue import card as card_of
from anymask.models.load import load
from anymask.models.tracking import TrackingModel

Checkpoint = str | os.PathLike[str] | None
"""Path of a weights file; None for random weights."""

STEADY = "sam_mask_decoder_extra_args.dynamic_multimask_via_stability"
VIDEO = (
    "fill_hole_area",
    "non_overlap_masks",
    "clear_non_cond_mem_around_input",
    "add_all_frames_to_correct_as_cond",
    "binarize_mask_from_pts_for_mem_enc",
    "max_cond_frames_in_attn",
)
"""Settings of a configuration that may be overridden, besides `STEADY`."""


def build_sam2(
    config_file: str,
    ckpt_path: Checkpoint = None,
    device: str | torch.device = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    **kwargs: Any,
) -> TrackingModel:
    """A SAM 2 for images.

    config_file: an official one ("configs/sam2.1/sam2.1_hiera_t.yaml") or a model's name ("sam2.1-hiera-tiny").
    ckpt_path: weights file. device: where there is no GPU, "cuda" means the CPU. mode: "eval", else training mode.
    hydra_overrides_extra: "++model.NAME=VALUE"; for images, `STEADY` alone matters.
    apply_postprocessing: an unsteady single mask gives way to the best candidate.
    Its parts are also there as `sam_prompt_encoder` and `sam_mask_decoder`, called in the official way.
    Raises UnknownModel, BadWeights, BadSetting. Other keywords are taken and ignored, as officially.
    """
    settings = _overrides(hydra_overrides_extra)
    return _built(config_file, ckpt_path, device, mode, settings.get(STEADY, apply_postprocessing))


def build_sam2_video_predictor(
    config_file: str,
    ckpt_path: Checkpoint = None,
    device: str | torch.device = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    vos_optimized: bool = False,
    **kwargs: Any,
) -> SAM2VideoPredictor:
    """A SAM 2 for clips; see `build_sam2`.

    apply_postprocessing: also fills holes of up to 8 low-resolution pixels and remembers masks that were pointed at as
    zeros and ones. vos_optimized: taken and ignored; nothing is compiled.
    """
    settings = _overrides(hydra_overrides_extra)
    model = _built(config_file, ckpt_path, device, mode, settings.pop(STEADY, apply_postprocessing))
    usual = {"fill_hole_area": 8, "binarize_mask_from_pts_for_mem_enc": True} if apply_postprocessing else {}
    return SAM2VideoPredictor(model, **{**usual, **settings})


def build_sam2_hf(model_id: str, **kwargs: Any) -> TrackingModel:
    """`build_sam2` with the published weights, downloaded where they are not here: "facebook/sam2.1-hiera-tiny"."""
    return build_sam2(model_id, ckpt_path=_published(model_id), **kwargs)


def build_sam2_video_predictor_hf(model_id: str, **kwargs: Any) -> SAM2VideoPredictor:
    """`build_sam2_video_predictor` with the published weights; see `build_sam2_hf`."""
    return build_sam2_video_predictor(model_id, ckpt_path=_published(model_id), **kwargs)


class _Published(str):
    """In the place of a checkpoint's path: the weights that belong to the model."""


def _published(model_id: str) -> _Published:
    return _Published(card_of(model_id).name)


def _built(
    config_file: str, checkpoint: Checkpoint, device: str | torch.device, mode: str, steady: bool
) -> TrackingModel:
    card = card_of(str(config_file))
    if "video" not in card.can:
        raise BadSetting(f"{card.name} is no SAM 2; for it there is anymask.load, or compat.segment_anything")
    if card.build is None:
        raise NotYet(f"{card.name} is in the catalogue, but its network comes later")
    place = torch.device(device)
    if place.type == "cuda" and not torch.cuda.is_available():
        place = torch.device("cpu")
    if isinstance(checkpoint, _Published):
        # a copy: `load` may hand the same network to others, who expect its usual settings
        model = copy.copy(cast(TrackingModel, load(card.name, device=str(place))))
        model.mask_decoder = copy.copy(model.mask_decoder)
    elif checkpoint is not None:
        model = cast(TrackingModel, load(card.name, weights=checkpoint, device=str(place)))
    else:
        model = cast(TrackingModel, card.build())
        model.card = card
        model = model.to(place)
    model.mask_decoder.steady = bool(steady)
    return with_parts(model.eval() if mode == "eval" else model.train())


def _overrides(given: Sequence[str]) -> dict[str, Any]:
    """Values by name. Raises BadSetting for what cannot be overridden."""
    found: dict[str, Any] = {}
    for one in given:
        name, equals, value = str(one).lstrip("+").partition("=")
        name = name.removeprefix("model.")
        if name.startswith("sam_mask_decoder_extra_args.dynamic_multimask_stability"):
            if float(value) not in (0.05, 0.98):
                raise BadSetting(f"{one!r} is not offered; the thresholds are 0.05 and 0.98")
            continue
        if not equals or name not in (*VIDEO, STEADY):
            raise BadSetting(f"{one!r} is not offered; overrides are ++model.NAME=VALUE for {', '.join(VIDEO)}")
        found[name] = _value(value, one)
    return found


_WORDS: Mapping[str, bool] = {"true": True, "false": False}


def _value(text: str, whole: str) -> Any:
    word = text.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    try:
        return int(word)
    except ValueError:
        raise BadSetting(f"{whole!r} takes true, false or a whole number") from None
