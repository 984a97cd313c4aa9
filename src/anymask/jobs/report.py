"""report.html: a run to look at, one page that opens without a network; pictures lie beside it, few ones within it."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from anymask.jobs.manifest import Entry
from anymask.jobs.places import Place
from anymask.masks.masks import Masks

FILE = "report.html"
FOLDER = "report"
"""Where the small pictures lie, one an image."""

SHEET = "contact-sheet.jpg"
SHOWN = 120
"""Pictures on a contact sheet at most."""

BINS = 20
"""Of the histograms, from 0 to 1."""

WITHIN = 60
"""Up to so many pictures are put into the page itself, so that it can be sent as one file."""

SIDE = 480
"""Pixels of a small picture, its longer side: sharp at half of that on a dense screen."""

_STYLE = """
:root{color-scheme:light dark;--ground:#f6f6f4;--card:#fff;--ink:#17181c;--faint:#666b74;--line:#e4e4e0;--hole:#ececea;
--bar:#2f6fde;--bad:#b3261e;--badly:#fdf0ee}
@media(prefers-color-scheme:dark){:root{--ground:#101114;--card:#191b1f;--ink:#eceef2;--faint:#979da8;--line:#2a2d33;
--hole:#22252a;--bar:#6ea3ff;--bad:#ff9b8f;--badly:#2b1b1b}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);
font:15px/1.5 Inter,system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;-webkit-font-smoothing:antialiased}
main{max-width:1320px;margin:0 auto;padding:clamp(24px,5vw,56px) clamp(16px,4vw,40px) 80px}
h1{font-size:clamp(26px,4vw,38px);line-height:1.15;letter-spacing:-.025em;font-weight:680;margin:0 0 8px;
text-wrap:balance}h2{font-size:17px;letter-spacing:-.01em;margin:44px 0 14px}h2 small{font-weight:400;
color:var(--faint);font-size:inherit;margin-left:6px}.faint{color:var(--faint)}b{font-weight:620}
.row{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));margin:30px 0 0;gap:1px;overflow:hidden;
background:var(--line);border:1px solid var(--line);border-radius:14px}.tile{background:var(--card);padding:16px 20px}
.tile b{display:block;font-size:26px;line-height:1.25;letter-spacing:-.02em;white-space:nowrap;
font-variant-numeric:tabular-nums}.tile.bad b{color:var(--bad)}.plot,details{background:var(--card);
border:1px solid var(--line);border-radius:14px}.plots{display:grid;gap:14px;
grid-template-columns:repeat(auto-fit,minmax(min(100%,260px),1fr))}.plot{padding:16px 18px 10px}
.plot span{float:right;color:var(--faint);font-size:13px}svg{display:block;width:100%;height:auto;margin-top:8px}
svg rect{fill:var(--bar)}svg text{fill:var(--faint);font-size:10.5px;font-variant-numeric:tabular-nums}
svg path{stroke:var(--line)}.grid{display:flex;flex-wrap:wrap;gap:18px 12px}.grid::after{content:"";flex:99999 1 0}
figure{margin:0;min-width:0;content-visibility:auto;contain-intrinsic-size:240px 250px}figure a{display:block}
.shot{display:block;width:100%;border-radius:10px;background:var(--hole);object-fit:contain}
.none{display:grid;place-items:center;color:var(--faint)}figcaption{padding:7px 2px 0;font-size:13px;line-height:1.4}
figcaption>*{display:block;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
ul{margin:0;padding:4px 18px;list-style:none;background:var(--badly);border-radius:14px}
li{padding:12px 0;overflow-wrap:anywhere}li+li{border-top:1px solid var(--line)}li b{color:var(--bad)}
details{margin-top:14px;overflow:hidden}summary{cursor:pointer;font-weight:620;padding:14px 18px}
.wide{overflow-x:auto;padding:0 18px 12px}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;
font-size:14px}td,th{padding:7px 20px 7px 0;border-top:1px solid var(--line);text-align:left;vertical-align:top}
th{color:var(--faint);font-weight:500;border:0}td:first-child{overflow-wrap:anywhere;min-width:9em}
.n{text-align:right;white-space:nowrap}.key td:first-child{color:var(--faint);white-space:nowrap;width:1%}
@media(max-width:560px){.row{grid-template-columns:1fr 1fr}.tile{padding:12px 16px}.tile b{font-size:22px}}
"""


def counts(values: NDArray[np.floating]) -> list[int]:
    """How many values lie in each of BINS equal parts of 0..1; what lies beyond counts for the last or first."""
    found: list[int] = np.histogram(np.clip(values, 0, 1), BINS, (0, 1))[0].tolist()
    return found


def facts(masks: Masks) -> dict[str, list[int]]:
    """What the report needs of an image's masks, for its line in the manifest."""
    found = {"scores": counts(masks.scores)}
    if "stability_score" in masks.details:
        found["stability"] = counts(masks.details["stability_score"])
    return found


def thumbnail(masks: Masks) -> bytes:
    """The small picture of an image with its masks, JPEG."""
    import io

    from anymask.masks.mosaic import mosaic

    out = io.BytesIO()
    mosaic(masks, side=SIDE).save(out, "JPEG", quality=82)
    return out.getvalue()


def write_sheet(place: Place, entries: Sequence[Entry]) -> str | None:
    """Writes one picture with all small ones, SHEET, up to SHOWN of them, evenly picked; None where there is none."""
    import io

    from PIL import Image as Pillow

    from anymask.masks.sheet import Cell, contact_sheet

    drawn = [entry for entry in entries if f"{FOLDER}/{entry.title}.jpg" in entry.files]
    if not drawn:
        return None
    cells = []
    for row in np.unique(np.linspace(0, len(drawn) - 1, min(SHOWN, len(drawn))).astype(int)).tolist():
        entry = drawn[row]
        picture = Pillow.open(io.BytesIO(place.read(f"{FOLDER}/{entry.title}.jpg")))
        cells.append(Cell(picture, entry.title, f"{entry.facts.get('masks', 0):,} masks"))
    out = io.BytesIO()
    contact_sheet(cells).save(out, "JPEG", quality=88)
    place.write(SHEET, out.getvalue())
    return SHEET


def write_report(place: Place, entries: Sequence[Entry], about: Mapping[str, Any], seconds: float = 0.0) -> str:
    """Writes the page about a run; its path. Raises NotWritten.

    entries: what became of each image. about: settings and model, by name. seconds: that the run took, 0 if unknown.
    """
    shown = [entry for entry in entries if entry.failed is None]
    within = len(shown) <= WITHIN
    place.write(FILE, (piece.encode("utf-8") for piece in _page(place, entries, shown, about, seconds, within)))
    return FILE


def _page(
    place: Place,
    entries: Sequence[Entry],
    shown: Sequence[Entry],
    about: Mapping[str, Any],
    seconds: float,
    within: bool,
) -> Iterator[str]:
    masks = sum(int(entry.facts.get("masks", 0)) for entry in shown)
    spent = [float(entry.cost["seconds"]) for entry in shown if "seconds" in entry.cost]
    failed = [entry for entry in entries if entry.failed is not None]
    head = f"{_count(masks, 'mask')} in {_count(len(shown), 'picture')}"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{head} - anymask</title>'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1"><style>' + _STYLE + "</style></head>"
    yield f"<body><main><h1>{head}</h1>"
    yield f'<div class="faint">found by {_text(about.get("model", "a model"))} with anymask '
    yield f'{_text(about.get("anymask", ""))}</div><div class="row">'
    tiles = [("pictures", f"{len(shown):,}"), ("masks", f"{masks:,}")]
    if shown:
        tiles.append(("masks a picture", f"{masks / len(shown):,.1f}"))
    if spent:
        tiles.append(("a picture, median", f"{np.median(spent):.1f} s"))
    if seconds:
        tiles.append(("this run", _span(seconds)))
    yield "".join(f'<div class="tile"><b>{value}</b><span class="faint">{name}</span></div>' for name, value in tiles)
    yield f'<div class="tile{" bad" if failed else ""}"><b>{len(failed):,}</b><span class="faint">not done</span></div>'
    yield "</div>"
    if failed:
        yield f"<h2>Not done <small>{len(failed):,}</small></h2><ul>"
        yield from (f"<li><b>{_text(one.title)}</b><br>{_text(one.failed)}</li>" for one in failed)
        yield "</ul>"
    yield from _plots(shown)
    if shown:
        yield f'<h2>Pictures <small>{len(shown):,}</small></h2><div class="grid">'
        yield from (_figure(place, entry, within) for entry in shown)
        yield "</div>"
    yield "<h2>Details</h2>"
    if entries:
        yield "<details><summary>All pictures as a table</summary><div class=wide><table><tr><th>picture</th>"
        names = ("pixels", "masks", "wholes", "parts", "parts of parts", "seconds")
        yield "".join(f"<th class=n>{name}</th>" for name in names) + "</tr>"
        yield from map(_line, entries)
        yield "</table></div></details>"
    yield "<details open><summary>Model and settings</summary><div class=wide><table class=key>"
    yield from (f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in about.items())
    yield "</table></div></details></main></body></html>\n"


def _line(entry: Entry) -> str:
    """An image as a row of the table."""
    if entry.failed is not None:
        return f'<tr><td>{_text(entry.title)}</td><td colspan=6 class="faint">not done</td></tr>'
    facts, levels = entry.facts, [int(count) for count in entry.facts.get("levels", ())]
    cells = [
        _pixels(entry),
        f"{int(facts.get('masks', 0)):,}",
        *(f"{sum(part):,}" if levels else "" for part in (levels[:1], levels[1:2], levels[2:])),
        f"{float(entry.cost['seconds']):.1f}" if "seconds" in entry.cost else "",
    ]
    return f"<tr><td>{_text(entry.title)}</td>" + "".join(f"<td class=n>{cell}</td>" for cell in cells) + "</tr>"


def _plots(shown: Sequence[Entry]) -> Iterator[str]:
    found = []
    for name, title in (("scores", "Predicted IoU"), ("stability", "Stability")):
        rows = [entry.facts[name] for entry in shown if len(entry.facts.get(name, ())) == BINS]
        if rows and np.sum(rows):
            marks = [f"{place / 4:.2f}" for place in range(5)]
            found.append(_plot(title, "masks", np.sum(rows, axis=0), marks))
    numbers = np.array([int(entry.facts.get("masks", 0)) for entry in shown])
    if len(numbers) > 1 and numbers.max() > 0:
        # a round number, so that the marks below are
        unit = 10 ** max(0, len(str(int(numbers.max()))) - 2) * 4
        top = int(-(-numbers.max() // unit) * unit)
        heights = np.histogram(numbers, BINS, (0, top))[0]
        found.append(_plot("Masks in a picture", "pictures", heights, [f"{top * n // 4:,}" for n in range(5)]))
    if found:
        yield '<h2>Figures</h2><div class="plots">' + "".join(found) + "</div>"


def _plot(title: str, what: str, heights: Iterable[int], marks: Sequence[str]) -> str:
    """Bars with a scale beneath, as SVG. what: the things that are counted."""
    values = [int(value) for value in heights]
    top, width = max(max(values), 1), 296 / len(values)
    # what is there at all can be seen
    tall = [max(1.5, 88 * value / top) if value else 0.0 for value in values]
    bars = "".join(
        f'<rect x="{12 + place * width + 0.75:.1f}" y="{100 - high:.1f}" width="{width - 1.5:.1f}" '
        f'height="{high:.1f}" rx="1.5"><title>{value:,}</title></rect>'
        for place, (value, high) in enumerate(zip(values, tall, strict=True))
    )
    scale = "".join(
        f'<text x="{12 + 296 * place / (len(marks) - 1):.0f}" y="116" text-anchor="middle">{mark}</text>'
        for place, mark in enumerate(marks)
    )
    label = _text(f"{title}: {sum(values):,} {what}, at most {top:,} in a bar")
    drawn = f'<path d="M12 100.5H308"/>{bars}{scale}'
    return (
        f'<div class="plot"><b>{_text(title)}</b><span>{sum(values):,} {what}</span>'
        f'<svg viewBox="0 0 320 122" role="img" aria-label="{label}">{drawn}</svg></div>'
    )


def _figure(place: Place, entry: Entry, within: bool) -> str:
    """A small picture with its name; wide ones take more of a line, so that all in it are equally high."""
    height, width = (max(1, int(entry.facts.get(name, 1))) for name in ("height", "width"))
    shape = min(max(width / height, 0.72), 2.6)
    look = f'class="shot" style="aspect-ratio:{shape:.3f}"'
    path, name = f"{FOLDER}/{entry.title}.jpg", _text(entry.title)
    if path not in entry.files:
        picture = f'<div class="shot none" style="aspect-ratio:{shape:.3f}">no picture</div>'
    elif within:
        data = base64.b64encode(place.read(path)).decode("ascii")
        picture = f'<img alt="{name} with its masks" {look} src="data:image/jpeg;base64,{data}">'
    else:
        picture = f'<img alt="{name} with its masks" {look} loading="lazy" src="{_link(path)}">'
    large = f"{entry.title}.overlay.jpg"
    if large in entry.files:
        picture = f'<a href="{_link(large)}">{picture}</a>'
    note = _count(int(entry.facts.get("masks", 0)), "mask")
    if "seconds" in entry.cost:
        note += f", {float(entry.cost['seconds']):.1f} s"
    return (
        f'<figure style="flex:{100 * shape:.0f} 1 {190 * shape:.0f}px;max-width:{380 * shape:.0f}px">{picture}'
        f'<figcaption><b title="{name}">{name}</b><span class="faint">{note}</span>'
        "</figcaption></figure>"
    )


def _pixels(entry: Entry) -> str:
    return f"{entry.facts['width']} x {entry.facts['height']}" if "width" in entry.facts else ""


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def _link(path: str) -> str:
    """The file's address from the page; "./" keeps a colon in a name from being taken for a protocol."""
    return "./" + quote(os.fsencode(path))


def _text(value: Any) -> str:
    """Anything as text of a page; file names may hold what no page can."""
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"))
