"""The files that `anymask segment` leaves for one picture."""

from __future__ import annotations

import io
from pathlib import Path

from anymask.masks.masks import Masks
from anymask.prompts.parse import Typed
from anymask.records import atomic, json, png, svg
from anymask.records.record import Record


def write(record: Record, folder: Path, title: str, typed: Typed, *, as_svg: bool) -> list[Path]:
    """Writes overlay, masks, cut-outs, JSON and on request SVG; the paths in that order. Raises OSError.

    TITLE.mask.png and TITLE.cutout.png hold the best mask of each object together. Where the answer has several rows,
    TITLE.mask.1.png and so on hold one each, as the JSON lists them: the candidates of an ambiguous prompt, best first,
    or one for each box. Cut-outs are numbered where there are several objects.
    """
    masks, best = record.masks, record.masks.best()
    written = [_overlay(best, folder / f"{title}.overlay", record.image.path, typed)]
    written.append(png.write_mask(best, folder / f"{title}.mask.png"))
    if len(masks) > 1:
        written += [png.write_mask(mask, folder / f"{title}.mask.{n}.png") for n, mask in enumerate(masks, 1)]
    if len(best) == 1:
        written.append(png.write_cutout(best, folder / f"{title}.cutout.png"))
    else:
        written += [png.write_cutout(mask, folder / f"{title}.cutout.{n}.png") for n, mask in enumerate(best, 1)]
    written.append(json.write(record, folder / f"{title}.json"))
    if as_svg:
        written.append(svg.write(Record(record.image, best, record.made_by), folder / f"{title}.svg"))
    return written


def _overlay(best: Masks, stem: Path, source: str | None, typed: Typed) -> Path:
    """A JPEG for a photo, a PNG for anything else, so that drawings stay crisp and photos small."""
    picture = best.overlay(points=typed.points or None, labels=typed.labels or None, boxes=typed.boxes or None)
    photo = source is not None and Path(source).suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif")
    out = io.BytesIO()
    if photo:
        picture.save(out, "JPEG", quality=92, subsampling=0)
    else:
        picture.save(out, "PNG")
    return atomic.write(stem.with_name(stem.name + (".jpg" if photo else ".png")), out.getvalue())
