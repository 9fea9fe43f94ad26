"""Curves: a panel per metric, training and validation together."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_dlviz.reporting.align import Curve, Panel, choose_panels
from mlflow_dlviz.reporting.analysis import Analysis, axis_name
from mlflow_dlviz.reporting.section import Section

MAX_POINTS = 600_000
"""Points in one page: about 12 MB."""

_LINE_POINTS = 500


def build(analysis: Analysis) -> Section:
    """All panels; the script draws them when they come into view."""
    found = panels(analysis)
    reason = "" if found else "no metrics were logged"
    return Section("curves", "Curves", {}, {"panels": found}, reason=reason)


def panels(analysis: Analysis) -> list[dict[str, Any]]:
    """What the page's script draws: a panel per metric, each with its lines by run and half."""
    lines = sum(map(len, analysis.curves))
    points = int(np.clip(MAX_POINTS // max(lines, 1), 20, _LINE_POINTS))
    found = choose_panels({metric for run in analysis.runs for metric in run.histories})
    return [_panel(panel, analysis, points) for panel in found]


def _panel(panel: Panel, analysis: Analysis, points: int) -> dict[str, Any]:
    lines = [
        {"run": place, "half": half, **_line(of_run[panel.base, half], points)}
        for place, of_run in enumerate(analysis.curves)
        for half in ("train", "val")
        if (panel.base, half) in of_run
    ]
    axis = axis_name([analysis.runs[line["run"]] for line in lines])
    return {"name": panel.base, "main": panel.main, "axis": axis, "lines": lines}


def _line(curve: Curve, points: int) -> dict[str, Any]:
    finite = np.isfinite(curve.values)
    bad = curve.steps[~finite]
    kept = shorten(curve, points)
    line: dict[str, Any] = {"y": [_short(value) for value in kept.values.tolist()]}
    if not np.array_equal(kept.steps, np.arange(len(kept.steps))):
        line["x"] = kept.steps.tolist()
    if len(bad):
        line["bad"] = [int(bad[0]), len(bad)]
    return line


def _short(value: float) -> float | None:
    # Six digits are more than a screen shows; JSON has no NaN.
    return float(f"{value:.6g}") if np.isfinite(value) else None


def shorten(curve: Curve, points: int) -> Curve:
    """At most ``points`` of ``curve``, the lowest and highest of each stretch among them, so no spike is lost."""
    count = len(curve.steps)
    if count <= points:
        return curve
    edges = np.linspace(0, count, max(1, (points - 2) // 2) + 1).astype(int)
    kept = {0, count - 1}
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        stretch = curve.values[start:stop]
        if len(stretch) and np.isfinite(stretch).any():
            kept |= {start + int(np.nanargmin(stretch)), start + int(np.nanargmax(stretch))}
        else:
            kept.add(int(start))
    places = np.array(sorted(kept))
    return Curve(curve.steps[places], curve.values[places], curve.repeated)
