"""A report's charts as PNG: a picture per main metric, and one of the groups."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.align import Panel
from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.bands import counted, group_curves
from mlflow_dlviz.reporting.cells import metric_name
from mlflow_dlviz.reporting.exports.files import file_names, whole_file
from mlflow_dlviz.reporting.standings import Standing, standings

if TYPE_CHECKING:
    from mlflow_dlviz.plots.comparison import Line

_STEPS = 500
_MOST = 24
_HALVES = ("train", "val")


def write_pictures(analysis: Analysis, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """``curves-<metric>.png`` for each main metric and, of several groups, ``groups.png``; their paths.

    Runs where each is a group of its own, or none is repeated; else groups, their IQM and its interval.
    """
    from mlflow_dlviz.plots import comparison, forest
    from mlflow_dlviz.plots._style import encode

    panels = chosen_panels(analysis)
    names = file_names([f"curves-{panel.base}" for panel in panels], ".png")
    found = [Path(folder) / name for name in names]
    for path, panel in zip(found, panels, strict=True):
        _write(path, encode(comparison.draw(**curves_of(analysis, panel))))
    if repeated(analysis) and analysis.goal is not None:
        found.append(Path(folder) / "groups.png")
        _write(found[-1], encode(forest.draw(**groups_of(analysis))))
    return tuple(found)


def chosen_panels(analysis: Analysis) -> list[Panel]:
    """Those that matter, or all that were asked for."""
    logged = {place for of_run in analysis.curves for place in of_run}
    wanted = [place for place in logged if analysis.options.wants(metric_name(place))]
    panels = align.choose_panels(map(metric_name, wanted))
    return [panel for panel in panels if panel.main or analysis.options.metrics][:_MOST]


def repeated(analysis: Analysis) -> bool:
    """Whether there are groups to be compared, and of one of them more than one run that counts."""
    return len(analysis.groups) > 1 and any(len(members) > 1 for members in counted(analysis))


def curves_of(analysis: Analysis, panel: Panel) -> dict[str, Any]:
    """What :func:`mlflow_dlviz.plots.comparison.draw` needs."""
    grouped = repeated(analysis)
    smaller = "lower" if analysis.smaller(panel.base) else "higher"
    what = "IQM of each group and its 95 % interval (n ≥ 3)" if grouped else "each run"
    return {
        "labels": _group_labels(analysis) if grouped else list(analysis.labels),
        "lines": _group_lines(analysis, panel) if grouped else _run_lines(analysis, panel),
        "title": panel.base,
        "subtitle": f"{what}; {smaller} is better",
        "xlabel": analysis.axis,
        "heading": _heading(analysis) if grouped else "",
    }


def groups_of(analysis: Analysis) -> dict[str, Any]:
    """What :func:`mlflow_dlviz.plots.forest.draw` needs."""
    found = standings(analysis)
    intervals = [standing.interval for standing in found]
    better = "lower" if analysis.smaller(analysis.goal or "") else "higher"
    return {
        "labels": [_label(analysis, standing) for standing in found],
        "centers": np.array([np.nan if each.iqm is None else each.iqm for each in found]),
        "low": np.array([np.nan if each is None else each.low for each in intervals]),
        "high": np.array([np.nan if each is None else each.high for each in intervals]),
        "counts": [len(standing.values) for standing in found],
        "totals": [standing.total for standing in found],
        "values": [np.array(standing.values) for standing in found],
        "title": f"Best {analysis.goal} by group",
        "subtitle": "diamond: IQM; bar: its 95 % interval (n ≥ 3); dots: runs",
        "xlabel": f"best {analysis.goal} ({better} is better)",
        "heading": _heading(analysis),
    }


def _run_lines(analysis: Analysis, panel: Panel) -> list[Line]:
    from mlflow_dlviz.plots.comparison import Line

    return [
        Line(place, half == "val", curve.steps, curve.values)
        for place, of_run in enumerate(analysis.curves)
        for half in _shown_halves(analysis, panel)
        if (curve := of_run.get((panel.base, half))) is not None and len(curve.steps)
    ]


def _group_lines(analysis: Analysis, panel: Panel) -> list[Line]:
    from mlflow_dlviz.plots.comparison import Line

    rank = _ranks(analysis)
    places = [(panel.base, half) for half in _shown_halves(analysis, panel)]
    found = [
        Line(rank[each.group], each.place[1] == "val", each.steps, each.band.center, each.band.low, each.band.high)
        for each in group_curves(analysis, places, _STEPS)
    ]
    drawn = {(line.series, line.validation) for line in found}
    # Of a group too small for a band, its runs.
    return found + [
        Line(rank[group], half == "val", curve.steps, curve.values)
        for group, members in enumerate(counted(analysis))
        for member in members
        for base, half in places
        if (rank[group], half == "val") not in drawn
        and (curve := analysis.curves[member].get((base, half))) is not None
        and len(curve.steps)
    ]


def _shown_halves(analysis: Analysis, panel: Panel) -> list[str]:
    return [half for half in _HALVES if analysis.options.wants(metric_name((panel.base, half)))]


def _ranks(analysis: Analysis) -> Mapping[int, int]:
    """The place of each group by its standing: the best have a colour and a name."""
    return {standing.group: rank for rank, standing in enumerate(standings(analysis))}


def _group_labels(analysis: Analysis) -> Sequence[str]:
    found = standings(analysis)
    return [f"{_label(analysis, standing)} (n={len(standing.values)})" for standing in found]


def _label(analysis: Analysis, standing: Standing) -> str:
    # There is no room for the keys beside their values.
    return ", ".join(analysis.groups[standing.group].values)


def _heading(analysis: Analysis) -> str:
    return ", ".join(analysis.keys)


def _write(path: Path, png: bytes) -> None:
    with whole_file(path) as file:
        file.write(png)
