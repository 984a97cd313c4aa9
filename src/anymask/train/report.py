"""The page about a run: curves, settings, how fast it was, and pictures from its beginning and its end."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anymask.evaluate import plots
from anymask.evaluate.protocol import Plot
from anymask.records import atomic
from anymask.train import journal
from anymask.train.pictures import FOLDER
from anymask.train.settings import TrainSettings

PAGE = "report.html"
CURVES = "curves.png"
IOUS = {"box": "box", "click": "1 click, best of 3", "last": "after corrections"}

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:0;background:#fafafb;color:#1c1d21}
main{max-width:1040px;margin:auto;padding:24px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:32px 0 8px}
.faint{color:#70747c}.row{display:flex;flex-wrap:wrap;gap:12px;margin:16px 0}
.tile{background:#fff;border:1px solid #e3e4e8;border-radius:8px;padding:10px 16px}
.tile b{display:block;font-size:20px}img{max-width:100%;border:1px solid #e3e4e8;border-radius:8px;background:#fff}
td{padding:2px 16px 2px 0;vertical-align:top}
"""


def write(out: Path, settings: TrainSettings, about: Mapping[str, Any]) -> Path | None:
    """Write `<out>/report.html` from the run's log; None where nothing was logged yet.

    about: what was trained on what, by name. Raises MissingExtra without matplotlib.
    """
    lines = journal.read(out)
    if not lines:
        return None
    plots.write(_plots(lines), out / CURVES)
    atomic.write(out / PAGE, "".join(_page(out, settings, about, lines)).encode())
    return out / PAGE


def _plots(lines: list[dict[str, Any]]) -> list[Plot]:
    steps = [line["step"] for line in lines]

    def curve(name: str) -> tuple[list[float], list[float]]:
        known = [(step, line[name]) for step, line in zip(steps, lines, strict=True) if name in line]
        return [float(step) for step, _ in known], [float(value) for _, value in known]

    quality = {label: curve(name) for name, label in IOUS.items() if any(name in line for line in lines)}
    found = [Plot("Loss, means since the point before", "step", "loss", {"loss": curve("loss")}, unit_y=False)]
    if quality:
        found.append(Plot("IoU on the training examples", "step", "mean IoU", quality))
    return [*found, Plot("Learning rate", "step", "rate", {"rate": curve("rate")}, unit_y=False)]


def _page(out: Path, settings: TrainSettings, about: Mapping[str, Any], lines: list[dict[str, Any]]) -> Iterator[str]:
    last = lines[-1]
    title = f"{about.get('model', 'a model')}, {settings.method}, {last['step']:,} of {settings.steps:,} steps"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)} - anymask</title>'
    yield f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
    yield f'<body><main><h1>{_text(title)}</h1><div class="faint">until {_text(last["time"])}</div><div class="row">'
    tiles = {"examples": f"{last['images']:,}", "running time": _span(last["seconds"])}
    tiles["examples a second"] = f"{last['images'] / max(last['seconds'], 1e-9):.2f}"
    tiles |= {label: f"{last[name]:.3f}" for name, label in {"loss": "loss", **IOUS}.items() if name in last}
    yield "".join(
        f'<div class="tile"><b>{value}</b><span class="faint">{name}</span></div>' for name, value in tiles.items()
    )
    yield f'</div><img alt="loss, IoU and learning rate over the steps" src="{_inline(out / CURVES)}">'
    pictures = sorted((out / FOLDER).glob("*.jpg"))
    for file in pictures[:1] + pictures[1:][-1:]:
        yield f"<h2>Answers at step {int(file.stem):,}</h2>"
        yield f'<img alt="truth, answers to boxes and to clicks" src="{_inline(file)}">'
    yield "<h2>Settings</h2><table>"
    rows = {**about, **asdict(settings)}
    yield "".join(f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in rows.items())
    yield "</table></main></body></html>\n"


def _inline(file: Path) -> str:
    kind = "png" if file.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _text(value: Any) -> str:
    return html.escape(str(value))
