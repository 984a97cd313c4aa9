"""ClipRecord: the masks of a clip's objects, frame by frame, as files of video masks hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.pixels.resize import HW


@dataclass(frozen=True)
class ClipRef:
    """Which clip. name: its title, without suffix. size: (H, W). count: frames. rate: a second, None if unknown.

    files: the frames' names, where the clip is a folder of pictures.
    """

    name: str
    size: HW
    count: int
    rate: float | None = None
    files: tuple[str, ...] = ()

    def file(self, frame: int) -> str:
        """The name of a frame's picture; where there are none, the one that the usual layouts would give it."""
        return self.files[frame] if self.files else f"{self.name}/{frame:05}.jpg"


@dataclass(frozen=True)
class ClipRecord:
    """frames: number -> masks, whose `ids` are the objects' numbers; frames that nothing is known of are left out.

    names: of objects, where they have any. Raises BadSetting for frames outside the clip or of another size.
    """

    clip: ClipRef
    frames: Mapping[int, Masks]
    names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for frame, masks in self.frames.items():
            if not 0 <= frame < self.clip.count:
                raise BadSetting(f"{self.clip.name} has {self.clip.count} frames, numbered from 0; got frame {frame}")
            if masks.size != self.clip.size:
                raise BadSetting(f"the masks of frame {frame} are {masks.size} (H, W), the clip is {self.clip.size}")

    @property
    def objects(self) -> tuple[int, ...]:
        """The numbers of all objects, ascending."""
        return tuple(sorted({int(one) for masks in self.frames.values() for one in masks.ids}))
