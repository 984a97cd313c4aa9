"""The figures of a run as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from anymask.evaluate.protocol import Plot
from anymask.extras import need
from anymask.records import atomic

INCHES = (6.4, 4.4)
DPI = 110


def write(plots: Sequence[Plot], path: Path) -> None:
    """Draws plots side by side into a PNG file. Raises MissingExtra without matplotlib."""
    need("matplotlib", extra="evaluate", to="draw plots")
    # without pyplot: no windows, no state that outlives the call
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [INCHES[1] if plot.kind == "lines" else max(INCHES[1], 0.24 * _names(plot)) for plot in plots]
    figure = Figure((INCHES[0] * len(plots), max(heights)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for place, plot in enumerate(plots, 1):
        axes: Any = figure.add_subplot(1, len(plots), place)
        (_bars if plot.kind == "bars" else _curves)(axes, plot)
        axes.set_title(plot.title, fontsize=10)
        axes.grid(alpha=0.3)
        if len(plot.series) > 1:
            axes.legend(fontsize=8)
    content = BytesIO()
    # the date and version that matplotlib would write make equal pictures differ
    figure.savefig(content, format="png", metadata={"Software": None})
    atomic.write(path, content.getvalue())


def _names(plot: Plot) -> int:
    return max(len(xs) for xs, _ in plot.series.values())


def _curves(axes: Any, plot: Plot) -> None:
    for name, (xs, ys) in plot.series.items():
        axes.plot(xs, ys, marker="o" if len(xs) <= 24 else "", markersize=4, label=name)
    if plot.log_x:
        axes.set_xscale("log")
    elif all(float(x).is_integer() for xs, _ in plot.series.values() for x in xs) and _names(plot) <= 24:
        axes.set_xticks(sorted({x for xs, _ in plot.series.values() for x in xs}))
    if plot.unit_y:
        axes.set_ylim(0, 1)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)


def _bars(axes: Any, plot: Plot) -> None:
    thick = 0.8 / len(plot.series)
    for turn, (name, (xs, ys)) in enumerate(plot.series.items()):
        places = [place + (turn - (len(plot.series) - 1) / 2) * thick for place in range(len(xs))]
        axes.barh(places, [0 if math.isnan(y) else y for y in ys], thick, label=name)
        axes.set_yticks(range(len(xs)), [str(x) for x in xs], fontsize=8)
    axes.invert_yaxis()
    if plot.unit_y:
        axes.set_xlim(0, 1)
    axes.set_xlabel(plot.y)
