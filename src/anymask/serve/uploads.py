"""Pictures from strangers: recognised by their first bytes, checked before they are unpacked."""

from __future__ import annotations

from anymask.errors import BadImage
from anymask.pixels.image import Image

KINDS = (
    (0, b"\xff\xd8\xff"),
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"GIF87a"),
    (0, b"GIF89a"),
    (0, b"BM"),
    (0, b"II*\x00"),
    (0, b"MM\x00*"),
    (8, b"WEBP"),
    (4, b"ftypavif"),
    (0, b"\x00\x00\x00\x0cjP  "),
    (0, b"P5"),
    (0, b"P6"),
)
"""(offset, bytes) that tell JPEG, PNG, GIF, BMP, TIFF, WebP, AVIF, JPEG 2000 and PPM. Fewer kinds than files on one's
own disk may be: every further decoder is one more that strangers can feed."""


def is_picture(head: bytes) -> bool:
    """Whether a file that begins so is of a kind that the server unpacks."""
    return any(head[offset : offset + len(start)] == start for offset, start in KINDS)


def opened(content: bytes, max_pixels: int) -> Image:
    """The picture in an uploaded file. Raises BadImage, in a sentence for the sender."""
    if not is_picture(content[:32]):
        raise UnknownKind(_told(content))
    try:
        return Image.open(content, max_pixels=max_pixels)
    except BadImage as error:
        text = str(error).replace("the given bytes", "the picture")
        if "the limit of" in text:
            raise TooLarge(f"{text.partition('; ')[0]}; send a smaller picture") from None
        raise BadImage(text) from None


class UnknownKind(BadImage):
    """Not a picture, or of a kind that the server does not unpack."""


class TooLarge(BadImage):
    """More bytes or pixels than the server takes."""


def _told(content: bytes) -> str:
    """What the file is instead. Its pixels are never asked for: one pixel is the limit."""
    try:
        Image.open(content[:4096], max_pixels=1)
    except BadImage as error:
        text = str(error)
        for part in ("unpacks to", "is damaged"):
            if part in text:
                break
        else:
            return text.replace("the given bytes", "the file")
    return "the file is not a picture in a format that the server reads (JPEG, PNG, TIFF, WebP, GIF, BMP, AVIF)"
