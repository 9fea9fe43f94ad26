"""A row per run: the best value and where, the last one, and the other metrics at that same step."""

from __future__ import annotations

from collections.abc import Sequence

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.align import Best, Curve
from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.cells import NOTHING, Cell, Table, duration, metric_name, number
from mlflow_dlviz.reporting.section import Section

_BESIDE = 6


def build(analysis: Analysis) -> Section:
    """The table of all runs."""
    return Section("table", "Summary", {"table": summary(analysis), "goal": analysis.goal, "axis": analysis.axis})


def summary(analysis: Analysis) -> Table:
    """Status, best and last value of the goal, other metrics at the best one's step, and the duration."""
    goal = analysis.goal
    beside = beside_goal(analysis)
    heads: tuple[str, ...] = ("Status",)
    if goal is not None:
        heads += (f"best {goal}", f"last {goal}", *map(metric_name, beside))
    heads += ("Duration",)
    rows = [
        (
            _status(run),
            *_goal_cells(analysis, place, beside),
            duration(run.seconds, running=run.status == "RUNNING"),
        )
        for place, run in enumerate(analysis.runs)
    ]
    return Table(heads, tuple(rows))


def beside_goal(analysis: Analysis) -> list[tuple[str, str]]:
    """The metrics, as (base, half), that are shown beside the goal."""
    places = {place for of_run in analysis.curves for place in of_run}
    bases = [panel.base for panel in align.choose_panels(base for base, _ in places) if panel.main]
    ordered = [(base, half) for base in bases for half in ("val", "train") if (base, half) in places]
    goal = analysis.goal
    return [
        place
        for place in ordered
        if (goal is None or place != align.split_half(goal)) and analysis.options.wants(metric_name(place))
    ][:_BESIDE]


def _goal_cells(analysis: Analysis, place: int, beside: Sequence[tuple[str, str]]) -> list[Cell]:
    if analysis.goal is None:
        return []
    of_run = analysis.curves[place]
    found = analysis.best(place)
    curve = of_run.get(align.split_half(analysis.goal))
    there = [_at(of_run.get(other), found) for other in beside]
    if found is None:
        nothing = Cell(NOTHING, title="never a finite value" if curve else "not logged")
        return [nothing, number(align.last_value(curve)) if curve else nothing, *there]
    best = number(found.value, note=f"@ {found.step}")
    return [best, number(align.last_value(curve) if curve else None), *there]


def _at(curve: Curve | None, found: Best | None) -> Cell:
    return number(align.value_at(curve, found.step) if curve is not None and found is not None else None)


def _status(run: RunData) -> Cell:
    return Cell(run.status.lower(), run.status, status=True)
