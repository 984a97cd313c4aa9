"""What follows an object without a network made for it, to be beaten: three ways to carry a mask to the next frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from anymask.errors import BadPrompt
from anymask.masks.masks import Masks
from anymask.masks.rle import encode_one
from anymask.pixels.image import Image
from anymask.pixels.resize import HW
from anymask.prompts.prompts import Prompts

if TYPE_CHECKING:
    from anymask.models.interface import Embedding, PromptModel

Way = Literal["copied", "flow", "neighbours"]

Mask = NDArray[np.bool_]
Soft = dict[int, NDArray[np.float32]]
"""Masks by object, float32 [H, W] in 0..1."""

RECENT = 7
"""Frames that neighbours are looked for in, beside the first: as many as SAM 2 remembers."""
NEAREST = 10
"""Neighbours that vote. This, the temperature and the reach are those of DINO's evaluation on DAVIS, scaled to the
stride of the features."""
TEMPERATURE = 0.07
REACH = 12
"""How far away a neighbour may lie, in cells of the features."""


Seen = dict[Path, Tensor]
"""The features of a frame's cells, [C, h, w] of length 1, by its file."""
KEPT = 160
"""Frames whose features are kept: 2 MB each of the model inside."""


class Follower(Protocol):
    """What a protocol drives: one clip, prompts on its frames, answers frame by frame. `VideoSession` is one."""

    def prompt(
        self, frame: int, object: int = 1, *, points: Any = None, labels: Any = None, box: Any = None, mask: Any = None
    ) -> Masks:
        """The answer for one object on one frame, one row; what was said about it on that frame before is forgotten."""
        ...

    def propagate(self, *, afresh: bool = False) -> Iterator[tuple[int, Masks]]:
        """(frame, masks of all objects by `ids`) from the first prompted frame to the end; a prompt that is given
        between two frames counts from the next one on. afresh: track again what is known."""
        ...

    def close(self) -> None:
        """Lets go of what it holds."""
        ...


class Carried:
    """A `Follower` without memory: the mask of the frame that was prompted, carried on from frame to frame.

    frames: files. way: "copied" leaves it where it was; "flow" moves it along dense optical flow (OpenCV's DIS, medium
    preset); "neighbours" lets each cell of `model`'s embedding take the labels of the most similar cells nearby, on the
    frame that was prompted and on the RECENT ones before (Jabri et al., "Space-Time Correspondence as a Contrastive
    Random Walk", 2020; as DINO is evaluated on DAVIS). Prompts other than masks are answered by `model`.
    seen: features of frames, for the next one who goes through the same clip.
    """

    def __init__(
        self, frames: Sequence[Path], way: Way, model: PromptModel | None = None, seen: Seen | None = None
    ) -> None:
        self.frames, self.way, self._model = tuple(frames), way, model
        self.seen: Seen = {} if seen is None else seen
        self._given: dict[int, dict[int, Mask]] = {}
        self._seen: tuple[int, Embedding] | None = None

    @cached_property
    def model(self) -> PromptModel:
        """The one that was given, or the model inside for single pictures."""
        from anymask.session.session import named_model

        return self._model if self._model is not None else named_model(None)

    def prompt(
        self, frame: int, object: int = 1, *, points: Any = None, labels: Any = None, box: Any = None, mask: Any = None
    ) -> Masks:
        """See `Follower.prompt`. Raises BadPrompt where nothing is said."""
        image = Image.open(self.frames[frame])
        if mask is None:
            if points is None and box is None:
                raise BadPrompt("a prompt is points, a box or a mask")
            if self._seen is None or self._seen[0] != frame:
                with torch.no_grad():
                    self._seen = frame, self.model.encode([image])
            asked = Prompts.of(points, labels, None if box is None else [box], size=image.size)
            with torch.no_grad():
                found = self.model.decode(self._seen[1], asked).masks(best=True).dense()[0]
        else:
            found = np.asarray(mask, np.bool_)
        self._given.setdefault(frame, {})[object] = found
        return Masks.from_dense(found, ids=[object])

    def propagate(self, *, afresh: bool = False) -> Iterator[tuple[int, Masks]]:
        """See `Follower.propagate`. Raises BadPrompt where nothing was prompted."""
        if not self._given:
            raise BadPrompt("nothing was prompted yet")
        carry = _WAYS[self.way](self)
        for frame in range(min(self._given), len(self.frames)):
            image = Image.open(self.frames[frame])
            soft = carry(image, self.frames[frame])
            soft |= carry.told(self._told(frame))
            yield frame, _decided(soft, image.size)
            # what was said meanwhile counts from the next frame on
            carry.told(self._told(frame))

    def close(self) -> None:
        """Forgets what was prompted."""
        self._given.clear()

    def _told(self, frame: int) -> Soft:
        return {one: mask.astype(np.float32) for one, mask in self._given.get(frame, {}).items()}


class _Copied:
    """The same masks from the frame on that gave them."""

    def __init__(self, carried: Carried) -> None:
        self.soft: Soft = {}

    def __call__(self, image: Image, path: Path) -> Soft:
        """What the masks are on the next frame."""
        return dict(self.soft)

    def told(self, given: Soft) -> Soft:
        """Takes masks that were given on this frame."""
        self.soft |= given
        return given


class _Flow(_Copied):
    """Each pixel takes what lay where it came from."""

    def __init__(self, carried: Carried) -> None:
        super().__init__(carried)
        self.flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.before: NDArray[np.uint8] | None = None

    def __call__(self, image: Image, path: Path) -> Soft:
        grey = np.asarray(cv2.cvtColor(image.pixels(), cv2.COLOR_RGB2GRAY), np.uint8)
        if self.before is not None and self.soft:
            # from this frame back to the one before: where each of its pixels came from
            still = np.zeros((*grey.shape, 2), np.float32)
            back = np.asarray(self.flow.calc(grey, self.before, still), np.float32)
            y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
            at = (x + back[..., 0], y + back[..., 1])
            self.soft = {
                one: np.asarray(cv2.remap(soft, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
                for one, soft in self.soft.items()
            }
        self.before = grey
        return dict(self.soft)


class _Neighbours:
    """Labels live on the cells of the embedding, [O + 1, h, w] with the background first, and go up at the end."""

    def __init__(self, carried: Carried) -> None:
        self.model, self.seen = carried.model, carried.seen
        self.objects: list[int] = []
        self.prompted: list[tuple[Tensor, Tensor]] = []
        self.recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=RECENT)
        self.now: tuple[Tensor, Tensor] | None = None
        self.given = False

    @torch.no_grad()
    def __call__(self, image: Image, path: Path) -> Soft:
        if self.now is not None:
            (self.prompted if self.given else self.recent).append(self.now)
        if path not in self.seen:
            while len(self.seen) >= KEPT:
                del self.seen[next(iter(self.seen))]
            self.seen[path] = self._features(image)
        features = self.seen[path]
        known = bool(self.prompted)
        labels = self._voted(features) if known else torch.zeros(len(self.objects) + 1, *features.shape[1:])
        self.now, self.given = (features, labels), False
        if not known:
            return {}
        up = F.interpolate(labels[None], image.size, mode="bilinear", align_corners=False)[0]
        # each label to 0..1, as DINO's evaluation does, or thin objects never win against the background
        best = (up / up.amax((1, 2), keepdim=True).clamp(min=1e-6)).argmax(0).numpy()
        return {one: (best == place).astype(np.float32) for place, one in enumerate(self.objects, 1)}

    def told(self, given: Soft) -> Soft:
        if not given or self.now is None:
            return {}
        fresh = [one for one in given if one not in self.objects]
        self.objects += fresh
        grown = len(self.objects) + 1
        self.prompted = [(what, _wider(labels, grown)) for what, labels in self.prompted]
        self.recent = deque(((what, _wider(labels, grown)) for what, labels in self.recent), RECENT)
        features, labels = self.now[0], _wider(self.now[1], grown)
        for one, mask in given.items():
            whole = torch.from_numpy(mask)[None, None]
            labels[self.objects.index(one) + 1] = F.interpolate(whole, labels.shape[1:], mode="area")[0, 0]
        labels[0] = (1 - labels[1:].sum(0)).clamp(min=0)
        self.now, self.given = (features, labels), True
        # a drawn mask is its own answer, not what is left of it in cells
        return given

    def _features(self, image: Image) -> Tensor:
        """[C, h, w] of length 1; padding is no part of the picture, and no pixel of it may vote."""
        embedding = self.model.encode([image])
        features, resize = F.normalize(embedding.tensors["image"][0].float(), dim=0), embedding.resize[0]
        height, width = (
            -(-cells * resized // padded)
            for cells, resized, padded in zip(features.shape[1:], resize.resized, resize.padded, strict=True)
        )
        return features[:, :height, :width].clone()

    def _voted(self, features: Tensor) -> Tensor:
        """[O + 1, h, w]"""
        height, width = features.shape[1:]
        memory = [*self.prompted, *self.recent]
        keys = torch.stack([what for what, _ in memory], 1)
        labels = torch.stack([label for _, label in memory], 1)
        across = torch.arange(width)
        far = (across[:, None] - across[None]).abs() > REACH
        found = torch.empty(len(labels), height, width)
        # a row of cells at a time, and of the others only the rows within reach
        for row in range(height):
            rows = slice(max(row - REACH, 0), row + REACH + 1)
            near, theirs = keys[:, :, rows].flatten(1), labels[:, :, rows].flatten(1)
            likeness = features[:, row].T @ near
            likeness.view(width, -1, width).masked_fill_(far[:, None], -1e4)
            best, where = likeness.topk(min(NEAREST, likeness.shape[1]), 1)
            weights = (best / TEMPERATURE).softmax(1)
            found[:, row] = (theirs[:, where] * weights).sum(-1)
        return found


def _wider(labels: Tensor, rows: int) -> Tensor:
    """The labels with rows of zeros for objects that came later."""
    return F.pad(labels, (0, 0, 0, 0, 0, rows - len(labels)))


def _decided(soft: Soft, size: HW) -> Masks:
    ids = sorted(soft)
    return Masks(size, [encode_one(soft[one] > 0.5) for one in ids], ids=ids)


_WAYS: dict[Way, Callable[[Carried], _Copied | _Flow | _Neighbours]] = {
    "copied": _Copied,
    "flow": _Flow,
    "neighbours": _Neighbours,
}
