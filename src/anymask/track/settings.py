"""The options of following objects through a clip."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from anymask.errors import BadSetting

Precision = Literal["bfloat16", "float32"]
POLICIES = ("recent", "samurai", "long")


@dataclass(frozen=True)
class TrackSettings:
    """How objects are followed. Raises BadSetting for values out of range.

    policy: what an object is reminded of, see `anymask.track.bank`: "recent" (SAM 2), "samurai" or "long" (SAM2Long).
    precision: of the memories of frames. bfloat16 is what SAM 2's predictor keeps them in.
    offload: memories lie in the main memory, whatever the model is on; each step then copies what it recalls.
    fill_holes: holes of at most so many low-resolution pixels are filled; 0 leaves them.
    binarise: masks that a person pointed at are remembered as zeros and ones, as the person saw them.
    max_prompted: prompted frames that an object is reminded of, the nearest ones; None for all.
    corrections_prompt: a prompt on a frame that was already tracked makes it a prompted frame. Without it the frame
        is remembered as an ordinary one and made anew when tracking passes over it (the default of the official class).
    forget_around: a prompt makes the object forget its ordinary memories of so many frames before and after it.
    history: frames whose memories stay whole on disk behind the one that is tracked; of older ones there stays a
        stretch every `snapshot` frames, from which the rest is tracked again when a correction needs it.
    at_once: objects that are answered together.

    Source of the defaults: SAM 2's video predictor as its builder makes it.
    """

    policy: str = "recent"
    precision: Precision = "bfloat16"
    offload: bool = False
    fill_holes: int = 8
    binarise: bool = True
    max_prompted: int | None = None
    corrections_prompt: bool = True
    forget_around: int = 0
    history: int = 256
    snapshot: int = 32
    at_once: int = 16

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise BadSetting(f"policy is one of {', '.join(POLICIES)}, got {self.policy!r:.40}")
        if self.precision not in ("bfloat16", "float32"):
            raise BadSetting(f"precision is bfloat16 or float32, got {self.precision!r:.40}")
        self._whole("fill_holes", 0)
        self._whole("forget_around", 0)
        self._whole("history", 32)
        self._whole("snapshot", 8)
        self._whole("at_once", 1)
        if self.max_prompted is not None:
            self._whole("max_prompted", 2)

    @classmethod
    def of(cls, **options: Any) -> TrackSettings:
        """Settings by name. Raises BadSetting for names that there are not."""
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise BadSetting(f"following objects has no option {', '.join(unknown)}; it has {', '.join(known)}")
        return cls(**options)

    def _whole(self, name: str, low: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise BadSetting(f"{name} must be a whole number of at least {low}, got {value!r:.40}")
        object.__setattr__(self, name, int(value))
