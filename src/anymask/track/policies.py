"""The policies by name."""

from __future__ import annotations

from anymask.models.video import VideoModel
from anymask.track.bank import Policy, Recent
from anymask.track.long import Long
from anymask.track.samurai import Samurai
from anymask.track.settings import TrackSettings

BY_NAME = {"recent": Recent, "samurai": Samurai, "long": Long}


def policy_of(settings: TrackSettings, model: VideoModel, count: int | None) -> Policy:
    """The policy that the settings name, for a model with its numbers of slots and a clip of `count` frames."""
    return BY_NAME[settings.policy](model.slots, model.pointer_slots, settings.max_prompted, count)


def room_of(settings: TrackSettings, model: VideoModel) -> int:
    """Frames whose tensors stay in memory: what the policy recalls, and a few more for what is looked at."""
    recent = max(model.slots, model.pointer_slots) + 4
    # frames that were good may lie far back, in each line others
    lines = BY_NAME[settings.policy].lines
    return recent if settings.policy == "recent" else recent + lines * (model.slots + 1)
