"""A row per run: the best value and where, the last one, and the other metrics at that same step."""

from __future__ import annotations

from collections.abc import Sequence

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.align import Best, Curve
from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.cells import NOTHING, Cell, Table, difference, duration, metric_name, number, text
from mlflow_dlviz.reporting.section import Section

_BESIDE = 6


def build(analysis: Analysis) -> Section:
    """The table of all runs."""
    goal = analysis.goal
    values = {
        "table": summary(analysis),
        "goal": goal,
        "smaller": goal is not None and analysis.smaller(goal),
        "axis": analysis.axis,
        "beside": len(beside_goal(analysis)),
        "baseline": None if analysis.baseline is None else analysis.labels[analysis.baseline],
    }
    return Section("table", "Summary", values)


def summary(analysis: Analysis) -> Table:
    """Status, best and last value of the goal, other metrics at the best one's step, and the duration.

    With groups the group comes first; with a baseline the difference of the best value to the baseline's stands
    behind it.
    """
    columns = [*_group_column(analysis), ("Status", "", [_status(run) for run in analysis.runs])]
    columns += _goal_columns(analysis)
    lasted = [duration(run.seconds, running=run.status == "RUNNING") for run in analysis.runs]
    columns.append(("Duration", "", lasted))
    rows = zip(*(cells for _, _, cells in columns), strict=True)
    return Table(tuple(head for head, _, _ in columns), tuple(rows), tuple(note for _, note, _ in columns))


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


Column = tuple[str, str, list[Cell]]


def _group_column(analysis: Analysis) -> list[Column]:
    # A group per run tells nothing that the run's own row does not.
    if not 1 < len(analysis.groups) < len(analysis.runs):
        return []
    labels = [analysis.groups[analysis.group_of(place)].label for place in range(len(analysis.runs))]
    return [("Group", "", list(map(text, labels)))]


def _goal_columns(analysis: Analysis) -> list[Column]:
    goal = analysis.goal
    if goal is None:
        return []
    where = align.split_half(goal)
    found = [analysis.best(place) for place in range(len(analysis.runs))]
    curves = [of_run.get(where) for of_run in analysis.curves]
    columns = [(f"best {goal}", _how_many(curves), list(map(_best, found, curves)))]
    columns += _baseline_column(analysis, found)
    columns.append((f"last {goal}", "", list(map(_last, curves))))
    for other in beside_goal(analysis):
        curves = [of_run.get(other) for of_run in analysis.curves]
        columns.append((metric_name(other), _how_many(curves), list(map(_at, curves, found))))
    return columns


def _baseline_column(analysis: Analysis, found: Sequence[Best | None]) -> list[Column]:
    reference = None if analysis.baseline is None else found[analysis.baseline]
    if reference is None or analysis.goal is None:
        return []
    smaller = analysis.smaller(analysis.goal)
    cells = [
        Cell(NOTHING) if each is None else difference(each.value, reference.value, smaller=smaller)
        for each in found
    ]
    cells[analysis.baseline] = Cell("baseline", 0.0)  # type: ignore[index]
    return [("to the baseline", "", cells)]


def _how_many(curves: Sequence[Curve | None]) -> str:
    there = sum(curve is not None for curve in curves)
    return "" if there == len(curves) else f"in {there} of {len(curves)} runs"


def _best(found: Best | None, curve: Curve | None) -> Cell:
    if found is None:
        return Cell(NOTHING, title="never a finite value" if curve else "not logged")
    return number(found.value, note=f"@ {found.step}")


def _last(curve: Curve | None) -> Cell:
    return number(align.last_value(curve)) if curve else Cell(NOTHING, title="not logged")


def _at(curve: Curve | None, found: Best | None) -> Cell:
    return number(align.value_at(curve, found.step) if curve is not None and found is not None else None)


def _status(run: RunData) -> Cell:
    return Cell(run.status.lower(), run.status, kind="status")
