"""Groups of runs by one figure: a dot for the middle, a bar for its interval, faint dots for the runs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlflow_dlviz.plots import _style as style
from mlflow_dlviz.plots._style import BOTTOM, HEIGHT, TOP, WIDTH, Box
from mlflow_dlviz.plots._text import number, text

ROWS = 12
"""Groups in one picture; more would not be legible."""

_LEFT, _RIGHT, _SMALL = 290, 110, 12
# Beyond that, the room beside the dots would be infinite.
_LARGEST = 1e300


def draw(
    *, labels, centers, low, high, counts, totals, values, title="", subtitle="", xlabel="", heading=""
) -> Figure:
    """Draw the first 12 of G groups, in the order given.

    labels: (G,) unicode; centers, low, high: (G,) in the metric's unit, NaN where there is none; counts, totals:
    (G,) int, runs in the figure and in the group; values: G arrays (n,), one value a run; heading: what the labels
    are values of.
    """
    shown = min(len(labels), ROWS)
    figure = style.new_figure()
    some = f" · {shown} of {len(labels)} groups" if shown < len(labels) else ""
    style.header(figure, (text(title, 40) or "Groups") + some, subtitle=text(subtitle, 60))
    box = Box(_LEFT, TOP + 10, WIDTH - _LEFT - _RIGHT, BOTTOM - TOP - 10)
    area = style.axes(figure, box, xlabel=text(xlabel, 44))
    area.spines["left"].set_visible(False)
    rows = box.height / max(shown, 1)
    style.write(figure, 16, TOP + 6, text(heading, 25), _SMALL, style.SOFT, va="bottom")
    style.write(figure, WIDTH - 16, TOP + 6, "runs", _SMALL, style.SOFT, ha="right", va="bottom")
    for row in range(shown):
        _draw_row(area, row, centers[row], low[row], high[row], np.asarray(values[row], float))
        y = box.top + (row + 0.5) * rows
        style.write(figure, 16, y, text(labels[row], 25), _SMALL, va="center_baseline")
        style.write(
            figure, WIDTH - 16, y, f"{counts[row]} of {totals[row]}", _SMALL, va="center_baseline", ha="right"
        )
    area.set_ylim(max(shown, 1) - 0.5, -0.5)
    _limits(area, [np.append(np.asarray(values[row], float), [low[row], high[row]]) for row in range(shown)])
    if not shown:
        style.write(figure, WIDTH / 2, HEIGHT / 2, "no groups", ha="center")
    return figure


def _draw_row(area: Axes, row: int, center: float, low: float, high: float, values: np.ndarray) -> None:
    area.axhline(row, color=style.RULE, linewidth=0.5, zorder=0)
    finite = values[np.isfinite(values)]
    if np.isfinite(low) and np.isfinite(high):
        area.plot([low, high], [row, row], color=style.COLOURS[0], linewidth=3, solid_capstyle="butt", zorder=2)
    # Below the bar, lest one hide the other.
    area.plot(finite, np.full(len(finite), row + 0.28), "o", color=style.COLOURS[5], markersize=5, zorder=4)
    if np.isfinite(center):
        area.plot([center], [row], "D", color=style.COLOURS[0], markersize=11, zorder=3)


def _limits(area: Axes, drawn: list[np.ndarray]) -> None:
    found = np.concatenate(drawn or [np.zeros(0)])
    found = found[np.abs(found) < _LARGEST]
    if not len(found):
        return
    low, high = float(found.min()), float(found.max())
    air = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    area.set_xlim(low - air, high + air)
    places = style.round_ticks(low - air, high + air)
    style.ticks(area, x=(places, [number(place) for place in places]))
