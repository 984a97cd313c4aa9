"""One call from a picture and a prompt to masks."""

from __future__ import annotations

from typing import Any

from anymask.masks.masks import Masks
from anymask.models.interface import PromptModel
from anymask.pixels.image import ImageLike
from anymask.session.session import Session


def segment(
    image: ImageLike,
    points: Any = None,
    labels: Any = None,
    boxes: Any = None,
    mask: Any = None,
    *,
    multimask: bool | None = None,
    model: PromptModel | str | None = None,
) -> Masks:
    """Masks of what is pointed at in one image; see `Session.predict` for the prompts.

    >>> masks = anymask.segment("photo.jpg", points=[420, 310])

    The embedding is cached, so asking the same image again costs a few milliseconds; for many questions on one image
    `Session` says the same more plainly, and `Session.batch` encodes several images in one pass.
    """
    return Session(image, model).predict(points, labels, boxes, mask, multimask)
