"""report.html: a run to look at, one page that opens without a network; pictures lie beside it, few ones within it."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

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

SIDE = 360
"""Pixels of a small picture, its longer side."""

_STYLE = """
:root{color-scheme:light dark;--ground:#f7f7f8;--card:#fff;--ink:#1b1d22;--faint:#6b7078;--line:#e3e4e8;--bar:#2f7fd6;
--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--ground:#131417;--card:#1c1e23;--ink:#eceef2;--faint:#9aa0aa;--line:#2c2f36;
--bar:#5aa2f0;--bad:#ff8a7a}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1280px;margin:0 auto;padding:40px 24px 80px}h1{font-size:28px;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:18px;margin:40px 0 14px}.faint{color:var(--faint)}.row{display:grid;gap:14px;
grid-template-columns:repeat(auto-fit,minmax(150px,1fr));margin:28px 0 0}
.tile,.plot,figure,details{background:var(--card);border:1px solid var(--line);border-radius:12px}
.tile{padding:16px 18px}.tile b{display:block;font-size:26px;font-weight:650;font-variant-numeric:tabular-nums}
.plots{display:grid;gap:14px;grid-template-columns:
repeat(auto-fill,minmax(min(100%,380px),1fr))}.plot{padding:16px 18px}
svg{display:block;width:100%;height:auto}svg rect{fill:var(--bar)}svg text{fill:var(--faint);font-size:11px}
.grid{display:grid;gap:14px;grid-template-columns:repeat(auto-fill,minmax(220px,1fr))}
figure{margin:0;overflow:hidden;content-visibility:auto;contain-intrinsic-size:230px}
figure img{display:block;width:100%;aspect-ratio:4/3;object-fit:contain;background:#0c0d0f}
figcaption{padding:10px 12px;font-size:14px}figcaption b{display:block;overflow-wrap:anywhere;font-weight:600}
.none{display:grid;place-items:center;aspect-ratio:4/3;color:var(--faint)}
ul.bad{padding:0;list-style:none}ul.bad li{padding:10px 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
ul.bad b{color:var(--bad)}details{padding:14px 18px;margin-top:14px}summary{cursor:pointer;font-weight:600}
table{border-collapse:collapse;margin-top:10px;width:100%}td{padding:5px 14px 5px 0;vertical-align:top;
border-top:1px solid var(--line);overflow-wrap:anywhere}td:first-child{color:var(--faint);white-space:nowrap}
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

    from anymask.masks.sheet import small

    out = io.BytesIO()
    small(masks.overlay(), SIDE).save(out, "JPEG", quality=82)
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
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>anymask report</title>'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1"><style>' + _STYLE + "</style></head>"
    yield "<body><main><h1>Everything, found</h1>"
    yield f'<div class="faint">{_text(about.get("model", ""))}, anymask {_text(about.get("anymask", ""))}</div>'
    yield '<div class="row">'
    tiles = [("pictures", f"{len(shown):,}"), ("masks", f"{masks:,}")]
    if shown:
        tiles.append(("masks a picture", f"{masks / len(shown):,.1f}"))
    if spent:
        tiles.append(("median seconds each", f"{np.median(spent):.1f}"))
    if seconds:
        tiles.append(("seconds in all", f"{seconds:,.0f}"))
    tiles.append(("not done", f"{len(failed):,}"))
    yield "".join(f'<div class="tile"><b>{value}</b><span class="faint">{name}</span></div>' for name, value in tiles)
    yield "</div>"
    yield from _plots(shown)
    if failed:
        yield "<h2>Not done</h2><ul class=bad>"
        yield from (f"<li><b>{_text(one.title)}</b><br>{_text(one.failed)}</li>" for one in failed)
        yield "</ul>"
    yield '<h2>Pictures</h2><div class="grid">'
    yield from (_figure(place, entry, within) for entry in shown)
    yield "</div><h2>How</h2><details open><summary>Settings</summary><table>"
    yield from (f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in about.items())
    yield "</table></details></main></body></html>\n"


def _plots(shown: Sequence[Entry]) -> Iterator[str]:
    found = []
    for name, title in (("scores", "Predicted IoU of masks"), ("stability", "Stability of masks")):
        rows = [entry.facts[name] for entry in shown if len(entry.facts.get(name, ())) == BINS]
        if rows and np.sum(rows):
            found.append(_plot(title, np.sum(rows, axis=0), [f"{place / 4:.2f}" for place in range(5)]))
    numbers = np.array([int(entry.facts.get("masks", 0)) for entry in shown])
    if len(numbers) > 1 and numbers.max() > 0:
        top = int(numbers.max())
        found.append(
            _plot(
                "Masks in a picture", np.histogram(numbers, BINS, (0, top))[0], [f"{top * n / 4:.0f}" for n in range(5)]
            )
        )
    if found:
        yield '<h2>Figures</h2><div class="plots">' + "".join(found) + "</div>"


def _plot(title: str, heights: Iterable[int], marks: Sequence[str]) -> str:
    """Bars with a scale beneath, as SVG."""
    values = [int(value) for value in heights]
    top, width = max(max(values), 1), 300 / len(values)
    bars = "".join(
        f'<rect x="{10 + place * width + 1:.1f}" y="{100 - 92 * value / top:.1f}" width="{width - 2:.1f}" '
        f'height="{92 * value / top:.1f}" rx="1.5"><title>{value:,}</title></rect>'
        for place, value in enumerate(values)
    )
    scale = "".join(
        f'<text x="{10 + 300 * place / (len(marks) - 1):.0f}" y="116" text-anchor="middle">{mark}</text>'
        for place, mark in enumerate(marks)
    )
    label = _text(f"{title}, {sum(values):,} in all")
    drawn = f'<svg viewBox="-8 0 336 122" role="img" aria-label="{label}">{bars}{scale}</svg>'
    return f'<div class="plot"><b>{_text(title)}</b>{drawn}</div>'


def _figure(place: Place, entry: Entry, within: bool) -> str:
    path = f"{FOLDER}/{entry.title}.jpg"
    if path not in entry.files:
        picture = '<div class="none">no picture</div>'
    elif within:
        data = base64.b64encode(place.read(path)).decode("ascii")
        picture = f'<img alt="" src="data:image/jpeg;base64,{data}">'
    else:
        from urllib.parse import quote

        picture = f'<img alt="" loading="lazy" src="{quote(path)}">'
    size = f"{entry.facts['width']:,} x {entry.facts['height']:,} px, " if "width" in entry.facts else ""
    took = f", {float(entry.cost['seconds']):.1f} s" if "seconds" in entry.cost else ""
    note = f"{entry.facts.get('masks', 0):,} masks"
    return (
        f"<figure>{picture}<figcaption><b>{_text(entry.title)}</b>"
        f'<span class="faint">{size}{note}{took}</span></figcaption></figure>'
    )


def _text(value: Any) -> str:
    """Anything as text of a page; file names may hold what no page can."""
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"))
