"""Masks as a file to be downloaded; nothing that a client calls it is ever opened."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image as Pillow

from anymask.errors import BadSetting
from anymask.masks.colours import RGB, colour
from anymask.masks.masks import Masks
from anymask.masks.rle import decode_one, merge
from anymask.pixels.image import Image
from anymask.records import coco, cutouts, labelmap, svg
from anymask.records.formats import FORMATS, Format, format_named
from anymask.records.record import ImageRef, Provenance, Record
from anymask.records.voc import Voc
from anymask.records.yolo import Yolo

OWN = ("coco", "png", "masks", "labels", "svg", "cutout")
"""Formats written here; the other names are those of folder runs, as a ZIP archive where they are several files."""

MOST_PIXELS = 2_000_000_000
"""Of all masks that are written as pictures."""

_HEX = re.compile(r"#([0-9a-fA-F]{6})")


@dataclass(frozen=True)
class File:
    """A file to be sent."""

    name: str
    kind: str
    content: bytes


def written(
    form: str,
    masks: Masks,
    image: Image,
    name: str,
    *,
    colours: Sequence[str | None] = (),
    simplify: float = 0.0,
    model: str = "",
) -> File:
    """Masks, with labels, of a picture that its sender called `name`, as one file.

    form: a name of OWN, or of `records.formats.FORMATS`. colours: "#rrggbb" of each mask, or None.
    Raises BadSetting for what a format cannot hold.
    """
    stem = name.rpartition(".")[0] or name or "image"
    masks = masks.replace(image=image)
    record = Record(ImageRef(name or None, image.size, image.digest), masks, Provenance(model=model))
    if form == "coco":
        text = json.dumps(coco.as_dict([record])) + "\n"
        return File(f"{stem}.json", "application/json", text.encode("ascii"))
    if form == "svg":
        tints = [_tint(given, row) for row, given in enumerate([*colours, *[None] * len(masks)][: len(masks)])]
        text = svg.as_text(record, simplify=simplify, colours=tints)
        return File(f"{stem}.svg", "image/svg+xml", text.encode())
    if form == "png":
        return File(f"{stem}-mask.png", "image/png", _black_and_white(masks))
    if form == "masks" and len(masks) * image.size[0] * image.size[1] > MOST_PIXELS:
        raise BadSetting(f"{len(masks)} PNG files of this size are too many; take labels or coco")
    if form == "masks":
        parts = {f"{stem}/{number:03d}{_titled(mask)}.png": _black_and_white(mask) for number, mask in _numbered(masks)}
        return _one_or_zip(f"{stem}-masks", parts)
    if form == "labels":
        return File(f"{stem}-labels.png", "image/png", labelmap.as_bytes(record))
    if form == "cutout":
        pictures = list(cutouts.as_bytes(record))
        titles = [f"{stem}/{number:03d}{_titled(mask)}.png" for number, mask in _numbered(masks)]
        return _one_or_zip(f"{stem}-cutout", dict(zip(titles, pictures, strict=True)))
    if form not in FORMATS:
        raise BadSetting(f"formats are {', '.join(dict.fromkeys([*OWN, *FORMATS]))}; got {form!r:.60}")
    # without a path: formats that bring the picture along would look for it on this machine's disk
    unnamed = Record(ImageRef(None, image.size, image.digest), masks, record.made_by)
    names = tuple(sorted({label or coco.UNNAMED for label in masks.labels}))
    chosen: Format = Yolo(names) if form == "yolo" else Voc(names) if form == "voc" else format_named(form)
    made = chosen.files(unnamed, stem)
    for path, pieces in chosen.finish([stem], lambda wanted: made[wanted]):
        made[path] = b"".join(pieces)
    return _one_or_zip(f"{stem}-{form}", made)


def _numbered(masks: Masks) -> list[tuple[int, Masks]]:
    return list(enumerate(masks, 1))


def _titled(mask: Masks) -> str:
    kept = re.sub(r"[^\w-]+", "-", mask.labels[0] or "").strip("-")[:40]
    return f"-{kept}" if kept else ""


def _black_and_white(masks: Masks) -> bytes:
    """White inside any of the masks, 8 bits."""
    dense = decode_one(masks.rle[0] if len(masks) == 1 else merge(masks.rle))
    out = io.BytesIO()
    Pillow.fromarray(dense.view("uint8") * 255).save(out, "PNG")
    return out.getvalue()


def _one_or_zip(title: str, parts: dict[str, bytes]) -> File:
    if len(parts) == 1:
        ((path, content),) = parts.items()
        suffix = path.rpartition(".")[2]
        kinds = {"png": "image/png", "svg": "image/svg+xml", "json": "application/json"}
        return File(f"{title}.{suffix}", kinds.get(suffix, "application/octet-stream"), content)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in parts.items():
            archive.writestr(path, content)
    return File(f"{title}.zip", "application/zip", out.getvalue())


def _tint(given: str | None, row: int) -> RGB:
    if given is None:
        return colour(row)
    found = _HEX.fullmatch(given)
    if found is None:
        raise BadSetting(f"a colour is #rrggbb, got {given!r:.40}")
    value = int(found.group(1), 16)
    return (value >> 16, value >> 8 & 255, value & 255)
