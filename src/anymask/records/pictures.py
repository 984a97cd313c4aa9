"""The picture itself as a file of a data set, for formats whose readers look for it beside the masks."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image as Pillow

from anymask.errors import BadImage
from anymask.pixels.image import Image
from anymask.records.record import Record

KEPT = {"JPEG": "jpg", "PNG": "png"}
"""Files that every reader of data sets takes, and their suffix; they are copied as they are."""

_UPRIGHT = (None, 1)
_ORIENTATION = 0x0112


def file(record: Record) -> tuple[str, bytes] | None:
    """(suffix, content) of the record's picture; None where only its masks are known.

    JPEG and PNG files are copied byte for byte. Other formats, pictures from memory, and files that lie on their side
    by an EXIF orientation, which half of the readers overlook, become PNG files of the pixels that the masks belong
    to.
    """
    path = record.image.path
    if path is not None and os.path.isfile(path):
        found = _copied(Path(path), record)
        if found is not None:
            return found
    picture = pixels(record)
    if picture is None:
        return None
    out = io.BytesIO()
    picture.to_pil().save(out, "PNG", compress_level=1)
    return "png", out.getvalue()


def pixels(record: Record) -> Image | None:
    """The picture that the masks were made of, from memory or from its file; None when it is in neither."""
    if record.masks.image is not None:
        return record.masks.image
    if record.image.path is None:
        return None
    try:
        picture = Image.open(record.image.path)
    except BadImage:
        return None
    return picture if picture.size == record.image.size else None


def _copied(path: Path, record: Record) -> tuple[str, bytes] | None:
    try:
        content = path.read_bytes()
        with Pillow.open(io.BytesIO(content)) as picture:
            upright = picture.getexif().get(_ORIENTATION) in _UPRIGHT
            if picture.format in KEPT and upright and picture.size[::-1] == record.image.size:
                return KEPT[picture.format], content
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        # what Pillow cannot open may still be known from memory
        return None
    return None
