"""Filmed clips with true masks, read once from whatever layout they lie in, and stretches of them to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.data.clip_layouts import open_clips
from anymask.data.clips import Clip
from anymask.data.photo import rgb
from anymask.errors import BadImage, BadSetting
from anymask.masks.rle import RLE, decode_one, encode_one
from anymask.pixels.resize import HW
from anymask.train.augment import recolour
from anymask.train.flat import LONGEST, Reading, flat, shrunk, text
from anymask.train.sampler import LARGEST_SHARE

FARTHEST = 5
"""Annotated frames from one frame of a stretch to the next, at most."""
CLOSEST = 0.4
"""Of the largest window that a clip's picture has room for, the share that a stretch shows at least, along a side."""
MOST = 6
"""Objects of a stretch, drawn from those on its first frame."""
_SEEN = 24
"""Pixels of an object that make it worth following."""

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Film:
    """The annotated frames of one clip: where their pixels lie in the flat file, and the objects' masks on each."""

    offset: int
    size: HW
    truths: tuple[dict[str, RLE], ...]

    def __len__(self) -> int:
        return len(self.truths)


class Filmed:
    """All filmed clips, by set. sets: name -> its clips, each with an object on one frame at least."""

    def __init__(self, pixels: U8, sets: dict[str, list[Film]]) -> None:
        self._pixels = pixels
        self.sets = {name: films for name, films in sets.items() if films}
        if not self.sets:
            raise BadSetting("there is no clip with an object in the filmed data")
        weights = np.sqrt([min(len(films), LARGEST_SHARE) for films in self.sets.values()])
        self._shares = weights / weights.sum()

    def draw(self, rng: np.random.Generator, size: HW, frames: int) -> tuple[U8, NDArray[np.bool_]]:
        """Frames [T, H, W, 3] of a part of a clip, and what is seen of the objects on its first one, bool [T, N, H, W].

        Forward or backward, with some frames left out, in a window that stands still, mirrored or not, recoloured.
        A clip that is too short goes back and forth.
        """
        films = list(self.sets.values())[int(rng.choice(len(self.sets), p=self._shares))]
        film = films[int(rng.integers(len(films)))]
        beginnings = [at for at, truth in enumerate(film.truths) if truth]
        chosen = _stretch(rng, len(film), beginnings[int(rng.integers(len(beginnings)))], frames)
        names = rng.permutation(list(film.truths[chosen[0]]))[:MOST].tolist()
        rows, columns = _window(rng, film.size, size, decode_one(film.truths[chosen[0]][names[0]]))
        mirrored, colours = rng.random() < 0.5, int(rng.integers(2**31))
        out = np.empty((frames, *size, 3), np.uint8)
        visible = np.zeros((frames, len(names), *size), np.bool_)
        for t, at in enumerate(chosen):
            picture = _sized(self._picture(film, at)[rows, columns], size)
            out[t] = recolour(picture[:, ::-1] if mirrored else picture, np.random.default_rng(colours))
            for row, name in enumerate(names):
                if name in film.truths[at]:
                    mask = _sized(decode_one(film.truths[at][name])[rows, columns].astype(np.uint8) * 255, size) > 127
                    visible[t, row] = mask[:, ::-1] if mirrored else mask
        return out, visible[:, visible[0].sum((1, 2)) >= _SEEN]

    def _picture(self, film: Film, at: int) -> U8:
        height, width = film.size
        start = film.offset + at * height * width * 3
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)


def load_clips(data: Sequence[Path], cache: Path, tell: Reading | None = None) -> Filmed:
    """Clips of all layouts that `data.clip_layouts` knows; the first call writes the cache, later ones map it.

    Frames without true masks are left out. tell: called after each clip while the cache is written.
    Raises BadSetting where nothing is found, BadImage.
    """

    def write(out: IO[bytes]) -> dict[str, list[dict[str, Any]]]:
        index: dict[str, list[dict[str, Any]]] = {}
        offset = 0
        for done, clip in enumerate(clips := [clip for root in data for clip in _opened(root)], 1):
            if tell is not None:
                tell(f"{clip.dataset} (clips)", done, len(clips))
            truths, size = [], (0, 0)
            for picture, truth in _frames(clip):
                out.write(picture.tobytes())
                size = picture.shape[:2]
                truths.append(truth)
            if any(truths):
                index.setdefault(clip.dataset, []).append({"offset": offset, "size": size, "truths": truths})
            offset += len(truths) * size[0] * size[1] * 3
        return index

    index, pixels = flat(cache, "clips", (LONGEST,), data, write)
    return Filmed(
        pixels,
        {
            name: [Film(one["offset"], tuple(one["size"]), tuple(map(_masks, one["truths"]))) for one in films]
            for name, films in index.items()
        },
    )


def _opened(root: Path) -> list[Clip]:
    """The clips for training where they are told apart, else all there are."""
    try:
        return open_clips(root, split="train")
    except BadSetting:
        return open_clips(root)


def _frames(clip: Clip) -> Iterator[tuple[U8, dict[str, dict[str, Any]]]]:
    """Annotated frames and their masks, as they are kept."""
    for frame in clip.annotated:
        picture = rgb(clip.frames[frame], clip.size)
        if picture.shape[:2] != clip.size:
            raise BadImage(f"{clip.frames[frame]} is {picture.shape[:2]}, the first frame {clip.size} (H, W)")
        small = shrunk(picture)
        kept = {}
        for name, rle in clip.truth(frame).items():
            dense = _sized(decode_one(rle).astype(np.uint8) * 255, small.shape[:2]) > 127
            if dense.sum() >= _SEEN:
                kept[str(name)] = text(encode_one(dense))
        yield small, kept


def _masks(truth: dict[str, dict[str, Any]]) -> dict[str, RLE]:
    return {name: RLE(size=rle["size"], counts=rle["counts"].encode()) for name, rle in truth.items()}


def _stretch(rng: np.random.Generator, count: int, start: int, frames: int) -> list[int]:
    """The frames of a stretch from `start` on, of `count` that there are."""
    ahead = rng.random() < 0.5
    room = count - 1 - start if ahead else start
    if room < frames - 1:
        ahead, room = not ahead, count - 1 - room
    step = int(rng.integers(1, max(1, min(FARTHEST, room // (frames - 1))) + 1))
    walk = start + (step if ahead else -step) * np.arange(frames)
    # a clip that is too short is walked back from its ends
    around = np.abs(walk) % (2 * max(count - 1, 1))
    return np.where(around > count - 1, 2 * (count - 1) - around, around).tolist()


def _window(rng: np.random.Generator, whole: HW, size: HW, mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns in the shape of `size`, somewhere over the object."""
    share = float(np.exp(rng.uniform(np.log(CLOSEST), 0))) if rng.random() < 0.7 else 1.0
    scale = min(whole[0] / size[0], whole[1] / size[1]) * share
    lengths = [max(1, min(edge, round(side * scale))) for edge, side in zip(whole, size, strict=True)]
    places = np.argwhere(mask)
    place = places[rng.integers(len(places))] if len(places) else np.array(whole) // 2
    out = []
    for at, length, edge in zip(place, lengths, whole, strict=True):
        begin = int(np.clip(at - rng.uniform(0.1, 0.9) * length, 0, edge - length))
        out.append(slice(begin, begin + length))
    return out[0], out[1]


def _sized(picture: U8, size: HW) -> U8:
    """In another (H, W), averaged where it shrinks."""
    if picture.shape[:2] == size:
        return picture
    way = cv2.INTER_AREA if picture.shape[0] > size[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), (size[1], size[0]), interpolation=way), np.uint8)
