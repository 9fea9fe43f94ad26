"""One metric of several runs, or groups of runs, in one chart: training solid, validation dashed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlflow_dlviz.plots import _style as style
from mlflow_dlviz.plots._style import BOTTOM, HEIGHT, TOP, WIDTH, Box
from mlflow_dlviz.plots._text import number, text

NAMED = 8
"""Lines that have a colour, a marker and a name of their own; the others are grey."""

_DASH = (0, (4, 1.5))
_MARKS = 6
_LEGEND, _APART = 250, 28
_SMALL = 12
_DECADES = 100.0
_LARGEST = 1e300


@dataclass(frozen=True)
class Line:
    """A curve of one run or group.

    series: which of the labels it belongs to; validation: on which half of the data. steps: (S,) ascending;
    values: (S,), a gap where not finite; low, high: (S,) a band around it, None for none.
    """

    series: int
    validation: bool
    steps: np.ndarray
    values: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def draw(*, labels, lines: Sequence[Line], title="", subtitle="", xlabel="epoch", heading="") -> Figure:
    """Draw ``lines`` over their steps, and name the first 8 of ``labels`` (R,), best first.

    heading: what the labels are values of. Values that are not finite make a gap, with a cross where it begins;
    the axis ignores them.
    """
    figure = style.new_figure()
    style.header(figure, text(title, 56) or "Metric", subtitle=text(subtitle, 68))
    alone = len(labels) == 1
    box = Box(80, TOP, WIDTH - 96 - (0 if alone else _LEGEND), BOTTOM - TOP)
    area = style.axes(figure, box, xlabel=text(xlabel, 40))
    # The best on top.
    for line in sorted(lines, key=lambda line: -line.series):
        _draw_line(area, line, alone)
    _limits(area, lines)
    _name_halves(figure, lines, alone)
    if not alone:
        style.write(figure, WIDTH - _LEGEND, TOP - 2, text(heading, 24), _SMALL, style.SOFT, va="center_baseline")
        _legend(figure, [text(label, 19) for label in labels[:NAMED]], len(labels))
    return figure


def _look(line: Line, alone: bool) -> dict[str, Any]:
    dash: Any = _DASH if line.validation else "-"
    if line.series >= NAMED:
        return {"color": style.RULE, "linewidth": 1.0, "linestyle": dash}
    colour = style.colour(1 if alone and line.validation else line.series)
    if alone:
        return {"color": colour, "linewidth": 2.0, "linestyle": dash}
    return {"color": colour, "linewidth": 2.0, "linestyle": dash, "marker": _marker(line.series), "markersize": 6}


def _marker(series: int) -> str:
    return style.MARKERS[series % len(style.MARKERS)]


def _draw_line(area: Axes, line: Line, alone: bool) -> None:
    look = _look(line, alone)
    if line.low is not None and line.high is not None and line.series < NAMED:
        low, high = (np.clip(edge, -_LARGEST, _LARGEST) for edge in (line.low, line.high))
        area.fill_between(line.steps, low, high, color=look["color"], alpha=0.18, linewidth=0)
    finite = _drawable(line.values)
    if finite.sum() == 1:
        look |= {"marker": look.get("marker", "o"), "markersize": 7}
    else:
        look["markevery"] = _spaced(line)
    area.plot(line.steps, np.where(finite, line.values, np.nan), **look)
    lost = np.flatnonzero(~finite[1:] & finite[:-1])
    area.plot(line.steps[lost + 1], line.values[lost], "x", color=look["color"], markersize=9, markeredgewidth=2)


def _drawable(values: np.ndarray) -> np.ndarray:
    # Beyond that, the room above a curve would be infinite.
    with np.errstate(invalid="ignore"):
        return np.abs(values) < _LARGEST


def _spaced(line: Line) -> tuple[int, int]:
    """First and distance of a line's markers: those of the lines stand beside each other."""
    apart = max(1, len(line.steps) // _MARKS)
    return line.series * apart // NAMED % apart, apart


def _limits(area: Axes, lines: Sequence[Line]) -> None:
    steps = np.concatenate([line.steps for line in lines] or [np.zeros(0)])
    if len(steps):
        edge = 0.03 * float(np.ptp(steps)) or 0.5
        low, high = float(steps.min()), float(steps.max())
        area.set_xlim(low - edge, high + edge)
        places = [place for place in style.round_ticks(low, high) if float(place).is_integer()] or [low]
        style.ticks(area, x=(places, [f"{place:.0f}" for place in places]))
    drawn = [part for line in lines for part in (line.values, line.low, line.high) if part is not None]
    values = np.concatenate(drawn or [np.zeros(0)])
    values = values[_drawable(values)]
    if len(values):
        _vertical(area, float(values.min()), float(values.max()))


def _vertical(area: Axes, low: float, high: float) -> None:
    if low > 0 and high > _DECADES * low:
        area.set_yscale("log")
        area.set_ylim(low / 1.3, high * 1.3)
        powers = np.arange(np.ceil(np.log10(low / 1.3)), np.floor(np.log10(high * 1.3)) + 1)
        powers = powers[style.spread(len(powers), 5)]
        style.ticks(area, y=(10.0**powers, [number(10.0**power) for power in powers]))
        return
    air = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    area.set_ylim(low - air, high + air)
    style.ticks(area, y=(style.round_ticks(low - air, high + air),))


def _name_halves(figure: Figure, lines: Sequence[Line], alone: bool) -> None:
    halves = sorted({line.validation for line in lines})
    rest = style.canvas(figure)
    for place, validation in enumerate(halves):
        colour = style.colour(place) if alone else style.INK
        x, y = (18 + 150 * place, HEIGHT - 18) if alone else (WIDTH - _LEGEND, BOTTOM - 34 + 34 * place)
        style.sign(rest, x, y, color=colour, linewidth=2.0, linestyle=_DASH if validation else "-")
        style.write(figure, x + 34, y, "validation" if validation else "training", _SMALL, va="center_baseline")


def _legend(figure: Figure, labels: Sequence[str], count: int) -> None:
    rest = style.canvas(figure)
    left = WIDTH - _LEGEND
    for place, label in enumerate(labels):
        y = TOP + 26 + _APART * place
        look = {"color": style.colour(place), "linewidth": 2.0}
        style.sign(rest, left, y, linestyle="-", **look)
        style.sign(rest, left + 12, y, linestyle="none", marker=_marker(place), markersize=7, **look)
        style.write(figure, left + 34, y, label, _SMALL, va="center_baseline")
    if count > NAMED:
        y = TOP + 26 + _APART * NAMED
        style.sign(rest, left, y, color=style.RULE, linewidth=1.5, linestyle="-")
        style.write(figure, left + 34, y, f"and {count - NAMED} more", _SMALL, va="center_baseline")
