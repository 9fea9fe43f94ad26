"""Groups: repetitions of one set of parameters as one figure, with what its few runs leave uncertain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.cells import NOTHING, Cell, number
from mlflow_dlviz.reporting.scales import Scale, scale_of
from mlflow_dlviz.reporting.section import Section
from mlflow_dlviz.reporting.standings import Standing, standings, too_few
from mlflow_dlviz.reporting.statistics import Improvement, Interval

TITLE = "Groups"
# Beyond this many times the span of all runs, an interval's end is an arrow: else it alone would fill the chart.
_BEYOND = 0.75
_NAMED = 12


@dataclass(frozen=True)
class Row:
    """A group in the table. members: what a mouse resting on its name tells; sort: by what its chart sorts."""

    label: str
    members: str
    baseline: bool
    sort: float | None
    cells: tuple[Cell, ...]


def build(analysis: Analysis) -> Section:
    """A row per group, and a chart of all of them on one scale."""
    reason = absent(analysis)
    if reason:
        return Section("groups", TITLE, reason=reason)
    found = standings(analysis)
    compared = any(each.improvement for each in found)
    values = {
        "rows": [_row(analysis, each, compared) for each in found],
        "heads": heads(compared),
        "goal": analysis.goal,
        "counted": " or ".join(status.lower() for status in analysis.options.statuses),
        "keys": analysis.keys,
        "smaller": analysis.smaller(analysis.goal or ""),
        "compared": compared,
        "paired": any(each.improvement.paired for each in found if each.improvement),
        "baseline": None if analysis.baseline is None else analysis.groups[_baseline_group(analysis)].label,
    }
    return Section("groups", TITLE, values, forest(analysis, found))


def absent(analysis: Analysis) -> str:
    """Why there is nothing to say of groups, "" if there is."""
    if analysis.single:
        return "there is only one run"
    if analysis.goal is None:
        return "no metric was logged to compare groups by"
    if analysis.options.group_by == ():
        return "no groups were asked for (--group-by none)"
    if len(analysis.groups) == len(analysis.runs):
        return "every run is a group of its own; --group-by says which params tell groups apart"
    return ""


def heads(compared: bool) -> tuple[str, ...]:
    """Heads of the columns after the group and its chart."""
    chance = ("P(beats baseline)",) if compared else ()
    return "n of runs, left out", "IQM", "95 % interval", "best run", *chance


def forest(analysis: Analysis, found: Sequence[Standing]) -> dict[str, Any]:
    """What the chart's script draws, all as places from 0 to 1 along one axis."""
    scale = forest_scale(found)
    reference = None if analysis.baseline is None else _baseline_group(analysis)
    line = next((each.iqm for each in found if each.group == reference), None)
    return {
        "rows": [_forest_row(analysis, each, scale) for each in found],
        "ticks": scale.ticks(4),
        "baseline": None if line is None else _place(scale, line),
    }


def forest_scale(found: Sequence[Standing]) -> Scale:
    """An axis for all runs that count and, as far as that is in proportion, for the intervals."""
    runs = np.array([value for each in found for value in each.values])
    inner = scale_of(runs)
    ends = [end for each in found if each.interval for end in (each.interval.low, each.interval.high)]
    if inner.log or not len(runs):
        return inner
    with np.errstate(over="ignore"):
        room = _BEYOND * (inner.high - inner.low)
        low, high = min([inner.low, *ends]), max([inner.high, *ends])
        outer = Scale(max(low, inner.low - room), min(high, inner.high + room))
    return outer if np.isfinite([outer.low, outer.high]).all() else inner


def _baseline_group(analysis: Analysis) -> int:
    assert analysis.baseline is not None
    return analysis.group_of(analysis.baseline)


def _row(analysis: Analysis, standing: Standing, compared: bool) -> Row:
    group = analysis.groups[standing.group]
    names = [analysis.labels[place] for place in group.members]
    more = len(names) - _NAMED
    is_baseline = analysis.baseline is not None and analysis.baseline in group.members
    chance = (_chance(standing.improvement, is_baseline),) if compared else ()
    cells = (
        _counted(standing),
        number(standing.iqm),
        _interval(standing.interval, len(standing.values)),
        _best(analysis, standing),
        *chance,
    )
    told = "\n".join(names[:_NAMED]) + (f"\nand {more} more" if more > 0 else "")
    return Row(group.label, told, is_baseline, standing.iqm, cells)


def _interval(interval: Interval | None, n: int) -> Cell:
    if interval is None:
        return Cell(NOTHING, title=f"n = {n}: too few runs for an interval")
    text = f"{interval.low:.4g} – {interval.high:.4g}"
    return Cell(text, interval.high - interval.low, f"{interval.low!r} – {interval.high!r}, sorted by width")


def _best(analysis: Analysis, standing: Standing) -> Cell:
    if not standing.values:
        return Cell(NOTHING)
    # Members are in the report's order of runs, which is best first.
    return number(standing.values[0], note=analysis.labels[standing.places[0]])


def _chance(found: Improvement | None, is_baseline: bool) -> Cell:
    if found is None:
        return Cell("baseline" if is_baseline else NOTHING)
    if few := too_few(found):
        return Cell(NOTHING, title=f"no probability: {few}", note=few)
    runs = f"{found.n_a} pairs of one seed" if found.paired else f"{found.n_a} × {found.n_b} couples"
    note = "" if found.low is None else f"{found.low:.2f} – {found.high:.2f}"
    return Cell(f"{found.probability:.2f}", found.probability, runs, note)


def _counted(standing: Standing) -> Cell:
    n = len(standing.values)
    lost = ", ".join(f"{count} {reason}" for reason, count in standing.left_out.items())
    return Cell(f"{n} of {standing.total}", n, f"left out: {lost or 'none'}", lost)


def _forest_row(analysis: Analysis, standing: Standing, scale: Scale) -> dict[str, Any]:
    ends = standing.interval
    return {
        "members": list(analysis.groups[standing.group].members),
        "iqm": None if standing.iqm is None else _place(scale, standing.iqm),
        "ends": None if ends is None else [_place(scale, ends.low), _place(scale, ends.high)],
        "runs": [
            [place, _place(scale, value), f"{value:.4g}"]
            for place, value in zip(standing.places, standing.values, strict=True)
        ],
    }


def _place(scale: Scale, value: float) -> float:
    """Along the axis; what is beyond it stands a little outside, where the script draws an arrow."""
    with np.errstate(over="ignore"):
        place = float(scale.places(np.array(value)))
    # A logarithmic axis has no place for 0 and less.
    place = place if place == place else -1.0
    return round(min(max(place, -1.0), 2.0), 5)
