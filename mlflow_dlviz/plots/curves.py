"""Metric curves of a run, training and validation together."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlflow_dlviz.plots import _style as style
from mlflow_dlviz.plots._style import TOP, WIDTH, Box
from mlflow_dlviz.plots._text import number, text

PANELS = 6
_TRAIN: dict[str, Any] = {"color": style.COLOURS[0], "linewidth": 2.5, "linestyle": "-"}
_VALIDATION: dict[str, Any] = {"color": style.COLOURS[1], "linewidth": 2.5, "linestyle": (0, (4, 1.5))}
_BEST: dict[str, Any] = {"color": style.SOFT, "linewidth": 1.5, "linestyle": (0, (1, 1.5))}


def draw(*, names, epochs, values, best_epoch=None, title="") -> Figure:
    """Draw the metrics of one run over its epochs, loss first, in at most 6 panels.

    names: (M,) unicode; ``x`` and ``val_x`` share a panel, training solid, validation dashed.
    epochs: (S,) int. values: (M, S), in each metric's own unit; NaN where none was logged.
    best_epoch: 0-d int, marked by a vertical line; None or NaN for none. title: unicode, the run's name.
    """
    names, epochs = [str(name) for name in names], np.asarray(epochs, dtype=np.float64)
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(names), len(epochs)):
        raise ValueError(f"curves: values of shape {values.shape} for {len(names)} names and {len(epochs)} epochs")
    order = np.argsort(epochs, kind="stable")
    epochs, series = epochs[order], dict(zip(names, values[:, order], strict=True))
    groups = pair(names)
    best = None if best_epoch is None or not np.isfinite(best_epoch) else int(best_epoch)
    figure = style.new_figure()
    some = f" · {PANELS} of {len(groups)} metrics" if len(groups) > PANELS else ""
    style.header(figure, (text(title, 34 if some else 50) or "Metrics") + some)
    groups = groups[:PANELS]
    _legend(figure, groups, best)
    for i, (group, box) in enumerate(zip(groups, _boxes(len(groups)), strict=True)):
        lowest = i + _grid(len(groups))[1] >= len(groups)
        _panel(figure, box, group, epochs, series, best, lowest)
    if groups:
        style.write(figure, WIDTH / 2, 494, "epoch", style.LABEL, ha="center", va="bottom")
    return figure


def pair(names: list[str]) -> list[list[str]]:
    """``x`` with ``val_x``: the loss first, then in the order given."""
    bases = dict.fromkeys(name.removeprefix("val_") for name in names)
    ordered = sorted(bases, key=lambda base: base != "loss")
    return [[name for name in (base, f"val_{base}") if name in names] for base in ordered]


def _grid(count: int) -> tuple[int, int]:
    columns = 1 if count <= 1 else 2 if count in (2, 4) else 3
    return -(-count // columns), columns


def _boxes(count: int) -> list[Box]:
    if not count:
        return []
    rows, columns = _grid(count)
    top, bottom = TOP - 8, 462
    width, height = (WIDTH - 4) / columns, (bottom - top) / rows
    return [
        Box(column * width + 68, top + row * height + 30, width - 84, height - 62)
        for row, column in (divmod(i, columns) for i in range(count))
    ]


def _legend(figure: Figure, groups: list[list[str]], best: int | None) -> None:
    shown = [name for group in groups for name in group]
    entries = []
    if any(not name.startswith("val_") for name in shown):
        entries.append((_TRAIN, "training"))
    if any(name.startswith("val_") for name in shown):
        entries.append((_VALIDATION, "validation"))
    if best is not None:
        entries.append((_BEST, f"best epoch: {best}"))
    rest = style.canvas(figure)
    for i, (line, label) in enumerate(entries):
        style.sign(rest, 18 + 180 * i, 58, **line)
        style.write(figure, 50 + 180 * i, 58, label, va="center_baseline")


def _panel(
    figure: Figure, box: Box, group: list[str], epochs, series: dict, best: int | None, lowest: bool
) -> None:
    area = style.axes(figure, box)
    base = group[0].removeprefix("val_")
    style.write(
        figure,
        box.left,
        box.top - 6,
        text(base, max(12, int(box.width / 11))),
        style.LABEL,
        va="bottom",
    )
    for name in group:
        line = _VALIDATION if name.startswith("val_") else _TRAIN
        dots: dict[str, Any] = {"marker": "o", "markersize": 7} if np.isfinite(series[name]).sum() == 1 else {}
        area.plot(epochs, series[name], label=name, **line, **dots)
    if best is not None:
        area.axvline(best, label="best epoch", zorder=0.5, **_BEST)
    _limits(area, epochs, np.concatenate([series[name] for name in group]), base)
    places = style.spread(len(epochs), 3 if box.width < 300 else 5)
    style.ticks(area, x=(epochs[places], [str(int(e)) for e in epochs[places]]))


def _limits(area: Axes, epochs: np.ndarray, values: np.ndarray, name: str) -> None:
    """Limits with air around, and three or so ticks; decades for a loss that spans more than two."""
    if len(epochs):
        edge = 0.03 * (epochs[-1] - epochs[0]) or 0.5
        area.set_xlim(epochs[0] - edge, epochs[-1] + edge)
    values = values[np.isfinite(values)]
    if not values.size:
        return
    low, high = values.min(), values.max()
    if "loss" in name and low > 0 and high > 100 * low:
        _decades(area, low, high)
        return
    air = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    area.set_ylim(low - air, high + air)
    style.ticks(area, y=(style.round_ticks(low - air, high + air),), size=12)


def _decades(area: Axes, low: float, high: float) -> None:
    area.set_yscale("log")
    area.set_ylim(low / 1.3, high * 1.3)
    powers = np.arange(np.ceil(np.log10(low / 1.3)), np.floor(np.log10(high * 1.3)) + 1).astype(int)
    powers = powers[style.spread(len(powers), 4)]
    style.ticks(
        area,
        y=(10.0**powers, [number(10.0**power) for power in powers]),
        size=12,
    )
