"""The curves of a page as plain numbers: paired, cleaned, short enough to draw. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlflow_dlviz.reporting.align import Curve, Panel, choose_panels, clean, pair_halves
from mlflow_dlviz.reporting.bundle import RunData

MAX_POINTS = 600_000
"""Points in one page: about 12 MB."""

_LINE_POINTS = 500


def run_curves(run: RunData) -> dict[tuple[str, str], Curve]:
    """``{(base, half): Curve}`` of what ``run`` logged."""
    return {place: clean(run.histories[metric]) for place, metric in pair_halves(run.histories).items()}


def panels(runs: Sequence[RunData], curves: Sequence[Mapping[tuple[str, str], Curve]]) -> list[dict[str, Any]]:
    """What the page's script draws: a panel per metric, each with its lines by run and half."""
    lines = sum(map(len, curves))
    points = int(np.clip(MAX_POINTS // max(lines, 1), 20, _LINE_POINTS))
    found = choose_panels({metric for run in runs for metric in run.histories})
    return [_panel(panel, runs, curves, points) for panel in found]


def _panel(
    panel: Panel, runs: Sequence[RunData], curves: Sequence[Mapping[tuple[str, str], Curve]], points: int
) -> dict[str, Any]:
    lines = [
        {"run": place, "half": half, **_line(of_run[panel.base, half], points)}
        for place, of_run in enumerate(curves)
        for half in ("train", "val")
        if (panel.base, half) in of_run
    ]
    axis = axis_name([runs[line["run"]] for line in lines])
    return {"name": panel.base, "main": panel.main, "axis": axis, "lines": lines}


def axis_name(runs: Sequence[RunData]) -> str:
    """What the steps of ``runs`` are: only our own runs are known to count in epochs."""
    return "epoch" if all("dlviz.status" in run.tags for run in runs) else "step"


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
