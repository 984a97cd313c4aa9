"""A clip to look at, frame by frame: what was answered rightly, what was missed, and what was too much."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from anymask.evaluate.jf import f, j
from anymask.evaluate.video_tasks import Played, Track
from anymask.masks.colours import RGB, colour
from anymask.masks.masks import Masks
from anymask.pixels.image import Image
from anymask.pixels.video_write import VideoWriter

RIGHT, MISSED, EXTRA = 0, 1, 3
"""Numbers of colours: azure, orange and purple, which any colour vision tells apart."""
GROUND: RGB = (24, 25, 28)
INK: RGB = (240, 240, 242)
SLOW = 12.0
"""Frames a second at most: errors are to be seen."""


def write(played: Played, track: Track, how: str, out: Path) -> Path:
    """OUT.worst.mp4, beside the figures. how: what the objects were prompted with. Raises MissingExtra, NotWritten."""
    path = out.with_name(f"{out.stem}.worst.mp4")
    clip = played.clip
    size = caption_size(clip.size)
    with VideoWriter(path, (clip.size[0] + size, clip.size[1]), min(clip.rate or SLOW, SLOW)) as video:
        for frame in clip.annotated:
            video.add(drawn(played, track, frame, f"{clip.name}, {how}"))
    return path


def drawn(played: Played, track: Track, frame: int, title: str) -> NDArray[np.uint8]:
    """One annotated frame with its caption, uint8 [H + caption, W, 3]."""
    size = played.clip.size
    right, missed, extra = (np.zeros(size, np.bool_) for _ in range(3))
    figures = []
    for one in played.objects:
        answer, truth = track.mask(frame, one, size), played.truth(frame, one)
        right |= answer & truth
        missed |= truth & ~answer
        extra |= answer & ~truth
        figures.append((j(answer, truth) + f(answer, truth)) / 2)
    # a colour goes by the place of an id; the third colour is passed over
    masks = Masks.from_dense(np.stack([right, missed, np.zeros(size, np.bool_), extra]))
    picture = masks.overlay(Image.open(played.clip.frames[frame]), opacity=0.5)
    number = f"{frame + 1} of {len(played.clip)}"
    return _captioned(picture, f"{title}   frame {number}   J&F {np.mean(figures):.2f}")


def caption_size(size: tuple[int, int]) -> int:
    """Height of the caption under a frame of (H, W), pixels."""
    return max(24, round(size[1] / 26) * 2)


def _captioned(picture: Pillow.Image, text: str) -> NDArray[np.uint8]:
    high = caption_size((picture.height, picture.width))
    page = Pillow.new("RGB", (picture.width, picture.height + high), GROUND)
    page.paste(picture)
    draw = ImageDraw.Draw(page)
    legend = [("right", RIGHT), ("missed", MISSED), ("too much", EXTRA)]
    font = _font(draw, text, legend, picture.width, high)
    middle = picture.height + high / 2
    draw.text((high * 0.35, middle), text, INK, font, anchor="lm")
    x = picture.width - high * 0.35
    for name, number in reversed(legend):
        x -= draw.textlength(name, font)
        draw.text((x, middle), name, INK, font, anchor="lm")
        x -= high * 0.45
        draw.rectangle((x, middle - high * 0.16, x + high * 0.32, middle + high * 0.16), colour(number))
        x -= high * 0.4
    return np.asarray(page, np.uint8)


def _font(
    draw: ImageDraw.ImageDraw, text: str, legend: Sequence[tuple[str, int]], width: int, high: int
) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The largest letters that let everything stand on one line."""
    for size in range(round(high * 0.52), 7, -1):
        font = ImageFont.load_default(size)
        wanted = sum(draw.textlength(one, font) for one in (text, *(name for name, _ in legend)))
        if wanted + high * (0.7 + 0.85 * len(legend) + 0.5) <= width:
            return font
    return ImageFont.load_default(7)
